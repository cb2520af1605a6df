"""What a supervision that exists already means for a new trigger, and when a failed one is retried.

Rule 5, and the timetable after a failed attempt.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from supervision.facts import (
    AttemptFailure,
    CancelCause,
    FailureCause,
    Handling,
    Level,
    Policy,
    Verdict,
)
from supervision.fsm.states import STATES, State
from supervision.rules.case import Case, defer, merge, refuse
from supervision.rules.words import utc


def handled(case: Case) -> Verdict | None:
    """Speak for the supervision that the job has; silent where the rules may go on to a retry."""
    handling = case.facts.handling
    if handling is None:
        return None
    if STATES[handling.state].unfinished:
        return _unfinished(case, handling)
    if handling.state is State.FAILED:
        return _failed(case, handling)
    if handling.state is State.CANCELLED:
        return _cancelled(case, handling)
    return refuse("handled", f"supervision {handling.id} has executed its script already.")


def next_try(
    failures: tuple[AttemptFailure, ...], policy: Policy, now: datetime
) -> datetime | None:
    """Tell when a supervision may try again after its latest failure; None: it gives up.

    `failures` oldest first, since a person last began an attempt; empty: at once. A cause that is
    hopeless gives up. *Not yet* waits `not_yet_delay`, doubled each time, `not_yet_tries` times
    in `not_yet_window`; any other cause waits `failure_delay`, `failure_tries` times in all.
    """
    if not failures:
        return now
    latest = failures[-1]
    if latest.cause.hopeless:
        return None
    wait = _not_yet(failures, policy) if _is_not_yet(latest) else _other(failures, policy)
    return None if wait is None else min(latest.at, now) + wait


def _not_yet(failures: tuple[AttemptFailure, ...], policy: Policy) -> timedelta | None:
    opens = failures[-1].at - policy.not_yet_window
    count = sum(1 for failure in failures if _is_not_yet(failure) and failure.at > opens)
    if count > policy.not_yet_tries:
        return None
    return policy.not_yet_delay * (1 << (count - 1))


def _other(failures: tuple[AttemptFailure, ...], policy: Policy) -> timedelta | None:
    count = sum(1 for failure in failures if not _is_not_yet(failure))
    return policy.failure_delay if count <= policy.failure_tries else None


def _is_not_yet(failure: AttemptFailure) -> bool:
    return failure.cause is FailureCause.NOT_YET


def _stronger(case: Case, handling: Handling) -> bool:
    return case.facts.trigger.kind.strength > handling.acted_on.strength


def _unfinished(case: Case, handling: Handling) -> Verdict | None:
    # A mail about a weaker trigger has done nothing that could collide with an act of our own.
    if handling.level is Level.MAIL and _stronger(case, handling):
        return None
    until = case.now + case.policy.merge_again
    return merge("handled", f"supervision {handling.id} is {handling.state} already.", until=until)


def _failed(case: Case, handling: Handling) -> Verdict | None:
    due = next_try(handling.failures, case.policy, case.now)
    if due is None:
        return _gave_up(case, handling)
    if case.now >= due:
        return None
    sentence = f"attempt {handling.attempt} of {handling.id} failed; the next is at {utc(due)}."
    return defer("handled", sentence, until=due)


def _gave_up(case: Case, handling: Handling) -> Verdict:
    cause = handling.failures[-1].cause
    sentence = f"attempt {handling.attempt} of {handling.id} failed ({cause}): no further one."
    # An echo of another kind must not tell anybody a second time.
    tell = case.facts.trigger.kind is handling.acted_on
    return refuse("handled", sentence, tell_owner=tell, tell_operator=tell)


def _cancelled(case: Case, handling: Handling) -> Verdict | None:
    cause = handling.cancel_cause
    if cause in _REOPENED and _stronger(case, handling):
        return None
    if cause is CancelCause.DECLINED_POST:
        return _stopped_by_post(case, handling)
    why = handling.reason or cause or "no reason is known"
    return refuse("handled", f"supervision {handling.id} was cancelled: {why}.")


_REOPENED = {CancelCause.POLICY, CancelCause.DECLINED, CancelCause.DECLINED_POST}


def _stopped_by_post(case: Case, handling: Handling) -> Verdict | None:
    if not case.facts.post_open:
        return None
    until = case.now + case.policy.look_again
    sentence = f"post-processing stopped the simulation and is being restarted; {handling.id} waits"
    return defer("handled", f"{sentence}.", until=until)
