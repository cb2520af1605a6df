"""Rule 14 where nothing is seen: absent jobs, broken chains, centres that do not answer."""

from __future__ import annotations

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
    Silence,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.policy import decide
from tests.factories import (
    JOB,
    NOW,
    DecisionFactsFactory,
    LookFactory,
    PolicyFactory,
    RunCardFactory,
    SitePolicyFactory,
    ago,
)

MINUTE: Final = timedelta(minutes=1)
LATE: Final[dict[str, object]] = {"trigger__kind": TriggerKind.LATE}
STALLED: Final[dict[str, object]] = {
    "trigger__kind": TriggerKind.STALLED,
    "job__ended_at": ago(hours=25),
}
COMMAND: Final[dict[str, object]] = {"trigger__kind": TriggerKind.COMMAND}
FATAL: Final[dict[str, object]] = {"job__period": None}
POST_LATE: Final[dict[str, object]] = {**LATE, "job__kind": JobKind.POST_PROCESSING}
CURIOUS: Final = PolicyFactory.build(sites=(SitePolicyFactory.build(mode=Mode.MAIL, ask=True),))
BOLD: Final = PolicyFactory.build(
    sites=(SitePolicyFactory.build(absent=Silence.ACT, stalled=Silence.ACT),)
)


def _decided(policy: Policy | None = None, /, *looks: Look, **facts: object) -> Verdict:
    known = DecisionFactsFactory.build(looks=looks, **facts)
    return decide(known, policy or PolicyFactory.build(), NOW)


def _look(minutes: float = 0, /, **changes: object) -> Look:
    return LookFactory.build(at=ago(minutes=minutes), **changes)


def _seen(sight: Sight, minutes: float = 0, /, **changes: object) -> Look:
    return _look(minutes, sight=sight, reason=None, **changes)


def _card(state: str | None, minutes: float = 0, /, **changes: object) -> Look:
    """A job that ended with 0, whatever its run.card says."""
    card = RunCardFactory.build(state=state)
    return _look(minutes, **{"reason": EndReason.COMPLETED, "run_card": card, **changes})


# Absent


@pytest.mark.parametrize("facts", [LATE, COMMAND, POST_LATE], ids=str)
def test_an_absent_job_counts_only_when_two_looks_ten_minutes_apart_agree(
    facts: dict[str, object],
) -> None:
    """Wait, ask a second time, and only then go on."""
    once = _decided(None, _seen(Sight.ABSENT, 4), **facts)
    assert (VerdictKind.DEFER, NOW + 6 * MINUTE, False) == (once.kind, once.wake_at, once.ask)
    assert _decided(None, _seen(Sight.ABSENT, 10), **facts).ask
    close = (_seen(Sight.ABSENT, 9.9), _seen(Sight.ABSENT))
    assert _decided(None, *close, **facts).kind is VerdictKind.DEFER
    apart = (_seen(Sight.ABSENT, 10), _seen(Sight.ABSENT))
    assert _decided(None, *apart, **facts).kind is VerdictKind.SUPERVISE


@pytest.mark.parametrize(
    ("policy", "level"), [(None, Level.MAIL), (BOLD, Level.AUTOMATIC), (CURIOUS, Level.MAIL)]
)
def test_what_rests_on_absence_is_mailed_unless_the_site_lets_it_act(
    policy: Policy | None, level: Level
) -> None:
    """`absent = mail` caps the level at 1, `act` caps nothing and raises nothing."""
    apart = (_seen(Sight.ABSENT, 10), _seen(Sight.ABSENT))
    verdict = _decided(policy, *apart, **LATE)
    assert (level, False) == (verdict.level, verdict.submit_only)


def test_an_end_for_an_unknown_reason_is_treated_like_absence() -> None:
    """Its owner may have stopped it."""
    apart = (_look(10, reason=EndReason.UNKNOWN), _look(reason=EndReason.UNKNOWN))
    assert _decided(None, apart[1], **LATE).kind is VerdictKind.DEFER
    assert _decided(None, *apart, **LATE).level is Level.MAIL


@pytest.mark.parametrize(
    "between",
    [_seen(Sight.RUNNING, 5), _look(5, reason=EndReason.COMPLETED, others=True)],
)
def test_a_look_that_saw_something_else_between_breaks_the_agreement(between: Look) -> None:
    """Two looks agree only when none contradicts."""
    looks = (_seen(Sight.ABSENT, 20), between, _seen(Sight.ABSENT))
    assert _decided(None, *looks, **LATE).kind is VerdictKind.DEFER


@pytest.mark.parametrize(
    "between", [_seen(Sight.UNKNOWN, 5), _seen(Sight.ABSENT, 5, reachable=False)]
)
def test_a_look_that_saw_nothing_between_breaks_no_agreement(between: Look) -> None:
    """Only successful queries are compared."""
    looks = (_seen(Sight.ABSENT, 20), between, _seen(Sight.ABSENT))
    assert _decided(None, *looks, **LATE).kind is VerdictKind.SUPERVISE


