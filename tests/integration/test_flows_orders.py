"""What people order: cancel, force, retry; in every state, against leases, agents and rules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from db import dao_claims
from supervision.errors import NotFound, Refused
from supervision.facts import AnswerKind, ExitCode, Wish
from supervision.fsm import machine
from supervision.fsm.engine import commanding
from supervision.fsm.engine.commanding import Obeyed
from supervision.fsm.states import Event, State
from tests.factories import JOB, NOW, SUPERVISION
from tests.integration.flows_kit import GRACE, executions, hold
from tests.unit.engine_kit import (
    ALICE,
    DAY,
    HOUR,
    MINUTE,
    NEW_JOB,
    OLD_JOB,
    Bench,
    bench,
    failing_chain,
    message,
)

ORDERS = [
    Event.CANCEL,
    Event.FORCE_DETECTED,
    Event.FORCE_EXECUTED,
    Event.FORCE_FAILED,
    Event.FORCE_CANCELLED,
]
LEASE = timedelta(seconds=1)


def _bring(made: Bench, state: State) -> str:
    """Bring the failing chain's supervision into a state; returns its id."""
    if state is State.DETECTED:
        made.feed(*failing_chain())
        made.engine.decide([JOB])
    elif state is State.FORMATTED:
        made.to_formatted()
    elif state is State.DISPATCHED:
        row = made.to_formatted()
        made.agent.outcome(row.id, kind=AnswerKind.ACCEPTED)
        made.wait(GRACE)
    elif state is State.EXECUTED:
        made.to_executed()
    else:
        row = made.to_formatted()
        declined = {"kind": AnswerKind.DECLINED, "exit_code": int(ExitCode.OTHER_JOB)}
        broken = {"kind": AnswerKind.FAILED, "exit_code": int(ExitCode.CLEAN_FAILED)}
        made.agent.outcome(row.id, **(broken if state is State.FAILED else declined))  # type: ignore[arg-type]
        made.wait(GRACE)
    assert state is made.row().state
    return made.row().id


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", ORDERS)
def test_an_order_does_what_the_table_says(sqlite_url: str, state: State, event: Event) -> None:
    """From every state: the table's target, or a refusal that changes nothing; on the record."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, state)
        before = made.row()
        if state not in machine.sources(event):
            with pytest.raises(Refused, match="is not possible from"):
                made.engine.order(event, supervision, ALICE)
            assert before == made.row()
            return
        obedience = made.engine.order(event, supervision, ALICE)
        assert (Obeyed.DONE, supervision) == (obedience.how, obedience.supervision_id)
        row, step = made.row(), made.history()[-1]
        assert machine.target(state, event) is row.state
        assert (event.value, "alice", ALICE.reason) == (step.event, step.actor, step.reason)
        assert (1 if state is State.DISPATCHED else 0) == made.calls("cancel")


@pytest.mark.parametrize("event", [Event.CANCEL, Event.FORCE_CANCELLED])
def test_what_a_person_cancelled_stays_cancelled(sqlite_url: str, event: Event) -> None:
    """No later trigger of the job reopens it; the reason is the person's."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain()[:-1], message("1900", at=NOW))
        made.settle()
        made.feed(failing_chain()[-1])
        made.settle()
        made.engine.order(event, made.row().id, ALICE)
        made.feed(message("1999", at=NOW + MINUTE), message("1900", at=NOW + MINUTE))
        made.live(3 * DAY, step=6 * HOUR)
        assert (State.CANCELLED, "person") == (made.row().state, made.row().cause)
        assert ALICE.reason == made.row().reason
        assert {} == made.agent.executions


