"""RabbitMQ and the network at their worst: what was promised still holds, or an error says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from supervision import topology
from supervision.adapters.rabbitmq import Bounds, RabbitBroker
from supervision.adapters.system import SystemClock
from supervision.errors import BrokerUnavailable, InvalidValue, Permanent, SettingsError
from supervision.messages import Envelope
from supervision.ports import Delivery
from supervision.testing import FrozenClock, SeededIds
from tests.contract.broker_kit import FACTS, FORMAT, envelope, eventually, ids, taken
from tests.faults.tcp_proxy import TcpProxy

PUBLISHER, CONSUMER = 0, 1  # the order in which a broker makes its connections


class ObservedClock(FrozenClock):
    """A frozen clock that knows when the I/O thread reads it, and can hold it there, or fail it."""

    def __init__(self) -> None:
        """Begin with nobody having asked."""
        super().__init__()
        self.broken = False
        self._asked = 0
        self._free = threading.Event()
        self._free.set()

    def monotonic_seconds(self) -> float:
        """Answer at once to everybody but the I/O thread."""
        if threading.current_thread().name == "rabbitmq-io":
            self._asked += 1
            self._free.wait(30)
            if self.broken:
                raise RuntimeError("a bug in the thread")
        return super().monotonic_seconds()

    def advance_seen(self, span: timedelta) -> None:
        """Let time pass once every frame was noted, and wait until the thread has seen it."""
        self._wait()
        self.advance(span)
        self._wait()

    @contextmanager
    def wedged(self) -> Iterator[None]:
        """Hold the I/O thread at its next look at the clock."""
        self._free.clear()
        self._wait(1)
        yield
        self._free.set()

    def _wait(self, times: int = 2) -> None:
        enough = self._asked + times
        eventually(lambda: self._asked >= enough, "the thread looks at the clock")


@pytest.fixture
def proxy(amqp_url: str) -> Iterator[TcpProxy]:
    """Stand between the broker and RabbitMQ."""
    with TcpProxy(amqp_url) as made:
        yield made


@pytest.fixture
def broker(proxy: TcpProxy) -> Iterator[RabbitBroker]:
    """Give a broker whose connections go through the proxy, both of them made."""
    made = RabbitBroker(proxy.url, ids=SeededIds(), clock=SystemClock())
    made.depth(FORMAT)
    made.take(FORMAT, limit=1, timeout_seconds=0)
    yield made
    made.close()


@pytest.fixture
def admin(amqp_url: str) -> Iterator[BlockingChannel]:
    """Give a channel of somebody else's, straight to RabbitMQ."""
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        yield connection.channel()


def retried(broker: RabbitBroker, queue: str, count: int) -> list[Delivery]:
    """Take as a consumer does: come back after every outage."""
    deliveries: list[Delivery] = []

    def complete() -> bool:
        try:
            limit = count - len(deliveries)
            deliveries.extend(broker.take(queue, limit=limit, timeout_seconds=0.1))
        except BrokerUnavailable:
            deliveries.clear()
        return len(deliveries) == count

    eventually(complete, f"{count} messages come from {queue}")
    return deliveries


def republished(broker: RabbitBroker, *envelopes: Envelope) -> None:
    """Publish as whoever was refused does: again."""

    def done() -> bool:
        try:
            broker.publish(envelopes)
        except BrokerUnavailable:
            return False
        return True

    eventually(done, "publishing works again")


def refused(call: Callable[[], object]) -> bool:
    """Tell whether a call raises BrokerUnavailable."""
    try:
        call()
    except BrokerUnavailable:
        return True
    return False


def test_an_ack_after_a_reconnect_is_dropped(broker: RabbitBroker, proxy: TcpProxy) -> None:
    """The message comes again over a new epoch; the old ack neither settles it nor harms."""
    sent = envelope()
    broker.publish([sent])
    (old,) = taken(broker, FORMAT, 1)
    proxy.cut()
    (new,) = retried(broker, FORMAT, 1)
    broker.ack([old])
    broker.release(FORMAT)
    (again,) = taken(broker, FORMAT, 1)
    assert [sent, sent] == [new.envelope, again.envelope]
    assert (True, True) == (new.redelivered, old.epoch < new.epoch)


