"""Reads and writes monitoring messages: each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.dao_common import UNSYNCED, Row, upsert
from db.sets import among
from db.types_messages import Message
from db.validator_dao_messages import validate_messages


def store(session: Session, rows: Sequence[Row]) -> set[str]:
    """Store messages; returns the uids whose consequences are still to be stored.

    Those are the new ones, and those that were there with a processing error: their error is
    cleared, for they are processed again now. A uid that occurs twice counts once.
    """
    unique = {row["uid"]: row for row in rows}
    ordered = [unique[uid] for uid in sorted(unique)]
    if not ordered:
        return set()
    validate_messages(ordered)
    statement = upsert(session, Message).on_conflict_do_nothing().returning(Message.uid)
    new = set(session.scalars(statement, ordered))
    known = [uid for uid in unique if uid not in new]
    if not known:
        return new
    again = session.scalars(
        update(Message)
        .where(among(Message.uid, known), Message.processing_error.is_not(None))
        .values(processing_error=None)
        .returning(Message.uid),
        execution_options=UNSYNCED,
    )
    return new | set(again)


def note_errors(session: Session, errors: Mapping[str, str]) -> None:
    """Keep why storing the consequences of a message failed."""
    for uid, error in sorted(errors.items()):
        session.execute(
            update(Message).where(Message.uid == uid).values(processing_error=error),
            execution_options=UNSYNCED,
        )


def of_simulation(session: Session, simulation_uid: str, since: datetime) -> Sequence[Message]:
    """Read a simulation's messages from `since` on, in the order of emission."""
    query = (
        select(Message)
        .where(Message.simulation_uid == simulation_uid, Message.emitted_at >= since)
        .order_by(Message.emitted_at, Message.uid)
    )
    return session.scalars(query).all()
