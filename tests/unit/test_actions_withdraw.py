"""Leaving a row whose first byte may have left: `cancel` is sent first, and its answer counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from supervision.facts import Answer, AnswerKind, CancelCause, ExitCode, FailureCause
from supervision.fsm.outcomes import Notice, Outcome, done, failed, needless, not_yet, wished
from supervision.fsm.states import Event, State
from supervision.fsm.withdrawing import withdraw
from tests.factories import NOW
from tests.unit.test_actions_desk import MINUTE, ROW, WISH, FakeDesk, SayingAgent, row

FROM_DISPATCHED: Final = {
    "fenced": ("cancel", "policy"),
    "never-seen": ("cancel", "policy"),
    "stale": ("cancel", "policy"),
    "opted-out": ("cancel", "policy"),
    "accepted": (None, None),
    "running": (None, None),
    "busy": (None, None),
    "unknown": (None, None),
    "expired": (None, None),
    "executed": ("execute", None),
    "declined": ("cancel", "declined"),
    "failed": ("fail", "script"),
    "lost": ("cancel", "policy"),
    "refused": ("fail", "refused"),
    "conflict": ("fail", "conflict"),
    "foreign-journal": ("fail", "refused"),
}
"""What each answer to `cancel` makes of a dispatched row that was to be cancelled."""

FREE: Final = ("fenced", "never-seen", "stale", "opted-out")
BUSY: Final = ("accepted", "running", "busy")
ENDED: Final = ("executed", "declined", "failed", "lost", "unknown")


def _leave(outcome: Outcome, agent: SayingAgent) -> tuple[Outcome, FakeDesk]:
    desk = FakeDesk(agent=agent)
    return withdraw([outcome], desk)[0], desk


def _unwanted(state: State = State.DISPATCHED, **changes: Any) -> Outcome:  # noqa: ANN401
    tried = row(state, dispatch_try_count=1, **changes)
    return needless(tried, CancelCause.POLICY, "nobody needs it")


def _said(outcome: Outcome) -> tuple[str | None, str | None]:
    return None if outcome.event is None else outcome.event.value, outcome.cause


@pytest.mark.parametrize("kind", AnswerKind)
def test_every_answer_to_a_cancel_of_a_dispatched_row(kind: AnswerKind) -> None:
    """Free: it is left. Running: it is waited for. Ended: that end is fired instead."""
    outcome, desk = _leave(_unwanted(), SayingAgent(to_cancel=kind))
    assert FROM_DISPATCHED[kind] == _said(outcome)
    assert isinstance(desk.agent, SayingAgent)
    assert ["cancel"] == desk.agent.calls


@pytest.mark.parametrize("kind", FREE)
def test_a_formatted_row_is_left_when_nothing_of_it_can_start(kind: str) -> None:
    """Its key is fenced, or was never seen: the outcome stands as it was."""
    leaving = _unwanted(State.FORMATTED)
    outcome, _ = _leave(leaving, SayingAgent(to_cancel=AnswerKind(kind)))
    assert replace(leaving, by_agent=True) == outcome


@pytest.mark.parametrize("kind", BUSY)
def test_an_attempt_that_runs_is_waited_for(kind: str) -> None:
    """Nothing is stopped over its head; the reason says how to stop it by hand."""
    answer = Answer(key=ROW.key, kind=AnswerKind(kind), detail="kill -TERM -- -4711")
    outcome, _ = _leave(_unwanted(State.FORMATTED), SayingAgent(to_cancel=answer))
    assert ((None, None), 1) == (_said(outcome), outcome.after.backoff)
    assert "kill -TERM -- -4711" in (outcome.reason or "")


@pytest.mark.parametrize("kind", ENDED)
def test_a_formatted_row_that_was_taken_after_all_goes_to_dispatched(kind: str) -> None:
    """The receipt was lost, the journal has it: how it ended is asked there."""
    outcome, _ = _leave(_unwanted(State.FORMATTED), SayingAgent(to_cancel=AnswerKind(kind)))
    assert ("dispatch", None) == _said(outcome)


@pytest.mark.parametrize("kind", [AnswerKind.REFUSED, AnswerKind.CONFLICT])
def test_an_answer_that_proves_no_receipt_makes_no_row_dispatched(kind: AnswerKind) -> None:
    """Dispatched means that the agent has it in its journal; a refused `cancel` does not say so."""
    outcome, _ = _leave(_unwanted(State.FORMATTED), SayingAgent(to_cancel=kind))
    assert Event.DISPATCH is not outcome.event


def test_an_end_that_the_cancel_found_is_told() -> None:
    """Executed after all: the owner hears of the act, not of a cancel."""
    outcome, desk = _leave(_unwanted(), SayingAgent(to_cancel=AnswerKind.EXECUTED))
    assert Event.EXECUTE is outcome.event
    assert [Notice.ACTED] == [notice for notice, _ in desk.told]


def test_a_script_that_was_stopped_by_post_processing_keeps_its_cause() -> None:
    """Rule 5 reads it."""
    answer = Answer(
        key=ROW.key, kind=AnswerKind.DECLINED, exit_code=ExitCode.STOPPED_BY_POST, detail="post"
    )
    outcome, _ = _leave(_unwanted(), SayingAgent(to_cancel=answer))
    assert ("cancel", "declined-post") == _said(outcome)


@pytest.mark.parametrize("kind", FREE)
def test_a_wish_is_carried_out_once_the_key_is_fenced(kind: str) -> None:
    """It stays the person's cancel."""
    leaving = wished(row(State.DISPATCHED, wanted=WISH))
    outcome, _ = _leave(leaving, SayingAgent(to_cancel=AnswerKind(kind)))
    found = (_said(outcome), outcome.actor, outcome.by_person, outcome.after.wanted)
    assert (("cancel", "person"), "alice", True, None) == found


