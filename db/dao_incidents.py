"""Reads and writes incidents: who failed lately, who waits, who was let go, who was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import BindParameter, Select, bindparam, func, select, update
from sqlalchemy.orm import Session

from db.dao_common import FRESH, NOW, UNSYNCED, Row, insert_rows, is_postgresql, upsert
from db.sets import among
from db.types_common import UtcDateTime
from db.types_decisions import Decision
from db.types_incidents import Incident, IncidentJob, IncidentReader
from db.types_monitoring import Simulation
from supervision.facts import IncidentState, TriggerKind

_NOT_CLOSED = Incident.state != IncidentState.CLOSED.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A trigger of late: of which simulation, when, and when the news came."""

    simulation_uid: str
    at: datetime
    arrived_at: datetime


def crowded(session: Session, since: datetime, count: int) -> list[tuple[str, str]]:
    """Name the machines, by centre and machine, where so many simulations failed since then."""
    found = session.execute(_crowded(), {"since": since, "count": count})
    return [(row.centre, row.machine) for row in found]


@cache
def _crowded() -> Select[str | None, str | None]:
    """Asked for each set that is decided; counting simulations sorts no decisions."""
    failed = select(Decision.simulation_uid).where(
        _counted(bindparam("since", type_=UtcDateTime()))
    )
    return (
        select(Simulation.centre, Simulation.machine)
        .where(
            Simulation.uid.in_(failed),
            Simulation.centre.is_not(None),
            Simulation.machine.is_not(None),
        )
        .group_by(Simulation.centre, Simulation.machine)
        .having(func.count() >= bindparam("count"))
    )


def failures(session: Session, machine: tuple[str, str], since: datetime) -> list[Failure]:
    """Read what failed since then on one machine of a centre."""
    query = (
        select(Decision.simulation_uid, Decision.last_at, Decision.arrived_at)
        .join(Simulation, Decision.simulation_uid == Simulation.uid)
        .where(_counted(since), Simulation.centre == machine[0], Simulation.machine == machine[1])
    )
    return [
        Failure(simulation_uid=row.simulation_uid, at=row.last_at, arrived_at=row.arrived_at)
        for row in session.execute(query)
    ]


def _counted(since: datetime | BindParameter[datetime | None]) -> Any:  # noqa: ANN401
    """Echoes of a failing command are no failures of their own."""
    return (Decision.last_at > since) & (Decision.kind != TriggerKind.COMMAND.value)


def standing(session: Session) -> dict[str, Incident]:
    """Read the incidents that are not closed, by site."""
    rows = session.scalars(_STANDING, execution_options=FRESH)
    return {row.site: row for row in rows}


_STANDING: Final = select(Incident).where(_NOT_CLOSED)


def last_closed(session: Session) -> dict[str, datetime]:
    """Tell when each site's last incident was closed."""
    latest = func.max(Incident.closed_at, type_=UtcDateTime())
    query = select(Incident.site, latest).group_by(Incident.site)
    return {site: at for site, at in session.execute(query) if at is not None}


def open_one(session: Session, row: Row) -> bool:
    """Open an incident; False where the site has one, whoever was first."""
    statement = upsert(session, Incident).on_conflict_do_nothing().returning(Incident.id)
    return bool(session.scalars(statement, [row]).all())


def admitted(session: Session, incidents: Iterable[str], job_uids: Iterable[str]) -> set[str]:
    """Tell which of these jobs may go, in these incidents."""
    query = select(IncidentJob.job_uid).where(
        among(IncidentJob.incident_id, incidents),
        among(IncidentJob.job_uid, job_uids),
        IncidentJob.admitted_at.is_not(None),
    )
    return set(session.scalars(query))


def join(session: Session, rows: Sequence[Row]) -> None:
    """Note jobs that were put off: rows of site, job, simulation, login, level, at, joined_at.

    Where the site's incident has been closed meanwhile nothing is noted: the job is decided again
    when its alarm rings. Idempotent.
    """
    if not rows:
        return
    there = standing(session)
    joining = {
        row["job_uid"]: {
            "incident_id": there[row["site"]].id,
            **{name: value for name, value in row.items() if name != "site"},
        }
        for row in rows
        if row["site"] in there
    }
    insert_rows(session, IncidentJob, [joining[uid] for uid in sorted(joining)])


def take_due(session: Session, now: datetime, until: datetime) -> list[Incident]:
    """Claim the incidents that somebody has to tend, for a while; two never tend one."""
    query = _DUE.with_for_update(skip_locked=True) if is_postgresql(session) else _DUE
    found = list(session.scalars(query, {"now": now}, execution_options=FRESH))
    for row in found:
        row.wake_at, row.version = until, row.version + 1
    return found


_DUE: Final = select(Incident).where(Incident.wake_at <= NOW).order_by(Incident.id)


