"""Claims: a row is one worker's until its lease ends, and its version tells whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, String, Update, bindparam, case, or_, select, update
from sqlalchemy.orm import Session

from db.dao_common import MOST, NOW, UNTIL, core, is_postgresql
from db.sets import among
from db.types_supervision import Supervision
from db.values_supervision import READ, in_states, value_of
from supervision.facts import Supervision as Value
from supervision.fsm.states import State

Lease = tuple[datetime, datetime]
"""From when, which is now, until when."""


def claim(
    session: Session,
    ids: Iterable[str],
    states: Iterable[State],
    *,
    lease: Lease,
) -> list[Value]:
    """Claim those of these rows that have an alarm, are due and free, and in one of these states.

    One guarded UPDATE: it sets the lease, version + 1, claim_count + 1, and the alarm at the
    lease's end, so that a row whose worker dies is seen again.
    """
    statement = _claiming(frozenset(states), of_site=False, locking=is_postgresql(session))
    return _leased(session, statement, lease, {"uids": list(ids)})


def claim_due(
    session: Session,
    site: str,
    states: Iterable[State],
    *,
    lease: Lease,
    limit: int,
) -> list[Value]:
    """Claim what rings at a site, the oldest alarms first; what `claim` does, for rows unnamed."""
    statement = _claiming(frozenset(states), of_site=True, locking=is_postgresql(session))
    return _leased(session, statement, lease, {"at_site": site, "most": limit})


_TABLE: Final = core(Supervision)
_COLUMNS: Final = _TABLE.c
_FREE: Final = or_(_COLUMNS.lease_until.is_(None), _COLUMNS.lease_until <= NOW)
_SITE: Final = bindparam("at_site", type_=String())


@cache
def _claiming(states: frozenset[State], *, of_site: bool, locking: bool) -> Update:
    """Build it once, not for every claim: SQLAlchemy takes about a millisecond for it."""
    picked = select(_COLUMNS.id).where(
        _COLUMNS.wake_at.is_not(None),
        or_(_COLUMNS.not_before.is_(None), _COLUMNS.not_before <= NOW),
        _FREE,
        in_states(states),
    )
    if of_site:
        rings = picked.where(_COLUMNS.site == _SITE, _COLUMNS.wake_at <= NOW)
        picked = rings.order_by(_COLUMNS.wake_at, _COLUMNS.id).limit(MOST)
    else:
        picked = picked.where(among(_COLUMNS.id)).order_by(_COLUMNS.wake_at, _COLUMNS.id)
    return _leasing(picked.with_for_update(skip_locked=True) if locking else picked)


def _leasing(picked: Select[Any]) -> Update:
    return (
        update(_TABLE)
        .where(_COLUMNS.id.in_(picked.scalar_subquery()))
        .values(
            lease_until=UNTIL,
            # What is finished gets no alarm by it: an order that dies leaves it at rest.
            wake_at=case((_COLUMNS.wake_at.is_(None), None), else_=UNTIL),
            version=_COLUMNS.version + 1,
            claim_count=_COLUMNS.claim_count + 1,
        )
        .returning(*READ)
    )


def _leased(
    session: Session, statement: Update, lease: Lease, given: Mapping[str, object]
) -> list[Value]:
    now, until = lease
    found = session.execute(statement, {**given, "now": now, "until": until})
    return [value_of(row) for row in found]


def seize(
    session: Session,
    supervision_id: str,
    *,
    lease: Lease,
    version: int | None = None,
) -> Value | None:
    """Claim one row whatever its alarm; None while it is leased, or where it has moved on.

    `version`: what the caller knows of the row is of this version, and worth nothing for another.
    """
    picked = select(_COLUMNS.id).where(_COLUMNS.id == supervision_id, _FREE)
    if version is not None:
        picked = picked.where(_COLUMNS.version == version)
    if is_postgresql(session):  # who had to wait for the row looks at it again
        picked = picked.with_for_update()
    found = _leased(session, _leasing(picked), lease, {})
    return found[0] if found else None