@pytest.mark.parametrize("state", [State.FORMATTED, State.DISPATCHED])
def test_a_wish_outlives_a_centre_that_does_not_answer(state: State) -> None:
    """The row stays, with its wish, and is tried later."""
    leaving = wished(row(state, dispatch_try_count=1, wanted=WISH))
    outcome, _ = _leave(leaving, SayingAgent(silent={"cancel"}))
    assert ((None, None), NOW + MINUTE / 2) == (_said(outcome), outcome.until)
    assert WISH == outcome.after.wanted


@pytest.mark.parametrize("kind", BUSY)
def test_a_wish_outlives_a_script_that_runs(kind: str) -> None:
    """Once it has ended the wish is looked at again."""
    leaving = wished(row(State.DISPATCHED, wanted=WISH))
    outcome, _ = _leave(leaving, SayingAgent(to_cancel=AnswerKind(kind)))
    assert ((None, None), WISH) == (_said(outcome), outcome.after.wanted)


@pytest.mark.parametrize("event", [e for e in Event if e.startswith("force_")])
def test_whoever_forces_a_row_tells_the_agent_first(event: Event) -> None:
    """An operator's word does not reach the centre by itself."""
    agent = SayingAgent(to_cancel=AnswerKind.EXECUTED)
    outcome, _ = _leave(done(row(State.DISPATCHED), event), agent)
    assert (["cancel"], Event.EXECUTE) == (agent.calls, outcome.event)


@pytest.mark.parametrize("event", [Event.FAIL, Event.CANCEL])
def test_a_row_of_which_no_byte_has_left_is_left_without_a_word(event: Event) -> None:
    """The centre never heard of it."""
    agent = SayingAgent()
    leaving = done(row(State.FORMATTED), event)
    assert (leaving, []) == (_leave(leaving, agent)[0], agent.calls)


@pytest.mark.parametrize(
    "outcome",
    [
        not_yet(row(State.DISPATCHED), NOW),
        done(row(State.DISPATCHED), Event.EXECUTE),
        done(row(State.FORMATTED, dispatch_try_count=1), Event.DISPATCH),
        replace(_unwanted(), by_agent=True),
        failed(row(State.EXECUTED), FailureCause.NEW_JOB_GONE, "gone"),
    ],
)
def test_what_leaves_nothing_behind_tells_nobody(outcome: Outcome) -> None:
    """A receipt, an outcome, the agent's own word, and a script that has acted."""
    agent = SayingAgent()
    assert (outcome, []) == (_leave(outcome, agent)[0], agent.calls)


def test_two_weeks_of_silence_end_a_row_without_the_agent() -> None:
    """Nobody answers: the row ends all the same, and a later attempt fences it."""
    leaving = failed(row(State.DISPATCHED), FailureCause.EXPIRED, "no answer in time")
    outcome, _ = _leave(leaving, SayingAgent(silent={"cancel"}))
    assert leaving == outcome


def test_two_weeks_of_unknown_end_a_row_too() -> None:
    """An agent that never knows must not keep a row for ever."""
    leaving = failed(row(State.DISPATCHED), FailureCause.EXPIRED, "no answer in time")
    outcome, _ = _leave(leaving, SayingAgent(to_cancel=AnswerKind.UNKNOWN))
    assert ("fail", "expired") == _said(outcome)


def test_any_other_end_waits_for_a_centre_that_does_not_answer() -> None:
    """A formatted row that is too old may have been taken: only the agent can tell."""
    leaving = failed(
        row(State.FORMATTED, dispatch_try_count=1), FailureCause.EXPIRED, "too old by now"
    )
    outcome, _ = _leave(leaving, SayingAgent(silent={"cancel"}))
    assert (None, None) == _said(outcome)


def test_a_set_is_told_in_one_request() -> None:
    """One session, one question; those that are not open are passed through in their place."""
    agent = SayingAgent()
    desk = FakeDesk(agent=agent)
    outcomes = [_unwanted(id="a"), not_yet(row(id="b"), NOW), _unwanted(id="c")]
    left = withdraw(outcomes, desk)
    assert (["a", "b", "c"], ["cancel"]) == ([each.row.id for each in left], agent.calls)
