"""Formatted, level 2: brakes, what the agent knows, the rules, the caps, and only then the act."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from supervision.facts import (
    AnswerKind,
    DecisionFacts,
    Order,
    TriggerKind,
)
from supervision.fsm.actions import ACTIONS
from supervision.fsm.outcomes import Notice, Outcome
from supervision.fsm.states import Event, State
from tests.factories import (
    DIRECTORY,
    NOW,
    DecisionFactsFactory,
    LookFactory,
    SitePolicyFactory,
    TriggerFactory,
    ago,
)
from tests.unit.test_actions_desk import (
    HOUR,
    MINUTE,
    ROW,
    WISH,
    FakeDesk,
    SayingAgent,
    braked,
    row,
)

SENT: Final = {
    "accepted": ("dispatch", "pending", None),
    "running": ("dispatch", "running", None),
    "executed": ("dispatch", "pending", None),
    "declined": ("dispatch", "pending", None),
    "failed": ("dispatch", "pending", None),
    "unknown": ("dispatch", "unknown", None),
    "lost": ("dispatch", "unknown", None),
    "opted-out": ("cancel", "pending", "declined"),
    "refused": ("fail", "pending", "refused"),
    "conflict": ("fail", "pending", "conflict"),
    "foreign-journal": ("fail", "pending", "refused"),
    "stale": ("fail", "pending", "conflict"),
    "expired": (None, "pending", None),
    "busy": (None, "pending", None),
    "never-seen": (None, "pending", None),
    "fenced": ("cancel", "pending", "person"),
}
"""What each answer to a submit makes of the row: event, execution status, cause."""


def _act(desk: FakeDesk, **changes: Any) -> Outcome:  # noqa: ANN401
    return ACTIONS[State.FORMATTED]([row(**changes)], desk)[0]


def _said(outcome: Outcome) -> tuple[str | None, str, str | None]:
    event = None if outcome.event is None else outcome.event.value
    return event, outcome.after.execution_status.value, outcome.cause


def _facts(**changes: object) -> DecisionFacts:
    return DecisionFactsFactory.build(before_acting=True, **changes)


@pytest.mark.parametrize("kind", AnswerKind)
def test_every_answer_to_a_submit(kind: AnswerKind) -> None:
    """What is in the journal is dispatched, whatever became of it there; the rest is as agreed."""
    agent = SayingAgent(to_submit=kind)
    assert SENT[kind] == _said(_act(FakeDesk(agent=agent)))
    assert ["submit"] == agent.calls


@pytest.mark.parametrize("kind", [kind for kind in AnswerKind if kind is not AnswerKind.NEVER_SEEN])
def test_every_answer_about_a_key_whose_first_byte_may_have_left(kind: AnswerKind) -> None:
    """The agent's word comes before the rules, and nothing is sent a second time."""
    agent = SayingAgent(to_status=kind)
    desk = FakeDesk(agent=agent, decision_facts=_facts(trigger__at=ago(days=9)))
    assert SENT[kind] == _said(_act(desk, dispatch_try_count=1))
    assert ["status"] == agent.calls


def test_a_key_that_nobody_has_seen_meets_the_rules_and_is_sent_again() -> None:
    """The bytes were lost on their way: the same key goes once more."""
    agent = SayingAgent(to_status=AnswerKind.NEVER_SEEN)
    outcome = _act(FakeDesk(agent=agent), dispatch_try_count=1)
    assert Event.DISPATCH is outcome.event
    assert ["status", "submit"] == agent.calls


def test_a_key_that_nobody_has_seen_is_left_when_the_rules_say_so() -> None:
    """What the agent does not know was not done, and it is no longer wanted."""
    agent = SayingAgent(to_status=AnswerKind.NEVER_SEEN)
    desk = FakeDesk(agent=agent, decision_facts=_facts(simulation__complete_at=ago(minutes=1)))
    assert ("cancel", "pending", "policy") == _said(_act(desk, dispatch_try_count=1))
    assert ["status"] == agent.calls