def test_force_detected_is_the_next_attempt_and_fences_the_old_one(sqlite_url: str) -> None:
    """The old key can never start again; the new one goes on at once, without a grace."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, State.DISPATCHED)
        made.agent.outcome(supervision, attempt=2, scheduler_id="41300")
        made.engine.order(Event.FORCE_DETECTED, supervision, ALICE)
        assert (2, True, 0) == (
            made.row().attempt,
            made.row().by_person,
            made.row().dispatch_try_count,
        )
        made.settle()
        assert State.EXECUTED is made.row().state
        assert {2: 1} == {key.attempt: count for key, count in made.agent.executions.items()}


def test_a_forced_end_is_not_watched(sqlite_url: str) -> None:
    """Who says that it is executed knows; nobody looks for a new job."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, State.FORMATTED)
        made.engine.order(Event.FORCE_EXECUTED, supervision, ALICE)
        made.live(DAY, step=6 * HOUR)
        assert (State.EXECUTED, None) == (made.row().state, made.row().wake_at)
        assert [] == made.agent.calls


def test_a_forced_failure_is_given_up(sqlite_url: str) -> None:
    """Nothing is tried again by itself; a person may retry it."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, State.FORMATTED)
        made.engine.order(Event.FORCE_FAILED, supervision, ALICE)
        made.live(DAY, step=6 * HOUR)
        assert (State.FAILED, None, 1) == (made.row().state, made.row().wake_at, made.row().attempt)
        made.engine.retry(JOB, ALICE)
        made.settle()
        assert (State.EXECUTED, 2) == (made.row().state, made.row().attempt)


# Against a running script, and against silence.


@pytest.mark.parametrize("event", ORDERS)
def test_no_order_goes_over_the_head_of_a_running_script(sqlite_url: str, event: Event) -> None:
    """Refused, with how to stop it by hand; the row is as it was, and no wish is stored."""
    with bench(sqlite_url) as made:
        row = made.to_dispatched()
        with pytest.raises(Refused, match="kill -TERM"):
            made.engine.order(event, row.id, ALICE)
        assert (State.DISPATCHED, None, None) == (
            made.row().state,
            made.row().wanted,
            made.row().lease_until,
        )


def test_a_running_script_is_no_silence_whatever_was_before(sqlite_url: str) -> None:
    """The centre was away for a while, and answers now: the order is refused, not stored."""
    with bench(sqlite_url) as made:
        row = made.to_dispatched()
        made.agent.unreachable.add("curie")
        made.wait(10 * MINUTE)
        assert made.row().dispatch_error is not None
        made.agent.unreachable.clear()
        with pytest.raises(Refused, match="kill -TERM"):
            made.engine.order(Event.CANCEL, row.id, ALICE)


@pytest.mark.parametrize("event", ORDERS)
def test_an_end_that_nobody_had_asked_for_yet_wins(sqlite_url: str, event: Event) -> None:
    """The script acted meanwhile: that is what happened, and the person is told so."""
    with bench(sqlite_url) as made:
        row = made.to_dispatched()
        made.agent.outcome(row.id, scheduler_id="41300")
        made.agent.status("curie", "p86user1", [row.key])
        obedience = made.engine.order(event, row.id, ALICE)
        assert Obeyed.OTHERWISE is obedience.how
        assert "it ended already" in obedience.sentence
        assert State.EXECUTED is made.row().state
        assert ["acted"] == [kind for _, kind in made.mails()]


@pytest.mark.parametrize("event", [Event.CANCEL, Event.FORCE_CANCELLED])
@pytest.mark.parametrize("state", [State.FORMATTED, State.DISPATCHED])
def test_a_wish_is_stored_when_nobody_can_be_asked_and_carried_out_later(
    sqlite_url: str, event: Event, state: State
) -> None:
    """The order is not forgotten on a dead node: once it answers, the key is fenced."""
    with bench(sqlite_url) as made:
        if state is State.DISPATCHED:
            supervision = _bring(made, state)
            made.agent.unreachable.add("curie")
        else:
            supervision = made.to_formatted().id
            made.agent.unreachable.add("curie")
            made.wait(GRACE)
        obedience = made.engine.order(event, supervision, ALICE)
        assert Obeyed.WISHED is obedience.how
        wish = Wish(event="cancel", actor="alice", reason=ALICE.reason)
        assert (state, wish) == (made.row().state, made.row().wanted)
        made.live(2 * HOUR, step=20 * MINUTE)
        assert (state, wish) == (made.row().state, made.row().wanted)
        made.agent.unreachable.clear()
        made.live(20 * MINUTE, step=5 * MINUTE)
        assert (State.CANCELLED, "person", None) == (
            made.row().state,
            made.row().cause,
            made.row().wanted,
        )
        assert "alice" == made.history()[-1].actor
        assert {} == made.agent.executions


def test_a_wish_to_retry_is_stored_too(sqlite_url: str) -> None:
    """Forced to its next attempt on a dead node: the old one is fenced later, then it begins."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, State.DISPATCHED)
        made.agent.unreachable.add("curie")
        made.engine.order(Event.FORCE_DETECTED, supervision, ALICE)
        made.agent.unreachable.clear()
        made.live(20 * MINUTE, step=5 * MINUTE)
        assert 2 == made.row().attempt