@pytest.mark.parametrize("dead", [{"scheduler_alive": False}, {"reachable": False}], ids=str)
def test_absence_without_a_sign_of_life_of_the_scheduler_is_no_absence(
    dead: dict[str, bool],
) -> None:
    """An empty answer of a dead scheduler looks the same."""
    looks = tuple(_seen(Sight.ABSENT, minutes, **dead) for minutes in (20, 10, 0))
    assert _decided(None, *looks, **LATE).kind is VerdictKind.DEFER


def test_an_absence_that_two_looks_found_is_good_for_a_day() -> None:
    """A hold may lie between the looks and the act; then one look more is enough."""
    old = (_seen(Sight.ABSENT, 24 * 60 + 10), _seen(Sight.ABSENT, 24 * 60))
    assert _decided(None, *old, **LATE).ask
    assert _decided(None, *old, _seen(Sight.ABSENT), **LATE).kind is VerdictKind.SUPERVISE
    young = (_seen(Sight.ABSENT, 24 * 60 + 9), _seen(Sight.ABSENT, 24 * 60 - 1))
    assert _decided(None, *young, **LATE).kind is VerdictKind.SUPERVISE


# OnQueue and no job


@pytest.mark.parametrize("facts", [LATE, STALLED], ids=str)
def test_generation_c_s_1100_waits_for_a_job_that_never_comes(facts: dict[str, object]) -> None:
    """(r) OnQueue and no job, twice ten minutes apart: the chain is broken, nothing is cleaned."""
    once = _decided(None, _card("OnQueue", 4), **facts)
    assert (VerdictKind.DEFER, NOW + 6 * MINUTE) == (once.kind, once.wake_at)
    assert _decided(None, _card("OnQueue", 10), **facts).ask
    twice = _decided(None, _card("OnQueue", 10), _card("OnQueue"), **facts)
    expected = (VerdictKind.SUPERVISE, Level.MAIL, True)
    assert expected == (twice.kind, twice.level, twice.submit_only)


def test_a_broken_chain_is_mended_where_the_site_lets_it() -> None:
    """`stalled = act`; the setting `absent` is about something else."""
    looks = (_card("OnQueue", 10), _card("OnQueue"))
    assert _decided(BOLD, *looks, **STALLED).level is Level.AUTOMATIC
    absent = PolicyFactory.build(sites=(SitePolicyFactory.build(absent=Silence.ACT),))
    assert _decided(absent, *looks, **STALLED).level is Level.MAIL


@pytest.mark.parametrize("blind", [{"others": None}, {"scheduler_alive": False}], ids=str)
def test_onqueue_where_nobody_knows_of_jobs_is_not_a_broken_chain(
    blind: dict[str, object],
) -> None:
    """Silence is never read as an end."""
    looks = [_card("OnQueue", minutes, **blind) for minutes in (20, 10, 0)]
    verdict = _decided(None, *looks, **STALLED)
    assert (VerdictKind.DEFER, "ask") == (verdict.kind, verdict.rule)


def test_a_fatal_with_onqueue_and_no_job_is_asked_about_only_once() -> None:
    """Somebody cleaned by hand; the script will see it and clean nothing."""
    verdict = _decided(None, _card("OnQueue"), **FATAL)
    expected = (VerdictKind.SUPERVISE, Level.AUTOMATIC, False)
    assert expected == (verdict.kind, verdict.level, verdict.submit_only)


def test_a_next_job_that_died_unheard_counts_as_absent() -> None:
    """Stalled, run.card Running, nothing there: twice, and only by mail unless `absent` is act."""
    looks = tuple(_seen(Sight.ABSENT, minutes) for minutes in (10, 0))
    verdict = _decided(None, *looks, **STALLED)
    expected = (VerdictKind.SUPERVISE, Level.MAIL, False)
    assert expected == (verdict.kind, verdict.level, verdict.submit_only)
    assert _decided(BOLD, *looks, **STALLED).level is Level.AUTOMATIC
    assert _decided(None, looks[1], **STALLED).kind is VerdictKind.DEFER


def test_how_the_stalled_simulation_s_last_job_ended_tells_nothing_of_the_next() -> None:
    """A bad exit code of a job that ended well is no bad end."""
    assert _decided(None, _look(reason=EndReason.FAILED), **STALLED).kind is VerdictKind.DEFER
    blind = [_look(m, run_card=None) for m in (20, 0)]
    assert _decided(None, *blind, **STALLED).kind is VerdictKind.DEFER


# Unknown, unreachable


@pytest.mark.parametrize(
    ("count", "minutes"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (5000, 60)]
)
def test_an_unreachable_centre_is_asked_less_and_less_often(count: int, minutes: int) -> None:
    """Five minutes, doubled each time, up to an hour; the newest look was a minute ago."""
    looks = [_look(1, reachable=False)] * count
    verdict = _decided(None, *looks, **LATE)
    expected = (VerdictKind.DEFER, "ask", NOW + (minutes - 1) * MINUTE, False)
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at, verdict.ask)


