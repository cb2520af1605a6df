"""Questions about incidents: which there were, and who is in one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from db import dao_incidents
from db.types_incidents import Incident as Row
from supervision.errors import NotFound
from supervision.facts import IncidentState
from supervision.fsm.engine.tools import Tools


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """One incident. `admitted` jobs of it were let go, `waiting` ones were not."""

    id: str
    site: str
    state: IncidentState
    opened_at: datetime
    simulations: int
    window: timedelta
    admitted: int
    waiting: int
    stepped_at: datetime
    sentence: str
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A job of an incident; `batch` is the step in which it was let go."""

    job_uid: str
    simulation_uid: str
    login: str
    at: datetime
    admitted_at: datetime | None
    batch: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Incidents:
    """The incidents, newest first."""

    limit: int = 50

    def answer(self, tools: Tools) -> list[Incident]:
        """Read them."""
        with tools.database.read() as session:
            return [_told(session, row) for row in dao_incidents.all_of(session, self.limit)]


@dataclass(frozen=True, kw_only=True, slots=True)
class OneIncident:
    """One incident, by the beginning of its id, or by the site at which it is open."""

    text: str

    def answer(self, tools: Tools) -> tuple[Incident, list[Member]]:
        """Read it and its jobs, who was let go first; raises NotFound, with candidates."""
        with tools.database.read() as session:
            found = dao_incidents.beginning(session, self.text)
            if len(found) != 1 or not self.text:
                raise _unclear(self.text, found)
            members = dao_incidents.jobs_of(session, found[0].id)
            return _told(session, found[0]), [
                Member(
                    job_uid=each.job_uid,
                    simulation_uid=each.simulation_uid,
                    login=each.login,
                    at=each.at,
                    admitted_at=each.admitted_at,
                    batch=each.batch,
                )
                for each in members
            ]


def _unclear(text: str, found: list[Row]) -> NotFound:
    if not found or not text:
        return NotFound(f"no incident begins with {text!r}, and no site of that name has one")
    names = ", ".join(f"{row.id} ({row.site})" for row in found)
    return NotFound(f"{text!r} is ambiguous; candidates: {names}")


def _told(session: Session, row: Row) -> Incident:
    admitted, waiting = dao_incidents.counts(session, row.id)
    return Incident(
        id=row.id,
        site=row.site,
        state=IncidentState(row.state),
        opened_at=row.opened_at,
        simulations=row.simulations,
        window=timedelta(seconds=row.window_seconds),
        admitted=admitted,
        waiting=waiting,
        stepped_at=row.stepped_at,
        sentence=row.sentence,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
        reason=row.reason,
    )
