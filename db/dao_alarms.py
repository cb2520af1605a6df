"""Alarms, of ledger rows and supervisions alike: what is due, and when it rings again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Integer, String, or_, select, update
from sqlalchemy.orm import Session

from db.dao_common import FRESH, MOST, NOW, UNSYNCED, Row, is_postgresql
from db.sets import rowset
from db.types_common import UtcDateTime
from db.types_decisions import Decision
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
    if not rows:
        return
    kinds = {"id": String(), "wake_at": UtcDateTime(), "rewakes": Integer()}
    given = rowset(session, rows, kinds)
    session.execute(
        update(table)
        .where(table.id == given.c.id)
        .values(wake_at=given.c.wake_at, rewakes=given.c.rewakes),
        execution_options=UNSYNCED,
    )
