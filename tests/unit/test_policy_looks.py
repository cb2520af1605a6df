"""Rules 13 and 14: lone failed commands, and what is seen when the centre is asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from supervision.facts import (
    EndReason,
    JobKind,
    Level,
    Look,
    Mode,
    Policy,
    Sight,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.policy import decide
from tests.factories import (
    JOB,
    NOW,
    OTHER_SIMULATION,
    DecisionFactsFactory,
    LookFactory,
    PolicyFactory,
    RunCardFactory,
    SitePolicyFactory,
    ago,
)

DAY: Final = timedelta(days=1)
MINUTE: Final = timedelta(minutes=1)
LATE: Final[dict[str, object]] = {"trigger__kind": TriggerKind.LATE}
STALLED: Final[dict[str, object]] = {
    "trigger__kind": TriggerKind.STALLED,
    "job__ended_at": ago(hours=25),
}
COMMAND: Final[dict[str, object]] = {"trigger__kind": TriggerKind.COMMAND}
FATAL: Final[dict[str, object]] = {"job__period": None}
POST_LATE: Final[dict[str, object]] = {**LATE, "job__kind": JobKind.POST_PROCESSING}
MAIL_ONLY: Final = PolicyFactory.build(sites=(SitePolicyFactory.build(mode=Mode.MAIL),))
CURIOUS: Final = PolicyFactory.build(sites=(SitePolicyFactory.build(mode=Mode.MAIL, ask=True),))


def _decided(policy: Policy | None = None, /, *looks: Look, **facts: object) -> Verdict:
    known = DecisionFactsFactory.build(looks=looks, **facts)
    return decide(known, policy or PolicyFactory.build(), NOW)


def _look(minutes: float = 0, **changes: object) -> Look:
    return LookFactory.build(at=ago(minutes=minutes), **changes)


def _seen(sight: Sight, minutes: float = 0, **changes: object) -> Look:
    return _look(minutes, sight=sight, reason=None, **changes)


def _card(state: str | None, minutes: float = 0, **changes: object) -> Look:
    """A job that ended with 0, whatever its run.card says."""
    card = RunCardFactory.build(state=state)
    return _look(minutes, **{"reason": EndReason.COMPLETED, "run_card": card, **changes})


# Who asks


@pytest.mark.parametrize("facts", [LATE, STALLED, COMMAND, FATAL, POST_LATE], ids=str)
def test_the_centre_is_asked_where_messages_do_not_suffice(facts: dict[str, object]) -> None:
    """Late, stalled, a lone failed command, and a fatal of unknown period at level 2."""
    verdict = _decided(**facts)
    expected = (VerdictKind.DEFER, "ask", True, NOW + MINUTE)
    assert expected == (verdict.kind, verdict.rule, verdict.ask, verdict.wake_at)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.MAIL])
@pytest.mark.parametrize("facts", [LATE, STALLED, FATAL], ids=str)
def test_at_level_1_and_in_mode_observe_nobody_is_asked(
    mode: Mode, facts: dict[str, object]
) -> None:
    """The owner gets the script, or the ledger the verdict, on the messages alone."""
    policy = PolicyFactory.build(sites=(SitePolicyFactory.build(mode=mode),))
    verdict = _decided(policy, **facts)
    assert VerdictKind.SUPERVISE is verdict.kind
    assert (Level.NOTHING if mode is Mode.OBSERVE else Level.MAIL) is verdict.level


@pytest.mark.parametrize("facts", [LATE, STALLED, COMMAND], ids=str)
def test_a_site_can_allow_questions_at_any_level(facts: dict[str, object]) -> None:
    """`ask = true`."""
    assert _decided(CURIOUS, **facts).ask


def test_a_fatal_of_unknown_period_is_asked_about_at_level_2_only() -> None:
    """Its period decides about a restart; a mail needs none."""
    assert _decided(CURIOUS, **FATAL).kind is VerdictKind.SUPERVISE


def test_a_fatal_of_known_period_is_not_asked_about() -> None:
    """Nor is a failed post-processing job."""
    assert _decided().kind is VerdictKind.SUPERVISE
    post = {"trigger__kind": TriggerKind.POST_PROCESSING, "job__kind": JobKind.POST_PROCESSING}
    assert _decided(**post, job__period=None).kind is VerdictKind.SUPERVISE


# Lone failed commands


def test_a_failed_command_belongs_to_the_fatal_of_its_job() -> None:
    """Three hundred of them can go with one failure."""
    verdict = _decided(**COMMAND, fatal_of_job=True)
    expected = (VerdictKind.MERGE, "lone-command", None)
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at)


def test_a_lone_failed_command_waits_ten_minutes_for_its_fatal() -> None:
    """From its arrival: mails take their time."""
    waits = _decided(**COMMAND, trigger__arrived_at=ago(minutes=9))
    expected = (VerdictKind.DEFER, "lone-command", NOW + MINUTE, False)
    assert expected == (waits.kind, waits.rule, waits.wake_at, waits.ask)
    assert _decided(**COMMAND, trigger__arrived_at=ago(minutes=10)).ask


def test_a_lone_failed_command_is_refused_where_nobody_may_be_asked() -> None:
    """Alone it may mean nothing."""
    verdict = _decided(MAIL_ONLY, **COMMAND)
    expected = (VerdictKind.REFUSE, "lone-command", False, None)
    assert expected == (verdict.kind, verdict.rule, verdict.tell_owner, verdict.wake_at)


def test_a_lone_failed_command_of_a_running_job_is_over_and_done_with() -> None:
    """It is not looked at again."""
    verdict = _decided(None, _seen(Sight.RUNNING), **COMMAND)
    expected = (VerdictKind.REFUSE, "ask", False, None)
    assert expected == (verdict.kind, verdict.rule, verdict.tell_owner, verdict.wake_at)


# Queued, running, held


@pytest.mark.parametrize("sight", [Sight.QUEUED, Sight.RUNNING, Sight.HELD])
def test_a_late_job_that_is_there_is_slow_and_its_owner_hears_it_once(sight: Sight) -> None:
    """Looked at again after another delay of its own."""
    delay = timedelta(hours=6)
    first = _decided(None, _seen(sight), **LATE, job__warning_delay=delay)
    expected = (VerdictKind.REFUSE, "ask", NOW + delay, True)
    assert expected == (first.kind, first.rule, first.wake_at, first.tell_owner)
    assert first.sentence == f"job {JOB} is {sight}, seen at 2015-03-18 12:00:00 UTC."
    again = _decided(None, _seen(sight, 360), _seen(sight), **LATE, job__warning_delay=delay)
    assert (VerdictKind.REFUSE, False) == (again.kind, again.tell_owner)


def test_a_job_that_was_there_some_time_ago_is_looked_at_again() -> None:
    """What was seen ten minutes ago says nothing of now."""
    assert _decided(None, _seen(Sight.RUNNING, 10), **LATE).ask
    assert not _decided(None, _seen(Sight.RUNNING, 9), **LATE).ask


def test_a_warning_delay_of_seconds_is_no_reason_to_ask_every_second() -> None:
    """At least as far apart as two looks have to be."""
    verdict = _decided(None, _seen(Sight.RUNNING), **LATE, job__warning_delay=timedelta(seconds=1))
    assert NOW + 10 * MINUTE == verdict.wake_at


@pytest.mark.parametrize("facts", [STALLED, FATAL], ids=str)
@pytest.mark.parametrize("sight", [Sight.QUEUED, Sight.HELD, Sight.RUNNING])
def test_whatever_is_there_is_never_started_a_second_time(
    facts: dict[str, object], sight: Sight
) -> None:
    """Also after a fatal; looked at again daily."""
    verdict = _decided(None, _seen(sight), **facts)
    assert (VerdictKind.REFUSE, NOW + DAY) == (verdict.kind, verdict.wake_at)


def test_a_job_that_has_just_failed_is_given_the_grace_to_leave() -> None:
    """Within ten minutes of its fatal it may well still be running; then it is looked at anew."""
    recent = {**FATAL, "trigger__at": ago(minutes=8)}
    leaving = _decided(None, _seen(Sight.RUNNING), **recent)
    assert (VerdictKind.DEFER, NOW + 2 * MINUTE, False) == (
        leaving.kind,
        leaving.wake_at,
        leaving.ask,
    )
    over = {**FATAL, "trigger__at": ago(minutes=10)}
    assert _decided(None, _seen(Sight.RUNNING, 2), **over).ask
    assert _decided(None, _seen(Sight.RUNNING), **over).kind is VerdictKind.REFUSE


def test_a_failed_job_that_is_queued_again_is_not_leaving() -> None:
    """The scheduler requeued it, or its owner did."""
    verdict = _decided(None, _seen(Sight.QUEUED), **FATAL, trigger__at=ago(minutes=8))
    assert verdict.kind is VerdictKind.REFUSE


def test_another_job_of_the_simulation_is_a_reason_to_stay_away() -> None:
    """Submitted by hand, it waits in the queue: daily, until it has started."""
    verdict = _decided(None, _look(others=True), **LATE)
    assert (VerdictKind.REFUSE, NOW + DAY) == (verdict.kind, verdict.wake_at)
    assert _decided(None, _look(10, others=True), **LATE).ask


def test_an_unidentified_job_right_after_a_fatal_may_be_the_failed_one_itself() -> None:
    """Without a scheduler id both look alike."""
    unclear = _seen(Sight.UNKNOWN, others=True)
    recent = _decided(None, unclear, **FATAL, trigger__at=ago(minutes=8))
    assert (VerdictKind.DEFER, NOW + 2 * MINUTE) == (recent.kind, recent.wake_at)
    assert _decided(None, unclear, **FATAL).kind is VerdictKind.REFUSE


# Ends


@pytest.mark.parametrize("facts", [LATE, COMMAND, FATAL, POST_LATE], ids=str)
def test_what_the_owner_stopped_is_never_restarted(facts: dict[str, object]) -> None:
    """(r) Cancelled at the centre: refused for good, and told, however long ago it was seen."""
    for minutes in (0, 600):
        verdict = _decided(None, _look(minutes, reason=EndReason.CANCELLED), **facts)
        expected = (VerdictKind.REFUSE, "ask", True, None)
        assert expected == (verdict.kind, verdict.rule, verdict.tell_owner, verdict.wake_at)


@pytest.mark.parametrize(
    "reason",
    [EndReason.FAILED, EndReason.TIMEOUT, EndReason.NODE_FAIL, EndReason.OUT_OF_MEMORY],
)
@pytest.mark.parametrize("facts", [LATE, COMMAND, FATAL, POST_LATE], ids=str)
def test_a_bad_end_lets_the_rules_go_on_at_full_level(
    reason: EndReason, facts: dict[str, object]
) -> None:
    """One look is enough: this is no silence, but an answer."""
    verdict = _decided(None, _look(reason=reason), **facts)
    expected = (VerdictKind.SUPERVISE, Level.AUTOMATIC, False)
    assert expected == (verdict.kind, verdict.level, verdict.submit_only)


@pytest.mark.parametrize("state", ["Running", "Fatal", "Fatal-pack"])
def test_a_script_that_ended_with_0_in_the_midst_of_a_period_ended_badly(state: str) -> None:
    """A period that was done would have left OnQueue or Completed."""
    assert _decided(None, _card(state), **LATE).kind is VerdictKind.SUPERVISE


@pytest.mark.parametrize(
    ("look", "facts"),
    [
        (_card("Completed"), LATE),
        (_card("Completed"), STALLED),
        (_card("Completed"), FATAL),
        (_seen(Sight.ABSENT, run_card=RunCardFactory.build(state="Completed")), LATE),
        (_card("OnQueue", others=True), LATE),
        (_card("OnQueue", others=True), STALLED),
        (_card("OnQueue", others=True), FATAL),
        (_look(reason=EndReason.COMPLETED), POST_LATE),
    ],
)
def test_a_good_end_is_refused_daily_until_its_message_is_in(
    look: Look, facts: dict[str, object]
) -> None:
    """run.card says Completed, or OnQueue with its next job; or the scheduler of a post job."""
    verdict = _decided(None, look, **facts)
    expected = (VerdictKind.REFUSE, "ask", NOW + DAY, False)
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at, verdict.tell_owner)
    assert _decided(None, replace(look, at=ago(minutes=10)), **facts).ask


def test_a_directory_of_another_simulation_is_left_alone() -> None:
    """run.card says whose it is; the owner hears of it."""
    card = RunCardFactory.build(simulation_uid=OTHER_SIMULATION)
    verdict = _decided(None, _look(run_card=card), **LATE)
    assert (VerdictKind.REFUSE, True, None) == (verdict.kind, verdict.tell_owner, verdict.wake_at)
    assert OTHER_SIMULATION in verdict.sentence


@pytest.mark.parametrize("spelled", ["upper", "none", "empty"])
def test_a_run_card_that_is_ours_or_says_nothing_is_not_foreign(spelled: str) -> None:
    """Case is no difference; a damaged card is checked by the script once more."""
    uid = RunCardFactory.build().simulation_uid
    spelling = {"upper": str(uid).upper(), "none": None, "empty": ""}[spelled]
    card = RunCardFactory.build(simulation_uid=spelling)
    assert _decided(None, _look(run_card=card), **LATE).kind is VerdictKind.SUPERVISE


def test_post_processing_does_not_mind_whose_run_card_it_is() -> None:
    """Only the scheduler's word counts for it."""
    card = RunCardFactory.build(simulation_uid=OTHER_SIMULATION, state="Completed")
    assert _decided(None, _look(run_card=card), **POST_LATE).kind is VerdictKind.SUPERVISE
