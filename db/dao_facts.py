"""Reads, for a set of jobs at once, what else is known that a decision about them rests on.

Each statement is built once: building it, and looking up its compiled form, is dearer than sending.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import CompoundSelect, Select, and_, func, or_, select, union_all
from sqlalchemy.orm import Session

from db.dao_common import core
from db.sets import among
from db.types_common import UtcDateTime
from db.types_decisions import Decision
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Supervision, Transition
from db.values_monitoring import READ_TASK, kind_of, task_of
from db.values_supervision import in_states
from supervision.facts import (
    FailureCause,
    JobFailure,
    JobKind,
    Level,
    OtherSimulation,
    Task,
    TriggerKind,
)
from supervision.fsm.states import UNFINISHED, Event, State

_JOB: Final = core(Job)
_PERIOD: Final = core(JobPeriod)
_SIMULATION: Final = core(Simulation)
_DECISION: Final = core(Decision)
_SUPERVISION: Final = core(Supervision)
_TRANSITION: Final = core(Transition)
PERSONS_EVENTS: Final = (
    "detect",
    Event.RETRY.value,
    Event.FORCE_DETECTED.value,
    Event.FORCE_EXECUTED.value,
)
"""What a person does so that a simulation goes on; the count of its failures begins anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaterJob:
    """A job of the same simulation that started, or ended well, after the one in question."""

    uid: str
    kind: JobKind
    task: Task | None
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedJob:
    """A job that failed, and of what kind its work was."""

    failure: JobFailure
    kind: JobKind | None
    task: Task | None


def later_jobs(session: Session, uids: Iterable[str]) -> dict[str, list[LaterJob]]:
    """Find, for each job uid, the jobs of its simulation that started or ended after its start."""
    found: dict[str, list[LaterJob]] = {}
    for row in session.execute(_later_jobs(), {"uids": list(uids)}):
        later = LaterJob(
            uid=row.uid,
            kind=JobKind(row.kind),
            task=task_of(row),
            started_at=row.started_at,
            ended_at=row.ended_at,
        )
        found.setdefault(row.mine, []).append(later)
    return found


@cache
def _later_jobs() -> Select[Any]:
    """A start that no message told is taken to be the job's first sign."""
    mine, other = _JOB.alias("mine"), _JOB
    began = func.coalesce(mine.c.started_at, mine.c.first_at)
    later = and_(
        other.c.simulation_uid == mine.c.simulation_uid,
        other.c.uid != mine.c.uid,
        other.c.kind.is_not(None),
        or_(other.c.started_at > began, other.c.ended_at > began),
    )
    read = (other.c.uid, other.c.kind, other.c.started_at, other.c.ended_at)
    return (
        select(*READ_TASK, mine.c.uid.label("mine"), *read)
        .join_from(mine, other, later)
        .where(among(mine.c.uid))
        .order_by(other.c.started_at, other.c.uid)
    )


def replacements(session: Session, uids: Iterable[str]) -> dict[str, list[OtherSimulation]]:
    """Find, for each simulation, later 0000s of the same centre, machine, login and name."""
    found: dict[str, list[OtherSimulation]] = {}
    rows = session.execute(_replacements(), {"uids": list(uids)})
    for mine, uid, announced_at, directory in rows:
        later = OtherSimulation(uid=uid, announced_at=announced_at, directory=directory)
        found.setdefault(mine, []).append(later)
    return found


@cache
def _replacements() -> Select[Any]:
    mine, other = _SIMULATION.alias("mine"), _SIMULATION.alias("other")
    same = [other.c[name] == mine.c[name] for name in ("name", "login", "centre", "machine")]
    later = and_(*same, other.c.announced_at > mine.c.announced_at, other.c.uid != mine.c.uid)
    return (
        select(mine.c.uid, other.c.uid, other.c.announced_at, other.c.directory)
        .join(other, later)
        .where(among(mine.c.uid))
        .order_by(other.c.announced_at)
    )


def failures(session: Session, uids: Iterable[str]) -> dict[str, list[FailedJob]]:
    """Find the failed jobs of these simulations: fatal, or late and found dead; oldest first.

    What a job says itself wins over what silence made of it: one that told its good end late has
    not failed.
    """
    found: dict[str, list[FailedJob]] = {}
    for row in session.execute(_failures(), {"uids": list(uids)}):
        failure = JobFailure(job_uid=row.uid, at=row.at, period=row.period)
        failed = FailedJob(failure=failure, kind=kind_of(row), task=task_of(row))
        found.setdefault(row.simulation_uid, []).append(failed)
    return found


