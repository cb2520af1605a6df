"""What simulations of a world tell: the messages of their jobs, as libIGCM would send them."""

from __future__ import annotations

from datetime import datetime

from supervision.facts import EndReason, Sight
from supervision.messages import MonitoringMessage
from tests.unit.engine_kit import DAY, HOUR, MINUTE, message
from tests.virtual.centre import Directory, Job
from tests.virtual.world import LOGINS, World


def says(place: Directory, code: str, at: datetime, job: Job, **fields: str) -> MonitoringMessage:
    """Give one message of a job of this simulation."""
    return message(code, at=at, job=job.uid, simulation=place.simulation, **fields)


def began(place: Directory, job: Job, at: datetime) -> MonitoringMessage:
    """Give the start of a compute job: it runs from now on."""
    job.sight, job.since = Sight.RUNNING, at
    path = {"jobSubmissionPath": place.path, "jobSchedulerID": job.scheduler_id}
    return says(place, "1000", at, job, **path)


def announced(world: World, place: Directory, number: int) -> list[MonitoringMessage]:
    """Give what a chain of ten days has sent; its present job works on its period."""
    now = world.clock.now()
    first = world.centre.submit_job(place, ours=False)
    first.end(EndReason.COMPLETED, now - 4 * HOUR)
    job = world.centre.submit_job(place, ours=False)
    who = {"name": f"CPL{number:03d}", "login": LOGINS[number % len(LOGINS)]}
    path = {"jobSubmissionPath": place.path, "jobSchedulerID": first.scheduler_id}
    return [
        says(place, "0000", now - 10 * DAY, first, **who, **path),
        says(place, "1100", now - 4 * HOUR - MINUTE, first),
        began(place, job, now - 4 * HOUR),
        says(place, "1001", now - 3 * HOUR, job, CumulPeriod=str(place.period)),
    ]


def fatal(place: Directory, job: Job, at: datetime) -> list[MonitoringMessage]:
    """Let a job fail and say so: one command that failed, and the fatal."""
    job.end(EndReason.FAILED, at)
    place.state = "Fatal"
    return [says(place, "1900", at - MINUTE, job), says(place, "1999", at, job)]


def finished(place: Directory, job: Job, at: datetime) -> list[MonitoringMessage]:
    """Let a job bring its simulation to its end."""
    job.end(EndReason.COMPLETED, at)
    place.state = "Completed"
    return [says(place, "0100", at, job), says(place, "1100", at, job)]
