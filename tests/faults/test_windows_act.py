"""Crash windows on the way of one act: between claim, first byte, receipt, confirm and wake-up."""

from __future__ import annotations

from datetime import timedelta
from types import ModuleType

import pytest

from db import dao_claims, dao_supervision
from supervision.errors import DatabaseUnavailable
from supervision.facts import AnswerKind, Supervision
from supervision.fsm.actions import ACTIONS
from supervision.fsm.engine.commanding import Obeyed
from supervision.fsm.outcomes import Desk, Outcome
from supervision.fsm.states import Event, Queue, State
from tests.factories import JOB
from tests.integration.flows_kit import (
    GRACE,
    DeafBroker,
    Died,
    Dying,
    Meanwhile,
    another_worker,
    executions,
    rewire,
)
from tests.unit.engine_kit import ALICE, HOUR, MINUTE, NEW_JOB, Bench, bench, failing_chain, message

LEASE = timedelta(seconds=120)


def _die_in(state: State, monkeypatch: pytest.MonkeyPatch, *, after: bool, times: int = 1) -> None:
    """Let the next workers die before or after the action of a state."""
    honest, dying = ACTIONS[state], Dying(times)

    def deadly(rows: list[Supervision], desk: Desk) -> list[Outcome]:
        if not after:
            dying()
        outcomes = honest(rows, desk)
        dying()
        return outcomes

    monkeypatch.setitem(ACTIONS, state, deadly)


def _die(made: Bench) -> None:
    """Let the wake-ups of this moment be taken by a process that dies of one of them."""
    made.engine.sweep(1000)
    with pytest.raises(Died):
        made.engine.fire(Event.DISPATCH, [made.row().id])