def test_an_ack_before_the_reconnect_loses_nothing_later(
    broker: RabbitBroker, proxy: TcpProxy
) -> None:
    """An ack given while there is no connection is dropped without an error."""
    broker.publish([envelope()])
    (old,) = taken(broker, FORMAT, 1)
    proxy.shut()
    eventually(lambda: refused(lambda: broker.publish([envelope()])), "the outage is noticed")
    broker.ack([old])
    proxy.open()
    assert [old.envelope] == [one.envelope for one in retried(broker, FORMAT, 1)]


def test_buffered_messages_of_a_lost_connection_are_not_given_out(
    broker: RabbitBroker, proxy: TcpProxy, admin: BlockingChannel
) -> None:
    """What had been prefetched is somebody else's now: it is taken once, by whoever gets it."""
    sent = [envelope() for _ in range(50)]
    broker.publish(sent)
    (first,) = taken(broker, FORMAT, 1)
    proxy.shut()
    eventually(lambda: _ready(admin, FORMAT) == 50, "RabbitMQ took its messages back")
    assert [50, 0] == [_drained(admin, FORMAT), _ready(admin, FORMAT)]
    with pytest.raises(BrokerUnavailable):
        broker.take(FORMAT, limit=50, timeout_seconds=0)
    broker.ack([first])
    proxy.open()
    marker = envelope()
    republished(broker, marker)
    assert [marker] == [one.envelope for one in retried(broker, FORMAT, 1)]


def test_publishing_during_an_outage_fails_at_once(broker: RabbitBroker, proxy: TcpProxy) -> None:
    """Nobody waits for a broker that is known to be away, and nothing is kept to be sent later."""
    proxy.shut()
    eventually(lambda: refused(lambda: broker.publish([envelope()])), "the outage is noticed")
    with pytest.raises(BrokerUnavailable, match="no connection to RabbitMQ") as raised:
        broker.publish([envelope() for _ in range(200)])
    assert raised.value.__cause__ is not None
    proxy.open()
    marker = envelope()
    republished(broker, marker)
    assert [marker] == [one.envelope for one in retried(broker, FORMAT, 1)]
    assert 0 == broker.depth(FORMAT)


def test_a_set_without_its_confirms_is_not_known_to_be_stored(
    broker: RabbitBroker, proxy: TcpProxy
) -> None:
    """When the connection breaks before the confirms, the publisher is told, and repeats."""
    sent = [envelope() for _ in range(20)]
    proxy.silent_down = True
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(broker.publish, sent)
        eventually(lambda: proxy.pipes[PUBLISHER].sent > 20 * 100, "the set is on its way")
        proxy.shut()
        with pytest.raises(BrokerUnavailable):
            publishing.result(10)
    proxy.silent_down = False
    proxy.open()
    republished(broker, *sent)
    eventually(lambda: broker.depth(FORMAT) >= 20, "the set is stored, perhaps twice")
    assert set(ids(taken(broker, FORMAT, 20))) <= {one.message_id for one in sent}


def test_taking_during_an_outage_raises_and_recovers_by_itself(
    broker: RabbitBroker, proxy: TcpProxy
) -> None:
    """The consumer is told that nothing can come, and needs to do nothing but ask again."""
    proxy.shut()
    eventually(
        lambda: refused(lambda: broker.take(FORMAT, limit=1, timeout_seconds=0.01)),
        "the outage is noticed",
    )
    proxy.open()
    sent = envelope()
    republished(broker, sent)
    assert [sent] == [one.envelope for one in retried(broker, FORMAT, 1)]


def test_a_waiting_consumer_learns_of_the_loss(broker: RabbitBroker, proxy: TcpProxy) -> None:
    """A long take ends with the connection, not with its timeout."""
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(broker.take, FORMAT, limit=1, timeout_seconds=600)
        proxy.cut(CONSUMER)
        with pytest.raises(BrokerUnavailable):
            waiting.result(10)


