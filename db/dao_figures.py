"""Reads how all rows together are: counts and ages, on sets. Never writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, and_, case, func, or_, select
from sqlalchemy.orm import Session

from db.types_common import UtcDateTime
from db.types_decisions import Decision
from db.types_holds import SiteSlot
from db.types_supervision import Supervision, Transition
from db.values_supervision import in_states
from supervision.facts import TriggerKind
from supervision.fsm.states import UNFINISHED, State, state_of

_SCOPE_MARK: Final = "#"  # what a slot is named by that is no site's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Crowd:
    """The rows of a state: `awake` have an alarm; the oldest of those entered it at `since`."""

    state: State
    count: int = 0
    awake: int = 0
    since: datetime | None = None


def crowds(session: Session) -> dict[State, Crowd]:
    """Count the rows of every state, in one statement; states without rows are there too."""
    entered = (
        select(func.max(Transition.at))
        .where(Transition.supervision_id == Supervision.id)
        .correlate(Supervision)
        .scalar_subquery()
    )
    since = case((Supervision.wake_at.is_not(None), func.coalesce(entered, Supervision.created_at)))
    rows = select(
        Supervision.dispatch_status, Supervision.execution_status, Supervision.wake_at,
        since.label("since"),
    ).subquery()  # fmt: skip
    query = select(
        rows.c.dispatch_status,
        rows.c.execution_status,
        func.count().label("total"),
        func.count(rows.c.wake_at).label("awake"),
        func.min(rows.c.since, type_=UtcDateTime()).label("since"),
    ).group_by(rows.c.dispatch_status, rows.c.execution_status)
    found = {state: Crowd(state=state) for state in State}
    for row in session.execute(query):
        state = state_of(row.dispatch_status, row.execution_status)
        found[state] = _joined(found[state], row)
    return found


def _joined(crowd: Crowd, row: Row[Any]) -> Crowd:
    known = [at for at in (crowd.since, row.since) if at is not None]
    return Crowd(
        state=crowd.state,
        count=crowd.count + row.total,
        awake=crowd.awake + row.awake,
        since=min(known, default=None),
    )


def late_alarms(session: Session, before: datetime) -> tuple[int, datetime | None]:
    """Count alarms of rows and decisions that rang before then and that nobody works on.

    Returns the oldest one too. A lease that is not over means that somebody works on it.
    """
    count, oldest = 0, []
    for table in (Supervision, Decision):
        free = or_(table.lease_until.is_(None), table.lease_until < before)
        query = select(func.count(), func.min(table.wake_at, type_=UtcDateTime())).where(
            table.wake_at < before, free
        )
        late, first = session.execute(query).one()
        count += late
        oldest += [first] if first else []
    return count, min(oldest, default=None)


def verdicts_since(session: Session, since: datetime) -> list[tuple[str, str, int]]:
    """Count what was decided since then, by verdict and rule, the most frequent first."""
    count = func.count()
    query = (
        select(Decision.verdict, Decision.rule, count)
        .where(Decision.decided_at > since, Decision.verdict.is_not(None))
        .group_by(Decision.verdict, Decision.rule)
        .order_by(count.desc(), Decision.verdict, Decision.rule)
    )
    return [
        (verdict or "-", rule or "-", number) for verdict, rule, number in session.execute(query)
    ]


def recoveries_since(session: Session, since: datetime) -> list[tuple[str, float]]:
    """Read how many seconds each failure since then took to recover, and who restarted: us, hand.

    The index of the ledger's latest triggers bounds it; echoes of a failing command do not count.
    """
    query = select(Decision.restarted_by, Decision.first_at, Decision.recovered_at).where(
        Decision.last_at > since,
        Decision.kind != TriggerKind.COMMAND.value,
        Decision.recovered_at.is_not(None),
    )
    return [
        (row.restarted_by or "hand", (row.recovered_at - row.first_at).total_seconds())
        for row in session.execute(query)
    ]


def sessions_in_use(session: Session, now: datetime) -> dict[str, int]:
    """Count the leased sessions of each site, over all processes."""
    query = (
        select(SiteSlot.site, func.count())
        .where(SiteSlot.lease_until > now, SiteSlot.site.not_like(f"%{_SCOPE_MARK}%"))
        .group_by(SiteSlot.site)
    )
    return {row[0]: row[1] for row in session.execute(query)}


@dataclass(frozen=True, kw_only=True, slots=True)
class PutOff:
    """The rows of one login at one site that the centre keeps waiting, and one of their reasons."""

    site: str
    login: str
    count: int
    problem: str | None


def put_off(session: Session) -> list[PutOff]:
    """Read whose rows wait because their centre could not be asked, by site and login."""
    query = (
        select(
            Supervision.site,
            Supervision.login,
            func.count(),
            func.max(Supervision.dispatch_error),
        )
        .where(and_(Supervision.backoff > 0, in_states(UNFINISHED)))
        .group_by(Supervision.site, Supervision.login)
        .order_by(Supervision.site, Supervision.login)
    )
    return [
        PutOff(site=site, login=login, count=count, problem=problem)
        for site, login, count, problem in session.execute(query)
    ]


def unfinished_by_site(session: Session) -> dict[str, int]:
    """Count the unfinished rows of each site."""
    query = (
        select(Supervision.site, func.count())
        .where(in_states(UNFINISHED))
        .group_by(Supervision.site)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def latest_transitions(session: Session, limit: int) -> list[Row[Any]]:
    """Read the last transitions with the site, login and job of their rows, newest first."""
    query = (
        select(
            Transition.at, Transition.event, Transition.source, Transition.target,
            Transition.attempt, Transition.actor, Transition.supervision_id,
            Supervision.site, Supervision.login, Supervision.job_uid,
        )
        .join(Supervision, Supervision.id == Transition.supervision_id)
        .order_by(Transition.id.desc())
        .limit(limit)
    )  # fmt: skip
    return list(session.execute(query))
