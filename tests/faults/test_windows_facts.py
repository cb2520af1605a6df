"""Crash windows around facts, decisions and alarms: what is not committed whole is not there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from db import dao_decisions, dao_history, dao_messages, dao_monitoring, dao_supervision
from supervision.consumers import base, monitoring
from supervision.errors import DatabaseUnavailable
from supervision.fsm.engine import deciding
from supervision.fsm.states import Event, State
from supervision.messages import monitoring_queue
from supervision.wire import monitoring_envelope
from tests.factories import JOB, NOW
from tests.integration.flows_kit import DeafBroker, Died, another_worker, rewire
from tests.unit.engine_kit import (
    MINUTE,
    OWNER,
    Bench,
    bench,
    failing_chain,
)

LEASE = timedelta(seconds=120)
LIMIT = 1000
FACTS = [
    "tbl_message",
    "tbl_simulation",
    "tbl_job",
    "tbl_job_period",
    "tbl_supervision_decision",
]


def _dies(*_arguments: object, **_options: object) -> None:
    raise Died


def _away(*_arguments: object, **_options: object) -> None:
    raise DatabaseUnavailable("the server closed the connection")


@pytest.mark.parametrize(
    "step", ["store_simulations", "store_jobs", "store_periods", "store_triggers"]
)
def test_between_a_message_and_what_follows_from_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The process dies between two tables: nothing at all is stored, and the repeat stores all."""
    with bench(database_url) as made:
        room = dao_decisions if step == "store_triggers" else dao_monitoring
        with monkeypatch.context() as patch:
            patch.setattr(room, step, _dies)
            with pytest.raises(Died):
                made.feed(*failing_chain())
        assert [[]] * len(FACTS) == [made.table(name) for name in FACTS]
        made.feed(*failing_chain())
        made.settle()
        assert State.FORMATTED is made.row().state


