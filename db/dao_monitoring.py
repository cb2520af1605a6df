"""Reads and writes what the monitoring messages said: simulations, jobs, periods, their alarms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Integer, String, and_, case, literal, or_, select, update
from sqlalchemy.orm import Session

from db.dao_common import (
    EARLIEST,
    FIRST,
    FRESH,
    LATEST,
    Row,
    core,
    fold,
    insert_rows,
    merged,
    setting,
    upsert,
)
from db.sets import SetStatement, among
from db.types_monitoring import Job, JobPeriod, Simulation
from db.validator_dao_monitoring import validate_jobs, validate_periods, validate_simulations
from db.values_monitoring import READ_JOB, READ_SIMULATION, job_of, simulation_of
from supervision.facts import JobFacts, SimulationFacts

SIMULATION_RULES: Final = {
    **dict.fromkeys(
        [
            "name",
            "activity",
            "experiment",
            "space",
            "model",
            "start_date",
            "end_date",
            "login",
            "centre",
            "machine",
            "accounting_project",
            "config_card",
            "cores",
        ],
        "announced_at",
    ),
    "announced_at": LATEST,
    "directory": "directory_at",
    "directory_at": LATEST,
    "last_start_at": LATEST,
    "complete_at": LATEST,
    "deleted_at": LATEST,
    "last_seen_at": LATEST,
    "last_ended_job_uid": "last_end_at",
    "last_end_at": LATEST,
}

JOB_RULES: Final = {
    **dict.fromkeys(
        [
            "simulation_uid",
            "kind",
            "task_name",
            "task_date",
            "task_dimension",
            "task_component",
            "task_file",
            "directory",
            "scheduler_id",
            "delay_seconds",
        ],
        FIRST,
    ),
    "first_at": EARLIEST,
    "started_at": EARLIEST,
    "ended_at": LATEST,
    "failed_at": LATEST,
    "last_seen_at": LATEST,
    "period": LATEST,
}


def store_simulations(session: Session, rows: Iterable[Row]) -> dict[str, Simulation]:
    """Merge what is said of simulations into what is known; returns them as they are now."""
    folded = fold(rows, "uid", SIMULATION_RULES)
    if not folded:
        return {}
    validate_simulations(folded)
    insert = upsert(session, Simulation)
    statement = insert.on_conflict_do_update(
        index_elements=["uid"], set_=merged(Simulation, insert.excluded, SIMULATION_RULES)
    ).returning(Simulation)
    found = session.scalars(statement, folded, execution_options=FRESH)
    return {simulation.uid: simulation for simulation in found}


def store_jobs(session: Session, rows: Iterable[Row], *, alarms: bool) -> dict[str, Job]:
    """Merge what is said of jobs into what is known; returns them as they are now.

    Rows also say when the job would be late by what they tell: `late_started_at` for one whose
    start is told, `late_unstarted_at` for one that is merely heard of. The alarm is kept for a new
    job, and for one whose start came only now; a fatal or an end clears it; without `alarms` none
    is set.
    """
    folded = fold(rows, "uid", {**JOB_RULES, **_LATE_RULES})
    if not folded:
        return {}
    validate_jobs(folded)
    for row in folded:
        row["late_check_at"] = _late_check(row) if alarms else None
        del row["late_started_at"], row["late_unstarted_at"]
    insert = upsert(session, Job)
    given = insert.excluded
    over = or_(
        Job.ended_at.is_not(None),
        Job.failed_at.is_not(None),
        given.ended_at.is_not(None),
        given.failed_at.is_not(None),
    )
    started_now = Job.started_at.is_(None) & given.started_at.is_not(None)
    unstarted = Job.started_at.is_(None) & given.started_at.is_(None)
    sooner = unstarted & (given.late_check_at < Job.late_check_at)
    anew = and_(or_(started_now, sooner), literal(alarms))
    late = case((over, None), (anew, given.late_check_at), else_=Job.late_check_at)
    statement = insert.on_conflict_do_update(
        index_elements=["uid"], set_={**merged(Job, given, JOB_RULES), "late_check_at": late}
    ).returning(Job)
    found = session.scalars(statement, folded, execution_options=FRESH)
    return {job.uid: job for job in found}


_LATE_RULES: Final = {"late_started_at": EARLIEST, "late_unstarted_at": EARLIEST}


def _late_check(row: Row) -> datetime | None:
    if row["ended_at"] is not None or row["failed_at"] is not None:
        return None
    late: datetime | None = row["late_started_at"] or row["late_unstarted_at"]
    return late


def store_periods(session: Session, rows: Iterable[Row]) -> None:
    """Keep each period of a job once, by its first sign."""
    unique: dict[tuple[str, int], Row] = {}
    for row in rows:
        key = (row["job_uid"], row["number"])
        unique[key] = min(unique.get(key, row), row, key=lambda each: each["at"])
    ordered = [unique[key] for key in sorted(unique)]
    validate_periods(ordered)
    insert_rows(session, JobPeriod, ordered, rules={"at": EARLIEST})


def store_counts(
    session: Session, jobs: Iterable[Job], given: dict[str, dict[str, list[str]]]
) -> None:
    """Count ignored messages of jobs that this transaction has just written (and so locked).

    `given`: job uid -> code -> emission times as sent in UTC, sortable. A message not newer than
    the last one counted of its code is taken for a repeat, so a second reading changes nothing.
    """
    rows = []
    for job in jobs:
        counts: dict[str, list[object]] = json.loads(job.counts or "{}")
        for code, times in given.get(job.uid, {}).items():
            number, last = counts.get(code, [0, ""])
            newer = sorted(time for time in times if time > str(last))
            if newer:
                counts[code] = [int(str(number)) + len(newer), newer[-1]]
        text = json.dumps(counts, sort_keys=True)
        if counts and text != job.counts:
            rows.append({"uid": job.uid, "counts": text})
    if rows:
        setting(Job, "uid", "counts").execute(session, rows)


def store_figures(
    session: Session, jobs: Iterable[Job], given: Mapping[str, tuple[datetime, str]]
) -> None:
    """Keep what the newest 7010 said, of jobs that this transaction has just written.

    `given`: job uid -> time of emission, body. One that was held up takes back no later one.
    """
    rows = [
        {"uid": job.uid, "figures": given[job.uid][1], "figures_at": given[job.uid][0]}
        for job in jobs
        if job.uid in given and (job.figures_at is None or given[job.uid][0] >= job.figures_at)
    ]
    if rows:
        setting(Job, "uid", "figures", "figures_at").execute(session, rows)


def store_seen_periods(session: Session, rows: Sequence[Row]) -> None:
    """Keep the period that run.card showed, for jobs whose messages told none."""
    if rows:
        _STORE_SEEN_PERIODS.execute(session, rows)


_JOB: Final = core(Job)
_STORE_SEEN_PERIODS: Final = SetStatement(
    {"uid": String(), "period": Integer()},
    lambda given: (
        update(_JOB)
        .where(_JOB.c.uid == given.c.uid, _JOB.c.period.is_(None))
        .values(period=given.c.period)
    ),
)


def set_next_start_checks(session: Session, rows: Sequence[Row]) -> None:
    """Arm or clear the alarm of the next start: rows of uid and next_start_check_at."""
    if rows:
        setting(Simulation, "uid", "next_start_check_at").execute(session, rows)


def jobs(session: Session, uids: Iterable[str]) -> dict[str, JobFacts]:
    """Read jobs by uid; unknown ones are missing from the result."""
    return {row.uid: job_of(row) for row in session.execute(_JOBS, {"uids": list(uids)})}


_JOBS: Final = select(*READ_JOB).where(among(_JOB.c.uid))


def simulations(session: Session, uids: Iterable[str]) -> dict[str, SimulationFacts]:
    """Read simulations by uid; unknown ones are missing from the result."""
    found = session.execute(_SIMULATIONS, {"uids": list(uids)})
    return {row.uid: simulation_of(row) for row in found}


_SIMULATIONS: Final = select(*READ_SIMULATION).where(among(core(Simulation).c.uid))
