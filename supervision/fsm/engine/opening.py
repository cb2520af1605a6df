"""From a verdict to a supervision: a new row, or the next attempt of the one that there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import dao_claims, dao_history, dao_supervision
from db.values_decisions import LedgerRow
from supervision import policy as rules
from supervision.facts import (
    DecisionFacts,
    JobKind,
    Level,
    Policy,
    Supervision,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.fsm import machine
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import BLANK
from supervision.fsm.states import STATES, Event, Queue, State
from supervision.messages import WakeUp


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One claimed ledger row, with what is known of it, what was answered, and when."""

    row: LedgerRow
    facts: DecisionFacts
    verdict: Verdict
    at: datetime


@dataclass(kw_only=True)
class Opened:
    """What opening did: decision ids that lost a race, wake-ups to publish, history to write."""

    raced: set[str] = field(default_factory=set)
    wakeups: list[WakeUp] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def finish(self, session: Session) -> None:
        """Append the history of what was opened."""
        dao_history.append(session, self.history)


def open_supervisions(
    tools: Tools, session: Session, cases: Sequence[Case], policy: Policy, now: datetime
) -> Opened:
    """Insert or retry the supervisions of these verdicts; give up failed ones that got a no.

    Rows are inserted before any verdict is written: only a decision whose row came to be says
    `supervise`. The strongest trigger of a job opens; the others find its row when they are
    decided again.
    """
    opened = Opened()
    handled = dao_supervision.of_jobs(session, [case.row.job_uid for case in cases])
    fresh: dict[str, tuple[Case, dict[str, Any]]] = {}
    for case in sorted(cases, key=_strongest_first):
        row = handled.get(case.row.job_uid)
        if case.verdict.kind is VerdictKind.SUPERVISE and row is None:
            _take_first(opened, fresh, case, new_row(tools, case, policy, now))
        elif case.verdict.kind is VerdictKind.SUPERVISE and row is not None:
            _retry(tools, session, opened, (case, row))
        elif row is not None:
            _answer_failed(session, case, row, now)
    inserted = dao_supervision.insert_new(session, [values for _, values in fresh.values()])
    for case, values in fresh.values():
        if values["id"] in inserted:
            opened.history.append(_begun(values["id"], case, now))
            opened.wakeups.append(WakeUp(queue=Queue.FORMAT, supervision_id=values["id"]))
        else:
            opened.raced.add(case.row.id)
    return opened


def _strongest_first(case: Case) -> tuple[int, str]:
    return -TriggerKind(case.row.kind).strength, case.row.id


def _take_first(
    opened: Opened,
    fresh: dict[str, tuple[Case, dict[str, Any]]],
    case: Case,
    values: dict[str, Any],
) -> None:
    if case.row.job_uid in fresh:
        opened.raced.add(case.row.id)
    else:
        fresh[case.row.job_uid] = (case, values)


def new_row(tools: Tools, case: Case, policy: Policy, now: datetime) -> dict[str, Any]:
    """The row of a new supervision: level, site, login and directory are frozen on it."""
    facts, verdict = case.facts, case.verdict
    place = rules.resolve(facts.simulation, facts.job, policy)
    kind = facts.job.kind or (
        JobKind.POST_PROCESSING
        if facts.trigger.kind is TriggerKind.POST_PROCESSING
        else JobKind.COMPUTE
    )
    return {
        "id": tools.ports.ids.new(),
        "simulation_uid": facts.simulation.uid,
        "job_uid": facts.job.uid,
        "decision_id": case.row.id,
        "site": place.site,
        "login": place.login,
        "directory": place.directory,
        "kind": kind.value,
        "trigger": facts.trigger.kind.value,
        "level": int(verdict.level if verdict.level is not None else Level.NOTHING),
        "attempt": 1,
        "by_person": facts.by_person,
        "submit_only": verdict.submit_only,
        "created_at": now,
        "wake_at": now + tools.settings.rewake_first,
    }


