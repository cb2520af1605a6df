"""Leaving a row behind: the agent is told first, and what it answers is what happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from supervision.facts import (
    Answer,
    AnswerKind,
    CancelCause,
    ExitCode,
    FailureCause,
    Key,
    Supervision,
    Wish,
)
from supervision.fsm.acting import act
from supervision.fsm.outcomes import Notice, Outcome, done, failed, needless, not_yet
from supervision.fsm.states import Event, State
from supervision.fsm.withdrawing import withdraw
from supervision.testing import AgentDouble, FrozenClock
from tests.factories import DIRECTORY, NOW, SUPERVISION
from tests.integration.desk_kit import (
    OTHER,
    FakeDesk,
    ScriptedTransport,
    detected,
    dispatched,
    executed,
    formatted,
    only,
)

FORCES = [
    Event.FORCE_DETECTED,
    Event.FORCE_EXECUTED,
    Event.FORCE_FAILED,
    Event.FORCE_CANCELLED,
]
SENT = [formatted(dispatch_try_count=1), dispatched()]
"""Rows whose first byte may have left."""


def _ordered(row: Supervision, event: Event) -> Outcome:
    """What a person's order comes to before the agent was told."""
    after = replace(row, reason="I say so")
    return Outcome(
        row=row, after=after, event=event, reason="I say so", actor="alice", by_person=True
    )


def _cancelled(row: Supervision) -> Outcome:
    return needless(row, CancelCause.PERSON, "I say so")


def _desk(cancel: AnswerKind | Answer) -> FakeDesk:
    return FakeDesk(transport=ScriptedTransport(cancel=cancel))


def _verbs(desk: FakeDesk) -> list[str]:
    assert isinstance(desk.transport, ScriptedTransport)
    return desk.transport.verbs


@pytest.mark.parametrize("row", SENT, ids=["formatted", "dispatched"])
@pytest.mark.parametrize("event", [Event.CANCEL, Event.FAIL, *FORCES])
@pytest.mark.parametrize(
    "kind", [AnswerKind.FENCED, AnswerKind.NEVER_SEEN, AnswerKind.STALE, AnswerKind.OPTED_OUT]
)
def test_what_can_never_start_may_be_left(row: Supervision, event: Event, kind: AnswerKind) -> None:
    """Fenced, or unknown to the agent: the event is confirmed as it was wanted."""
    wanted = _ordered(row, event)
    outcome = only(withdraw([wanted], _desk(kind)))
    assert (event, "alice", True) == (outcome.event, outcome.actor, outcome.by_person)
    assert wanted.after == outcome.after


@pytest.mark.parametrize("row", SENT, ids=["formatted", "dispatched"])
@pytest.mark.parametrize("event", [Event.CANCEL, Event.FAIL, *FORCES])
@pytest.mark.parametrize("kind", [AnswerKind.RUNNING, AnswerKind.BUSY, AnswerKind.ACCEPTED])
def test_what_runs_is_never_left(row: Supervision, event: Event, kind: AnswerKind) -> None:
    """A script under way is waited for, also against a person's force; it says how to stop it."""
    answer = Answer(
        key=Key(supervision_id=SUPERVISION, attempt=1), kind=kind, detail="kill -TERM -- -4711"
    )
    outcome = only(withdraw([_ordered(row, event)], _desk(answer)))
    assert outcome.event is None
    assert NOW + timedelta(seconds=10) == outcome.until
    assert str(outcome.reason).endswith("kill -TERM -- -4711")
    assert row.wanted == outcome.after.wanted


@pytest.mark.parametrize("event", [Event.CANCEL, Event.FAIL, *FORCES])
@pytest.mark.parametrize(
    ("answer", "fired", "cause"),
    [
        (AnswerKind.EXECUTED, Event.EXECUTE, None),
        (AnswerKind.DECLINED, Event.CANCEL, CancelCause.DECLINED.value),
        (AnswerKind.FAILED, Event.FAIL, FailureCause.SCRIPT.value),
    ],
)
def test_a_dispatched_attempt_that_ended_is_told_as_it_ended(
    event: Event, answer: AnswerKind, fired: Event, cause: str | None
) -> None:
    """Whatever was wanted, an end that the agent knows is what happened."""
    outcome = only(withdraw([_ordered(dispatched(), event)], _desk(answer)))
    assert (fired, cause) == (outcome.event, outcome.cause)


def test_an_end_that_comes_out_by_a_cancel_is_told_to_the_owner() -> None:
    """The owner reads what the script did, as if it had been asked for in the usual way."""
    desk = _desk(AnswerKind.EXECUTED)
    withdraw([_cancelled(dispatched())], desk)
    assert [Notice.ACTED] == desk.notices


