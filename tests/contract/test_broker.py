"""The promises of the Broker port, asked of the broker in memory and of RabbitMQ alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import pytest

from supervision import topology
from supervision.adapters.memory import MemoryBroker
from supervision.adapters.rabbitmq import RabbitBroker
from supervision.adapters.system import SystemClock
from supervision.errors import BrokerUnavailable, InvalidValue, NotFound
from supervision.messages import Envelope
from supervision.ports import Broker
from supervision.testing import SeededIds
from tests.contract.broker_kit import FACTS, FORMAT, envelope, eventually, ids, taken


class CountingBroker(Broker, Protocol):
    """The port, and the one thing more that both adapters can: count what waits."""

    def depth(self, queue: str) -> int:
        """Count what waits in a queue."""


@pytest.fixture(params=["memory", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[CountingBroker]:
    """Give an empty broker of each kind."""
    if request.param == "memory":
        made: CountingBroker = MemoryBroker()
    else:
        url = request.getfixturevalue("amqp_url")
        made = RabbitBroker(url, ids=SeededIds(), clock=SystemClock())
    yield made
    made.close()


def published(broker: Broker, count: int, queue: str = FORMAT) -> Sequence[str]:
    """Publish messages and name them."""
    envelopes = [envelope(queue, b"%d" % number) for number in range(count)]
    broker.publish(envelopes)
    return [sent.message_id for sent in envelopes]


def test_a_message_arrives_as_it_was_sent(broker: CountingBroker) -> None:
    """Body and every property come out unchanged, whatever bytes the body is made of."""
    sent = envelope(FACTS, bytes(range(256)), correlation_id_1="é\N{SNOWMAN}", producer_id="x")
    broker.publish([sent])
    (delivery,) = taken(broker, FACTS, 1)
    assert sent == delivery.envelope
    assert (FACTS, False) == (delivery.queue, delivery.redelivered)


def test_an_empty_body_arrives(broker: CountingBroker) -> None:
    """A message of no bytes is still a message."""
    broker.publish([envelope(body=b"")])
    assert b"" == taken(broker, FORMAT, 1)[0].envelope.body


def test_times_arrive_in_whole_seconds(broker: CountingBroker) -> None:
    """AMQP has no fractions of a second, and the double promises no more than that."""
    exact = datetime(2015, 3, 18, 9, 48, 48, 902943, tzinfo=UTC)
    broker.publish([replace(envelope(), timestamp=exact)])
    assert exact.replace(microsecond=0) == taken(broker, FORMAT, 1)[0].envelope.timestamp


def test_messages_arrive_in_the_order_of_publishing(broker: CountingBroker) -> None:
    """One publisher's messages are taken in its order, over several sets."""
    sent = [*published(broker, 300), *published(broker, 300)]
    assert sent == ids(taken(broker, FORMAT, 600))


def test_publishing_nothing_is_nothing(broker: CountingBroker) -> None:
    """An empty set returns at once and leaves nothing behind."""
    broker.publish([])
    assert 0 == broker.depth(FORMAT)


@pytest.mark.parametrize("queue", topology.WORK_QUEUES)
def test_every_queue_of_the_topology_exists(queue: str) -> None:
    """The double knows each working queue and its dead letters; RabbitMQ's are counted below."""
    broker = MemoryBroker()
    assert (0, 0) == (broker.depth(queue), broker.depth(topology.dead_queue(queue)))


def test_every_working_queue_carries_its_own_messages(broker: CountingBroker) -> None:
    """A set may be for all queues at once; each message waits in its own, and in no other."""
    broker.publish([envelope(queue) for queue in topology.WORK_QUEUES])
    assert {1} == {broker.depth(queue) for queue in topology.WORK_QUEUES}


def test_take_returns_empty_after_its_timeout(broker: CountingBroker) -> None:
    """No message is a normal answer."""
    assert [] == list(broker.take(FORMAT, limit=10, timeout_seconds=0.01))


def test_take_without_a_timeout_does_not_wait(broker: CountingBroker) -> None:
    """Zero seconds means what is there now, also for the first take of a queue."""
    assert [] == list(broker.take(FORMAT, limit=10, timeout_seconds=0))


def test_take_respects_its_limit(broker: CountingBroker) -> None:
    """What is beyond the limit stays for the next take."""
    sent = published(broker, 3)
    eventually(lambda: broker.depth(FORMAT) == 3, "the messages are in the queue")
    assert sent[:2] == ids(taken(broker, FORMAT, 2))
    assert sent[2:] == ids(taken(broker, FORMAT, 1))