def test_poison_without_a_grave_stays_ours(broker: RabbitBroker, proxy: TcpProxy) -> None:
    """When the dead letter cannot be confirmed nothing is acked, and burying again is right."""
    broker.publish([envelope(FACTS, b"poison")])
    (poison,) = taken(broker, FACTS, 1)
    proxy.refusing = True
    proxy.cut(PUBLISHER)
    with pytest.raises(BrokerUnavailable):
        broker.bury(poison, "bad")
    proxy.open()
    eventually(lambda: not refused(lambda: broker.bury(poison, "bad")), "the publisher is back")
    broker.release(FACTS)
    assert (1, 0) == (broker.depth(topology.dead_queue(FACTS)), broker.depth(FACTS))


def test_one_lost_connection_leaves_the_other_alone(broker: RabbitBroker, proxy: TcpProxy) -> None:
    """What consumers hold survives the publisher's loss: it can still be acked."""
    broker.publish([envelope()])
    held = taken(broker, FORMAT, 1)
    proxy.cut(PUBLISHER)
    eventually(lambda: len(proxy.pipes) == 3, "the publisher has come back")
    republished(broker, envelope(FACTS))
    broker.ack(held)
    broker.release(FORMAT)
    eventually(lambda: broker.depth(FORMAT) == 0, "the ack arrived")
    assert [] == list(broker.take(FORMAT, limit=1, timeout_seconds=0.05))


def test_ten_megabytes_cut_in_the_middle_arrive_once_repeated(
    broker: RabbitBroker, proxy: TcpProxy
) -> None:
    """Half a message is no message."""
    large = envelope(FACTS, bytes(10_000_000))
    before = proxy.pipes[PUBLISHER].sent
    proxy.silent_up = True
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(broker.publish, [large])
        eventually(lambda: proxy.pipes[PUBLISHER].sent - before > 1_000_000, "it is on its way")
        proxy.shut()
        with pytest.raises(BrokerUnavailable):
            publishing.result(10)
    proxy.silent_up = False
    proxy.open()
    republished(broker, large)
    assert 1 == broker.depth(FACTS)
    assert large == taken(broker, FACTS, 1)[0].envelope


def test_heartbeats_go_on_while_a_consumer_is_busy(proxy: TcpProxy) -> None:
    """A thread that holds a delivery and does something slow does not cost the connection."""
    broker = RabbitBroker(f"{proxy.url}?heartbeat=1", ids=SeededIds(), clock=SystemClock())
    broker.publish([envelope()])
    finish = threading.Event()

    def slow() -> bool:
        (held,) = taken(broker, FORMAT, 1)
        finish.wait(30)
        broker.ack([held])
        return broker.take(FORMAT, limit=1, timeout_seconds=0.1) == []

    with ThreadPoolExecutor() as pool:
        working = pool.submit(slow)
        eventually(lambda: broker.depth(FORMAT) == 0, "the consumer has the message")
        pipe = proxy.pipes[CONSUMER]
        before = pipe.sent
        # Two seconds of silence would end it; eight bytes, each half a second, keep it.
        eventually(lambda: pipe.sent - before >= 6 * 8, "heartbeats are sent")
        finish.set()
        assert working.result(10)
    assert 2 == len(proxy.pipes)
    broker.close()


def test_a_peer_that_vanished_is_reported_as_stuck(proxy: TcpProxy) -> None:
    """An open connection without any frame for too long calls on_stuck, and take raises."""
    clock, told = ObservedClock(), list[str]()
    broker = RabbitBroker(proxy.url, ids=SeededIds(), clock=clock, on_stuck=told.append)
    broker.publish([envelope()])
    taken(broker, FORMAT, 1)
    proxy.silent_down = True
    for _ in range(3):
        clock.advance_seen(timedelta(seconds=40))
    with pytest.raises(BrokerUnavailable, match="silent for 120 s"):
        broker.take(FORMAT, limit=1, timeout_seconds=0)
    with pytest.raises(BrokerUnavailable, match="silent"):
        broker.publish([envelope()])
    assert 2 == len(told)
    broker.close()


