"""Reads and writes what happened to supervisions: transitions, restarts, recoveries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, String, delete, select, tuple_, update
from sqlalchemy.orm import Session

from db.dao_common import UNSYNCED, Row, insert_rows
from db.sets import among, rowset
from db.types_supervision import Restart, Transition
from db.validator_common import check_filled, check_text, check_uid
from supervision.facts import AttemptFailure, FailureCause, Key
from supervision.fsm.states import Event

FAILED: Final = (Event.FAIL.value, Event.FORCE_FAILED.value)
BEGUN: Final = (Event.RETRY.value, Event.FORCE_DETECTED.value)
"""Events that end an attempt without success, and those that begin the next one."""


def append(session: Session, rows: Sequence[Row]) -> None:
    """Append transitions, in the transaction that makes them; the order of `rows` is kept."""
    if not rows:
        return
    for row in rows:
        check_uid("supervision id", row["supervision_id"])
        check_filled("actor", row["actor"])
        check_text("reason", row["reason"])
    insert_rows(session, Transition, rows)


def of_supervisions(session: Session, ids: Iterable[str]) -> Sequence[Transition]:
    """Read the history of these supervisions, in the order in which it was written."""
    query = select(Transition).where(among(Transition.supervision_id, ids))
    return session.scalars(query.order_by(Transition.id)).all()


def failures(session: Session, ids: Iterable[str]) -> dict[str, tuple[AttemptFailure, ...]]:
    """Read the failed attempts of these supervisions since a person last began one."""
    query = select(Transition).where(
        among(Transition.supervision_id, ids), Transition.event.in_((*FAILED, *BEGUN))
    )
    found: dict[str, list[AttemptFailure]] = {}
    for row in session.scalars(query.order_by(Transition.id)):
        mine = found.setdefault(row.supervision_id, [])
        if row.event in FAILED:
            cause = FailureCause(row.cause or FailureCause.SCRIPT.value)
            mine.append(AttemptFailure(attempt=row.attempt, at=row.at, cause=cause))
        elif row.by_person:
            mine.clear()
    return {supervision_id: tuple(mine) for supervision_id, mine in found.items()}


def begin_restarts(session: Session, rows: Sequence[Row]) -> None:
    """Count restarts against the caps; the same attempt counts once."""
    insert_rows(session, Restart, rows)


def note_new_jobs(session: Session, jobs: Sequence[tuple[Key, str]]) -> None:
    """Keep which job each of these attempts began at its centre."""
    if not jobs:
        return
    rows = [
        {"id": key.supervision_id, "attempt": key.attempt, "scheduler_id": scheduler_id}
        for key, scheduler_id in jobs
    ]
    kinds = {"id": String(), "attempt": Integer(), "scheduler_id": String()}
    given = rowset(session, rows, kinds)
    session.execute(
        update(Restart)
        .where(Restart.supervision_id == given.c.id, Restart.attempt == given.c.attempt)
        .values(scheduler_id=given.c.scheduler_id),
        execution_options=UNSYNCED,
    )


def take_off_restarts(session: Session, keys: Sequence[Key]) -> None:
    """Take attempts off the caps that turned out to have restarted nothing."""
    if keys:
        pairs = [(key.supervision_id, key.attempt) for key in keys]
        session.execute(
            delete(Restart).where(tuple_(Restart.supervision_id, Restart.attempt).in_(pairs))
        )


def restarts_at(session: Session, sites: Iterable[str], since: datetime) -> Sequence[Restart]:
    """Read the restarts at these sites since then, oldest first."""
    query = select(Restart).where(among(Restart.site, sites), Restart.at > since)
    return session.scalars(query.order_by(Restart.at)).all()