def test_a_script_that_was_not_yet_is_failed_as_not_yet() -> None:
    """Exit codes keep their class when they come out by a cancel."""
    answer = Answer(
        key=Key(supervision_id=SUPERVISION, attempt=1),
        kind=AnswerKind.FAILED,
        exit_code=ExitCode.NOT_WRITABLE,
    )
    outcome = only(withdraw([_cancelled(dispatched())], _desk(answer)))
    assert (Event.FAIL, FailureCause.NOT_YET.value) == (outcome.event, outcome.cause)


@pytest.mark.parametrize(
    "kind",
    [
        AnswerKind.EXECUTED,
        AnswerKind.DECLINED,
        AnswerKind.FAILED,
        AnswerKind.LOST,
        AnswerKind.UNKNOWN,
    ],
)
def test_a_formatted_attempt_that_the_journal_knows_goes_on_as_dispatched(
    kind: AnswerKind,
) -> None:
    """The receipt got lost: the row catches up, and is asked how it ended in the usual way."""
    outcome = only(withdraw([_cancelled(formatted(dispatch_try_count=1))], _desk(kind)))
    assert Event.DISPATCH is outcome.event


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (AnswerKind.REFUSED, FailureCause.REFUSED),
        (AnswerKind.CONFLICT, FailureCause.CONFLICT),
        (AnswerKind.FOREIGN_JOURNAL, FailureCause.REFUSED),
    ],
)
def test_an_answer_that_proves_no_receipt_is_none(kind: AnswerKind, cause: FailureCause) -> None:
    """A cancel that is refused says nothing of the journal: failed, and not dispatched."""
    outcome = only(withdraw([_cancelled(formatted(dispatch_try_count=1))], _desk(kind)))
    assert (Event.FAIL, cause.value) == (outcome.event, outcome.cause)


def test_after_two_weeks_of_unknown_the_row_ends() -> None:
    """A journal that can only ever say unknown does not keep a row alive for ever."""
    wanted = failed(dispatched(), FailureCause.EXPIRED, "no answer")
    outcome = only(withdraw([wanted], _desk(AnswerKind.UNKNOWN)))
    assert (Event.FAIL, FailureCause.EXPIRED.value) == (outcome.event, outcome.cause)


def test_unknown_leaves_a_dispatched_row_where_it_is() -> None:
    """Nobody knows whether it runs: it is not left, and comes back."""
    outcome = only(withdraw([_cancelled(dispatched())], _desk(AnswerKind.UNKNOWN)))
    assert outcome.event is None


@pytest.mark.parametrize("row", SENT, ids=["formatted", "dispatched"])
@pytest.mark.parametrize("event", [Event.CANCEL, Event.FAIL, *FORCES])
def test_who_cannot_be_told_is_not_left(row: Supervision, event: Event) -> None:
    """Without the agent nothing is left behind: the row waits, and nothing of it is written."""
    desk = _desk(AnswerKind.FENCED)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away.add("cancel")
    outcome = only(withdraw([_ordered(row, event)], desk))
    assert outcome.event is None
    assert "curie: no route to host" == outcome.after.dispatch_error
    assert row.reason == outcome.after.reason


def test_after_two_weeks_a_silent_centre_is_left_all_the_same() -> None:
    """A dispatched row that expired ends also when the agent cannot be told of it."""
    desk = _desk(AnswerKind.FENCED)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away.add("cancel")
    outcome = only(withdraw([failed(dispatched(), FailureCause.EXPIRED, "no answer")], desk))
    assert (Event.FAIL, FailureCause.EXPIRED.value) == (outcome.event, outcome.cause)


@pytest.mark.parametrize("event", [Event.CANCEL, Event.FAIL, *FORCES])
@pytest.mark.parametrize(
    "row",
    [
        detected(),
        formatted(),
        dispatched(dispatch_try_count=0),
        executed(),
        executed(state=State.FAILED),
        executed(state=State.CANCELLED),
    ],
    ids=["detected", "unsent", "mailed", "executed", "failed", "cancelled"],
)
def test_where_nothing_is_open_nobody_is_told(row: Supervision, event: Event) -> None:
    """Before the first byte, at level 1, and after an end there is nothing to withdraw."""
    desk = _desk(AnswerKind.RUNNING)
    wanted = _ordered(row, event)
    assert [wanted] == withdraw([wanted], desk)
    assert [] == _verbs(desk)