def test_facts_stay_in_their_queue_while_the_database_is_away(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is acknowledged before the commit: given back, they come again, in order."""
    with bench(sqlite_url) as made:
        consumer = next(
            each
            for each in monitoring.consumers(made.engine, 10)
            if each.queue == monitoring_queue("1999")
        )
        made.publish(failing_chain()[-1])
        with monkeypatch.context() as patch:
            patch.setattr(dao_messages, "store", _away)
            taken = made.broker.take(consumer.queue, limit=10, timeout_seconds=0)
            with pytest.raises(DatabaseUnavailable):
                base.consume(consumer, made.broker, taken)
        made.broker.release(consumer.queue)
        assert 1 == made.broker.depth(consumer.queue)
        assert [] == made.table("tbl_message")
        made.drain()
        assert 1 == len(made.table("tbl_message"))
        assert [] == made.broker.dead()


def test_between_the_commit_and_the_ack(sqlite_url: str) -> None:
    """Facts that are stored and come again are acknowledged as duplicates: no second trigger."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain())
        made.broker.publish([monitoring_envelope(each) for each in failing_chain()])
        made.settle()
        assert 1 == made.ledger()["fatal"].occurrences
        assert 0 == sum(made.broker.depth(monitoring_queue(each.code)) for each in failing_chain())


def test_between_the_facts_and_their_wake_up(sqlite_url: str) -> None:
    """Committed, and the broker confirms nothing: the ledger's alarm is found by the sweeper."""
    with bench(sqlite_url) as made:
        broker = made.broker
        rewire(made, broker=DeafBroker())
        made.feed(*failing_chain())
        assert NOW == made.ledger()["fatal"].wake_at
        rewire(made, broker=broker)
        made.settle()
        assert State.FORMATTED is made.row().state


def _decide_and(made: Bench, problem: type[Exception]) -> None:
    with pytest.raises(problem):
        made.engine.decide([JOB])


@pytest.mark.parametrize(
    "where",
    [
        (dao_decisions, "claim"),
        (dao_decisions, "confirm"),
        (dao_supervision, "insert_new"),
        (dao_history, "append"),
    ],
    ids=["claim", "verdict", "supervision", "history"],
)
@pytest.mark.parametrize(
    "fault", [(_away, DatabaseUnavailable), (_dies, Died)], ids=["away", "died"]
)
def test_in_the_midst_of_a_decision(
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[object, str],
    fault: tuple[Callable[..., None], type[Exception]],
) -> None:
    """A supervision without its verdict, or a verdict without its supervision, never exists."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain())
        with monkeypatch.context() as patch:
            patch.setattr(*where, fault[0])
            _decide_and(made, fault[1])
        assert [] == made.rows()
        assert made.ledger()["fatal"].verdict is None
        assert [] == made.table("tbl_supervision_transition")
        made.wait(LEASE)
        assert (State.FORMATTED, 1) == (made.row().state, made.row().attempt)
        assert "supervise" == made.ledger()["fatal"].verdict


def test_between_the_claim_of_a_decision_and_its_verdict(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decider died: its lease is the alarm, and nobody else decides before its end."""
    with bench(database_url) as made:
        made.feed(*failing_chain())
        with monkeypatch.context() as patch:
            patch.setattr(deciding, "open_supervisions", _dies)
            _decide_and(made, Died)
        assert NOW + LEASE == made.ledger()["fatal"].wake_at
        made.engine.decide([JOB])
        assert [] == made.rows()
        made.wait(LEASE)
        assert State.FORMATTED is made.row().state


def test_between_the_mail_of_a_verdict_and_the_verdict(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told, and not written: it is told again under the same Message-ID, and then written."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain(period=1))
        with monkeypatch.context() as patch:
            patch.setattr(dao_decisions, "confirm", _away)
            _decide_and(made, DatabaseUnavailable)
        made.wait(LEASE)
        assert "first-period" == made.ledger()["fatal"].rule
        assert [OWNER, OWNER] == [to for to, _ in made.mails()]
        assert 1 == len({mail.message_id for mail in made.notifier.mails})


def test_between_the_supervision_and_its_first_wake_up(database_url: str) -> None:
    """Opened, and nobody was woken: the row's own alarm has it formatted."""
    with bench(database_url) as made:
        broker = made.broker
        made.feed(*failing_chain())
        rewire(made, broker=DeafBroker())
        made.engine.decide([JOB])
        assert State.DETECTED is made.row().state
        rewire(made, broker=broker)
        made.live(2 * MINUTE)
        assert State.FORMATTED is made.row().state


def test_a_second_sweeper_sends_nothing_that_the_first_has_sent(database_url: str) -> None:
    """Two processes sweep at the same moment: each due row is woken by one of them."""
    with bench(database_url) as made:
        made.feed(*failing_chain())
        with another_worker(made) as other:
            swept = [made.engine.sweep(LIMIT), other.sweep(LIMIT)]
        assert [1, 0] == [each.decisions for each in swept]


def test_between_a_sweep_and_its_wake_ups(sqlite_url: str) -> None:
    """The alarms were moved on, the wake-ups are lost: a minute later they are sent again."""
    with bench(sqlite_url) as made:
        broker = made.broker
        made.feed(*failing_chain())
        rewire(made, broker=DeafBroker())
        assert 1 == made.engine.sweep(LIMIT).decisions
        rewire(made, broker=broker)
        assert 0 == made.engine.sweep(LIMIT).decisions
        made.clock.advance(MINUTE)
        assert 1 == made.engine.sweep(LIMIT).decisions


def test_wake_ups_that_come_double_late_and_without_order_change_nothing(sqlite_url: str) -> None:
    """A hint for a row that is elsewhere is acknowledged, and has no effect."""
    with bench(sqlite_url) as made:
        row = made.to_executed()
        before = made.row()
        for event in (Event.FORMAT, Event.DISPATCH, Event.EXECUTE) * 3:
            made.engine.fire(event, [row.id, row.id])
        made.engine.decide([JOB, JOB])
        assert before == made.row()
