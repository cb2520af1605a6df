"""Between rows of tbl_simulation and tbl_job and their frozen values; no statement stands here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from db.types_monitoring import Job, Simulation
from supervision.facts import JobFacts, JobKind, SimulationFacts, Task

_DELAY: Final = timedelta(days=1)
"""When silence is a warning, for a job that does not say."""

_JOB: Final = Job.__table__.c

READ_TASK: Final = tuple(_JOB[f"task_{name}"] for name in Task.__dataclass_fields__)
"""The columns that a job's task is made of."""

READ_JOB: Final = (
    *READ_TASK,
    _JOB.uid,
    _JOB.simulation_uid,
    _JOB.kind,
    _JOB.directory,
    _JOB.scheduler_id,
    _JOB.delay_seconds,
    _JOB.first_at,
    _JOB.started_at,
    _JOB.ended_at,
    _JOB.failed_at,
    _JOB.last_seen_at,
    _JOB.period,
)
"""The columns that a job's value is made of."""

READ_SIMULATION: Final = tuple(
    Simulation.__table__.c[name] for name in SimulationFacts.__dataclass_fields__
)
"""The columns that a simulation's value is made of, in the order of its fields."""


def task_of(row: Any) -> Task | None:  # noqa: ANN401
    """The piece of work that a post-processing job does; None where no message told."""
    task = Task(
        name=row.task_name,
        date=row.task_date,
        dimension=row.task_dimension,
        component=row.task_component,
        file=row.task_file,
    )
    return None if task == _UNTOLD else task


_UNTOLD: Final = Task()


def kind_of(row: Any) -> JobKind | None:  # noqa: ANN401
    """The kind of a job; None while no message told."""
    return None if row.kind is None else JobKind(row.kind)


def job_of(row: Any) -> JobFacts:  # noqa: ANN401
    """Turn what was read of `READ_JOB` into what policy reads of a job."""
    delay = row.delay_seconds
    return JobFacts(
        uid=row.uid,
        simulation_uid=row.simulation_uid,
        kind=kind_of(row),
        task=task_of(row),
        directory=row.directory,
        scheduler_id=row.scheduler_id,
        warning_delay=_DELAY if delay is None else timedelta(seconds=delay),
        first_at=row.first_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        fatal_at=row.failed_at,
        last_seen_at=row.last_seen_at,
        period=row.period,
    )


def simulation_of(row: Any) -> SimulationFacts:  # noqa: ANN401
    """Turn what was read of `READ_SIMULATION` into what policy reads of a simulation."""
    return SimulationFacts(**dict(zip(SimulationFacts.__dataclass_fields__, row, strict=True)))