def test_the_receipt_names_the_journal() -> None:
    """An answer of another journal can be told from ours later on."""
    outcome = _act(FakeDesk(agent=SayingAgent()), dispatch_error="no route", backoff=4)
    after = outcome.after
    assert ("journal", None, 0) == (after.journal_id, after.dispatch_error, after.backoff)


@pytest.mark.parametrize("kind", [AnswerKind.EXPIRED, AnswerKind.BUSY])
def test_what_the_agent_does_not_take_now_is_not_yet_with_the_same_key(kind: AnswerKind) -> None:
    """The claim was too old, or a lower attempt still runs: later, and no new attempt."""
    outcome = _act(FakeDesk(agent=SayingAgent(to_submit=kind)), backoff=1)
    assert NOW + MINUTE == outcome.until
    assert (ROW.key, 2) == (outcome.after.key, outcome.after.backoff)


@pytest.mark.parametrize(("verb", "tries"), [("submit", 0), ("status", 1)])
def test_a_centre_that_does_not_answer_is_tried_later(verb: str, tries: int) -> None:
    """Silence is no failure and no attempt."""
    agent = SayingAgent(silent={verb})
    outcome = _act(FakeDesk(agent=agent), dispatch_try_count=tries)
    assert (None, NOW + MINUTE / 2) == (outcome.event, outcome.until)
    assert "does not answer" in (outcome.after.dispatch_error or "")
    assert [verb] == agent.calls


def test_the_order_is_what_was_stored_and_lasts_as_long_as_the_claim() -> None:
    """Directory, script, interpreter and deadline: an agent that gets it late does not begin."""
    agent = SayingAgent()
    desk = FakeDesk(agent=agent)
    _act(desk)
    expected = Order(
        key=ROW.key,
        directory=DIRECTORY,
        script=ROW.script,
        interpreter="ksh",
        expires_at=NOW + desk.settings.lease,
        timeout=desk.settings.script_timeout,
    )
    assert [expected] == agent.orders


@pytest.mark.parametrize("tries", [0, 1])
def test_brakes_come_before_any_contact(tries: int) -> None:
    """A hold means that nobody connects, not even to ask."""
    agent = SayingAgent()
    outcome = _act(FakeDesk(agent=agent, stops={ROW.id: braked()}), dispatch_try_count=tries)
    assert (None, NOW + HOUR, []) == (outcome.event, outcome.until, agent.calls)


def test_a_wish_is_never_submitted() -> None:
    """Whoever leaves such a row sends `cancel`; the action sends nothing else."""
    agent = SayingAgent()
    outcome = _act(FakeDesk(agent=agent), wanted=WISH, dispatch_try_count=1)
    assert ("cancel", "pending", "person") == _said(outcome)
    assert ("alice", True, []) == (outcome.actor, outcome.by_person, agent.calls)


def test_a_wish_waits_for_a_brake() -> None:
    """Carrying it out would connect."""
    desk = FakeDesk(agent=SayingAgent(), stops={ROW.id: braked()})
    outcome = _act(desk, wanted=WISH, dispatch_try_count=1)
    assert (None, WISH) == (outcome.event, outcome.after.wanted)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"trigger__at": ago(days=6)}, ("fail", "expired")),
        ({"simulation__complete_at": ago(minutes=1)}, ("cancel", "policy")),
        ({"simulation__deleted_at": ago(minutes=1)}, ("cancel", "policy")),
        ({"job__ended_at": ago(minutes=1)}, ("cancel", "policy")),
        ({"job__period": 1}, ("cancel", "policy")),
        ({"simulation__announced_at": None}, (None, None)),
        ({"simulation__machine": "unknown"}, (None, None)),
    ],
)
def test_the_rules_are_asked_again_before_the_act(
    facts: dict[str, object], expected: tuple[str | None, str | None]
) -> None:
    """Too old fails, any other refusal cancels, want and defer wait; nothing is sent."""
    agent = SayingAgent()
    outcome = _act(FakeDesk(agent=agent, decision_facts=_facts(**facts)))
    found = None if outcome.event is None else outcome.event.value
    assert (expected, []) == ((found, outcome.cause), agent.calls)
    assert outcome.reason


