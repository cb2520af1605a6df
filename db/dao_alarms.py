"""Alarms, of ledger rows and supervisions, of late jobs and of starts that do not come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from db.dao_common import FRESH, MOST, NOW, UNSYNCED, Row, is_postgresql, setting
from db.sets import among
from db.types_decisions import Decision
from db.types_monitoring import Job, Simulation
from db.types_supervision import Supervision

Awake = TypeVar("Awake", Decision, Supervision)


def take_due(session: Session, table: type[Awake], now: datetime, limit: int) -> list[Awake]:
    """Lock and read what is due and not leased, oldest alarm first."""
    query = _due(table, locking=is_postgresql(session))
    given = {"now": now, "most": limit}
    return list(session.scalars(query, given, execution_options=FRESH))


@cache
def _due(table: Any, *, locking: bool) -> Any:  # noqa: ANN401
    """Build what every sweep asks once: that takes longer than to hear that nothing is due."""
    query = (
        select(table)
        .where(table.wake_at <= NOW, or_(table.lease_until.is_(None), table.lease_until <= NOW))
        .order_by(table.wake_at)
        .limit(MOST)
    )
    return query.with_for_update(skip_locked=True) if locking else query


def set_alarms(session: Session, table: type[Decision | Supervision], rows: Sequence[Row]) -> None:
    """Move alarms after a wake-up was sent: rows of id, wake_at, rewakes."""
    if rows:
        setting(table, "id", "wake_at", "rewakes").execute(session, rows)


def due_late_jobs(session: Session, now: datetime, limit: int) -> Sequence[str]:
    """Jobs whose alarm is due, or that ended last where the next start is; oldest first."""
    given = {"now": now, "most": limit}
    found = [*session.scalars(_LATE, given), *session.scalars(_STALLED, given)]
    return [uid for uid in found if uid is not None][:limit]


_LATE: Final = (
    select(Job.uid).where(Job.late_check_at <= NOW).order_by(Job.late_check_at).limit(MOST)
)
_STALLED: Final = (
    select(Simulation.last_ended_job_uid)
    .where(Simulation.next_start_check_at <= NOW, Simulation.last_ended_job_uid.is_not(None))
    .order_by(Simulation.next_start_check_at)
    .limit(MOST)
)


def take_late(session: Session, job_uids: Sequence[str], now: datetime) -> list[Job]:
    """Take the due alarms of these jobs: locked, read, cleared. Each alarm is taken once."""
    query = select(Job).where(among(Job.uid, job_uids), Job.late_check_at <= now).order_by(Job.uid)
    if is_postgresql(session):
        query = query.with_for_update(skip_locked=True)
    found = list(session.scalars(query, execution_options=FRESH))
    session.execute(
        update(Job).where(among(Job.uid, [job.uid for job in found])).values(late_check_at=None),
        execution_options=UNSYNCED,
    )
    return found


def take_stalled(session: Session, job_uids: Sequence[str], now: datetime) -> list[Simulation]:
    """Take the due next-start alarms of the simulations in which these jobs ended last."""
    query = (
        select(Simulation)
        .where(
            among(Simulation.last_ended_job_uid, job_uids), Simulation.next_start_check_at <= now
        )
        .order_by(Simulation.uid)
    )
    if is_postgresql(session):
        query = query.with_for_update(skip_locked=True)
    found = list(session.scalars(query, execution_options=FRESH))
    session.execute(
        update(Simulation)
        .where(among(Simulation.uid, [simulation.uid for simulation in found]))
        .values(next_start_check_at=None),
        execution_options=UNSYNCED,
    )
    return found