@pytest.mark.parametrize("event", [Event.FORCE_EXECUTED, Event.FORCE_FAILED])
def test_no_force_leaves_a_row_whose_agent_cannot_be_told(sqlite_url: str, event: Event) -> None:
    """Nothing is forced over an agent that may be running it: the row stays what it is."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, State.DISPATCHED)
        made.agent.unreachable.add("curie")
        with pytest.raises(Refused, match="no route to host"):
            made.engine.order(event, supervision, ALICE)
        assert (State.DISPATCHED, 1) == (made.row().state, made.row().attempt)


# Leases.


def test_an_order_waits_for_the_worker_that_has_the_row(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is never broken: once it is over, the order is carried out."""
    with bench(sqlite_url, lease=LEASE) as made:
        supervision = _leased(made, LEASE)
        _let_time_pass(made, monkeypatch)
        assert Obeyed.DONE is made.engine.order(Event.CANCEL, supervision, ALICE).how
        assert State.CANCELLED is made.row().state


def test_an_order_gives_up_on_a_worker_that_holds_on(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is claimed again and again: refused after the time of a lease, untouched."""
    with bench(sqlite_url, lease=LEASE) as made:
        supervision = _leased(made, DAY)
        _let_time_pass(made, monkeypatch)
        before = made.row()
        with pytest.raises(Refused, match="is being worked on"):
            made.engine.order(Event.CANCEL, supervision, ALICE)
        assert before == made.row()


def _leased(made: Bench, lease: timedelta) -> str:
    """A worker claims the row, and is then away."""
    row = made.to_formatted()
    with made.tools.database.write() as session:
        now = made.tools.database.now(session)
        assert dao_claims.seize(session, row.id, lease=(now, now + lease))
    return row.id


def _let_time_pass(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in the engine lets the frozen clock go on instead of sleeping."""

    class Passing:
        def wait(self, seconds: float) -> bool:
            made.clock.advance(timedelta(seconds=seconds))
            return False

    monkeypatch.setattr(commanding, "Signal", Passing)


# Retry.


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_retry_begins_the_next_attempt_by_a_person_s_word(sqlite_url: str, state: State) -> None:
    """Attempt 2, the script built anew, no grace, and the person's name on record."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, state)
        made.agent.outcome(supervision, attempt=2, scheduler_id="41300")
        obedience = made.engine.retry(JOB, ALICE)
        assert f"attempt 2 of supervision {supervision} has begun" == obedience.sentence
        assert ("retry", "alice", ALICE.reason) == (
            made.history()[-1].event,
            made.history()[-1].actor,
            made.history()[-1].reason,
        )
        made.settle()
        assert (State.EXECUTED, 2, True) == (
            made.row().state,
            made.row().attempt,
            made.row().by_person,
        )


@pytest.mark.parametrize(
    "state", [State.DETECTED, State.FORMATTED, State.DISPATCHED, State.EXECUTED]
)
def test_what_is_under_way_or_done_is_not_retried(sqlite_url: str, state: State) -> None:
    """Refused with the state; nothing changes."""
    with bench(sqlite_url) as made:
        _bring(made, state)
        before = made.row()
        with pytest.raises(Refused, match=f"is {state}: it cannot be retried"):
            made.engine.retry(JOB, ALICE)
        assert before == made.row()


def test_a_retry_takes_a_job_whose_decision_was_refused(sqlite_url: str) -> None:
    """A failure in the first period is refused; a person may insist, and the row is made."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain(period=1))
        made.settle()
        assert ("refuse", "first-period") == (
            made.ledger()["fatal"].verdict,
            made.ledger()["fatal"].rule,
        )
        made.engine.retry(JOB, ALICE)
        made.settle()
        assert (State.EXECUTED, 1, True) == (
            made.row().state,
            made.row().attempt,
            made.row().by_person,
        )
        assert "alice" == made.history()[0].actor


@pytest.mark.parametrize("rule", ["complete", "superseded", "hold", "deleted"])
def test_the_rules_that_protect_a_simulation_bind_people_too(sqlite_url: str, rule: str) -> None:
    """Complete, superseded, deleted, held: refused, and the sentence names the rule."""
    with bench(sqlite_url) as made:
        _bring(made, State.FAILED)
        at = made.clock.now()
        if rule == "hold":
            made.engine.record_hold(hold())
        elif rule == "superseded":
            made.feed(message("1000", at=at, job=NEW_JOB))
        elif rule == "complete":
            made.feed(message("0100", at=at, job=JOB))
        else:
            made.feed(message("8888", at=at, job=None))
        with pytest.raises(Refused, match=f"by rule {rule}"):
            made.engine.retry(JOB, ALICE)
        assert (State.FAILED, 1) == (made.row().state, made.row().attempt)


def test_a_second_supervision_of_a_simulation_is_not_forced_open(sqlite_url: str) -> None:
    """While another job of it is being restarted, neither retry nor force opens a second one."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain())
        made.settle()
        other = made.row().id
        made.engine.order(Event.FORCE_FAILED, other, ALICE)
        at = NOW + MINUTE
        made.feed(
            message("1000", at=at, job=NEW_JOB),
            message("1001", at=at, job=NEW_JOB, CumulPeriod="8"),
            message("1999", at=at + MINUTE, job=NEW_JOB),
        )
        made.settle()
        assert State.FORMATTED is made.row(NEW_JOB).state
        with pytest.raises(Refused, match="another one is open"):
            made.engine.order(Event.FORCE_DETECTED, other, ALICE)
        with pytest.raises(Refused, match="by rule superseded"):
            made.engine.retry(JOB, ALICE)
        assert State.FAILED is made.row().state


def test_nobody_orders_what_there_is_not(sqlite_url: str) -> None:
    """Unknown ids are said to be unknown."""
    with bench(sqlite_url) as made:
        with pytest.raises(NotFound, match="there is no supervision"):
            made.engine.order(Event.CANCEL, SUPERVISION, ALICE)
        with pytest.raises(NotFound, match="nothing is in the ledger"):
            made.engine.retry(OLD_JOB, ALICE)


def test_no_order_runs_a_script_twice(sqlite_url: str) -> None:
    """Force, retry and force again: every key runs once at most."""
    with bench(sqlite_url) as made:
        supervision = _bring(made, State.FAILED)
        made.engine.order(Event.FORCE_DETECTED, supervision, ALICE)
        made.settle()
        made.engine.retry(JOB, ALICE)
        made.settle()
        made.live(HOUR, step=10 * MINUTE)
        assert {1} == set(executions(made.agent))