def test_an_unreachable_centre_is_asked_again_when_its_time_has_come() -> None:
    """At the very moment."""
    assert _decided(None, _look(5, reachable=False), **LATE).ask
    assert not _decided(None, _look(4.9, reachable=False), **LATE).ask


def test_a_look_that_saw_something_begins_the_backing_off_anew() -> None:
    """What counts is how often in a row nothing was seen."""
    looks = (
        _look(90, reachable=False),
        _look(60, reachable=False),
        _seen(Sight.ABSENT, 30),
        _look(1, reachable=False),
    )
    assert NOW + 4 * MINUTE == _decided(None, *looks, **LATE).wake_at


@pytest.mark.parametrize(
    "look",
    [
        _look(reachable=False, problem="connection refused"),
        _seen(Sight.UNKNOWN),
        _card(None),
        _look(reason=EndReason.COMPLETED, run_card=None),
        _seen(Sight.ABSENT, scheduler_alive=False),
    ],
)
def test_what_cannot_be_told_is_never_read_as_an_end(look: Look) -> None:
    """Unknown is a value."""
    verdict = _decided(BOLD, look, **LATE)
    assert (VerdictKind.DEFER, NOW + 5 * MINUTE) == (verdict.kind, verdict.wake_at)


def test_the_problem_of_an_unreachable_centre_stands_in_the_sentence() -> None:
    """Without one, that the centre could not tell."""
    told = _decided(None, _look(reachable=False, problem="connection refused"), **LATE)
    assert told.sentence == f"job {JOB}: connection refused."
    assert "curie could not tell" in _decided(None, _seen(Sight.UNKNOWN), **LATE).sentence


def test_the_operator_hears_once_that_a_centre_has_been_silent_for_a_day() -> None:
    """By the look that made it a day, by none before and none after it."""
    day = 24 * 60
    blind = [_look(minutes, reachable=False) for minutes in (day, 60, 0)]
    assert _decided(None, *blind, **LATE).tell_operator
    assert not _decided(None, *blind[:2], **LATE).tell_operator
    after = [_look(minutes, reachable=False) for minutes in (day + 60, 60, 0)]
    assert not _decided(None, *after, **LATE).tell_operator


def test_a_fatal_is_asked_about_once_and_then_helped_without_its_period() -> None:
    """A reachable centre that knows nothing is answer enough; the message said that it failed."""
    for look in (_seen(Sight.UNKNOWN, run_card=None), _seen(Sight.ABSENT, scheduler_alive=False)):
        verdict = _decided(None, look, **FATAL)
        assert (VerdictKind.SUPERVISE, Level.AUTOMATIC) == (verdict.kind, verdict.level)


def test_a_fatal_waits_for_an_unreachable_centre() -> None:
    """Nothing could be done there anyway."""
    verdict = _decided(None, _look(reachable=False), **FATAL)
    assert (VerdictKind.DEFER, NOW + 5 * MINUTE) == (verdict.kind, verdict.wake_at)


def test_an_absent_job_after_a_fatal_is_no_silence() -> None:
    """It told that it failed: no second look, no cap."""
    verdict = _decided(None, _seen(Sight.ABSENT), **FATAL)
    assert (VerdictKind.SUPERVISE, Level.AUTOMATIC) == (verdict.kind, verdict.level)


def test_no_look_raises_what_site_and_user_allow() -> None:
    """A bad end at a site that only mails is a mail."""
    assert _decided(CURIOUS, _look(), **LATE).level is Level.MAIL


def test_a_late_job_that_ended_well_is_not_blamed_for_its_silent_successor() -> None:
    """r: exit 0 and a run.card that moved on: the successor died, and that needs two looks."""
    card = RunCardFactory.build(state="Running", period=14)
    seen = {"reason": EndReason.COMPLETED, "run_card": card, "others": False}
    first = _look(20, **seen)
    verdict = _decided(None, first, **LATE, job__period=13)
    assert (VerdictKind.DEFER, "ask") == (verdict.kind, verdict.rule)


def test_a_job_that_ended_with_0_in_its_own_period_did_not_do_its_work() -> None:
    """The period that it announced itself is the one that run.card still stands in."""
    card = RunCardFactory.build(state="Running", period=13)
    seen = {"reason": EndReason.COMPLETED, "run_card": card, "others": False}
    verdict = _decided(None, _look(0, **seen), **LATE, job__period=13)
    assert VerdictKind.SUPERVISE is verdict.kind


@pytest.mark.parametrize("facts", [LATE, STALLED])
@pytest.mark.parametrize("state", ["Running", "OnQueue"])
def test_a_successor_that_its_owner_cancelled_unheard_is_left_alone(
    facts: dict[str, object], state: str
) -> None:
    """r: the owner stopped it, before its first mail left or while it waited to run.

    Nothing of it but the queue told.
    """
    card = RunCardFactory.build(state=state, period=14)
    newest = EndReason.CANCELLED
    seen = {"reason": EndReason.COMPLETED, "run_card": card, "others": False, "newest": newest}
    verdict = _decided(None, _look(20, **seen), _look(0, **seen), **facts)
    assert (VerdictKind.REFUSE, True) == (verdict.kind, verdict.tell_owner)
