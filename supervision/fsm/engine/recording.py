"""record: facts in. One transaction stores messages with everything that follows from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db import (
    dao_alarms,
    dao_decisions,
    dao_messages,
    dao_monitoring,
    dao_recovery,
    dao_supervision,
)
from db.session import is_transient
from supervision.errors import InvalidValue
from supervision.facts import TriggerKind
from supervision.fsm.engine.accounts import (
    STOPPED_TRIGGER,
    WAKING,
    job_row,
    message_row,
    period_row,
    silent_row,
    simulation_row,
    trigger_row,
)
from supervision.fsm.engine.tools import Tools
from supervision.fsm.states import Queue
from supervision.messages import LateCheck, Meaning, MonitoringMessage, WakeUp

_LOG = structlog.get_logger()


class Fate(StrEnum):
    """What became of one message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    UNCORRELATED = "uncorrelated"
    BROKEN = "broken"  # it failed alone: stored with its processing error


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What became of each message, in the order given; errors by message uid."""

    fates: tuple[Fate, ...]
    errors: dict[str, str] = field(default_factory=dict)


_UNFORWARDED: Final = {"4000", "4100"}
"""The call stack of generation B. It has no queue, so no way in may count it."""


def record(
    tools: Tools,
    messages: Sequence[MonitoringMessage],
    *,
    history: bool = False,
) -> Recorded:
    """Store messages, their consequences, and the triggers in them; wake what they concern.

    A uid that is known already changes nothing. With `history` nothing is triggered and no alarm
    is set. A set that fails is done again one by one; a message that fails alone is kept with its
    processing error. Raises DatabaseUnavailable: nothing was stored then.
    """
    try:
        with tools.database.write() as session:
            stored = _store(tools, session, messages, history=history)
    except (SQLAlchemyError, InvalidValue) as error:
        if is_transient(error):
            raise
        _LOG.warning("messages.set_failed", count=len(messages), problem=str(error)[:500])
        stored = _one_by_one(tools, messages, history=history)
    tools.publish(stored.wakeups)
    return Recorded(fates=tuple(stored.fates), errors=stored.errors)


@dataclass(kw_only=True)
class _Stored:
    fates: list[Fate] = field(default_factory=list)
    wakeups: list[WakeUp] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


def _one_by_one(tools: Tools, messages: Sequence[MonitoringMessage], *, history: bool) -> _Stored:
    """Redo a set that failed, a savepoint a message; one that fails alone is kept as broken."""
    whole = _Stored()
    with tools.database.write() as session:
        for message in messages:
            try:
                with session.begin_nested():
                    stored = _store(tools, session, [message], history=history)
            except (SQLAlchemyError, InvalidValue) as error:
                if is_transient(error):
                    raise
                reason = f"{type(error).__name__}: {error}"[:2000]
                _keep_broken(tools, session, message, reason)
                stored = _Stored(fates=[Fate.BROKEN], errors={message.uid: reason})
            whole.fates += stored.fates
            whole.wakeups += stored.wakeups
            whole.errors.update(stored.errors)
    return whole


def _keep_broken(tools: Tools, session: Session, message: MonitoringMessage, reason: str) -> None:
    now = tools.database.now(session)
    dao_messages.store(session, [message_row(message, now)])
    dao_messages.note_errors(session, {message.uid: reason})


def _store(
    tools: Tools, session: Session, messages: Sequence[MonitoringMessage], *, history: bool
) -> _Stored:
    now = tools.database.now(session)
    kept = [message for message in messages if message.meaning is not Meaning.IGNORED]
    fresh = dao_messages.store(session, [message_row(message, now) for message in kept])
    fates, news = _fates(messages, fresh)
    _consequences(tools, session, news, history=history)
    touched, stopped = _simulations(news, WAKING), _simulations(news, STOPPED_TRIGGER)
    dao_recovery.lock(session, touched | stopped)
    wakeups = [] if history else _triggers(tools, session, news, now)
    dao_recovery.note(session, touched | stopped)
    if touched and not history:
        dao_supervision.wake(session, touched, now)
        dao_decisions.wake(session, touched, now)
    return _Stored(fates=fates, wakeups=wakeups)


def _simulations(news: Sequence[MonitoringMessage], meanings: Container[Meaning]) -> set[str]:
    return {
        message.simulation_uid
        for message in news
        if message.simulation_uid and message.meaning in meanings
    }


def _fates(
    messages: Sequence[MonitoringMessage], fresh: set[str]
) -> tuple[list[Fate], list[MonitoringMessage]]:
    """Tell what becomes of each, and which have consequences; each uid has them once."""
    fates: list[Fate] = []
    news: list[MonitoringMessage] = []
    waiting = set(fresh)
    for message in messages:
        whose = message.simulation_uid and (message.job_uid or message.meaning is Meaning.DELETED)
        if message.meaning is Meaning.IGNORED:
            fates.append(Fate.IGNORED)
        elif message.uid not in waiting:
            fates.append(Fate.DUPLICATE)
            continue
        else:
            waiting.discard(message.uid)
            fates.append(Fate.NEW if whose else Fate.UNCORRELATED)
        if whose and message.code not in _UNFORWARDED:
            news.append(message)
    return fates, news


def _consequences(
    tools: Tools, session: Session, news: Sequence[MonitoringMessage], *, history: bool
) -> None:
    simulations = dao_monitoring.store_simulations(session, map(simulation_row, news))
    with_job = [message for message in news if message.job_uid]
    jobs = dao_monitoring.store_jobs(
        session, (job_row(message, tools.settings) for message in with_job), alarms=not history
    )
    dao_monitoring.store_periods(
        session, (row for message in with_job if (row := period_row(message)))
    )
    dao_monitoring.store_counts(session, jobs.values(), _counts(with_job))
    dao_monitoring.store_figures(session, jobs.values(), _figures(with_job))
    if not history:
        _next_starts(tools, session, simulations, news)


def _counts(messages: Iterable[MonitoringMessage]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for message in messages:
        if message.meaning is Meaning.IGNORED and message.job_uid:
            emitted = message.emitted_at.astimezone(UTC).isoformat(timespec="microseconds")
            found[message.job_uid][message.code].append(emitted)
    return found


def _figures(messages: Iterable[MonitoringMessage]) -> dict[str, tuple[datetime, str]]:
    """The newest accounting message of each job: when it was emitted, and what it said."""
    found: dict[str, tuple[datetime, str]] = {}
    for message in messages:
        if message.meaning is Meaning.ACCOUNTING and message.job_uid:
            said = (message.emitted_at, message.body)
            found[message.job_uid] = max(found.get(message.job_uid, said), said)
    return found


_CHAIN: Final = {
    Meaning.SIMULATION_START,
    Meaning.COMPUTE_START,
    Meaning.COMPUTE_END,
    Meaning.SIMULATION_END,
    Meaning.DELETED,
}


def _next_starts(
    tools: Tools, session: Session, simulations: dict[str, Any], news: Sequence[MonitoringMessage]
) -> None:
    """Arm the alarm of the next start after an 1100; clear it by a start, a 0100, an 8888.

    Only simulations whose chain these messages speak of are looked at, so an alarm that has rung
    is not armed again by a message about something else.
    """
    spoken = {message.simulation_uid for message in news if message.meaning in _CHAIN}
    rows = []
    for uid in sorted(uid for uid in spoken if uid):
        simulation = simulations[uid]
        due = _next_start_due(simulation, tools.settings.next_start_check)
        if due != simulation.next_start_check_at:
            rows.append({"uid": uid, "next_start_check_at": due})
    dao_monitoring.set_next_start_checks(session, rows)


def _next_start_due(simulation: Any, span: timedelta) -> datetime | None:  # noqa: ANN401
    ended: datetime | None = simulation.last_end_at
    if ended is None:
        return None
    started = simulation.last_start_at or ended
    over = (simulation.complete_at, simulation.deleted_at)
    if started > ended or any(at is not None and at >= started for at in over):
        return None
    return ended + span


def _triggers(
    tools: Tools, session: Session, news: Sequence[MonitoringMessage], now: datetime
) -> list[WakeUp]:
    rows = [
        trigger_row(message, tools.ports.ids.new(), now)
        for message in news
        if message.meaning in STOPPED_TRIGGER
    ]
    dao_decisions.store_triggers(session, rows)
    told = {row["job_uid"] for row in rows if row["kind"] == TriggerKind.FATAL}
    dao_decisions.wake_jobs(session, told, now)
    return _detect({row["job_uid"]: row["simulation_uid"] for row in rows})


def _detect(jobs: dict[str, str]) -> list[WakeUp]:
    return [
        WakeUp(queue=Queue.DETECT, simulation_uid=jobs[uid], job_uid=uid) for uid in sorted(jobs)
    ]


def record_late(tools: Tools, checks: Sequence[LateCheck]) -> None:
    """Make triggers of the alarms of jobs and next starts that are due; others change nothing."""
    uids = sorted({check.job_uid for check in checks})
    with tools.database.write() as session:
        now = tools.database.now(session)
        rows = [
            silent_row(
                tools.ports.ids.new(),
                now,
                TriggerKind.LATE,
                (job.uid, job.simulation_uid, job.late_check_at),
            )
            for job in dao_alarms.take_late(session, uids, now)
        ]
        rows += [
            silent_row(
                tools.ports.ids.new(),
                now,
                TriggerKind.STALLED,
                (each.last_ended_job_uid, each.uid, each.next_start_check_at),
            )
            for each in dao_alarms.take_stalled(session, uids, now)
        ]
        dao_decisions.store_triggers(session, rows)
    tools.publish(_detect({row["job_uid"]: row["simulation_uid"] for row in rows}))
