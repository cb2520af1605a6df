"""Reads and writes what brakes: holds; and the locks and slots of a site."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from db.dao_common import UNSYNCED, is_postgresql, upsert
from db.types_holds import HoldRow, Site, SiteSlot
from db.validator_dao_holds import validate_hold
from supervision.facts import Hold


def place(session: Session, hold: Hold) -> bool:
    """Place a hold; returns whether it is new. One that stands already keeps its first reason."""
    validate_hold(hold)
    statement = upsert(session, HoldRow).on_conflict_do_nothing().returning(HoldRow.scope)
    values = {
        "scope": hold.scope,
        "actor": hold.actor,
        "reason": hold.reason,
        "since": hold.since,
    }
    return bool(session.scalars(statement, [values]).all())


def release(session: Session, scope: str) -> bool:
    """Take a hold away; returns whether there was one."""
    statement = delete(HoldRow).where(HoldRow.scope == scope).returning(HoldRow.scope)
    return bool(session.scalars(statement, execution_options=UNSYNCED).all())


def all_holds(session: Session) -> tuple[Hold, ...]:
    """Read every hold, by scope."""
    rows = session.scalars(select(HoldRow).order_by(HoldRow.scope))
    return tuple(
        Hold(scope=row.scope, actor=row.actor, reason=row.reason, since=row.since) for row in rows
    )


def lock_site(session: Session, name: str) -> None:
    """Hold the row of this site until the transaction ends: restarts are admitted one by one.

    SQLite needs none: its transactions that write follow one another.
    """
    session.execute(upsert(session, Site).on_conflict_do_nothing(), [{"name": name}])
    if is_postgresql(session):
        session.execute(select(Site.name).where(Site.name == name).with_for_update())


def lease_slot(
    session: Session, site: str, owner: str, *, lease: tuple[datetime, datetime], slots: int
) -> bool:
    """Lease one of a site's sessions, or renew the one that this owner has; `lease` is from, to.

    Returns False when all `slots` are leased by others. Leases end by themselves.
    """
    now, until = lease
    numbers = [{"site": site, "number": number} for number in range(slots)]
    session.execute(upsert(session, SiteSlot).on_conflict_do_nothing(), numbers)
    query = (
        select(SiteSlot)
        .where(SiteSlot.site == site, SiteSlot.number < slots)
        .order_by(SiteSlot.number)
    )
    if is_postgresql(session):
        query = query.with_for_update()
    found = list(session.scalars(query))
    mine = [slot for slot in found if slot.owner == owner]
    free = [slot for slot in found if slot.lease_until is None or slot.lease_until <= now]
    for slot in (mine or free)[:1]:
        slot.owner, slot.lease_until = owner, until
        return True
    return False


def free_slots(session: Session, owner: str) -> None:
    """Give back what this owner leased. Idempotent."""
    session.execute(
        update(SiteSlot).where(SiteSlot.owner == owner).values(owner=None, lease_until=None),
        execution_options=UNSYNCED,
    )