def test_a_broker_that_answers_is_never_stuck(proxy: TcpProxy) -> None:
    """Time passes; the frames that come in now and then are enough."""
    clock, told = ObservedClock(), list[str]()
    broker = RabbitBroker(proxy.url, ids=SeededIds(), clock=clock, on_stuck=told.append)
    for _ in range(3):
        broker.publish([envelope()])
        clock.advance_seen(timedelta(seconds=40))
    broker.publish([envelope()])
    assert [] == told
    broker.close()


def test_a_wedged_thread_is_reported_as_stuck(free_port: int) -> None:
    """Somebody else's thread notices that the one which should answer heartbeats does not move."""
    clock, told = ObservedClock(), list[str]()
    url = f"amqp://127.0.0.1:{free_port}/"
    broker = RabbitBroker(url, ids=SeededIds(), clock=clock, on_stuck=told.append)
    with clock.wedged():
        clock.advance(timedelta(seconds=91))
        with pytest.raises(BrokerUnavailable, match="has not moved for 91 s"):
            broker.take(FORMAT, limit=1, timeout_seconds=0)
    assert 1 == len(told)
    broker.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_thread_is_reported_as_stuck(free_port: int) -> None:
    """A bug that ends the thread does not leave consumers waiting for ever."""
    clock, told = ObservedClock(), list[str]()
    url = f"amqp://127.0.0.1:{free_port}/"
    broker = RabbitBroker(url, ids=SeededIds(), clock=clock, on_stuck=told.append)
    clock.broken = True
    eventually(lambda: "rabbitmq-io" not in _threads(), "the thread has died")
    with pytest.raises(BrokerUnavailable, match="is dead"):
        broker.take(FORMAT, limit=1, timeout_seconds=0)
    assert ["the thread that talks to RabbitMQ is dead"] == told
    broker.close()


def test_publishing_fails_at_once_while_an_alarm_is_on(
    broker: RabbitBroker, proxy: TcpProxy
) -> None:
    """RabbitMQ reads nothing while its memory or disk is short: the publisher is told at once."""
    proxy.inject(PUBLISHER, _frame(pika.spec.Connection.Blocked("low on memory")))
    eventually(lambda: refused(lambda: broker.publish([envelope()])), "the alarm is noticed")
    with pytest.raises(BrokerUnavailable, match="alarm"):
        broker.publish([envelope()])
    proxy.inject(PUBLISHER, _frame(pika.spec.Connection.Unblocked()))
    republished(broker, envelope(FACTS))
    assert 1 == len(taken(broker, FACTS, 1))


def test_closing_ends_also_when_nobody_answers(proxy: TcpProxy) -> None:
    """A vanished broker cannot hold the process: the sockets are dropped after a moment."""
    broker = RabbitBroker(proxy.url, ids=SeededIds(), clock=SystemClock())
    broker.take(FORMAT, limit=1, timeout_seconds=0)
    broker.depth(FORMAT)
    proxy.silent_down = True
    broker.close()
    assert "rabbitmq-io" not in _threads()


def test_a_broker_that_was_never_there_is_reported(free_port: int) -> None:
    """The error names the address and says why, and not the password."""
    url = f"amqp://guest:secret@127.0.0.1:{free_port}/"
    broker = RabbitBroker(url, ids=SeededIds(), clock=SystemClock())
    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{free_port}.*refused") as raised:
        broker.publish([envelope()])
    with pytest.raises(BrokerUnavailable, match="refused"):
        broker.take(FORMAT, limit=1, timeout_seconds=0.01)
    assert "secret" not in str(raised.value)
    broker.close()


def test_a_wrong_password_is_reported(amqp_url: str) -> None:
    """Authentication that fails is told apart from an address where nobody listens."""
    url = amqp_url.replace("guest:guest", "guest:secret")
    broker = RabbitBroker(url, ids=SeededIds(), clock=SystemClock())
    with pytest.raises(BrokerUnavailable, match="ACCESS_REFUSED") as raised:
        broker.publish([envelope()])
    assert "secret" not in str(raised.value)
    broker.close()