@cache
def _failures() -> Select[Any]:
    dead = (
        select(_DECISION.c.job_uid, _DECISION.c.failed_not_after.label("at"))
        .where(
            among(_DECISION.c.simulation_uid),
            _DECISION.c.kind == TriggerKind.LATE.value,
            _DECISION.c.failed_not_after.is_not(None),
        )
        .subquery()
    )
    job = _JOB.c
    at = func.coalesce(job.failed_at, dead.c.at)
    return (
        select(*READ_TASK, job.simulation_uid, job.uid, job.kind, job.period, at.label("at"))
        .outerjoin_from(_JOB, dead, dead.c.job_uid == job.uid)
        .where(
            among(job.simulation_uid),
            at.is_not(None),
            or_(job.failed_at.is_not(None), job.ended_at.is_(None)),
        )
        .order_by(at, job.uid)
    )


def gone_jobs(session: Session, uids: Iterable[str]) -> dict[str, list[JobFailure]]:
    """Find the restarts of these simulations whose new job never came to be."""
    found: dict[str, list[JobFailure]] = {}
    for row in session.execute(_gone_jobs(), {"uids": list(uids)}):
        name = f"{row.supervision_id}/{row.attempt}"
        found.setdefault(row.simulation_uid, []).append(JobFailure(job_uid=name, at=row.at))
    return found


@cache
def _gone_jobs() -> Select[Any]:
    row, step = _SUPERVISION.c, _TRANSITION.c
    return (
        select(row.simulation_uid, step.supervision_id, step.attempt, step.at)
        .join_from(_SUPERVISION, _TRANSITION, step.supervision_id == row.id)
        .where(
            among(row.simulation_uid),
            row.kind == JobKind.COMPUTE.value,
            step.cause == FailureCause.NEW_JOB_GONE.value,
        )
        .order_by(step.at)
    )


def progress(session: Session, uids: Iterable[str]) -> dict[str, datetime]:
    """Tell when these simulations last moved on: an 1100, a new highest period, a person's act."""
    found: dict[str, datetime] = {}
    for uid, at in session.execute(_progress(), {"uids": list(uids)}):
        found[uid] = max(found.get(uid, at), at)
    return found


@cache
def _progress() -> CompoundSelect[Any]:
    period, row, step = _PERIOD.c, _SUPERVISION.c, _TRANSITION.c
    highest = (
        select(period.simulation_uid, func.max(period.number).label("number"))
        .where(among(period.simulation_uid))
        .group_by(period.simulation_uid)
        .subquery()
    )
    reached = and_(
        highest.c.simulation_uid == period.simulation_uid, highest.c.number == period.number
    )
    periods = (
        select(period.simulation_uid, func.min(period.at, type_=UtcDateTime()))
        .join_from(_PERIOD, highest, reached)
        .group_by(period.simulation_uid)
    )
    ends = select(_SIMULATION.c.uid, _SIMULATION.c.last_end_at).where(
        among(_SIMULATION.c.uid), _SIMULATION.c.last_end_at.is_not(None)
    )
    acts = (
        select(row.simulation_uid, func.max(step.at, type_=UtcDateTime()))
        .join_from(_SUPERVISION, _TRANSITION, step.supervision_id == row.id)
        .where(
            among(row.simulation_uid),
            step.by_person.is_(True),
            step.event.in_(PERSONS_EVENTS),
        )
        .group_by(row.simulation_uid)
    )
    return union_all(periods, ends, acts)


def open_work(session: Session, uids: Iterable[str]) -> Sequence[Any]:
    """Read the unfinished supervisions of these simulations: id, job, simulation, kind, level."""
    return session.execute(_open_work(), {"uids": list(uids)}).all()


@cache
def _open_work() -> Select[Any]:
    row = _SUPERVISION.c
    return (
        select(row.id, row.job_uid, row.simulation_uid, row.kind, row.level)
        .where(among(row.simulation_uid), in_states(UNFINISHED))
        .order_by(row.created_at)
    )


def is_busy(row: Any) -> bool:  # noqa: ANN401
    """Whether an unfinished supervision keeps the simulation's compute chain busy."""
    return bool(row.kind == JobKind.COMPUTE.value and row.level == Level.AUTOMATIC)


def restarted_periods(session: Session, uids: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """Read which periods supervisions of these simulations restarted: (job uid, period)."""
    found: dict[str, list[tuple[str, int]]] = {}
    for uid, job_uid, period in session.execute(_restarted_periods(), {"uids": list(uids)}):
        found.setdefault(uid, []).append((job_uid, period))
    return found


@cache
def _restarted_periods() -> Select[Any]:
    row = _SUPERVISION.c
    return (
        select(row.simulation_uid, row.job_uid, row.period)
        .where(
            among(row.simulation_uid),
            row.kind == JobKind.COMPUTE.value,
            row.period.is_not(None),
            row.executed_at.is_not(None),  # one that failed before it acted restarted none
            in_states((State.EXECUTED, State.FAILED)),
        )
        .order_by(row.executed_at)
    )
