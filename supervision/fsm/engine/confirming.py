"""confirm: what came out is written where the claims still stand, with all that follows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Any

import structlog
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from db import dao_alarms, dao_decisions, dao_history, dao_recovery, dao_supervision
from db.types_decisions import Decision
from supervision import policy as rules
from supervision.errors import InvalidValue, MailUnavailable
from supervision.facts import (
    AttemptFailure,
    CancelCause,
    FailureCause,
    Level,
    Policy,
    Supervision,
)
from supervision.fsm import machine
from supervision.fsm.engine import incidents
from supervision.fsm.engine.desk import EngineDesk
from supervision.fsm.engine.lines import about_rows, tell_settled
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import Notice, Outcome, unreached
from supervision.fsm.states import STATES, Event, Queue, State
from supervision.messages import WakeUp

_LOG = structlog.get_logger()


def confirm(
    tools: Tools, desk: EngineDesk, outcomes: Sequence[Outcome], started: float
) -> set[str]:
    """Write outcomes where the claims still stand, then send the next wake-ups; returns the ids."""
    if not outcomes:
        return set()
    failures = _failures(tools, outcomes)
    settled = [_settled(desk, outcome, failures) for outcome in outcomes]
    done = tools.database.again(partial(_write, tools, desk.policy, settled))
    written = {outcome.row.id for outcome in done}
    tools.publish([wakeup for outcome in done for wakeup in _next_wakeup(outcome)])
    tell_settled(tools, settled, written, perf_counter() - started)
    return written


def _write(
    tools: Tools, policy: Policy, settled: Sequence[Outcome], session: Session
) -> list[Outcome]:
    """Write rows, history and all that follows; gives the outcomes whose claims still stood."""
    now = tools.database.now(session)
    written = _write_rows(session, [(each.row, _after(tools, each, now)) for each in settled])
    done = [outcome for outcome in settled if outcome.row.id in written]
    dao_history.append(session, [_history(outcome, now) for outcome in done if outcome.event])
    _follow_up(session, done, now, now + policy.look_again)
    incidents.join_rows(session, [outcome.after for outcome in done], now)
    return done


_UNWRITABLE = (IntegrityError, DataError, InvalidValue)
"""An index that another row holds, or a value that no row may hold: only that row stays behind."""


def _write_rows(session: Session, changes: Sequence[tuple[Supervision, Supervision]]) -> set[str]:
    """Write the set; one that breaks an index is done again row by row, and only it stays."""
    try:
        with session.begin_nested():
            return dao_supervision.confirm(session, changes)
    except _UNWRITABLE:
        written: set[str] = set()
        for change in changes:
            try:
                with session.begin_nested():
                    written |= dao_supervision.confirm(session, [change])
            except _UNWRITABLE as error:
                with about_rows(change[:1]):
                    _LOG.warning("confirm.refused", problem=str(error)[:500])
        return written


def _failures(tools: Tools, outcomes: Sequence[Outcome]) -> dict[str, tuple[AttemptFailure, ...]]:
    failing = [outcome.row.id for outcome in outcomes if outcome.event is Event.FAIL]
    if not failing:
        return {}
    with tools.database.read() as session:
        return dao_history.failures(session, failing)


def _settled(
    desk: EngineDesk,
    outcome: Outcome,
    failures: dict[str, tuple[AttemptFailure, ...]],
) -> Outcome:
    """Give a failure its next try, or give it up: then people are told, before it is written."""
    if outcome.event is not Event.FAIL:
        return outcome
    row, now = outcome.row, desk.now()
    cause = FailureCause(outcome.cause or FailureCause.SCRIPT)
    latest = AttemptFailure(attempt=row.attempt, at=now, cause=cause)
    due = rules.next_try((*failures.get(row.id, ()), latest), desk.policy, now)
    if due is not None:
        return replace(outcome, until=due)
    try:
        desk.tell(Notice.GAVE_UP, outcome.after, outcome.reason or cause.value)
    except MailUnavailable as error:
        return unreached(row, desk, str(error))
    return replace(outcome, until=None)


def _after(tools: Tools, outcome: Outcome, now: datetime) -> Supervision:
    """The row as it is to be: state, alarm, and the times of what happened."""
    event, after = outcome.event, outcome.after
    if event is None:
        reason = outcome.reason or after.reason  # why it waits: people read it on the row
        return after.changed(reason=reason, wake_at=outcome.until, not_before=outcome.until)
    target = machine.target(outcome.row.state, event)
    changes = {**_times(outcome, target, now), **_alarm(tools, outcome, target, now)}
    return after.changed(state=target, **changes)


def _times(outcome: Outcome, target: State, now: datetime) -> dict[str, Any]:
    if target is State.FORMATTED:
        return {"reason": None}
    if target is State.DISPATCHED:
        return {"dispatched_at": now, "cause": None, "reason": None}
    if target is State.EXECUTED:
        return {"executed_at": outcome.row.executed_at or now, "reason": outcome.reason}
    if target in {State.FAILED, State.CANCELLED}:
        return {"ended_at": now}
    return {}


def _alarm(tools: Tools, outcome: Outcome, target: State, now: datetime) -> dict[str, Any]:
    """When somebody must look again: the next wake-up is on its way, the alarm is its double."""
    if target is State.EXECUTED:
        acted = outcome.event is Event.EXECUTE and outcome.row.state is State.DISPATCHED
        watched = acted and outcome.row.level is Level.AUTOMATIC
        due = now + tools.settings.watch_first if watched else None
        return {"wake_at": due, "not_before": due, "backoff": 0}
    if target in {State.FAILED, State.CANCELLED}:
        due = outcome.until if target is State.FAILED else None
        return {"wake_at": due, "not_before": due}
    if outcome.until is not None:
        return {"wake_at": outcome.until, "not_before": outcome.until}
    return {"wake_at": now + tools.settings.rewake_first, "not_before": None}


def _history(outcome: Outcome, now: datetime) -> dict[str, Any]:
    row, event = outcome.row, outcome.event
    if event is None:
        raise ValueError("what is not yet is no transition")
    return {
        "supervision_id": row.id,
        "source": row.state.value,
        "target": machine.target(row.state, event).value,
        "event": event.value,
        "attempt": outcome.after.attempt,
        "at": now,
        "actor": outcome.actor,
        "by_person": outcome.by_person,
        "cause": outcome.cause,
        "reason": outcome.reason,
        "message_uid": None,
    }


_TAKEN_OFF = {CancelCause.DECLINED.value, CancelCause.DECLINED_POST.value}
_TAKEN_OFF |= {FailureCause.NOT_YET.value}


def _follow_up(
    session: Session, done: Sequence[Outcome], now: datetime, until_post: datetime
) -> None:
    """In the same transaction: caps get back what restarted nothing, waiting decisions wake.

    The decision of a chain that post-processing stopped is looked at again at `until_post`, and
    as soon as a supervision of its simulation ends.
    """
    dao_history.take_off_restarts(
        session, [outcome.row.key for outcome in done if outcome.cause in _TAKEN_OFF]
    )
    dao_history.note_new_jobs(
        session,
        [
            (outcome.row.key, outcome.after.scheduler_id)
            for outcome in done
            if outcome.event is Event.EXECUTE and outcome.after.scheduler_id is not None
        ],
    )
    harmless = {None, Event.FORMAT, Event.DISPATCH}
    ended = {outcome.row.simulation_uid for outcome in done if outcome.event not in harmless}
    if ended:
        dao_decisions.wake(session, ended, now)
        dao_recovery.note(session, ended)
    stopped = [
        {"id": outcome.row.decision_id, "wake_at": until_post, "rewakes": 0}
        for outcome in done
        if outcome.cause == CancelCause.DECLINED_POST and outcome.row.decision_id
    ]
    dao_alarms.set_alarms(session, Decision, stopped)


def _next_wakeup(outcome: Outcome) -> list[WakeUp]:
    """The queue of the state that the row is in now, unless it waits for its time."""
    if outcome.event is None or outcome.until is not None:
        return []
    target = machine.target(outcome.row.state, outcome.event)
    queue = STATES[target].queue
    if not STATES[target].unfinished or queue is None:
        return []
    return [WakeUp(queue=Queue(queue), supervision_id=outcome.row.id)]
