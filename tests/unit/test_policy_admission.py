"""Rules 1 to 4: age, deletion, where and who, consent."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from supervision.facts import Level, Policy, Verdict, VerdictKind
from supervision.policy import decide
from tests.factories import (
    JOB,
    NOW,
    OTHER_SIMULATION,
    SIMULATION,
    DecisionFactsFactory,
    PolicyFactory,
    SimulationFactsFactory,
    SitePolicyFactory,
    UserPolicyFactory,
    ago,
)

SECOND = timedelta(seconds=1)
AGED = PolicyFactory.build().max_age


def _decided(policy: Policy | None = None, /, **facts: object) -> Verdict:
    return decide(DecisionFactsFactory.build(**facts), policy or PolicyFactory.build(), NOW)


def _with_site(**changes: object) -> Policy:
    return PolicyFactory.build(sites=(SitePolicyFactory.build(**changes),))


def _with_user(**changes: object) -> Policy:
    return PolicyFactory.build(users=(UserPolicyFactory.build(**changes),))


def test_a_year_s_mailbox_on_the_first_day_restarts_nothing() -> None:
    """(r) Failures of long ago, read for the first time today, are too old to act on."""
    verdicts = [
        _decided(trigger__at=ago(days=d), trigger__arrived_at=NOW) for d in range(6, 366, 30)
    ]
    assert {(VerdictKind.REFUSE, "too-old", None)} == {
        (v.kind, v.rule, v.wake_at) for v in verdicts
    }


def test_a_trigger_of_exactly_the_largest_age_is_still_heard() -> None:
    """The boundary belongs to the living."""
    assert _decided(trigger__at=NOW - AGED).rule == "supervise"
    assert _decided(trigger__at=NOW - AGED - SECOND).rule == "too-old"


def test_age_is_counted_from_the_message_and_not_from_its_arrival() -> None:
    """A message that came late tells of something that is long over."""
    verdict = _decided(trigger__at=NOW - AGED - SECOND, trigger__arrived_at=NOW)
    assert verdict.rule == "too-old"


def test_a_clock_far_ahead_counts_as_the_arrival() -> None:
    """More than an hour in the future is no time; up to an hour is a clock that is off."""
    arrived = NOW - AGED - timedelta(minutes=1)
    ahead = {"trigger__arrived_at": arrived, "trigger__at": arrived + timedelta(hours=1)}
    assert _decided(**ahead).rule == "supervise"
    ahead["trigger__at"] += SECOND
    assert _decided(**ahead).rule == "too-old"


def test_the_sentence_of_too_old_names_job_and_time() -> None:
    """Who reads it must not need to look anything up."""
    verdict = _decided(trigger__at=ago(days=6))
    assert verdict.sentence == f"job {JOB} failed (2015-03-12 12:00:00 UTC): more than 5 d ago."


def test_a_deleted_simulation_is_left_alone() -> None:
    """An 8888 after the last start and after this job's first message ends it."""
    verdict = _decided(simulation__deleted_at=ago(hours=1))
    assert (VerdictKind.REFUSE, "deleted", None) == (verdict.kind, verdict.rule, verdict.wake_at)


@pytest.mark.parametrize(("last_start", "first"), [(1, 4), (4, 1), (2, 4), (4, 2)], ids=str)
def test_a_start_or_a_job_after_the_deletion_lifts_it(last_start: int, first: int) -> None:
    """A simulation that runs again, even from the same moment on, is no deleted one."""
    verdict = _decided(
        simulation__deleted_at=ago(hours=2),
        simulation__last_start_at=ago(hours=last_start),
        job__first_at=ago(hours=first),
    )
    assert verdict.rule == "supervise"


def test_a_deletion_stands_when_no_start_was_ever_heard_of() -> None:
    """Unknown starts lift nothing."""
    unknown = {"simulation__last_start_at": None, "job__first_at": None, "job__started_at": None}
    assert _decided(simulation__deleted_at=ago(days=9), **unknown).rule == "deleted"


@pytest.mark.parametrize("tries", [0, 1, 2])
def test_a_missing_0000_is_waited_for_three_times(tries: int) -> None:
    """Mails overtake each other: five minutes, three times."""
    verdict = _decided(simulation__announced_at=None, deferrals={"where-and-who": tries})
    expected = (VerdictKind.DEFER, "where-and-who", NOW + timedelta(minutes=5))
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at)


