"""Levels 0 and 1: what is only observed, and scripts that go to their user by mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from supervision.facts import DecisionFacts, Hold, Level, Mode, OtherJob, Silence, TriggerKind
from supervision.fsm.actions import ACTIONS
from supervision.fsm.outcomes import Notice, Outcome
from supervision.fsm.states import Event, State
from tests.factories import NOW, OTHER_JOB, DecisionFactsFactory, SitePolicyFactory, ago
from tests.unit.test_actions_desk import DAY, HOUR, MINUTE, WISH, FakeDesk, SayingAgent, braked, row

LATER: Final = (OtherJob(uid=OTHER_JOB, at=ago(minutes=1)),)


def _desk(**facts: object) -> FakeDesk:
    """A desk at a site that only mails."""
    built: DecisionFacts = DecisionFactsFactory.build(before_acting=True, **facts)
    desk = FakeDesk(agent=SayingAgent(silent={"submit", "status", "look", "cancel"}))
    site = SitePolicyFactory.build(mode=Mode.MAIL, absent=Silence.MAIL)
    return replace(desk, decision_facts=built, policy=replace(desk.policy, sites=(site,)))


def _mail(desk: FakeDesk, state: State = State.FORMATTED, **changes: Any) -> Outcome:  # noqa: ANN401
    return ACTIONS[state]([row(state, level=Level.MAIL, **changes)], desk)[0]


def _said(outcome: Outcome) -> tuple[str | None, str | None]:
    return None if outcome.event is None else outcome.event.value, outcome.cause


def test_a_row_that_is_only_observed_is_cancelled_after_it_was_rendered() -> None:
    """Decided, rendered, recorded: nothing leaves the house, to nobody."""
    desk = _desk()
    (outcome,) = ACTIONS[State.FORMATTED]([row(level=Level.NOTHING)], desk)
    assert (("cancel", "observed"), []) == (_said(outcome), desk.told)


def test_a_script_goes_by_mail() -> None:
    """Level 1 is this mail; the centre is not touched, and no try is counted."""
    desk = _desk()
    outcome = _mail(desk, dispatch_error="mail was away", backoff=3)
    assert Event.DISPATCH is outcome.event
    assert [Notice.SCRIPT] == [notice for notice, _ in desk.told]
    assert (0, None, 0) == (
        outcome.after.dispatch_try_count,
        outcome.after.dispatch_error,
        outcome.after.backoff,
    )


def test_a_hold_stops_the_mail_too() -> None:
    """The rules are asked before it is written, brakes included."""
    hold = Hold(scope="site:curie", actor="bob", reason="storm", since=ago(hours=1))
    desk = _desk(holds=(hold,))
    outcome = _mail(desk)
    assert ((None, None), NOW + DAY) == (_said(outcome), outcome.until)
    assert [] == desk.told


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"trigger__at": ago(days=6)}, ("fail", "expired")),
        ({"simulation__complete_at": ago(minutes=1)}, ("cancel", "policy")),
        ({"later_starts": LATER}, ("cancel", "policy")),
        ({"simulation__announced_at": None}, (None, None)),
    ],
)
def test_the_rules_are_asked_again_before_the_mail(
    facts: dict[str, object], expected: tuple[str | None, str | None]
) -> None:
    """Nobody gets a script for what is over."""
    desk = _desk(**facts)
    assert (expected, []) == (_said(_mail(desk)), desk.told)


def test_a_mail_that_cannot_be_sent_yet_is_sent_later() -> None:
    """The mail server is away: no attempt, the same mail comes back."""
    outcome = _mail(replace(_desk(), mail_is_away=True))
    assert ((None, None), NOW + MINUTE / 2) == (_said(outcome), outcome.until)


def test_a_script_that_nobody_would_read_is_cancelled() -> None:
    """No address: the row must not wait for a user who never hears of it."""
    outcome = _mail(replace(_desk(), nobody_reads=True))
    assert ("cancel", "policy") == _said(outcome)
    assert "no address" in (outcome.reason or "")


@pytest.mark.parametrize("state", [State.FORMATTED, State.DISPATCHED])
def test_a_wish_ends_a_row_of_level_one(state: State) -> None:
    """There is no agent to tell."""
    outcome = _mail(_desk(), state, wanted=WISH)
    assert (("cancel", "person"), "alice") == (_said(outcome), outcome.actor)


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (ago(minutes=19), ("cancel", "policy")),
        (ago(minutes=20), ("dispatch", None)),
        (ago(hours=9), ("dispatch", None)),
    ],
)
def test_a_late_job_that_is_heard_of_again_needs_no_mail(
    heard: datetime, expected: tuple[str, str | None]
) -> None:
    """Most late jobs are merely slow: any newer message clears the mail."""
    desk = _desk(trigger__kind=TriggerKind.LATE, job__last_seen_at=heard)
    assert expected == _said(_mail(desk, trigger=TriggerKind.LATE))


def test_a_fatal_is_not_cleared_by_newer_messages() -> None:
    """Echoes of a failure follow it."""
    desk = _desk(job__last_seen_at=NOW)
    assert Event.DISPATCH is _mail(desk).event


@pytest.mark.parametrize(
    "facts", [{"later_starts": LATER}, {"simulation__complete_at": ago(minutes=1)}]
)
def test_a_mailed_script_was_used_when_the_facts_say_so(facts: dict[str, object]) -> None:
    """Superseded or complete: the user did it, and the history says that it was them."""
    outcome = _mail(_desk(**facts), State.DISPATCHED)
    assert (("execute", None), "user") == (_said(outcome), outcome.actor)


@pytest.mark.parametrize(
    "facts", [{"later_starts": LATER}, {"simulation__complete_at": ago(minutes=1)}]
)
def test_a_mailed_script_may_be_used_after_a_week(facts: dict[str, object]) -> None:
    """The user has 14 days: that the trigger is old by then says nothing about the restart."""
    desk = _desk(trigger__at=ago(days=7), **facts)
    assert Event.EXECUTE is _mail(desk, State.DISPATCHED, dispatched_at=ago(days=7)).event


def test_a_mailed_script_that_was_not_used_is_looked_at_daily() -> None:
    """Nothing is asked of anybody meanwhile."""
    outcome = _mail(_desk(), State.DISPATCHED)
    assert ((None, None), NOW + DAY) == (_said(outcome), outcome.until)


@pytest.mark.parametrize(
    ("age", "expected"), [(14 * DAY, ("fail", "expired")), (14 * DAY - HOUR, (None, None))]
)
def test_a_mailed_script_expires_after_two_weeks(
    age: timedelta,
    expected: tuple[str | None, str | None],
) -> None:
    """Fourteen days from the mail."""
    assert expected == _said(_mail(_desk(), State.DISPATCHED, dispatched_at=NOW - age))


def test_a_brake_does_not_keep_the_facts_from_being_read() -> None:
    """Level 1 asks no centre: a hold of the site leaves it alone."""
    desk = replace(_desk(later_starts=LATER), stops={row().id: braked()})
    assert Event.EXECUTE is _mail(desk, State.DISPATCHED).event


def test_levels_of_one_set_go_their_own_ways() -> None:
    """One set, one action, three ways on."""
    desk = replace(_desk(), agent=SayingAgent())
    rows = [row(id=str(int(level)), level=level) for level in Level]
    outcomes = {each.row.id: each.event for each in ACTIONS[State.FORMATTED](rows, desk)}
    assert {"0": Event.CANCEL, "1": Event.DISPATCH, "2": Event.DISPATCH} == outcomes
