"""Would a restart only repeat what failed before: rules 10 and 11.

They speak of failed jobs only: one that said so, or that is silent and was found ended badly or
absent (where nobody may ask, silence has to do). A failed command is not a failed job, and a
stalled simulation's last job ended well.
"""

from __future__ import annotations

from supervision.facts import JobFailure, JobKind, TriggerKind, Verdict
from supervision.rules.case import Case, refuse
from supervision.rules.looks import found_failed, period_of
from supervision.rules.words import utc

_TOO_OFTEN_FOR_A_TASK = 2
_FIRST = 1


def again(case: Case) -> Verdict | None:
    """Refuse when the period, or the post-processing task, has failed before under another job."""
    if not _has_failed(case):
        return None
    if case.kind is JobKind.POST_PROCESSING:
        return _task_again(case)
    return _period_again(case) if case.is_compute else None


def no_progress(case: Case) -> Verdict | None:
    """Refuse when, with this one, too many compute jobs failed and nothing came of any."""
    if not case.is_compute or not _has_failed(case):
        return None
    since = case.facts.progress_at
    failed = {f.job_uid for f in case.facts.failures if since is None or f.at > since}
    count = len(failed | {case.facts.job.uid})
    if count < case.policy.no_progress_jobs:
        return None
    after = f"since the last progress at {utc(since)}" if since else "and there was no progress"
    sentence = f"{count} jobs of simulation {case.facts.simulation.uid} failed {after}."
    return refuse("no-progress", sentence, tell_owner=True)


def first_period(case: Case) -> Verdict | None:
    """Refuse a failure in the first period: what never ran does not run the second time."""
    if not case.is_compute or period_of(case) != _FIRST or not _has_failed(case):
        return None
    sentence = f"job {case.facts.job.uid} failed in the first period of its simulation."
    return refuse("first-period", sentence, tell_owner=True)


def _has_failed(case: Case) -> bool:
    kind = case.facts.trigger.kind
    if kind in {TriggerKind.FATAL, TriggerKind.POST_PROCESSING}:
        return True
    if kind is TriggerKind.STALLED:
        return False
    # Before acting nothing merges, so a fatal that came meanwhile has to be heard here.
    if case.facts.before_acting and case.facts.fatal_of_job:
        return True
    return found_failed(case) or (kind is TriggerKind.LATE and not case.may_ask)


def _task_again(case: Case) -> Verdict | None:
    task, own = case.facts.job.task, case.facts.job.uid
    if task is None or not task.identified:
        return None
    failed = {failure.job_uid for failure in case.facts.failures} | {own}
    if len(failed) < _TOO_OFTEN_FOR_A_TASK:
        return None
    return refuse(
        "again", f"{task.name} of {task.date} failed {len(failed)} times.", tell_owner=True
    )


def _period_again(case: Case) -> Verdict | None:
    period = period_of(case)
    earlier = next((f for f in case.facts.failures if _earlier(f, period, case)), None)
    if period is None or earlier is None:
        return None
    before = f"job {earlier.job_uid} at {utc(earlier.at)}"
    sentence = f"period {period} failed again under job {case.facts.job.uid}, as under {before}."
    return refuse("again", sentence, tell_owner=True)


def _earlier(failure: JobFailure, period: int | None, case: Case) -> bool:
    own = case.facts.job.uid
    at = next((f.at for f in case.facts.failures if f.job_uid == own), case.facts.trigger.at)
    return failure.job_uid != own and failure.period == period and failure.at <= at
