"""What became of the jobs that an incident let go: read on sets, told by one word each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from db import dao_decisions, dao_supervision
from db.types_decisions import Decision
from db.types_incidents import IncidentJob
from supervision.facts import Level, Policy, Supervision
from supervision.fsm.states import STATES, State
from supervision.policy import Fate


def fates_of(
    session: Session, jobs: Sequence[IncidentJob], policy: Policy, now: datetime
) -> list[Fate]:
    """Tell the fate of each of these jobs, in two statements."""
    if not jobs:
        return []
    decisions: dict[str, list[Decision]] = {}
    for row in dao_decisions.failures_of(session, {job.simulation_uid for job in jobs}):
        decisions.setdefault(row.simulation_uid, []).append(row)
    rows = dao_supervision.of_jobs(session, [job.job_uid for job in jobs])
    return [
        _fate(job, decisions.get(job.simulation_uid, []), rows.get(job.job_uid), policy, now)
        for job in jobs
    ]


def _fate(
    job: IncidentJob,
    decisions: Iterable[Decision],
    row: Supervision | None,
    policy: Policy,
    now: datetime,
) -> Fate:
    """What the simulation's own messages say comes first, then how the supervision stands."""
    mine = [each for each in decisions if each.job_uid == job.job_uid]
    others = [each for each in decisions if each.job_uid != job.job_uid]
    if any(each.recovered_at for each in mine):
        return Fate.RECOVERED
    restarted = min((each.restarted_at for each in mine if each.restarted_at), default=None)
    if restarted is not None:
        if any(each.last_at > restarted for each in others):
            return Fate.FAILED
        return Fate.RECOVERED if now - restarted >= policy.incident_proof else Fate.ACTED
    if row is None:
        undecided = any(each.wake_at is not None for each in mine)
        return Fate.PENDING if undecided else Fate.FAILED
    return _standing(row)


def _standing(row: Supervision) -> Fate:
    if row.level is not Level.AUTOMATIC and row.state not in {State.DETECTED, State.FORMATTED}:
        return Fate.RECOVERED  # nothing is done at the site: a mail harms nobody
    if STATES[row.state].unfinished or row.wake_at is not None:
        return Fate.ACTED if row.state is State.EXECUTED else Fate.PENDING
    return Fate.FAILED
