"""read: questions that people and consumers ask. Each question is a value that knows its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select

from db import (
    dao_decisions,
    dao_history,
    dao_holds,
    dao_policy,
    dao_supervision,
    values_supervision,
)
from db.types_decisions import Decision
from db.types_monitoring import Job, Simulation
from db.types_supervision import Supervision as Row
from supervision import policy as rules
from supervision.errors import NotFound
from supervision.facts import Hold, Policy, ScriptFacts, Supervision, Verdict
from supervision.fsm.engine.desk import EngineDesk
from supervision.fsm.engine.tools import Tools
from supervision.fsm.states import State
from supervision.replay import UNREPLAYED, load_policy, load_question

_MANY = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Show:
    """Supervisions, newest first, by any of these; None means any. `waiting`: with an alarm."""

    states: tuple[State, ...] = ()
    site: str | None = None
    login: str | None = None
    simulation_uid: str | None = None
    trigger: str | None = None
    waiting: bool = False
    limit: int | None = 100

    def answer(self, tools: Tools) -> list[Supervision]:
        """Read the rows."""
        query = select(*values_supervision.READ).order_by(Row.created_at.desc(), Row.id)
        if self.states:
            query = query.where(values_supervision.in_states(self.states))
        for column, value in (
            (Row.site, self.site),
            (Row.login, self.login),
            (Row.simulation_uid, self.simulation_uid),
            (Row.trigger, self.trigger),
        ):
            if value is not None:
                query = query.where(column == value)
        if self.waiting:
            query = query.where(Row.wake_at.is_not(None))
        with tools.database.read() as session:
            found = session.execute(query.limit(self.limit))
            return [values_supervision.value_of(row) for row in found]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What an id stands for; one of the three is set."""

    supervision_id: str | None = None
    job_uid: str | None = None
    simulation_uid: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Find:
    """Whose id is this? A prefix will do while it is unambiguous."""

    text: str

    def answer(self, tools: Tools) -> Found:
        """Find it; raises NotFound, with candidates where there are several."""
        text = self.text.strip().lower()
        with tools.database.read() as session:
            found: list[Found] = []
            for column, name in (
                (Row.id, "supervision_id"),
                (Job.uid, "job_uid"),
                (Decision.job_uid, "job_uid"),
                (Simulation.uid, "simulation_uid"),
            ):
                query = select(column).where(column.startswith(text, autoescape=True)).distinct()
                for value in session.scalars(query.order_by(column).limit(_MANY)):
                    hit = Found(**{name: value})
                    if hit not in found:
                        found.append(hit)
        exact = [
            hit for hit in found if text in (hit.supervision_id, hit.job_uid, hit.simulation_uid)
        ]
        hits = exact or found
        if len(hits) == 1 and text:
            return hits[0]
        if not hits or not text:
            raise NotFound(f"no supervision, job or simulation begins with {self.text!r}")
        names = [hit.supervision_id or hit.job_uid or hit.simulation_uid or "" for hit in hits]
        raise NotFound(f"{self.text!r} is ambiguous; candidates: {', '.join(names[:_MANY])}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """One ledger row in the open: what was decided, on which facts, and what replaying it gives.

    `again` is the verdict of the same facts, moment and policy: the same, or the ledger lies.
    `today` is what the present policy would say of the same facts.
    """

    decision_id: str
    job_uid: str
    simulation_uid: str
    kind: str
    occurrences: int
    first_at: datetime
    last_at: datetime
    verdict: str | None
    rule: str | None
    sentence: str | None
    decided_at: datetime | None
    wake_at: datetime | None
    policy_digest: str | None
    cause: str | None
    restarted_at: datetime | None
    restarted_by: str | None
    recovered_at: datetime | None
    facts: str | None
    again: Verdict | None
    today: Verdict | None

    @property
    def replays(self) -> bool | None:
        """Whether the stored verdict is what the stored facts give; None: nothing to replay."""
        if self.again is None or self.verdict is None:
            return None
        return (self.again.kind.value, self.again.rule, self.again.sentence) == (
            self.verdict,
            self.rule,
            self.sentence,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """What was decided about a job, or a simulation, and why."""

    job_uid: str | None = None
    simulation_uid: str | None = None

    def answer(self, tools: Tools) -> list[Explained]:
        """Read and replay the ledger rows, in the order in which they happened."""
        current = tools.policy
        with tools.database.read() as session:
            if self.job_uid is not None:
                rows = list(dao_decisions.of_jobs(session, [self.job_uid]))
            else:
                rows = list(dao_decisions.of_simulation(session, self.simulation_uid or ""))
            digests = {row.policy_digest for row in rows if row.policy_digest}
            texts = dao_policy.texts(session, digests)
        policies = {digest: load_policy(text) for digest, text in texts.items()}
        return [_explained(row, policies, current) for row in rows]


def _explained(row: Decision, policies: dict[str, Policy], current: Policy) -> Explained:
    again = today = None
    if row.facts is not None and row.rule not in UNREPLAYED:
        question = load_question(row.facts)
        then = policies.get(row.policy_digest or "")
        again = rules.decide(question.facts, then, question.now) if then else None
        today = rules.decide(question.facts, current, question.now)
    return Explained(
        decision_id=row.id,
        job_uid=row.job_uid,
        simulation_uid=row.simulation_uid,
        kind=row.kind,
        occurrences=row.occurrences,
        first_at=row.first_at,
        last_at=row.last_at,
        verdict=row.verdict,
        rule=row.rule,
        sentence=row.sentence,
        decided_at=row.decided_at,
        wake_at=row.wake_at,
        policy_digest=row.policy_digest,
        cause=row.cause,
        restarted_at=row.restarted_at,
        restarted_by=row.restarted_by,
        recovered_at=row.recovered_at,
        facts=row.facts,
        again=again,
        today=today,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One transition of a supervision."""

    at: datetime
    source: str | None
    target: str
    event: str
    attempt: int
    actor: str
    cause: str | None
    reason: str | None
    message_uid: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What happened to a supervision."""

    supervision_id: str

    def answer(self, tools: Tools) -> list[Step]:
        """Read it, in order."""
        with tools.database.read() as session:
            rows = dao_history.of_supervisions(session, [self.supervision_id])
        return [
            Step(
                at=row.at,
                source=row.source,
                target=row.target,
                event=row.event,
                attempt=row.attempt,
                actor=row.actor,
                cause=row.cause,
                reason=row.reason,
                message_uid=row.message_uid,
            )
            for row in rows
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class One:
    """One supervision by its id, with what its script would be built from now."""

    supervision_id: str

    def answer(self, tools: Tools) -> tuple[Supervision, ScriptFacts]:
        """Read it; raises NotFound."""
        with tools.database.read() as session:
            row = dao_supervision.of_ids(session, [self.supervision_id]).get(self.supervision_id)
            if row is None:
                raise NotFound(f"there is no supervision {self.supervision_id}")
            row = dao_supervision.with_scripts(session, [row])[0]
        return row, EngineDesk(tools).script_facts([row])[row.id]


@dataclass(frozen=True, kw_only=True, slots=True)
class Holds:
    """Every hold."""

    def answer(self, tools: Tools) -> tuple[Hold, ...]:
        """Read them, by scope."""
        with tools.database.read() as session:
            return dao_holds.all_holds(session)


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulations:
    """How simulations are, for the demonstration and for status pages: by uid."""

    uids: Sequence[str]

    def answer(self, tools: Tools) -> dict[str, dict[str, Any]]:
        """Read name, completion and failures of each."""
        failed = func.count(Job.uid).filter(or_(Job.failed_at.is_not(None)))
        query = (
            select(Simulation.uid, Simulation.name, Simulation.complete_at, failed)
            .outerjoin(Job, Job.simulation_uid == Simulation.uid)
            .where(Simulation.uid.in_(list(self.uids)))
            .group_by(Simulation.uid, Simulation.name, Simulation.complete_at)
        )
        with tools.database.read() as session:
            return {
                uid: {"name": name, "complete_at": complete_at, "failed": count}
                for uid, name, complete_at, count in session.execute(query)
            }