@pytest.mark.parametrize("url", ["", "http://secret@here", "amqp://guest:secret@host:port/"])
def test_a_malformed_url_is_a_mistake_in_the_settings(url: str) -> None:
    """It is refused before anything is started, without repeating what it holds."""
    with pytest.raises(SettingsError) as raised:
        RabbitBroker(url, ids=SeededIds(), clock=SystemClock())
    assert "secret" not in str(raised.value)


def test_a_queue_with_other_arguments_is_a_permanent_error(
    proxy: TcpProxy, admin: BlockingChannel
) -> None:
    """Nothing works around it: the error names the queue until somebody has put it right."""
    admin.queue_declare(FORMAT, durable=True, arguments={"x-queue-type": "classic"})
    broker = RabbitBroker(proxy.url, ids=SeededIds(), clock=SystemClock())
    with pytest.raises(Permanent, match=FORMAT):
        broker.publish([envelope()])
    with pytest.raises(Permanent, match=FORMAT):
        broker.take(FORMAT, limit=1, timeout_seconds=5)
    admin.queue_delete(FORMAT)
    sent = envelope()

    def mended() -> bool:
        try:
            broker.publish([sent])
        except (Permanent, BrokerUnavailable):
            return False
        return True

    eventually(mended, "the broker finds it mended")
    assert sent == taken(broker, FORMAT, 1)[0].envelope
    broker.close()


def test_an_unroutable_message_is_never_lost_silently(
    broker: RabbitBroker, admin: BlockingChannel
) -> None:
    """Publishing to a queue that somebody deleted raises, and has the queue declared again."""
    admin.queue_delete(FACTS)
    admin.queue_delete(topology.dead_queue(FACTS))
    sent = envelope(FACTS)
    with pytest.raises(BrokerUnavailable, match=FACTS):
        broker.publish([envelope(), sent])
    republished(broker, sent)
    assert sent == taken(broker, FACTS, 1)[0].envelope


def test_a_consumer_whose_queue_is_deleted_comes_back(
    broker: RabbitBroker, admin: BlockingChannel
) -> None:
    """RabbitMQ cancels it; the next take declares the queue and consumes again."""
    broker.publish([envelope()])
    held = taken(broker, FORMAT, 1)
    admin.queue_delete(FORMAT)
    eventually(
        lambda: refused(lambda: broker.take(FORMAT, limit=1, timeout_seconds=0.1)),
        "the consumer is told",
    )
    broker.ack(held)
    assert [] == list(broker.take(FORMAT, limit=1, timeout_seconds=0.1))
    sent = envelope()
    republished(broker, sent)
    assert sent == taken(broker, FORMAT, 1)[0].envelope


@pytest.mark.parametrize(
    "bad",
    [
        replace(envelope(), message_id="x" * 300),
        replace(envelope(), type="é" * 200),
        replace(envelope(), timestamp=datetime(1900, 1, 1, tzinfo=UTC)),
        envelope(header="x" * 200_000),
        envelope(header="\ud800"),
    ],
    ids=["long-id", "long-type", "before-1970", "large-header", "surrogate"],
)
def test_properties_that_amqp_cannot_carry_are_refused(broker: RabbitBroker, bad: Envelope) -> None:
    """The caller learns it at once, and the connection goes on for everybody else."""
    with pytest.raises(InvalidValue):
        broker.publish([envelope(), bad])
    marker = envelope()
    broker.publish([marker])
    assert [marker.message_id] == ids(taken(broker, FORMAT, 1))


def test_foreign_messages_are_read_as_they_are(
    broker: RabbitBroker, admin: BlockingChannel
) -> None:
    """Any client may publish facts: absent and odd properties never stop the queue."""
    admin.basic_publish("x-in", FACTS, b"bare")
    odd = pika.BasicProperties(
        headers={"number": 1, "none": None, "table": {"a": [1, "b"]}, "bytes": b"\xff"},
        timestamp=253_402_300_800_000,
    )
    admin.basic_publish("x-in", FACTS, b"odd", odd)
    bare, strange = (delivery.envelope for delivery in taken(broker, FACTS, 2))
    assert ("", "", "", {}) == (bare.message_id, bare.type, bare.app_id, bare.headers)
    assert timedelta(seconds=-60) < bare.timestamp - datetime.now(UTC) < timedelta(seconds=60)
    assert {"number": "1", "none": "", "table": "{'a': [1, 'b']}", "bytes": "\ufffd"} == (
        strange.headers
    )
    assert abs(strange.timestamp - datetime.now(UTC)) < timedelta(seconds=60)