def test_0000_an_hour_late_finds_the_trigger_still_waiting() -> None:
    """(r) Refused for want, the trigger keeps its alarm, and goes on once the 0000 is in."""
    late = {"deferrals": {"where-and-who": 3}}
    want = _decided(simulation__announced_at=None, **late)
    expected = (VerdictKind.REFUSE, True, NOW + timedelta(days=1))
    assert expected == (want.kind, want.for_want, want.wake_at)
    assert _decided(**late).kind is VerdictKind.SUPERVISE


def test_a_want_is_looked_at_again_only_while_the_trigger_is_young_enough() -> None:
    """The last daily look is the one that still falls within the largest age."""
    bare = {"simulation__announced_at": None, "deferrals": {"where-and-who": 3}}
    day = timedelta(days=1)
    assert NOW + day == _decided(trigger__at=NOW - AGED + day, **bare).wake_at
    over = _decided(trigger__at=NOW - AGED + day - SECOND, **bare)
    assert (True, None) == (over.for_want, over.wake_at)


@pytest.mark.parametrize(
    "unknown",
    [
        {"simulation__machine": "ada"},
        {"simulation__centre": "IDRIS"},
        {"simulation__centre": None},
        {"simulation__machine": None},
        {"simulation__login": None},
        {"simulation__login": ""},
        {"simulation__directory": None, "job__directory": None},
    ],
    ids=str,
)
def test_an_unknown_site_login_or_directory_is_a_want_and_is_told(unknown: dict[str, str]) -> None:
    """Settings may be corrected, so the trigger stays; somebody has to hear of it."""
    verdict = _decided(**unknown)
    expected = (VerdictKind.REFUSE, "where-and-who", True, True, NOW + timedelta(days=1))
    found = (verdict.kind, verdict.rule, verdict.for_want, verdict.tell_owner, verdict.wake_at)
    assert expected == found


def test_a_retired_site_refuses_for_good_and_names_its_successor() -> None:
    """Nothing will come that changes this, but the owner can move on."""
    verdict = _decided(_with_site(retired=True, successor="irene"))
    assert (VerdictKind.REFUSE, False, True) == (verdict.kind, verdict.for_want, verdict.tell_owner)
    assert verdict.wake_at is None
    assert verdict.sentence == "site curie is retired; its successor is irene."


def test_a_retired_site_without_successor_says_so() -> None:
    """The sentence is whole in either case."""
    verdict = _decided(_with_site(retired=True))
    assert verdict.sentence == "site curie is retired; it has no successor."


def test_an_unknown_user_has_given_no_consent() -> None:
    """Nobody is helped who did not ask for it."""
    verdict = _decided(PolicyFactory.build(users=()))
    assert (VerdictKind.REFUSE, "consent") == (verdict.kind, verdict.rule)
    assert verdict.sentence == "no consent of 'p86user1' at curie to be helped is recorded."


@pytest.mark.parametrize(
    "limits",
    [
        {"level": Level.NOTHING},
        {"sites": ("irene",)},
        {"spaces": ("DEVT",)},
        {"simulations": (OTHER_SIMULATION,)},
        {"until": date(2015, 3, 17)},
    ],
    ids=str,
)
def test_what_a_user_did_not_allow_is_refused(limits: dict[str, object]) -> None:
    """Level 0, another site, another space, another simulation, a date gone by."""
    assert _decided(_with_user(**limits)).rule == "consent"


@pytest.mark.parametrize(
    "limits",
    [
        {"sites": ("irene", "curie")},
        {"spaces": ("prod",)},
        {"simulations": (SIMULATION,)},
        {"simulations": ("CPL01",)},
        {"until": date(2015, 3, 18)},
    ],
    ids=str,
)
def test_what_a_user_did_allow_is_helped(limits: dict[str, object]) -> None:
    """The last day of a consent is part of it; a simulation is named by uid or name."""
    assert _decided(_with_user(**limits)).rule == "supervise"


def test_a_space_that_no_message_named_is_outside_what_was_allowed() -> None:
    """Silence is no consent."""
    assert _decided(_with_user(spaces=("PROD",)), simulation__space=None).rule == "consent"


def test_a_simulation_without_a_name_is_called_by_its_uid() -> None:
    """Damaged messages still give whole sentences."""
    facts = SimulationFactsFactory.build(name=None, deleted_at=NOW)
    verdict = _decided(simulation=facts)
    assert verdict.sentence == f"simulation {SIMULATION} was deleted at 2015-03-18 12:00:00 UTC."