def test_after_the_claim_before_the_act(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was done: the lease is the alarm, and at its end somebody else does it, once."""
    with bench(database_url) as made:
        made.to_formatted()
        made.clock.advance(GRACE)
        _die_in(State.FORMATTED, monkeypatch, after=False)
        _die(made)
        row = made.row()
        assert (State.FORMATTED, 1, 0) == (row.state, row.claim_count, row.dispatch_try_count)
        assert made.clock.now() + LEASE == row.lease_until == row.wake_at
        made.wait(LEASE - timedelta(seconds=1))
        assert State.FORMATTED is made.row().state
        made.wait(timedelta(seconds=1))
        assert (State.EXECUTED, 0) == (made.row().state, made.row().claim_count)
        assert [1] == executions(made.agent)


@pytest.mark.parametrize("state", [State.DETECTED, State.DISPATCHED, State.EXECUTED])
def test_after_any_claim_before_any_act(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """Every stage's claim rings at the end of its lease."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        if state is State.DETECTED:
            made.engine.order(Event.FORCE_DETECTED, made.row().id, ALICE)
        elif state is State.DISPATCHED:
            made.agent.outcome(made.row().id, kind=AnswerKind.RUNNING)
            made.wait(GRACE)
        else:
            made.wait(GRACE)
        made.clock.advance(20 * MINUTE)
        event = {State.DETECTED: Event.FORMAT}.get(state, Event.EXECUTE)
        with monkeypatch.context() as patch:
            _die_in(state, patch, after=False)
            with pytest.raises(Died):
                made.engine.fire(event, [made.row().id])
        assert made.clock.now() + LEASE == made.row().wake_at
        made.clock.advance(LEASE)
        assert 1 == made.engine.sweep(1000).supervisions
        made.drain()
        assert 0 == made.row().claim_count


def test_after_the_submit_before_the_receipt_a_hundred_times(sqlite_url: str) -> None:
    """The answer is lost again and again: the same key comes back, and runs once."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        made.agent.lose_answer("submit", 100)
        made.agent.lose_answer("status", 99)
        made.live(48 * HOUR, step=15 * MINUTE)
        row = made.row()
        assert (State.EXECUTED, 1) == (row.state, row.attempt)
        assert [1] == executions(made.agent)
        assert made.calls("submit") + made.calls("status") >= 100
        assert 1 == len(made.table("tbl_supervision_restart"))
        assert ["acted"] == [kind for _, kind in made.mails()]


def test_after_the_first_byte_before_the_agent_took_it(database_url: str) -> None:
    """The submit never arrived: never-seen, the rules again, and the same key goes once more."""
    with bench(database_url) as made:
        made.to_formatted()
        made.agent.unreachable.add("curie")
        made.wait(GRACE)
        assert (State.FORMATTED, 1, {}) == (
            made.row().state,
            made.row().dispatch_try_count,
            made.agent.executions,
        )
        made.agent.unreachable.clear()
        made.wait(MINUTE)
        assert (State.EXECUTED, 1, 2) == (
            made.row().state,
            made.row().attempt,
            made.row().dispatch_try_count,
        )
        assert [1] == executions(made.agent)


def test_after_the_receipt_before_the_confirm(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent has it, the row does not know: its key is asked for, nothing is sent again."""
    with bench(database_url) as made:
        made.to_formatted()
        made.clock.advance(GRACE)
        with monkeypatch.context() as patch:
            _die_in(State.FORMATTED, patch, after=True)
            _die(made)
        assert (State.FORMATTED, 1) == (made.row().state, made.row().dispatch_try_count)
        made.wait(LEASE)
        assert State.EXECUTED is made.row().state
        assert 1 == made.calls("submit")
        assert [1] == executions(made.agent)


def test_after_the_end_was_told_before_the_confirm(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner was written to, the row does not know: the mail may come twice, as one mail."""
    with bench(sqlite_url) as made:
        row = made.to_dispatched()
        made.agent.outcome(row.id, scheduler_id="41300")
        made.clock.advance(10 * MINUTE)
        with monkeypatch.context() as patch:
            _die_in(State.DISPATCHED, patch, after=True)
            with pytest.raises(Died):
                made.engine.fire(Event.EXECUTE, [row.id])
        made.wait(LEASE)
        assert State.EXECUTED is made.row().state
        assert ["acted", "acted"] == [kind for _, kind in made.mails()]
        assert 1 == len({mail.message_id for mail in made.notifier.mails})


@pytest.mark.parametrize("stage", [State.DETECTED, State.FORMATTED, State.DISPATCHED])
def test_after_the_confirm_before_the_next_wake_up(database_url: str, stage: State) -> None:
    """No wake-up is confirmed by the broker: the alarms carry the row through every stage."""
    with bench(database_url) as made:
        broker = made.broker
        if stage is State.DETECTED:
            made.feed(*failing_chain())
            broker.take(Queue.DETECT, limit=9, timeout_seconds=0)
        else:
            made.to_formatted()
            made.clock.advance(GRACE)
        rewire(made, broker=DeafBroker())
        if stage is State.DETECTED:
            made.engine.decide([JOB])
        else:
            made.engine.fire(Event.DISPATCH, [made.row().id])
        if stage is State.DISPATCHED:
            made.agent.outcome(made.row().id, kind=AnswerKind.RUNNING)
            made.engine.fire(Event.EXECUTE, [made.row().id])
        assert [0, 0, 0] == [broker.depth(queue) for queue in _STAGES]
        assert made.row().wake_at is not None
        rewire(made, broker=broker)
        made.agent.outcome(made.row().id, scheduler_id="41300")
        made.live(15 * MINUTE)
        assert State.EXECUTED is made.row().state
        assert [1] == executions(made.agent)


_STAGES = [Queue.FORMAT, Queue.DISPATCH, Queue.EXECUTION]


def test_the_old_worker_wakes_up_after_its_lease(database_url: str) -> None:
    """Presumed dead, it comes back with a receipt: the row has gone on, and it changes nothing."""
    with bench(database_url) as made:
        made.to_formatted()
        made.clock.advance(GRACE)

        def others_go_on() -> None:
            made.clock.advance(LEASE)
            with another_worker(made, transport=made.agent) as other:
                other.fire(Event.DISPATCH, [made.row().id])
                other.fire(Event.EXECUTE, [made.row().id])

        rewire(made, transport=Meanwhile(made.agent, "submit", others_go_on))
        made.engine.fire(Event.DISPATCH, [made.row().id])
        row = made.row()
        assert (State.EXECUTED, None) == (row.state, row.lease_until)
        assert ["detect", "format", "dispatch", "execute"] == made.events()
        assert [1] == executions(made.agent)


def test_the_old_worker_wakes_up_after_an_operators_retry(database_url: str) -> None:
    """A person cancelled and retried meanwhile: the late answer is about another attempt."""
    with bench(database_url) as made:
        row = made.to_formatted()
        made.clock.advance(GRACE)
        made.agent.outcome(row.id, 1, kind=AnswerKind.ACCEPTED)

        def a_person_comes() -> None:
            made.clock.advance(LEASE)
            with another_worker(made, transport=made.agent) as other:
                how = other.order(Event.FORCE_DETECTED, row.id, ALICE).how
                assert Obeyed.DONE is how

        rewire(made, transport=Meanwhile(made.agent, "submit", a_person_comes))
        made.engine.fire(Event.DISPATCH, [row.id])
        assert (State.DETECTED, 2) == (made.row().state, made.row().attempt)
        assert "force_detected" == made.events()[-1]
        made.settle()
        assert State.EXECUTED is made.row().state
        assert {2: 1} == {key.attempt: count for key, count in made.agent.executions.items()}


def test_a_worker_without_its_lease_sends_no_byte(sqlite_url: str) -> None:
    """Its question took longer than its lease: the caps' lock admits it no more."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        made.agent.unreachable.add("curie")
        made.wait(GRACE)
        made.agent.unreachable.clear()
        made.clock.advance(MINUTE)
        rewire(
            made, transport=Meanwhile(made.agent, "status", lambda: made.clock.advance(2 * LEASE))
        )
        submits = made.calls("submit")
        made.engine.fire(Event.DISPATCH, [made.row().id])
        assert submits == made.calls("submit")
        assert (State.FORMATTED, 1) == (made.row().state, made.row().dispatch_try_count)


@pytest.mark.parametrize(("module", "stage"), [(dao_claims, "claim"), (dao_supervision, "confirm")])
def test_a_database_that_goes_away_around_an_act(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, module: ModuleType, stage: str
) -> None:
    """Whether before the claim or at the confirm: nothing is lost, nothing is done twice."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.clock.advance(GRACE)
        with monkeypatch.context() as patch:
            patch.setattr(module, stage, _away)
            with pytest.raises(DatabaseUnavailable):
                made.engine.fire(Event.DISPATCH, [row.id])
        assert State.FORMATTED is made.row().state
        made.live(5 * MINUTE)
        assert State.EXECUTED is made.row().state
        assert [1] == executions(made.agent)


def _away(*_arguments: object, **_options: object) -> None:
    raise DatabaseUnavailable("the server closed the connection")


def test_a_start_that_comes_before_its_receipt(sqlite_url: str) -> None:
    """Our own job's 1000 overtakes the answer to the submit: that is no superseding."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, scheduler_id="41300")
        made.agent.lose_answer("submit")
        made.wait(GRACE)
        made.agent.status("curie", "p86user1", [row.key])
        made.clock.advance(timedelta(seconds=9))
        made.feed(message("1000", at=made.clock.now(), job=NEW_JOB, jobSchedulerID="41300"))
        made.settle()
        made.live(10 * MINUTE)
        assert (State.EXECUTED, "us") == (made.row().state, made.ledger()["fatal"].restarted_by)
        assert [1] == executions(made.agent)