class YearBeyondReach(pika.BasicProperties):
    """A header with a date that RabbitMQ carries and that no datetime can hold."""

    def encode(self) -> list[bytes]:
        """Spell one header of type timestamp: 2 to the 62 seconds."""
        table = b"\x04whenT" + (2**62).to_bytes(8, "big")
        return [(1 << 13).to_bytes(2, "big"), len(table).to_bytes(4, "big"), table]


def test_unreadable_properties_do_not_cost_the_connection(
    broker: RabbitBroker, proxy: TcpProxy, admin: BlockingChannel
) -> None:
    """The message comes without them, once, and the messages behind it come too."""
    admin.basic_publish("x-in", FACTS, b"odd" * 100_000, YearBeyondReach())
    eventually(lambda: broker.depth(FACTS) == 1, "the odd message did not come")
    broker.publish([envelope(FACTS, b"next")])
    bodies = [delivery.envelope.body for delivery in taken(broker, FACTS, 2)]
    assert [b"odd" * 100_000, b"next"] == bodies
    assert 2 == len(proxy.pipes)


def test_an_odd_message_is_buried_too(broker: RabbitBroker, admin: BlockingChannel) -> None:
    """Headers that leave no room for the reason are left behind: poison never stays."""
    odd = pika.BasicProperties(headers={"large": "x" * 120_000}, message_id="odd")
    admin.basic_publish("x-in", FACTS, b"odd", odd)
    broker.bury(taken(broker, FACTS, 1)[0], "impossible")
    (dead,) = taken(broker, topology.dead_queue(FACTS), 1)
    assert (b"odd", {"reason": "impossible"}) == (dead.envelope.body, dead.envelope.headers)


def test_facts_are_given_back_without_counting(broker: RabbitBroker) -> None:
    """An outage gives the same message back again and again: no limit takes it away."""
    sent = envelope(FACTS)
    broker.publish([sent])
    for _ in range(30):
        assert [sent.message_id] == ids(taken(broker, FACTS, 1))
        broker.release(FACTS)
    assert sent == taken(broker, FACTS, 1)[0].envelope
    assert 0 == broker.depth(topology.dead_queue(FACTS))


def test_what_a_closed_process_held_goes_to_the_next(broker: RabbitBroker, proxy: TcpProxy) -> None:
    """Closing gives everything back, taken and prefetched alike, in order."""
    sent = [envelope() for _ in range(10)]
    broker.publish(sent)
    taken(broker, FORMAT, 3)
    broker.close()
    heir = RabbitBroker(proxy.url, ids=SeededIds(), clock=SystemClock())
    assert [one.message_id for one in sent] == ids(taken(heir, FORMAT, 10))
    heir.close()


def test_two_processes_never_hold_the_same_message(broker: RabbitBroker, proxy: TcpProxy) -> None:
    """Competing consumers share a queue without overlap."""
    other = RabbitBroker(
        proxy.url, ids=SeededIds(1), clock=SystemClock(), bounds=Bounds(prefetch=1)
    )
    other.take(FORMAT, limit=1, timeout_seconds=0)
    sent = [envelope() for _ in range(10)]
    broker.publish(sent)
    (theirs,) = taken(other, FORMAT, 1)
    ours = taken(broker, FORMAT, 9)
    assert sorted(one.message_id for one in sent) == sorted(ids([theirs, *ours]))
    other.close()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def _frame(method: pika.amqp_object.Method) -> bytes:
    return pika.frame.Method(0, method).marshal()


def _ready(channel: BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def _drained(channel: BlockingChannel, queue: str) -> int:
    count = 0
    while channel.basic_get(queue, auto_ack=True)[0] is not None:
        count += 1
    return count
