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
    """The piece of work that a post-processing job does; None where no message told.

    The row begins with `READ_TASK`.
    """
    told = row[: len(READ_TASK)]
    if told == _UNTOLD:
        return None
    return Task(**dict(zip(Task.__dataclass_fields__, told, strict=True)))


_UNTOLD: Final = (None,) * len(READ_TASK)


def kind_of(row: Any) -> JobKind | None:  # noqa: ANN401
    """The kind of a job; None while no message told."""
    return None if row.kind is None else JobKind(row.kind)


def job_of(row: Any) -> JobFacts:  # noqa: ANN401
    """Turn what was read of `READ_JOB` into what policy reads of a job."""
    said: dict[str, Any] = dict(zip(_JOB_FIELDS, row[len(READ_TASK) :], strict=True))
    delay = said.pop("delay_seconds")
    said["kind"] = None if said["kind"] is None else JobKind(said["kind"])
    said["fatal_at"] = said.pop("failed_at")
    said["warning_delay"] = _DELAY if delay is None else timedelta(seconds=delay)
    return JobFacts(task=task_of(row), **said)


_JOB_FIELDS: Final = tuple(column.name for column in READ_JOB[len(READ_TASK) :])


def simulation_of(row: Any) -> SimulationFacts:  # noqa: ANN401
    """Turn what was read of `READ_SIMULATION` into what policy reads of a simulation."""
    return SimulationFacts(**dict(zip(SimulationFacts.__dataclass_fields__, row, strict=True)))