def _begun(supervision_id: str, case: Case, now: datetime) -> dict[str, Any]:
    return {
        "supervision_id": supervision_id,
        "source": None,
        "target": State.DETECTED.value,
        "event": "detect",
        "attempt": 1,
        "at": now,
        "actor": "policy",
        "by_person": False,
        "cause": case.row.kind,
        "reason": case.verdict.sentence,
        "message_uid": None,
    }


def next_attempt(row: Supervision, case: Case) -> Supervision:
    """The row as the next attempt begins: nothing of the last one's script or answers is left."""
    facts, verdict = case.facts, case.verdict
    return row.changed(
        state=State.DETECTED,
        attempt=row.attempt + 1,
        decision_id=case.row.id,
        trigger=facts.trigger.kind,
        level=verdict.level if verdict.level is not None else row.level,
        by_person=facts.by_person,
        submit_only=verdict.submit_only,
        **BLANK,
    )


def _retry(
    tools: Tools, session: Session, opened: Opened, retried: tuple[Case, Supervision]
) -> None:
    """Begin the next attempt; a level 1 row that stands in the way is cancelled first.

    A row that is leased is somebody's: the decision comes back when they are done.
    """
    case, row = retried
    known = case.facts.handling
    if known is None or (known.attempt, known.state) != (row.attempt, row.state):
        opened.raced.add(case.row.id)  # somebody began the next attempt since the facts were read
        return
    now = tools.database.now(session)
    until = now + tools.settings.lease
    claimed = dao_claims.seize(session, row.id, lease=(now, until), version=row.version)
    if claimed is None:
        opened.raced.add(case.row.id)
        return
    steps = [(claimed.state, Event.CANCEL)] if STATES[claimed.state].unfinished else []
    steps.append((State.CANCELLED if steps else claimed.state, Event.RETRY))
    after = next_attempt(claimed, case).changed(
        state=machine.target(*steps[-1]),
        wake_at=now + tools.settings.rewake_first,
        not_before=None,
    )
    if not _confirmed(session, claimed, after):
        opened.raced.add(case.row.id)
        return
    for state, event in steps:
        opened.history.append(_step(after, state, event, case.verdict.sentence, now))
    opened.wakeups.append(WakeUp(queue=Queue.FORMAT, supervision_id=row.id))


def _confirmed(session: Session, claimed: Supervision, after: Supervision) -> bool:
    """Write the attempt; False where another supervision of the simulation is open by now."""
    try:
        with session.begin_nested():
            return bool(dao_supervision.confirm(session, [(claimed, after)]))
    except IntegrityError:
        return False


def _step(
    after: Supervision, state: State, event: Event, reason: str, now: datetime
) -> dict[str, Any]:
    return {
        "supervision_id": after.id,
        "source": state.value,
        "target": machine.target(state, event).value,
        "event": event.value,
        "attempt": after.attempt - (1 if event is Event.CANCEL else 0),
        "at": now,
        "actor": "policy",
        "by_person": False,
        "cause": None,
        "reason": reason,
        "message_uid": None,
    }


def _answer_failed(session: Session, case: Case, row: Supervision, now: datetime) -> None:
    """A failed row whose decision is no `supervise`: it waits with its decision, or is given up.

    An unfinished row notes a trigger that is stronger than the one that it acts on.
    """
    if STATES[row.state].unfinished and case.facts.trigger.kind.strength > row.trigger.strength:
        dao_supervision.note_triggers(session, {row.id: case.facts.trigger.kind.value})
    if row.state is not State.FAILED or row.decision_id != case.row.id or row.wake_at is None:
        return
    claimed = dao_claims.seize(session, row.id, lease=(now, now), version=row.version)
    if claimed is None:  # a stronger trigger of this very set, or a person, has begun it anew
        return
    until = case.verdict.wake_at if case.verdict.kind is not VerdictKind.REFUSE else None
    after = claimed.changed(wake_at=until, not_before=until)
    dao_supervision.confirm(session, [(claimed, after)])
