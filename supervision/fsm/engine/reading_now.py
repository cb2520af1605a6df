"""Questions about all rows together: how the service is now, and how failures ended of late.

Each is a handful of statements on sets, so that it may be asked every few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from db import dao_figures, dao_holds, dao_incidents
from db.dao_figures import Crowd, PutOff
from supervision.facts import Hold
from supervision.fsm.engine.tools import Tools

LATE_AFTER: Final = timedelta(minutes=1)
"""An alarm that nobody has answered for so long is late: the sweeper comes round every second."""

VERDICTS_WITHIN: Final = timedelta(hours=1)
RECOVERIES_WITHIN: Final = timedelta(days=7)


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """One of the last transitions, with whose it was."""

    at: datetime
    event: str
    source: str | None
    target: str
    attempt: int
    actor: str
    supervision_id: str
    site: str
    login: str
    job_uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteNow:
    """How a site is: unfinished rows, leased sessions, an incident's state, logins put off."""

    name: str
    unfinished: int
    sessions: int
    incident: str | None
    put_off: tuple[PutOff, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """How everything is at a moment. `verdicts` are (verdict, rule, count) of the last hour."""

    at: datetime
    crowds: tuple[Crowd, ...]
    late: int
    late_since: datetime | None
    verdicts: tuple[tuple[str, str, int], ...]
    sites: tuple[SiteNow, ...]
    holds: tuple[Hold, ...]
    acts: tuple[Act, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """How everything is now. `sites` are listed even where no row speaks of them."""

    sites: tuple[str, ...] = ()
    acts: int = 10

    def answer(self, tools: Tools) -> Picture:
        """Read it in one transaction: nine short statements, whatever the number of rows."""
        with tools.database.read() as session:
            now = tools.database.now(session)
            late, since = dao_figures.late_alarms(session, now - LATE_AFTER)
            return Picture(
                at=now,
                crowds=tuple(dao_figures.crowds(session).values()),
                late=late,
                late_since=since,
                verdicts=tuple(dao_figures.verdicts_since(session, now - VERDICTS_WITHIN)),
                sites=tuple(_sites(session, self.sites, now)),
                holds=dao_holds.all_holds(session),
                acts=tuple(_acts(session, self.acts)),
            )


def _sites(session: Session, named: tuple[str, ...], now: datetime) -> list[SiteNow]:
    unfinished = dao_figures.unfinished_by_site(session)
    sessions = dao_figures.sessions_in_use(session, now)
    incidents = dao_incidents.standing(session)
    waiting = dao_figures.put_off(session)
    names = sorted({*named, *unfinished, *sessions, *incidents})
    return [
        SiteNow(
            name=name,
            unfinished=unfinished.get(name, 0),
            sessions=sessions.get(name, 0),
            incident=incidents[name].state if name in incidents else None,
            put_off=tuple(each for each in waiting if each.site == name),
        )
        for name in names
    ]


def _acts(session: Session, limit: int) -> list[Act]:
    return [Act(**row._asdict()) for row in dao_figures.latest_transitions(session, limit)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """Failures of late that recovered: how many, and how long half and nine tenths of them took."""

    restarted_by: str
    count: int
    median: timedelta
    ninth_decile: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Recoveries:
    """How long simulations took to recover, of those that failed in the last seven days."""

    def answer(self, tools: Tools) -> list[Recovery]:
        """Read it, by who restarted them; who has none is not in it."""
        with tools.database.read() as session:
            since = tools.database.now(session) - RECOVERIES_WITHIN
            found = dao_figures.recoveries_since(session, since)
        spans: dict[str, list[float]] = {}
        for by, seconds in found:
            spans.setdefault(by, []).append(max(seconds, 0.0))
        return [_recovery(by, sorted(each)) for by, each in sorted(spans.items())]


def _recovery(by: str, spans: list[float]) -> Recovery:
    return Recovery(
        restarted_by=by,
        count=len(spans),
        median=timedelta(seconds=_quantile(spans, 0.5)),
        ninth_decile=timedelta(seconds=_quantile(spans, 0.9)),
    )


def _quantile(spans: list[float], share: float) -> float:
    """The smallest value that at least this share of the sorted values does not exceed."""
    return next(value for index, value in enumerate(spans, 1) if index >= share * len(spans))
