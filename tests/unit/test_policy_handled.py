"""Rule 5: what the supervision that a job has already means, and the timetable of retries."""

from __future__ import annotations

from datetime import timedelta

import pytest

from supervision.facts import (
    AttemptFailure,
    CancelCause,
    FailureCause,
    Handling,
    Level,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.fsm.states import UNFINISHED, State
from supervision.policy import decide, next_try
from tests.factories import (
    NOW,
    SUPERVISION,
    DecisionFactsFactory,
    HandlingFactory,
    PolicyFactory,
    ago,
)

POLICY = PolicyFactory.build()
MINUTE = timedelta(minutes=1)


def _decided(handling: Handling, **facts: object) -> Verdict:
    return decide(DecisionFactsFactory.build(handling=handling, **facts), POLICY, NOW)


def _cancelled(cause: CancelCause | None, **changes: object) -> Handling:
    return HandlingFactory.build(state=State.CANCELLED, cancel_cause=cause, **changes)


def _failed(*causes: FailureCause, minutes: int = 0) -> Handling:
    return HandlingFactory.build(state=State.FAILED, failures=_failures(*causes, minutes=minutes))


def _failures(*causes: FailureCause, minutes: int = 0) -> tuple[AttemptFailure, ...]:
    """All of them as long ago: only how many there are matters to most cases."""
    at = ago(minutes=minutes)
    return tuple(
        AttemptFailure(attempt=number, at=at, cause=cause)
        for number, cause in enumerate(causes, start=1)
    )


@pytest.mark.parametrize("state", UNFINISHED)
def test_a_supervision_on_its_way_absorbs_the_trigger(state: State) -> None:
    """One job, one supervision; looked at again in an hour."""
    verdict = _decided(HandlingFactory.build(state=state))
    expected = (VerdictKind.MERGE, "handled", NOW + timedelta(hours=1))
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at)
    assert verdict.sentence == f"supervision {SUPERVISION} is {state} already."


@pytest.mark.parametrize(
    ("level", "acted_on", "expected"),
    [
        (Level.MAIL, TriggerKind.COMMAND, VerdictKind.SUPERVISE),
        (Level.MAIL, TriggerKind.LATE, VerdictKind.SUPERVISE),
        (Level.MAIL, TriggerKind.FATAL, VerdictKind.MERGE),
        (Level.AUTOMATIC, TriggerKind.COMMAND, VerdictKind.MERGE),
        (Level.AUTOMATIC, TriggerKind.LATE, VerdictKind.MERGE),
        (Level.NOTHING, TriggerKind.LATE, VerdictKind.MERGE),
    ],
)
def test_only_a_mail_about_something_weaker_does_not_absorb_a_fatal(
    level: Level, acted_on: TriggerKind, expected: VerdictKind
) -> None:
    """The owner must hear that it is worse than the first mail said."""
    handling = HandlingFactory.build(state=State.DISPATCHED, level=level, acted_on=acted_on)
    assert expected is _decided(handling).kind


def test_an_executed_supervision_has_said_it_all() -> None:
    """What comes after it is another job's story."""
    verdict = _decided(HandlingFactory.build(state=State.EXECUTED))
    assert (VerdictKind.REFUSE, "handled", None) == (verdict.kind, verdict.rule, verdict.wake_at)


@pytest.mark.parametrize("cause", [CancelCause.PERSON, CancelCause.OBSERVED, None])
def test_what_a_person_or_observing_cancelled_stays_so_for_any_trigger(
    cause: CancelCause | None,
) -> None:
    """Also for a stronger trigger; an unknown reason is treated like a person's."""
    verdict = _decided(_cancelled(cause, acted_on=TriggerKind.COMMAND))
    assert (VerdictKind.REFUSE, "handled") == (verdict.kind, verdict.rule)


@pytest.mark.parametrize("cause", [CancelCause.POLICY, CancelCause.DECLINED])
def test_what_policy_cancelled_or_the_script_declined_is_reopened_by_a_stronger_trigger(
    cause: CancelCause,
) -> None:
    """A fatal after a decline of a late job is news; a second fatal is not."""
    assert _decided(_cancelled(cause, acted_on=TriggerKind.LATE)).kind is VerdictKind.SUPERVISE
    same = _decided(_cancelled(cause, acted_on=TriggerKind.FATAL, reason="it was running"))
    assert same.sentence == f"supervision {SUPERVISION} was cancelled: it was running."


def test_stopped_by_post_processing_waits_for_the_post_processing() -> None:
    """While such a supervision is on its way: daily; then the rules go on."""
    handling = _cancelled(CancelCause.DECLINED_POST)
    waits = _decided(handling, post_open=True)
    assert (VerdictKind.DEFER, NOW + timedelta(days=1)) == (waits.kind, waits.wake_at)
    assert _decided(handling, post_open=False).kind is VerdictKind.SUPERVISE


def test_stopped_by_post_processing_is_reopened_by_a_stronger_trigger_too() -> None:
    """The script looks again before it acts."""
    handling = _cancelled(CancelCause.DECLINED_POST, acted_on=TriggerKind.LATE)
    assert _decided(handling, post_open=True).kind is VerdictKind.SUPERVISE


