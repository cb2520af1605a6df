"""Every window in which a worker may die, by its name: nothing is lost, nothing is run twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, Final

import pytest
from sqlalchemy.exc import OperationalError

from db import dao_claims, dao_decisions, dao_history, dao_monitoring, dao_supervision
from supervision.facts import AnswerKind, Key, Supervision
from supervision.fsm.states import Event, Queue, State
from tests.factories import JOB
from tests.unit.engine_kit import (
    ALICE,
    DAY,
    HOUR,
    MINUTE,
    OWNER,
    SITE,
    Bench,
    Died,
    bench,
    die,
    failing_chain,
)

LEASE: Final = timedelta(seconds=120)


@pytest.fixture
def service(database_url: str) -> Iterator[Bench]:
    """The service at a site where it may act."""
    with bench(database_url) as made:
        yield made


def _due(service: Bench) -> Supervision:
    """A script that may be sent now."""
    row = service.to_formatted()
    service.clock.advance(10 * MINUTE)
    return row


def _killed(service: Bench, event: Event, supervision_id: str) -> None:
    with pytest.raises(Died):
        service.engine.fire(event, [supervision_id])


def _ends_well(service: Bench, attempt: int = 1) -> None:
    """With no help but time the script is run, once, and the row says so."""
    service.live(HOUR, step=4 * MINUTE)
    row = service.row()
    assert (State.EXECUTED, attempt) == (row.state, row.attempt)
    assert {Key(supervision_id=row.id, attempt=attempt): 1} == service.agent.executions
    restarts = service.table("tbl_supervision_restart")
    assert [attempt] == [each["attempt"] for each in restarts]


def _dies_once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:  # noqa: ANN401
    """Have the next call of a dao function be a worker's last."""
    _raises_once(monkeypatch, module, name, Died())