def test_take_wakes_up_for_a_message_that_comes_later(broker: CountingBroker) -> None:
    """A waiting consumer gets what another thread publishes."""
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(taken, broker, FORMAT, 1)
        sent = published(broker, 1)
        assert sent == ids(waiting.result())


def test_acked_messages_never_come_back(broker: CountingBroker) -> None:
    """After an ack and a release there is nothing to take."""
    published(broker, 5)
    broker.ack(taken(broker, FORMAT, 5))
    broker.release(FORMAT)
    eventually(lambda: broker.depth(FORMAT) == 0, "the queue is empty")
    assert [] == list(broker.take(FORMAT, limit=5, timeout_seconds=0.05))


def test_released_messages_come_back_in_order(broker: CountingBroker) -> None:
    """Whoever takes next gets all of them again, marked, over a new epoch."""
    sent = published(broker, 20)
    first = taken(broker, FORMAT, 15)
    broker.release(FORMAT)
    again = taken(broker, FORMAT, 20)
    assert sent == ids(again)
    assert {True} == {delivery.redelivered for delivery in again[:15]}
    assert not {delivery.epoch for delivery in first} & {delivery.epoch for delivery in again}


def test_an_unchanged_message_comes_back(broker: CountingBroker) -> None:
    """What a broker counts for itself does not show in the headers."""
    sent = envelope(FORMAT, b"{}", producer_id="x")
    broker.publish([sent])
    taken(broker, FORMAT, 1)
    broker.release(FORMAT)
    assert sent == taken(broker, FORMAT, 1)[0].envelope


def test_ack_settles_exactly_what_it_was_given(broker: CountingBroker) -> None:
    """Messages acked out of order, with gaps, leave the others unsettled."""
    sent = published(broker, 6)
    deliveries = taken(broker, FORMAT, 6)
    broker.ack([deliveries[4], deliveries[1]])
    broker.ack([deliveries[0]])
    broker.release(FORMAT)
    assert [sent[2], sent[3], sent[5]] == ids(taken(broker, FORMAT, 3))


def test_ack_is_idempotent(broker: CountingBroker) -> None:
    """A second ack of the same message changes nothing, and later messages still flow."""
    published(broker, 2)
    deliveries = taken(broker, FORMAT, 2)
    for _ in range(3):
        broker.ack(deliveries)
    sent = published(broker, 1)
    assert sent == ids(taken(broker, FORMAT, 1))


def test_an_ack_of_an_old_epoch_is_dropped(broker: CountingBroker) -> None:
    """What was given back is not settled by who had it before, although the tags are the same."""
    sent = published(broker, 2)
    old = taken(broker, FORMAT, 2)
    broker.release(FORMAT)
    new = taken(broker, FORMAT, 2)
    broker.ack(old)
    broker.release(FORMAT)
    assert sent == ids(taken(broker, FORMAT, 2))
    assert ids(old) == ids(new)


def test_release_leaves_other_queues_alone(broker: CountingBroker) -> None:
    """A delivery of another queue is still ours and can be acked."""
    published(broker, 1, FORMAT)
    published(broker, 1, FACTS)
    facts = taken(broker, FACTS, 1)
    taken(broker, FORMAT, 1)
    broker.release(FORMAT)
    broker.ack(facts)
    broker.release(FACTS)
    eventually(lambda: broker.depth(FORMAT) == 1, "the wake-up went back")
    assert 0 == broker.depth(FACTS)


def test_release_may_be_repeated_and_never_raises(broker: CountingBroker) -> None:
    """Also for a queue that nobody took from, and for one that does not exist."""
    for queue in (FORMAT, FORMAT, FACTS, "no-such-queue"):
        broker.release(queue)
    published(broker, 1)
    assert 1 == len(taken(broker, FORMAT, 1))


def test_poison_is_buried_with_its_reason(broker: CountingBroker) -> None:
    """The dead letter has body and properties of the message; the message is settled."""
    sent = envelope(FACTS, b"\xff not JSON", producer_id="x")
    broker.publish([sent])
    broker.bury(taken(broker, FACTS, 1)[0], "no JSON: é")
    broker.release(FACTS)
    (dead,) = taken(broker, topology.dead_queue(FACTS), 1)
    headers = {"producer_id": "x", topology.REASON_HEADER: "no JSON: é"}
    assert replace(sent, queue=topology.dead_queue(FACTS), headers=headers) == dead.envelope
    assert 0 == broker.depth(FACTS)


def test_a_long_reason_is_cut(broker: CountingBroker) -> None:
    """A traceback of any length buries the message all the same."""
    published(broker, 1)
    broker.bury(taken(broker, FORMAT, 1)[0], "x" * 1_000_000)
    (dead,) = taken(broker, topology.dead_queue(FORMAT), 1)
    assert "x" * topology.MAX_REASON_LENGTH == dead.envelope.headers[topology.REASON_HEADER]