def test_a_failed_attempt_is_retried_once_its_time_has_come() -> None:
    """At the very moment; a minute before, the row waits for it."""
    early = _decided(_failed(FailureCause.SCRIPT, minutes=29))
    assert (VerdictKind.DEFER, NOW + MINUTE) == (early.kind, early.wake_at)
    assert early.rule == "handled"
    assert _decided(_failed(FailureCause.SCRIPT, minutes=30)).kind is VerdictKind.SUPERVISE


def test_a_retry_meets_the_rules_that_follow() -> None:
    """Meanwhile the simulation may have gone on by itself."""
    verdict = _decided(
        _failed(FailureCause.SCRIPT, minutes=30), simulation__complete_at=ago(minutes=5)
    )
    assert (VerdictKind.REFUSE, "complete") == (verdict.kind, verdict.rule)


def test_giving_up_tells_owner_and_operator() -> None:
    """A row never ends in silence."""
    verdict = _decided(_failed(FailureCause.LOST))
    assert (VerdictKind.REFUSE, "handled", None) == (verdict.kind, verdict.rule, verdict.wake_at)
    assert (True, True) == (verdict.tell_owner, verdict.tell_operator)
    assert verdict.sentence == f"attempt 1 of {SUPERVISION} failed (lost): no further one."


def test_an_echo_of_what_was_given_up_tells_nobody_again() -> None:
    """One incident, one mail."""
    verdict = _decided(_failed(FailureCause.LOST), trigger__kind=TriggerKind.COMMAND)
    assert verdict.kind is VerdictKind.REFUSE
    assert (False, False) == (verdict.tell_owner, verdict.tell_operator)


@pytest.mark.parametrize(
    ("count", "minutes"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160)]
)
def test_not_yet_waits_five_minutes_and_then_twice_as_long_each_time(
    count: int, minutes: int
) -> None:
    """Six times in a day."""
    failures = _failures(*[FailureCause.NOT_YET] * count)
    assert NOW + minutes * MINUTE == next_try(failures, POLICY, NOW)


def test_not_yet_gives_up_after_the_sixth_time() -> None:
    """The seventh within a day is one too many."""
    assert next_try(_failures(*[FailureCause.NOT_YET] * 7), POLICY, NOW) is None


def test_not_yet_of_more_than_a_day_before_the_latest_does_not_count() -> None:
    """The window opens a day before the latest one, and excludes its own first moment."""
    latest = _failures(FailureCause.NOT_YET)
    assert NOW + 10 * MINUTE == next_try(
        _failures(FailureCause.NOT_YET, minutes=24 * 60 - 1) + latest, POLICY, NOW
    )
    assert NOW + 5 * MINUTE == next_try(
        _failures(FailureCause.NOT_YET, minutes=24 * 60) + latest, POLICY, NOW
    )


@pytest.mark.parametrize("cause", [FailureCause.SCRIPT, FailureCause.NEW_JOB_GONE])
def test_other_failures_are_tried_again_twice_half_an_hour_apart(cause: FailureCause) -> None:
    """The third one ends it."""
    found = [next_try(_failures(*[cause] * count), POLICY, NOW) for count in (1, 2, 3)]
    assert [NOW + 30 * MINUTE, NOW + 30 * MINUTE, None] == found


def test_the_two_timetables_do_not_count_each_other() -> None:
    """A quota that was full six times has nothing to do with a script that failed once."""
    six = _failures(*[FailureCause.NOT_YET] * 6)
    assert NOW + 30 * MINUTE == next_try(six + _failures(FailureCause.SCRIPT), POLICY, NOW)
    three = _failures(*[FailureCause.SCRIPT] * 3)
    assert NOW + 5 * MINUTE == next_try(three + _failures(FailureCause.NOT_YET), POLICY, NOW)


@pytest.mark.parametrize("cause", [cause for cause in FailureCause if cause.hopeless])
def test_a_hopeless_failure_gives_up_at_once(cause: FailureCause) -> None:
    """Trying again could only repeat it."""
    assert next_try(_failures(cause), POLICY, NOW) is None


def test_the_causes_that_the_contract_names_are_hopeless() -> None:
    """Journal lost, lost, conflict, crash-loop and expired, and none of the two timetables."""
    hopeless = {cause.value for cause in FailureCause if cause.hopeless}
    assert hopeless >= {"journal-lost", "lost", "conflict", "crash-loop", "expired"}
    assert not hopeless & {"not-yet", "script", "new-job-gone"}


def test_nothing_failed_since_a_person_began_means_at_once() -> None:
    """A person's attempt starts the count anew."""
    assert next_try((), POLICY, NOW) == NOW


def test_a_failure_from_the_future_counts_as_now() -> None:
    """A clock that was off must not postpone the next try."""
    assert NOW + 30 * MINUTE == next_try(_failures(FailureCause.SCRIPT, minutes=-600), POLICY, NOW)