def _raises_once(
    monkeypatch: pytest.MonkeyPatch,
    module: Any,  # noqa: ANN401
    name: str,
    error: BaseException,
) -> None:
    real = getattr(module, name)

    def last(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        monkeypatch.setattr(module, name, real)
        assert arguments or named
        raise error

    monkeypatch.setattr(module, name, last)


@pytest.mark.parametrize("state", [State.DETECTED, State.FORMATTED, State.DISPATCHED])
def test_after_the_claim_before_the_act(service: Bench, state: State) -> None:
    """The lease runs out, the alarm rings, and somebody else does the work."""
    if state is State.DETECTED:
        service.feed(*failing_chain())
        service.engine.decide([JOB])
        row = service.row()
    else:
        row = _due(service) if state is State.FORMATTED else service.to_dispatched()
    assert state is row.state
    service.agent.outcome(row.id)
    service.clock.advance(HOUR)
    with service.tools.database.write() as session:
        now = service.clock.now()
        (claimed,) = dao_claims.claim(session, [row.id], [state], lease=(now, now + LEASE))
    assert now + LEASE == claimed.wake_at
    service.settle()
    assert state is service.row().state, "nobody touches what is leased"
    _ends_well(service)


def test_after_the_count_before_the_first_byte(service: Bench) -> None:
    """The try is counted, nothing was sent: the agent has never seen the key."""
    row = _due(service)
    service.agent.once("before submit", die)
    _killed(service, Event.DISPATCH, row.id)
    assert (1, []) == (service.row().dispatch_try_count, service.agent.orders)
    _ends_well(service)
    assert 2 == service.row().dispatch_try_count


def test_after_the_submit_before_the_receipt(service: Bench) -> None:
    """The answer is lost on its way, again and again: asked for its key, the agent tells."""
    row = _due(service)
    service.agent.lose_answer("submit")
    service.agent.lose_answer("status", times=5)
    service.engine.fire(Event.DISPATCH, [row.id])
    assert (State.FORMATTED, 1) == (service.row().state, len(service.agent.orders))
    _ends_well(service)
    assert 1 == len(service.agent.orders)


def test_after_the_receipt_before_the_confirm(service: Bench) -> None:
    """The worker knew, and died: the journal knows it too."""
    row = _due(service)
    service.agent.once("after submit", die)
    _killed(service, Event.DISPATCH, row.id)
    assert State.FORMATTED is service.row().state
    _ends_well(service)
    assert 1 == len(service.agent.orders)


def test_in_the_midst_of_the_confirm(service: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and history are one transaction: neither is written, and the act is not repeated."""
    row = _due(service)
    _dies_once(monkeypatch, dao_history, "append")
    _killed(service, Event.DISPATCH, row.id)
    assert (State.FORMATTED, ["detect", "format"]) == (service.row().state, service.events())
    _ends_well(service)
    assert ["detect", "format", "dispatch", "execute"] == service.events()


class Deadlock(Exception):
    """What PostgreSQL says to the one of two transactions that it gives up."""

    pgcode: Final = "40P01"


def test_a_confirm_that_loses_a_deadlock_is_written_at_once(
    service: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole transaction once more, in the same firing: no claim waits for its lease's end."""
    row = _due(service)
    lost = OperationalError("INSERT", {}, Deadlock())
    _raises_once(monkeypatch, dao_history, "append", lost)
    service.engine.fire(Event.DISPATCH, [row.id])
    assert State.DISPATCHED is service.row().state
    assert ["detect", "format", "dispatch"] == service.events()
    assert 1 == len(service.agent.orders)


def test_after_the_confirm_before_the_wake_up(service: Bench) -> None:
    """The broker is away when the next stage is to be told: the sweeper tells it."""
    service.feed(*failing_chain())
    service.drain()
    row = service.row()
    service.clock.advance(10 * MINUTE)
    service.broker.away = True
    service.engine.fire(Event.DISPATCH, [row.id])
    assert (State.DISPATCHED, 0) == (
        service.row().state,
        service.broker.depth(Queue.EXECUTION),
    )
    service.broker.away = False
    service.settle()
    assert State.DISPATCHED is service.row().state, "its alarm is a minute away"
    service.wait(MINUTE)
    assert State.EXECUTED is service.row().state
    _ends_well(service)


def test_after_the_outcome_before_the_confirm(service: Bench) -> None:
    """The owner was told, and the worker died: told again, it is the same mail."""
    row = service.to_dispatched()
    service.agent.outcome(row.id, scheduler_id="41300")
    service.clock.advance(10 * MINUTE)
    real = service.notifier.send

    def send_and_die(mail: Any) -> None:  # noqa: ANN401
        real(mail)
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.notifier, "send", send_and_die)
        _killed(service, Event.EXECUTE, row.id)
    assert State.DISPATCHED is service.row().state
    _ends_well(service)
    assert [(OWNER, "acted")] * 2 == service.mails()
    assert 1 == len({mail.message_id for mail in service.notifier.mails})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (dao_monitoring, "store_simulations"),
        (dao_monitoring, "store_jobs"),
        (dao_monitoring, "store_periods"),
        (dao_decisions, "store_triggers"),
        (dao_supervision, "wake"),
    ],
)
def test_between_the_message_and_the_ledger(
    service: Bench,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,  # noqa: ANN401
    name: str,
) -> None:
    """A fact and all that follows from it are one transaction: the whole set rolls back."""
    _dies_once(monkeypatch, module, name)
    with pytest.raises(Died):
        service.feed(*failing_chain())
    for table in ("tbl_message", "tbl_simulation", "tbl_job", "tbl_supervision_decision"):
        assert [] == service.table(table)
    service.publish(*failing_chain())
    service.drain()
    service.clock.advance(10 * MINUTE)
    _ends_well(service)


