"""Rule 12: holds, maintenance, caps, credentials."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from supervision.facts import (
    Hold,
    Level,
    LoginAlias,
    Mode,
    Policy,
    Restarts,
    TriggerKind,
    Verdict,
    VerdictKind,
    Window,
)
from supervision.policy import braked, decide
from tests.factories import (
    NOW,
    OTHER_SIMULATION,
    SIMULATION,
    DecisionFactsFactory,
    PolicyFactory,
    SitePolicyFactory,
    UserPolicyFactory,
    ago,
)

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def _decided(policy: Policy | None = None, /, **facts: object) -> Verdict:
    return decide(DecisionFactsFactory.build(**facts), policy or PolicyFactory.build(), NOW)


def _with_site(**changes: object) -> Policy:
    return PolicyFactory.build(sites=(SitePolicyFactory.build(**changes),))


def _hold(scope: str) -> tuple[Hold, ...]:
    return (Hold(scope=scope, actor="op", reason="disks are full", since=ago(hours=3)),)


@pytest.mark.parametrize(
    "scope", ["site:curie", "login:curie/p86user1", f"simulation:{SIMULATION}", "SITE:Curie"]
)
def test_a_hold_makes_everything_in_its_scope_wait(scope: str) -> None:
    """Looked at again daily; who, why and since when stands in the sentence."""
    verdict = _decided(holds=_hold(scope))
    expected = (VerdictKind.DEFER, "hold", NOW + timedelta(days=1))
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at)
    since = "2015-03-18 09:00:00 UTC"
    assert verdict.sentence == f"{scope} is on hold since {since} by op: disks are full."


@pytest.mark.parametrize(
    "scope", ["site:irene", "login:curie/other", "login:irene/p86user1", "curie",
              f"simulation:{OTHER_SIMULATION}"],
)  # fmt: skip
def test_a_hold_of_another_scope_stops_nothing(scope: str) -> None:
    """Whoever passes all holds gets the right ones."""
    assert _decided(holds=_hold(scope)).rule == "supervise"


@pytest.mark.parametrize("login", ["p86user1", "user1"])
def test_a_hold_of_a_renamed_login_is_found_under_both_names(login: str) -> None:
    """A person says the name that they know."""
    policy = PolicyFactory.build(
        sites=(SitePolicyFactory.build(logins=(LoginAlias(announced="p86user1", login="user1"),)),),
        users=(UserPolicyFactory.build(login="user1"),),
    )
    assert _decided(policy, holds=_hold(f"login:curie/{login}")).rule == "hold"


@pytest.mark.parametrize(
    ("start", "end", "until"),
    [
        (NOW, NOW + HOUR, NOW + 3 * HOUR),
        (NOW - HOUR, NOW + SECOND, NOW + SECOND + 2 * HOUR),
        (NOW - 3 * HOUR, NOW - 2 * HOUR + SECOND, NOW + SECOND),
        (NOW - 3 * HOUR, NOW - 2 * HOUR, None),
        (NOW + SECOND, NOW + HOUR, None),
    ],
    ids=["first moment", "under way", "coming to rest", "over", "ahead"],
)
def test_maintenance_lasts_until_two_hours_after_its_end(
    start: datetime, end: datetime, until: datetime | None
) -> None:
    """A centre that has just come back is not the place for a restart."""
    verdict = _decided(_with_site(maintenance=(Window(start=start, end=end),)))
    assert until == verdict.wake_at
    assert ("supervise" if until is None else "maintenance") == verdict.rule


def test_two_maintenances_that_overlap_end_with_the_later_one() -> None:
    """Otherwise the row would wake up into the other."""
    windows = (
        Window(start=NOW - HOUR, end=NOW + 5 * HOUR),
        Window(start=NOW - HOUR, end=NOW + HOUR),
    )
    verdict = _decided(_with_site(maintenance=windows))
    assert NOW + 7 * HOUR == verdict.wake_at
    assert verdict.sentence == "curie is in maintenance until 2015-03-18 17:00:00 UTC."


@pytest.mark.parametrize(
    ("scope", "count", "window"),
    [("site", 20, HOUR), ("simulation", 3, 24 * HOUR), ("user", 5, HOUR)],
)
def test_a_full_cap_waits_until_its_oldest_restart_leaves_the_window(
    scope: str, count: int, window: timedelta
) -> None:
    """One less is not full."""
    begun = tuple(NOW - window + (n + 1) * timedelta(minutes=1) for n in range(count))
    verdict = _decided(restarts=Restarts(**{scope: begun}))
    expected = (VerdictKind.DEFER, "cap", begun[0] + window)
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at)
    assert _decided(restarts=Restarts(**{scope: begun[1:]})).rule == "supervise"


def test_a_restart_leaves_the_window_at_its_very_end() -> None:
    """Then the place is free."""
    begun = (NOW - 24 * HOUR, NOW - 2 * HOUR, NOW - HOUR)
    assert _decided(restarts=Restarts(simulation=begun)).rule == "supervise"
    begun = (NOW - 24 * HOUR + SECOND, NOW - 2 * HOUR, NOW - HOUR)
    assert NOW + SECOND == _decided(restarts=Restarts(simulation=begun)).wake_at


def test_an_overfull_cap_waits_until_a_place_is_really_free() -> None:
    """After settings were lowered, the oldest restart alone makes no room."""
    begun = tuple(NOW - n * HOUR for n in (5, 4, 3, 2))
    assert NOW + 20 * HOUR == _decided(restarts=Restarts(simulation=begun)).wake_at


def test_of_two_full_caps_the_one_that_lasts_longer_speaks() -> None:
    """Waking up earlier would only meet the other."""
    restarts = Restarts(user=(NOW,) * 5, simulation=(NOW,) * 3)
    verdict = _decided(restarts=restarts)
    assert NOW + 24 * HOUR == verdict.wake_at
    assert verdict.sentence == f"simulation {SIMULATION} had 3 restarts within 1 d."


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.MAIL])
def test_what_restarts_nothing_has_no_cap(mode: Mode) -> None:
    """A mail is no restart."""
    restarts = Restarts(simulation=(NOW,) * 3)
    assert _decided(_with_site(mode=mode), restarts=restarts).rule == "supervise"


@pytest.mark.parametrize(("expires_at", "waits"), [(NOW, True), (NOW + SECOND, False)])
def test_an_expired_credential_is_waited_for(
    expires_at: datetime,
    waits: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    """An hour at a time; it is over at its very moment."""
    verdict = _decided(credential_expires_at=expires_at)
    assert (NOW + HOUR if waits else None) == verdict.wake_at
    assert ("credential" if waits else "supervise") == verdict.rule


def test_an_expired_credential_does_not_matter_where_nobody_connects() -> None:
    """At level 1 it matters only where the site allows questions."""
    expired = {"credential_expires_at": ago(days=1)}
    assert _decided(_with_site(mode=Mode.MAIL), **expired).level is Level.MAIL
    assert _decided(_with_site(mode=Mode.MAIL, ask=True), **expired).rule == "credential"


@pytest.mark.parametrize(
    "brake",
    [
        {"holds": _hold("site:curie")},
        {"restarts": Restarts(simulation=(NOW,) * 3)},
        {"credential_expires_at": ago(days=1)},
    ],
    ids=["hold", "cap", "credential"],
)
def test_brakes_come_before_any_contact(brake: dict[str, object]) -> None:
    """A late job would be asked about; not while a brake is on."""
    verdict = _decided(trigger__kind=TriggerKind.LATE, **brake)
    assert (VerdictKind.DEFER, False) == (verdict.kind, verdict.ask)


def test_maintenance_comes_before_any_contact_too() -> None:
    """A node in maintenance is not asked."""
    window = Window(start=NOW - HOUR, end=NOW + HOUR)
    verdict = _decided(_with_site(maintenance=(window,)), trigger__kind=TriggerKind.LATE)
    assert ("maintenance", False) == (verdict.rule, verdict.ask)


def test_other_windows_and_counts_come_from_the_settings() -> None:
    """Defaults are only defaults."""
    policy = PolicyFactory.build()
    lower = replace(policy, user_cap=replace(policy.user_cap, count=1))
    assert _decided(lower, restarts=Restarts(user=(NOW,))).rule == "cap"


@pytest.mark.parametrize(
    ("brake", "rule"),
    [
        ({"holds": _hold("site:curie")}, "hold"),
        ({"credential_expires_at": NOW}, "credential"),
        ({"restarts": Restarts(simulation=(NOW,) * 3)}, None),
        ({}, None),
    ],
    ids=["hold", "credential", "cap", "nothing"],
)
def test_whoever_would_connect_meets_the_brakes_but_not_the_caps(
    brake: dict[str, object], rule: str | None
) -> None:
    """Asking restarts nothing; and an old row asks also where the mode was lowered since."""
    facts = DecisionFactsFactory.build(**brake)
    for policy in (PolicyFactory.build(), _with_site(mode=Mode.MAIL)):
        verdict = braked(facts, policy, NOW)
        assert rule == (verdict.rule if verdict else None)


def test_whoever_would_connect_waits_for_the_end_of_a_maintenance() -> None:
    """Two hours after it, like any act."""
    window = Window(start=NOW - HOUR, end=NOW + HOUR)
    verdict = braked(DecisionFactsFactory.build(), _with_site(maintenance=(window,)), NOW)
    assert verdict is not None
    assert ("maintenance", NOW + 3 * HOUR) == (verdict.rule, verdict.wake_at)
