"""Reads and writes what happened to supervisions: transitions, restarts, recoveries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, String, bindparam, delete, select, tuple_, update
from sqlalchemy.orm import Session

from db.dao_common import UNTIL, Row, core, insert_rows
from db.sets import SetStatement, among
from db.types_common import UtcDateTime
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
    if jobs:
        rows = [
            {"id": key.supervision_id, "attempt": key.attempt, "scheduler_id": scheduler_id}
            for key, scheduler_id in jobs
        ]
        _NOTE_NEW_JOBS.execute(session, rows)


_RESTART: Final = core(Restart)
_NOTE_NEW_JOBS: Final = SetStatement(
    {"id": String(), "attempt": Integer(), "scheduler_id": String()},
    lambda given: (
        update(_RESTART)
        .where(_RESTART.c.supervision_id == given.c.id, _RESTART.c.attempt == given.c.attempt)
        .values(scheduler_id=given.c.scheduler_id)
    ),
)


def take_off_restarts(session: Session, keys: Sequence[Key]) -> None:
    """Take attempts off the caps that turned out to have restarted nothing."""
    if keys:
        pairs = [(key.supervision_id, key.attempt) for key in keys]
        session.execute(
            delete(Restart).where(tuple_(Restart.supervision_id, Restart.attempt).in_(pairs))
        )


def restarts_at(
    session: Session, sites: Iterable[str], since: datetime, until: datetime | None = None
) -> Sequence[Restart]:
    """Read the restarts at these sites after `since`, and no later than `until`; oldest first."""
    query = _RESTARTS_AT if until is None else _RESTARTS_UNTIL
    given = {"uids": list(sites), "since": since, "until": until}
    return session.scalars(query, given).all()


_SINCE: Final = bindparam("since", type_=UtcDateTime())
_RESTARTS_AT: Final = (
    select(Restart).where(among(Restart.site), Restart.at > _SINCE).order_by(Restart.at)
)
_RESTARTS_UNTIL: Final = _RESTARTS_AT.where(Restart.at <= UNTIL)