def locked(session: Session, incident_id: str, version: int | None = None) -> Incident | None:
    """Lock one incident until the transaction ends; None where the claim stands no more."""
    query = select(Incident).where(Incident.id == incident_id)
    if version is not None:
        query = query.where(Incident.version == version)
    if is_postgresql(session):
        query = query.with_for_update()
    return session.scalars(query, execution_options=FRESH).one_or_none()


def last_let_go(session: Session, incident: Incident) -> list[IncidentJob]:
    """Read the jobs whose fate decides the next step."""
    query = select(IncidentJob).where(
        IncidentJob.incident_id == incident.id, IncidentJob.batch >= incident.phase_batch
    )
    return list(session.scalars(query))


def waiting(session: Session, incident_id: str) -> tuple[int, datetime | None]:
    """Count the jobs that were not let go, and tell when a job joined last."""
    count = func.count().filter(IncidentJob.admitted_at.is_(None))
    latest = func.max(IncidentJob.joined_at, type_=UtcDateTime())
    row = session.execute(select(count, latest).where(IncidentJob.incident_id == incident_id)).one()
    return row[0], row[1]


def admit(session: Session, incident: Incident, count: int | None, now: datetime) -> list[str]:
    """Let jobs go, in the batch of the incident: who acts by itself first, then the oldest.

    `count` None: all of them. Returns their uids.
    """
    picked = (
        select(IncidentJob.job_uid)
        .where(IncidentJob.incident_id == incident.id, IncidentJob.admitted_at.is_(None))
        .order_by(IncidentJob.level.desc(), IncidentJob.at, IncidentJob.job_uid)
        .limit(count)
    )
    statement = (
        update(IncidentJob)
        .where(IncidentJob.incident_id == incident.id, IncidentJob.job_uid.in_(picked))
        .values(admitted_at=now, batch=incident.batch)
        .returning(IncidentJob.job_uid)
    )
    return list(session.scalars(statement, execution_options=UNSYNCED))


def untold(session: Session, incident_id: str, limit: int) -> list[str]:
    """Name users of the incident who have not been told of it."""
    told = select(IncidentReader.login).where(IncidentReader.incident_id == incident_id)
    query = (
        select(IncidentJob.login)
        .where(IncidentJob.incident_id == incident_id, IncidentJob.login.not_in(told))
        .distinct()
        .order_by(IncidentJob.login)
        .limit(limit)
    )
    return list(session.scalars(query))


def note_told(session: Session, incident_id: str, logins: Sequence[str], now: datetime) -> None:
    """Remember that these users need not be told again."""
    rows = [{"incident_id": incident_id, "login": each, "told_at": now} for each in sorted(logins)]
    insert_rows(session, IncidentReader, rows)


def names_of(
    session: Session, incident_id: str, logins: Sequence[str]
) -> dict[str, list[tuple[str, str]]]:
    """Read the simulations of these users in the incident: (uid, name), by login."""
    query = (
        select(IncidentJob.login, IncidentJob.simulation_uid, Simulation.name)
        .outerjoin(Simulation, Simulation.uid == IncidentJob.simulation_uid)
        .where(IncidentJob.incident_id == incident_id, IncidentJob.login.in_(logins))
        .order_by(IncidentJob.login, IncidentJob.at)
        .distinct()
        .add_columns(IncidentJob.at)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for login, uid, name, _ in session.execute(query):
        mine = found.setdefault(login, [])
        if (uid, name or uid) not in mine:
            mine.append((uid, name or uid))
    return found


def all_of(session: Session, limit: int) -> list[Incident]:
    """Read incidents, the newest first."""
    query = select(Incident).order_by(Incident.opened_at.desc(), Incident.id).limit(limit)
    return list(session.scalars(query))


def beginning(session: Session, prefix: str) -> list[Incident]:
    """Find the incidents whose id begins so, or that are at a site of that name and not closed."""
    at_site = (Incident.site == prefix) & _NOT_CLOSED
    query = select(Incident).where(Incident.id.startswith(prefix, autoescape=True) | at_site)
    return list(session.scalars(query.order_by(Incident.opened_at).limit(10)))


def jobs_of(session: Session, incident_id: str) -> list[IncidentJob]:
    """Read the jobs of an incident: those that were let go, then who waits, in their order."""
    query = (
        select(IncidentJob)
        .where(IncidentJob.incident_id == incident_id)
        .order_by(
            IncidentJob.batch.is_(None),
            IncidentJob.batch,
            IncidentJob.level.desc(),
            IncidentJob.at,
            IncidentJob.job_uid,
        )
    )
    return list(session.scalars(query))


def counts(session: Session, incident_id: str) -> tuple[int, int]:
    """Count the jobs of an incident: those that were let go, and those that wait."""
    gone = func.count().filter(IncidentJob.admitted_at.is_not(None))
    held = func.count().filter(IncidentJob.admitted_at.is_(None))
    row = session.execute(select(gone, held).where(IncidentJob.incident_id == incident_id)).one()
    return row[0], row[1]
