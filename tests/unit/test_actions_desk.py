"""A Desk without a database, an agent that says what it is told to, and what outcomes make of them.

The tests of every action share these; here stand only those of the outcomes themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

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
    Wish,
)
from supervision.fsm.outcomes import Notice, Report, by_login, not_yet, unbraked, unreached, wished
from supervision.fsm.states import Event, ExecutionStatus, State
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
)

SITE: Final = "curie"
LOGIN: Final = "p86user1"
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

ROW: Final = Supervision(
    id=SUPERVISION,
    simulation_uid=SIMULATION,
    job_uid=JOB,
    decision_id="decision",
    site=SITE,
    login=LOGIN,
    directory=DIRECTORY,
    kind=JobKind.COMPUTE,
    trigger=TriggerKind.FATAL,
    level=Level.AUTOMATIC,
    attempt=1,
    state=State.FORMATTED,
    execution_status=ExecutionStatus.PENDING,
    script_content="IyEva3NoCg==",
    script_sha256=hashlib.sha256(b"#!/ksh\n").hexdigest(),
    created_at=NOW - HOUR,
)
"""A level 2 row of a fatal, whose script waits to be sent for the first time."""


def row(state: State = State.FORMATTED, **changes: Any) -> Supervision:  # noqa: ANN401
    """ROW in a state, as it is there by default: sent an hour ago, acted half an hour ago."""
    usual: dict[str, Any] = {"state": state}
    if state in {State.DISPATCHED, State.EXECUTED}:
        usual.update(dispatch_try_count=1, acted_at=NOW - HOUR, dispatched_at=NOW - HOUR)
    if state is State.EXECUTED:
        usual.update(executed_at=NOW - HOUR / 2, scheduler_id="41300")
    return replace(ROW, **{**usual, **changes})


@dataclass(kw_only=True)
class FakeDesk:
    """A Desk without a database: what is known is what a test says, mails are only noted.

    `decision_facts` holds for every row; back-offs come without jitter.
    """

    agent: Transport
    policy: Policy = field(default_factory=PolicyFactory.build)
    settings: EngineSettings = field(default_factory=EngineSettings)
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOW))
    decision_facts: DecisionFacts = field(
        default_factory=lambda: DecisionFactsFactory.build(before_acting=True)
    )
    stops: dict[str, Verdict] = field(default_factory=dict)
    grace: datetime | None = None
    room: int = 1000
    nobody_reads: bool = False
    mail_is_away: bool = False
    told: list[tuple[Notice, str]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    looked: dict[str, DecisionFacts] = field(default_factory=dict)

    @property
    def transport(self) -> Transport:
        """The agent that the test gave."""
        return self.agent

    def now(self) -> datetime:
        """The frozen time."""
        return self.clock.now()

    def backoff(self, count: int, first: timedelta, cap: timedelta) -> datetime:
        """Doubling, exactly."""
        return self.now() + min(first * (1 << min(count, 16)), cap)

    def facts(self, rows: Sequence[Supervision]) -> dict[str, DecisionFacts]:
        """The same for each."""
        return {each.id: self.decision_facts for each in rows}

    def simulations(self, rows: Sequence[Supervision]) -> dict[str, SimulationFacts]:
        """The simulation of the facts, for each."""
        return {each.simulation_uid: self.decision_facts.simulation for each in rows}

    def brakes(
        self, rows: Sequence[Supervision], simulations: Mapping[str, SimulationFacts]
    ) -> dict[str, Verdict]:
        """Those that the test placed, by supervision id."""
        assert {each.simulation_uid for each in rows} <= set(simulations)
        return {each.id: self.stops[each.id] for each in rows if each.id in self.stops}

    def due(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """The same grace for each, where there is one."""
        return {each.id: self.grace for each in rows if self.grace is not None}

    def with_scripts(self, rows: Sequence[Supervision]) -> list[Supervision]:
        """Rows of tests have theirs."""
        return list(rows)

    def script_facts(self, rows: Sequence[Supervision]) -> dict[str, ScriptFacts]:
        """What the rows themselves say."""
        return {each.id: _script_facts(each) for each in rows}

    def admit(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """As many as there is room for, until the lease is over."""
        return {each.id: self.now() + self.settings.lease for each in rows[: self.room]}

    def keep_looks(self, facts: dict[str, DecisionFacts]) -> None:
        """Note them."""
        self.looked.update(facts)

    def tell(
        self, notice: Notice, row: Supervision, sentence: str, *, report: Report | None = None
    ) -> bool:
        """Note what is told, unless the mail server is away or nobody reads."""
        if self.mail_is_away:
            raise MailUnavailable("the mail server is away")
        if not self.nobody_reads:
            self.told.append((notice, sentence))
            self.reports.append(report or {})
        assert row.id
        return not self.nobody_reads


def _script_facts(each: Supervision) -> ScriptFacts:
    return ScriptFacts(
        supervision_id=each.id,
        attempt=each.attempt,
        kind=each.kind,
        trigger=each.trigger,
        simulation_uid=each.simulation_uid,
        job_uid=each.job_uid,
        job_name="CPL01",
        login=each.login,
        directory=each.directory,
        submit_only=each.submit_only,
    )


@dataclass(kw_only=True)
class SayingAgent:
    """A Transport that says of every key and subject what the test says; it notes what is asked."""

    to_submit: AnswerKind | Answer = AnswerKind.ACCEPTED
    to_status: AnswerKind | Answer = AnswerKind.RUNNING
    to_cancel: AnswerKind | Answer = AnswerKind.FENCED
    seen: Look | None = None
    silent: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Take scripts and run none."""
        self._asked("submit", site, login)
        self.orders += orders
        return [_answer(self.to_submit, order.key) for order in orders]

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Say it."""
        self._asked("status", site, login)
        return [_answer(self.to_status, key) for key in keys]

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Say it: no action asks so."""
        self._asked("peek", site, login)
        return [_answer(self.to_status, key) for key in keys]

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """Show it; LookFactory's look where the test says nothing."""
        self._asked("look", site, login)
        self.subjects += subjects
        return [self.seen or LookFactory.build() for _ in subjects]

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Say it."""
        self._asked("cancel", site, login)
        return [_answer(self.to_cancel, key) for key in keys]

    def close(self) -> None:
        """Hold nothing."""

    def _asked(self, verb: str, site: str, login: str) -> None:
        assert (SITE, LOGIN) == (site, login)
        self.calls.append(verb)
        if verb in self.silent:
            raise SiteUnavailable(f"{site} does not answer")


def _answer(said: AnswerKind | Answer, key: Key) -> Answer:
    if isinstance(said, Answer):
        return replace(said, key=key)
    return Answer(key=key, kind=said, journal_id="journal", detail=f"said {said}")


WISH: Final = Wish(event="cancel", actor="alice", reason="it runs on another machine now")


def braked(hours: int = 1) -> Verdict:
    """A hold that is looked at again after so many hours."""
    again = NOW + hours * HOUR
    return Verdict(kind=VerdictKind.DEFER, rule="hold", sentence="it is on hold.", wake_at=again)


def test_a_wish_becomes_a_cancel_of_the_person_who_had_it() -> None:
    """The row forgets the wish; the history remembers whose it was."""
    outcome = wished(row(wanted=WISH))
    expected = (Event.CANCEL, "alice", True, None, "person")
    found = (outcome.event, outcome.actor, outcome.by_person, outcome.after.wanted, outcome.cause)
    assert expected == found


def test_nobody_wishes_for_a_row_without_a_wish() -> None:
    """Carrying out a wish that nobody had is a mistake of ours, and says so."""
    with pytest.raises(ValueError, match="nobody wanted anything"):
        wished(row())


@pytest.mark.parametrize(("backoff", "seconds"), [(0, 30), (1, 60), (4, 480), (5, 900), (60, 900)])
def test_a_site_that_cannot_be_reached_is_tried_later_and_later(backoff: int, seconds: int) -> None:
    """30 s, doubling to 15 min; it is no attempt, and the reason is kept on the row."""
    outcome = unreached(row(backoff=backoff), FakeDesk(agent=SayingAgent()), "no route to host")
    assert NOW + timedelta(seconds=seconds) == outcome.until
    expected = (None, 1, backoff + 1, "no route to host")
    after = outcome.after
    assert expected == (outcome.event, after.attempt, after.backoff, after.dispatch_error)


def test_what_is_not_yet_keeps_its_state_and_takes_its_changes() -> None:
    """Only what is named is changed on the row."""
    outcome = not_yet(row(), NOW + HOUR, "later", looked="{}")
    assert replace(row(), looked="{}") == outcome.after
    assert (None, NOW + HOUR, "later") == (outcome.event, outcome.until, outcome.reason)


def test_brakes_part_those_that_may_be_asked_from_those_that_wait() -> None:
    """A braked row waits until its brake is looked at again."""
    rows = [row(id="free"), row(id="held")]
    desk = FakeDesk(agent=SayingAgent(), stops={"held": braked(2)})
    free, waiting = unbraked(rows, desk, desk.simulations(rows))
    assert rows[:1] == free
    assert [("held", None, NOW + 2 * HOUR, "it is on hold.")] == [
        (each.row.id, each.event, each.until, each.reason) for each in waiting
    ]


def test_rows_of_one_login_share_a_session() -> None:
    """Rows are grouped by site and login, in their order."""
    rows = [row(id="a"), row(id="b", login="other"), row(id="c")]
    groups = by_login(rows)
    assert {(SITE, LOGIN): ["a", "c"], (SITE, "other"): ["b"]} == {
        name: [each.id for each in group] for name, group in groups.items()
    }