@pytest.mark.parametrize("row", SENT, ids=["formatted", "dispatched"])
@pytest.mark.parametrize("event", [Event.FORMAT, Event.DISPATCH, Event.EXECUTE, None])
def test_going_on_leaves_nothing_behind(row: Supervision, event: Event | None) -> None:
    """Receipts, outcomes and not yet need no cancel."""
    desk = _desk(AnswerKind.RUNNING)
    wanted = done(row, event) if event else not_yet(row, NOW)
    assert [wanted] == withdraw([wanted], desk)
    assert [] == _verbs(desk)


def test_what_the_agent_itself_said_is_not_asked_again() -> None:
    """An outcome that came from the agent has nothing left to withdraw."""
    desk = _desk(AnswerKind.RUNNING)
    said = replace(failed(dispatched(), FailureCause.SCRIPT, "exit 66"), by_agent=True)
    assert [said] == withdraw([said], desk)
    assert [] == _verbs(desk)


def test_a_set_is_withdrawn_login_by_login_and_keeps_its_order() -> None:
    """One request for each login; those that are not left pass through untouched."""
    desk = _desk(AnswerKind.FENCED)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away.add("p87user2")
    first = _cancelled(dispatched(id="a"))
    passing = not_yet(dispatched(id="b"), NOW)
    away = _cancelled(dispatched(id="c", login="p87user2"))
    last = _cancelled(dispatched(id="d"))
    outcomes = withdraw([first, passing, away, last], desk)
    assert ["a", "b", "c", "d"] == [each.row.id for each in outcomes]
    assert [Event.CANCEL, None, None, Event.CANCEL] == [each.event for each in outcomes]
    assert [("cancel", "curie/p86user1", ("a", "d")), ("cancel", "curie/p87user2", ("c",))] == (
        desk.transport.asked
    )


def test_a_fence_holds_this_and_every_lower_attempt() -> None:
    """With the journal's real rules: once withdrawn, no submit of these attempts ever starts."""
    agent = AgentDouble(FrozenClock(NOW))
    desk = FakeDesk(transport=agent)
    second = formatted(attempt=2, dispatch_try_count=1)
    assert Event.CANCEL is only(withdraw([_cancelled(second)], desk)).event
    outcomes = [only(act([formatted(attempt=attempt)], desk)).event for attempt in (1, 2)]
    agent.status("curie", "p86user1", [formatted(attempt=each).key for each in (1, 2)])
    assert Event.DISPATCH not in outcomes
    assert {} == agent.executions


def test_an_accepted_script_that_has_not_started_is_fenced() -> None:
    """What the journal holds and nobody began never begins, and the row may be left."""
    agent = AgentDouble(FrozenClock(NOW))
    desk = FakeDesk(transport=agent)
    sent = only(act([formatted()], desk)).after
    row = replace(sent, state=State.DISPATCHED, dispatch_try_count=1)
    assert Event.CANCEL is only(withdraw([_cancelled(row)], desk)).event
    agent.status("curie", "p86user1", [row.key])
    assert {} == agent.executions


def test_a_wish_is_answered_by_the_end_that_came_first() -> None:
    """Who wanted a cancel, and was too late, finds the end and no wish left on the row."""
    wish = Wish(event="cancel", actor="alice", reason="no")
    row = dispatched(wanted=wish)
    outcome = only(withdraw([_cancelled(row)], _desk(AnswerKind.EXECUTED)))
    assert Event.EXECUTE is outcome.event
    assert outcome.after.wanted is None


@pytest.mark.parametrize("kind", [AnswerKind.RUNNING, AnswerKind.UNKNOWN])
def test_a_wish_against_a_running_script_stays(kind: AnswerKind) -> None:
    """The wish is carried out when the script is over, or answered by its end."""
    wish = Wish(event="cancel", actor="alice", reason="no")
    wanted = needless(dispatched(wanted=wish), CancelCause.PERSON, "no", wanted=None)
    assert wish == only(withdraw([wanted], _desk(kind))).after.wanted


def test_two_rows_of_one_login_get_their_own_answers() -> None:
    """One ran, one was never begun: each goes its own way."""
    agent = AgentDouble(FrozenClock(NOW))
    desk = FakeDesk(transport=agent)
    agent.outcome(SUPERVISION, kind=AnswerKind.RUNNING)
    rows = [formatted(), formatted(id=OTHER, directory=f"{DIRECTORY}2")]
    sent = [
        replace(each.after, state=State.DISPATCHED, dispatch_try_count=1)
        for each in act(rows, desk)
    ]
    agent.status("curie", "p86user1", [sent[0].key])
    outcomes = withdraw([_cancelled(row) for row in sent], desk)
    assert [None, Event.CANCEL] == [each.event for each in outcomes]
