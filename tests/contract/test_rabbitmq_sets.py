"""What one take returns: messages that were published together are taken together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any, Final

import pytest
from pika.spec import Basic, BasicProperties

from supervision import topology
from supervision.adapters import rabbitmq_consumer
from supervision.adapters.rabbitmq_connection import Fault
from supervision.adapters.rabbitmq_consumer import Arrival, Consumer
from supervision.errors import BrokerUnavailable

LONG_SECONDS: Final = 600.0


class Line:
    """A connection and its one channel, on which the broker agrees to everything at once."""

    is_open = True

    def __init__(self) -> None:
        self._tags = count(1)
        self._opened: Callable[[Line], object]
        self._arrived: Callable[..., object]

    def channel(self, on_open_callback: Callable[[Line], object]) -> Line:
        """Open the channel, once `consume` says so."""
        self._opened = on_open_callback
        return self

    def consume(self, consumer: Consumer) -> None:
        """Have the queue consumed."""
        consumer.up(self)  # type: ignore[arg-type]
        consumer.want()
        self._opened(self)

    def agreed(
        self, *_given: object, callback: Callable[..., object] | None = None, **_: object
    ) -> None:
        """Declare, bind, bound or watch whatever it is."""
        if callback is not None:
            callback(None)

    exchange_declare = queue_declare = queue_bind = basic_qos = agreed
    add_on_close_callback = add_on_cancel_callback = agreed

    def basic_consume(
        self, _queue: str, arrived: Callable[..., object], callback: Callable[..., object]
    ) -> None:
        """Keep who is to be given what comes."""
        self._arrived = arrived
        callback(None)

    def deliver(self, number: int) -> None:
        """Bring so many messages, one by one, as the I/O thread does."""
        for _ in range(number):
            method = Basic.Deliver(delivery_tag=next(self._tags))
            self._arrived(self, method, BasicProperties(), b"{}")


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Sets grow for as long as they are not whole."""
    monkeypatch.setattr(rabbitmq_consumer, "GROW_SECONDS", LONG_SECONDS)
    return Line()


@pytest.fixture
def consumer(line: Line) -> Consumer:
    """Consumes the line."""
    spec = topology.QUEUES["internal-supervision-format"]
    made = Consumer(spec, prefetch=1000, epochs=count(1))
    line.consume(made)
    return made


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    """Another thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def _taking(consumer: Consumer, others: ThreadPoolExecutor) -> Future[Any]:
    """Take three in another thread; comes back when that one waits for more."""
    taking = others.submit(consumer.take, limit=3, timeout_seconds=LONG_SECONDS)
    with pytest.raises(TimeoutError):
        taking.result(0.2)
    return taking


def test_a_set_grows_until_it_is_whole(
    line: Line, consumer: Consumer, others: ThreadPoolExecutor
) -> None:
    """The first message alone would cost as many statements as all of them."""
    line.deliver(1)
    taking = _taking(consumer, others)
    line.deliver(2)
    found: list[Arrival] = taking.result(LONG_SECONDS)
    assert [1, 2, 3] == [each.tag for each in found]


def test_the_rest_of_a_set_stays_for_the_next_one(line: Line, consumer: Consumer) -> None:
    """What is whole at once waits for nothing."""
    line.deliver(6)
    for tags in ([1, 2, 3], [4, 5, 6]):
        taken = consumer.take(limit=3, timeout_seconds=LONG_SECONDS)
        assert tags == [each.tag for each in taken]


def test_a_take_without_a_timeout_takes_what_is_there(line: Line, consumer: Consumer) -> None:
    """Nobody waits longer than the caller wanted."""
    line.deliver(2)
    assert 2 == len(consumer.take(limit=3, timeout_seconds=0.0))


def test_a_loss_ends_the_growing(
    line: Line, consumer: Consumer, others: ThreadPoolExecutor
) -> None:
    """What had come is the broker's again, and the caller hears of it at once."""
    line.deliver(1)
    taking = _taking(consumer, others)
    consumer.down(Fault(kind=BrokerUnavailable, text="gone"))
    with pytest.raises(BrokerUnavailable, match="gone"):
        taking.result(LONG_SECONDS)
