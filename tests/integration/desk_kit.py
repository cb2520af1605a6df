"""What tests of the actions share: a desk of values, agents that say what a test wants, rows.

No database and no engine: an action is given claimed rows and a desk, and its outcomes are read.
"""
# ruff: noqa: D106  factory_boy wants a class Meta, which only names what is made

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from factory.base import Factory

from supervision.errors import MailUnavailable, SiteUnavailable
from supervision.facts import (
    Answer,
    AnswerKind,
    DecisionFacts,
    EngineSettings,
    JobKind,
    Key,
    Level,
    Look,
    Order,
    Policy,
    ScriptFacts,
    SimulationFacts,
    Subject,
    Supervision,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.fsm.outcomes import Notice, Outcome, Report
from supervision.fsm.states import ExecutionStatus, State
from supervision.ports import Transport
from supervision.testing import FrozenClock
from tests.factories import (
    DIRECTORY,
    JOB,
    NOW,
    SIMULATION,
    SUPERVISION,
    DecisionFactsFactory,
    LookFactory,
    PolicyFactory,
    SimulationFactsFactory,
    ago,
)

OTHER: Final = "9c7f8f3a-4a36-4a0e-8a53-2f4f6b0f6d52"
"""The id of a second supervision."""


class SupervisionFactory(Factory[Supervision]):
    """A level 2 row about a fatal, claimed once, whose script waits to be sent."""

    class Meta:
        model = Supervision

    id = SUPERVISION
    simulation_uid = SIMULATION
    job_uid = JOB
    decision_id = "0e9f6a51-6c79-4d65-9c5c-0a86f6cf6d11"
    site = "curie"
    login = "p86user1"
    directory = DIRECTORY
    kind = JobKind.COMPUTE
    trigger = TriggerKind.FATAL
    level = Level.AUTOMATIC
    attempt = 1
    state = State.FORMATTED
    execution_status = ExecutionStatus.PENDING
    script_content = "dGVzdAo="
    script_sha256 = "f2ca1bb6c7e907d06dafe4687e579fce76b37e4e93b7605022da52e6ccc26fd2"
    created_at = ago(minutes=19)
    lease_until = NOW + timedelta(minutes=2)
    wake_at = NOW + timedelta(minutes=2)
    version = 3
    claim_count = 1


def formatted(**changes: object) -> Supervision:
    """Give a row whose script is stored; `changes` are its fields."""
    return SupervisionFactory.build(**changes)


def detected(**changes: object) -> Supervision:
    """Give a row that has no script yet."""
    blank = {"state": State.DETECTED, "script_content": None, "script_sha256": None}
    return SupervisionFactory.build(**{**blank, **changes})


def dispatched(**changes: object) -> Supervision:
    """Give a row that the agent took five minutes ago."""
    usual = {"state": State.DISPATCHED, "dispatch_try_count": 1, "journal_id": "j1"}
    times = {"acted_at": ago(minutes=5), "dispatched_at": ago(minutes=5)}
    return SupervisionFactory.build(**{**usual, **times, **changes})


def executed(**changes: object) -> Supervision:
    """Give a row whose script acted ten minutes ago and submitted job 41300."""
    usual = {"state": State.EXECUTED, "execution_status": ExecutionStatus.EXECUTED}
    times = {"acted_at": ago(minutes=12), "executed_at": ago(minutes=10)}
    return dispatched(**{**usual, **times, "scheduler_id": "41300", **changes})


class ScriptedTransport:
    """A Transport that answers each verb as it is told: the same to every key.

    `asked` keeps every call with its keys or subjects, in order. A verb without a script answers
    `never-seen`, and a look sees the failed job ended and nothing else there. Verbs and logins in
    `away` raise `fault` (without one, SiteUnavailable).
    """

    def __init__(self, **says: AnswerKind | Answer) -> None:
        self.asked: list[tuple[str, str, tuple[str, ...]]] = []
        self.orders: list[Order] = []
        self.looks: dict[str, Look] = {}
        self.away: set[str] = set()
        self.fault: Exception | None = None
        self._says = says

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Answer as told, and keep the orders."""
        self.orders.extend(orders)
        return self._answers("submit", (site, login), [order.key for order in orders])

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Answer as told."""
        return self._answers("status", (site, login), keys)

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Answer as told."""
        return self._answers("peek", (site, login), keys)

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Answer as told."""
        return self._answers("cancel", (site, login), keys)

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """Show what was put into `looks`, by what the subject refers to."""
        self._called("look", (site, login), [subject.ref for subject in subjects])
        return [self.looks.get(subject.ref, LookFactory.build()) for subject in subjects]

    def close(self) -> None:
        """Nothing is open."""

    @property
    def verbs(self) -> list[str]:
        """What was asked, in order."""
        return [verb for verb, _, _ in self.asked]

    def _answers(self, verb: str, where: tuple[str, str], keys: Sequence[Key]) -> list[Answer]:
        self._called(verb, where, [key.supervision_id for key in keys])
        said = self._says.get(verb, AnswerKind.NEVER_SEEN)
        if isinstance(said, Answer):
            return [replace(said, key=key) for key in keys]
        return [Answer(key=key, kind=said, detail="so it is", journal_id="j1") for key in keys]

    def _called(self, verb: str, where: tuple[str, str], about: Iterable[str]) -> None:
        self.asked.append((verb, "/".join(where), tuple(about)))
        if verb in self.away or where[1] in self.away:
            raise self.fault or SiteUnavailable(f"{where[0]}: no route to host")


@dataclass(kw_only=True)
class FakeDesk:
    """A Desk whose every answer is a field; without a word of a test, nothing stands in the way.

    `room` is how many rows the caps admit (None: all). `told` keeps what people were written.
    """

    transport: Transport = field(default_factory=ScriptedTransport)
    policy: Policy = field(default_factory=PolicyFactory.build)
    settings: EngineSettings = field(default_factory=EngineSettings)
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOW))
    known: dict[str, DecisionFacts] = field(default_factory=dict)
    simulation: SimulationFacts = field(default_factory=SimulationFactsFactory.build)
    scripts: dict[str, ScriptFacts] = field(default_factory=dict)
    stops: dict[str, Verdict] = field(default_factory=dict)
    graces: dict[str, datetime] = field(default_factory=dict)
    room: int | None = None
    readers: bool = True
    mail_away: bool = False
    told: list[tuple[Notice, str, str]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    kept: dict[str, DecisionFacts] = field(default_factory=dict)
    admitted: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        """The frozen time."""
        return self.clock.now()

    def backoff(self, count: int, first: timedelta, cap: timedelta) -> datetime:
        """Double without jitter."""
        span: timedelta = min(first * 2**count, cap)
        return self.now() + span

    def facts(self, rows: Sequence[Supervision]) -> dict[str, DecisionFacts]:
        """What a test knows of a row, else a fatal that nothing speaks against."""
        usual = DecisionFactsFactory.build(before_acting=True, simulation=self.simulation)
        return {row.id: self.known.get(row.id, usual) for row in rows}

    def simulations(self, rows: Sequence[Supervision]) -> dict[str, SimulationFacts]:
        """One simulation for every row."""
        return {row.simulation_uid: self.simulation for row in rows}

    def brakes(
        self, rows: Sequence[Supervision], simulations: Mapping[str, SimulationFacts]
    ) -> dict[str, Verdict]:
        """The brakes that a test has put on."""
        assert {row.simulation_uid for row in rows} <= set(simulations)
        return {row.id: self.stops[row.id] for row in rows if row.id in self.stops}

    def due(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """The end of each row's grace, where a test gave it one."""
        return {row.id: self.graces[row.id] for row in rows if row.id in self.graces}

    def with_scripts(self, rows: Sequence[Supervision]) -> list[Supervision]:
        """Rows of these tests carry their scripts."""
        return list(rows)

    def script_facts(self, rows: Sequence[Supervision]) -> dict[str, ScriptFacts]:
        """What a test says that the script is built from, else a failed compute job's facts."""
        return {row.id: self.scripts.get(row.id) or script_facts(row) for row in rows}

    def admit(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """Admit as many as there is room for, in the order given."""
        fitting = rows if self.room is None else rows[: self.room]
        self.admitted += [row.id for row in fitting]
        return {row.id: self.now() + self.settings.lease for row in fitting}

    def keep_looks(self, facts: dict[str, DecisionFacts]) -> None:
        """Keep them for the test."""
        self.kept.update(facts)

    def tell(
        self, notice: Notice, row: Supervision, sentence: str, *, report: Report | None = None
    ) -> bool:
        """Keep it for the test; without readers or a mail server, say so as the engine does."""
        if self.mail_away:
            raise MailUnavailable("the mail server does not answer")
        if self.readers:
            self.told.append((notice, row.id, sentence))
            self.reports.append(report or {})
        return self.readers

    @property
    def notices(self) -> list[Notice]:
        """What people were told, in order."""
        return [notice for notice, _, _ in self.told]


def script_facts(row: Supervision) -> ScriptFacts:
    """Give what a failed compute job's script is built from."""
    return ScriptFacts(
        supervision_id=row.id,
        attempt=row.attempt,
        kind=row.kind,
        trigger=row.trigger,
        simulation_uid=row.simulation_uid,
        job_uid=row.job_uid,
        job_name="CPL01",
        login=row.login,
        directory=row.directory,
    )


def held(until: datetime = NOW + timedelta(days=1)) -> Verdict:
    """Give what the hold rule says while a person said stop."""
    sentence = "site:curie is on hold since yesterday by alice: quiet."
    return Verdict(kind=VerdictKind.DEFER, rule="hold", sentence=sentence, wake_at=until)


def only(outcomes: Sequence[Outcome]) -> Outcome:
    """Give the one outcome that there is."""
    (outcome,) = outcomes
    return outcome
