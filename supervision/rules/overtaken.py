"""Has the simulation gone on without this job: ended, overtaken, replaced, being restarted.

Rules 6 to 9. Times are compared as the centre's clock gave them; equal is not later.
"""

from __future__ import annotations

from posixpath import normpath

from supervision.facts import JobKind, OtherJob, OtherSimulation, TriggerKind, Verdict
from supervision.rules.case import Case, defer, refuse
from supervision.rules.words import utc


def complete(case: Case) -> Verdict | None:
    """Refuse for a compute job once the simulation is complete; a prolonged one is so no more."""
    simulation, job = case.facts.simulation, case.facts.job
    at = simulation.complete_at
    if not case.is_compute or at is None:
        return None
    if any(t and t >= at for t in (simulation.last_start_at, job.first_at)):
        return None
    return refuse("complete", f"simulation {simulation.uid} was complete at {utc(at)}.")


def ended(case: Case) -> Verdict | None:
    """Refuse for a compute job that ended well; a stalled one did, and that is the point of it."""
    job = case.facts.job
    stalled = case.facts.trigger.kind is TriggerKind.STALLED
    if not case.is_compute or stalled or job.ended_at is None:
        return None
    return refuse("ended", f"job {job.uid} ended well at {utc(job.ended_at)}.")


def superseded(case: Case) -> Verdict | None:
    """Refuse once another job has taken over: a later compute start, or the same task again."""
    if case.kind is JobKind.POST_PROCESSING and _came_through(case):
        return refuse("superseded", f"job {case.facts.job.uid} has ended well since.")
    later = next((other for other in case.facts.later_starts if _overtakes(other, case)), None)
    if later is None:
        return None
    how = "ended well" if later.ended_well else "started"
    return refuse("superseded", f"job {later.uid} {how} later, at {utc(later.at)}.")


def replaced(case: Case) -> Verdict | None:
    """Refuse once a simulation of the same name was announced in its place."""
    later = next((other for other in case.facts.replacements if _replaces(other, case)), None)
    if later is None:
        return None
    name, at = case.facts.simulation.name, utc(later.announced_at)
    return refuse("replaced", f"simulation {later.uid} of the same name {name} began at {at}.")


def busy(case: Case) -> Verdict | None:
    """Wait while another job of the simulation is being restarted."""
    if not case.is_compute or case.facts.busy_with is None:
        return None
    sentence = f"supervision {case.facts.busy_with} is restarting the same simulation."
    return defer("busy", sentence, until=case.now + case.policy.busy_again)


def _came_through(case: Case) -> bool:
    ended_at = case.facts.job.ended_at
    return ended_at is not None and ended_at > case.facts.trigger.at


def _overtakes(other: OtherJob, case: Case) -> bool:
    if case.kind is None or other.uid == case.facts.job.uid:
        return False
    # The end of the previous compute job often arrives after, and may lie after, the next start.
    if other.ended_well and case.is_compute:
        return False
    return case.began_at is None or other.at > case.began_at


def _replaces(other: OtherSimulation, case: Case) -> bool:
    simulation = case.facts.simulation
    ours = case.facts.job.directory or simulation.directory
    apart = ours and other.directory and normpath(ours) != normpath(other.directory)
    if apart or other.uid == simulation.uid or simulation.announced_at is None:
        return False
    return other.announced_at > simulation.announced_at