def test_burying_twice_makes_one_dead_letter(broker: CountingBroker) -> None:
    """A delivery that was settled, or went back, is not buried by who had it before."""
    published(broker, 2)
    settled, returned = taken(broker, FORMAT, 2)
    broker.bury(settled, "first")
    broker.release(FORMAT)
    broker.bury(settled, "second")
    broker.bury(returned, "third")
    assert 1 == broker.depth(topology.dead_queue(FORMAT))
    assert ids([returned]) == ids(taken(broker, FORMAT, 1))


def test_a_dead_letter_can_be_put_back(broker: CountingBroker) -> None:
    """People take it from its queue like any message, publish it anew and ack it."""
    published(broker, 1)
    broker.bury(taken(broker, FORMAT, 1)[0], "looked bad")
    (dead,) = taken(broker, topology.dead_queue(FORMAT), 1)
    broker.publish([replace(dead.envelope, queue=FORMAT, headers={})])
    broker.ack([dead])
    assert b"0" == taken(broker, FORMAT, 1)[0].envelope.body


def test_wake_ups_are_copied_for_people(broker: CountingBroker) -> None:
    """The debug queue has the same message, and settles on its own."""
    sent = published(broker, 2)
    broker.ack(taken(broker, FORMAT, 2))
    assert sent == ids(taken(broker, topology.debug_queue(FORMAT), 2))


def test_debug_copies_are_bounded(broker: CountingBroker) -> None:
    """The oldest copies make room: nobody has to read them for the service to go on."""
    published(broker, topology.DEBUG_LENGTH + 50)
    copies = topology.debug_queue(FORMAT)
    eventually(lambda: broker.depth(copies) == topology.DEBUG_LENGTH, "the copies are bounded")
    assert b"50" == taken(broker, copies, 1)[0].envelope.body
    assert topology.DEBUG_LENGTH + 50 == broker.depth(FORMAT)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (envelope("in-monitoring-4000"), NotFound),
        (envelope(body=bytes(topology.MAX_BODY_BYTES + 1)), InvalidValue),
    ],
    ids=["unknown-queue", "too-large"],
)
def test_a_message_that_can_never_be_taken_spoils_its_set(
    broker: CountingBroker, bad: Envelope, error: type[Exception]
) -> None:
    """A permanent error comes before the first message is sent: nothing was published."""
    with pytest.raises(error):
        broker.publish([envelope(), bad])
    assert 0 == broker.depth(FORMAT)


def test_taking_from_an_unknown_queue_is_an_error(broker: CountingBroker) -> None:
    """A misspelt queue must not look like a quiet one."""
    with pytest.raises(NotFound, match="internal-supervisor-format"):
        broker.take("internal-supervisor-format", limit=1, timeout_seconds=0)


def test_a_large_body_arrives(broker: CountingBroker) -> None:
    """Ten megabytes, many frames, go through as one message, and the next one follows."""
    body = bytes(range(256)) * 40_000
    broker.publish([envelope(FACTS, body), envelope(FACTS, b"next")])
    assert [body, b"next"] == [one.envelope.body for one in taken(broker, FACTS, 2)]


def test_many_threads_publish_at_once(broker: CountingBroker) -> None:
    """Every set of every thread is there when its publish has returned."""
    with ThreadPoolExecutor(8) as pool:
        names = [pool.submit(published, broker, 50) for _ in range(8)]
        sent = [name for done in names for name in done.result()]
    assert sorted(sent) == sorted(ids(taken(broker, FORMAT, 400)))


def test_a_closed_broker_says_so(broker: CountingBroker) -> None:
    """Closing twice is fine; what needs a broker raises, what only lets go does not."""
    published(broker, 1)
    deliveries = taken(broker, FORMAT, 1)
    broker.close()
    broker.close()
    broker.ack(deliveries)
    broker.release(FORMAT)
    with pytest.raises(BrokerUnavailable, match="closed"):
        broker.publish([envelope()])
    with pytest.raises(BrokerUnavailable, match="closed"):
        broker.take(FORMAT, limit=1, timeout_seconds=0)
    with pytest.raises(BrokerUnavailable, match="closed"):
        broker.bury(deliveries[0], "too late")


def test_closing_wakes_a_waiting_consumer(broker: CountingBroker) -> None:
    """A thread in `take` learns at once that the broker was closed."""
    broker.take(FORMAT, limit=1, timeout_seconds=0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(broker.take, FORMAT, limit=1, timeout_seconds=600)
        broker.close()
        with pytest.raises(BrokerUnavailable, match="closed"):
            waiting.result(10)