@pytest.mark.parametrize("name", ["insert_new", "of_jobs"])
def test_between_the_verdict_and_its_supervision(
    service: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No verdict says supervise without a row; the decision comes back when its lease is over."""
    service.feed(*failing_chain())
    with monkeypatch.context() as fault:
        _dies_once(fault, dao_supervision, name)
        with pytest.raises(Died):
            service.engine.decide([JOB])
    assert ([], None) == (service.rows(), service.ledger()["fatal"].verdict)
    service.clock.advance(10 * MINUTE)
    _ends_well(service)


def test_after_the_verdict_before_the_wake_up(service: Bench) -> None:
    """The new row has an alarm of its own."""
    service.feed(*failing_chain())
    service.broker.away = True
    service.engine.decide([JOB])
    service.broker.away = False
    assert State.DETECTED is service.row().state
    _ends_well(service)


def test_after_the_cancel_before_the_confirm(
    service: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order was told to the agent, and not to the row: the key stays fenced, nothing runs."""
    row = _due(service)
    service.agent.lose_answer("submit")
    service.agent.outcome(row.id, kind=AnswerKind.ACCEPTED)
    service.engine.fire(Event.DISPATCH, [row.id])
    _dies_once(monkeypatch, dao_supervision, "confirm")
    with pytest.raises(Died):
        service.engine.order(Event.CANCEL, row.id, ALICE)
    service.agent.outcome(row.id)
    service.live(HOUR)
    assert {} == service.agent.executions
    assert service.row().state in {State.FAILED, State.CANCELLED}


def test_the_old_worker_wakes_up_after_its_lease(service: Bench) -> None:
    """Somebody else has done the work meanwhile: what it brings is thrown away."""
    row = _due(service)

    def sleep_too_long() -> None:
        service.clock.advance(LEASE)
        service.settle()
        assert State.EXECUTED is service.row().state

    service.agent.once("after submit", sleep_too_long)
    service.engine.fire(Event.DISPATCH, [row.id])
    assert ["detect", "format", "dispatch", "execute"] == service.events()
    _ends_well(service)


def test_two_workers_on_one_row(postgres_url: str) -> None:
    """At the same moment, in two threads with sessions of their own: one of them gets it."""
    with bench(postgres_url) as first, bench(postgres_url) as second:
        row = _due(first)
        second.clock.set(first.clock.now())
        together = Barrier(2)

        def work(each: Bench) -> None:
            together.wait()
            each.engine.fire(Event.DISPATCH, [row.id])

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, (first, second)))
        assert 1 == len(first.agent.orders) + len(second.agent.orders)
        assert (State.DISPATCHED, 1) == (first.row().state, first.row().dispatch_try_count)
        assert 1 == first.events().count("dispatch")


def test_two_workers_on_one_decision(postgres_url: str) -> None:
    """One verdict, one supervision, one beginning in its history."""
    with bench(postgres_url) as first, bench(postgres_url) as second:
        first.feed(*failing_chain())
        together = Barrier(2)

        def decide(each: Bench) -> None:
            together.wait()
            each.engine.decide([JOB])

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(decide, (first, second)))
        assert (1, ["detect"]) == (len(first.rows()), first.events())


def test_the_same_facts_in_two_transactions_at_once(postgres_url: str) -> None:
    """Two consumers of one redelivered set: each fact has its consequences once."""
    with bench(postgres_url) as first, bench(postgres_url) as second:
        together = Barrier(2)

        def record(each: Bench) -> None:
            together.wait()
            each.feed(*failing_chain())

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(record, (first, second)))
        assert 5 == len(first.table("tbl_message"))
        assert 1 == first.ledger()["fatal"].occurrences


def test_a_centre_that_is_dead_for_days_loses_nothing(service: Bench) -> None:
    """The answer to the submit was lost with the centre: once it is back, it all goes on."""
    row = _due(service)
    service.agent.lose_answer("submit")
    service.engine.fire(Event.DISPATCH, [row.id])
    service.agent.unreachable.add(SITE)
    service.live(2 * DAY, step=3 * HOUR)
    assert (State.FORMATTED, 1) == (service.row().state, service.row().attempt)
    service.agent.unreachable.clear()
    _ends_well(service)