def test_the_rules_do_not_take_the_row_for_another_one() -> None:
    """Merge and busy are for those who would come in addition."""
    handling = DecisionFactsFactory.build(busy_with="another")
    desk = FakeDesk(agent=SayingAgent(), decision_facts=replace(handling, before_acting=True))
    assert Event.DISPATCH is _act(desk).event


def test_a_full_cap_waits_and_is_looked_at_again_soon() -> None:
    """Others took the last room between the rules and the lock."""
    agent = SayingAgent()
    outcome = _act(FakeDesk(agent=agent, room=0), backoff=1)
    assert (None, NOW + 2 * MINUTE, []) == (outcome.event, outcome.until, agent.calls)
    assert 2 == outcome.after.backoff


def test_only_those_that_the_caps_admit_are_sent() -> None:
    """The rest of the set waits."""
    agent = SayingAgent()
    rows = [row(id="first"), row(id="second")]
    outcomes = ACTIONS[State.FORMATTED](rows, FakeDesk(agent=agent, room=1))
    assert {"first": Event.DISPATCH, "second": None} == {o.row.id: o.event for o in outcomes}
    assert ["first"] == [order.key.supervision_id for order in agent.orders]


def test_a_rule_that_wants_a_look_gets_one_and_it_is_kept() -> None:
    """A late job that is found running is not restarted."""
    trigger = TriggerFactory.build(kind=TriggerKind.LATE)
    agent = SayingAgent(seen=LookFactory.build(sight="running", reason=None))
    desk = FakeDesk(agent=agent, decision_facts=_facts(trigger=trigger))
    assert ("cancel", "pending", "policy") == _said(_act(desk))
    assert ["look"] == agent.calls
    assert [agent.seen] == list(desk.looked[ROW.id].looks)


def test_a_look_that_finds_the_job_ended_lets_the_act_go_on() -> None:
    """Two questions of one session: look, then submit."""
    trigger = TriggerFactory.build(kind=TriggerKind.LATE)
    site = SitePolicyFactory.build(absent="act")
    agent = SayingAgent()
    desk = FakeDesk(agent=agent, decision_facts=_facts(trigger=trigger))
    desk.policy = replace(desk.policy, sites=(site,))
    assert (Event.DISPATCH, ["look", "submit"]) == (_act(desk).event, agent.calls)


def test_a_look_that_cannot_be_made_is_no_verdict() -> None:
    """Nobody acts on what nobody saw."""
    trigger = TriggerFactory.build(kind=TriggerKind.LATE)
    agent = SayingAgent(silent={"look"})
    outcome = _act(FakeDesk(agent=agent, decision_facts=_facts(trigger=trigger)))
    assert (None, ["look"], 1) == (outcome.event, agent.calls, outcome.after.backoff)


def test_a_directory_that_forbids_supervision_is_told_to_its_owner() -> None:
    """NO_SUPERVISION is a decline: one sentence to the owner, and the agent knows already."""
    desk = FakeDesk(agent=SayingAgent(to_submit=AnswerKind.OPTED_OUT))
    outcome = _act(desk)
    assert [(Notice.DECLINED, "said opted-out")] == desk.told
    assert outcome.by_agent


def test_a_decline_that_cannot_be_told_yet_is_not_written_yet() -> None:
    """A mail may come twice, but is never forgotten."""
    desk = FakeDesk(agent=SayingAgent(to_submit=AnswerKind.OPTED_OUT), mail_is_away=True)
    assert (None, "pending", None) == _said(_act(desk))


def test_no_rows_ask_nobody() -> None:
    """An empty set is no work."""
    agent = SayingAgent()
    assert [] == ACTIONS[State.FORMATTED]([], FakeDesk(agent=agent))
    assert [] == agent.calls


def test_a_verdict_that_defers_says_until_when() -> None:
    """The brake's own end is the alarm."""
    outcome = _act(FakeDesk(agent=SayingAgent(), stops={ROW.id: braked(3)}))
    assert (NOW + 3 * HOUR, "it is on hold.") == (outcome.until, outcome.reason)
