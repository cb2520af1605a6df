"""Taking from RabbitMQ: one channel and one bounded buffer for each queue, and what is unsettled.

A channel lives from the first `take` to a `release`, a loss or a refusal, and is made again by the
next `take`. Each has an epoch of its own, so that no acknowledgement reaches the wrong channel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from threading import Condition
from typing import Final

from pika.channel import Channel
from pika.exceptions import ChannelClosedByClient
from pika.spec import Basic, BasicProperties

from supervision.adapters.rabbitmq_connection import Fault, IoThread, Link
from supervision.adapters.rabbitmq_publisher import declare, ignore, loss, refusal
from supervision.adapters.rabbitmq_socket import Connection
from supervision.errors import BrokerUnavailable, Permanent
from supervision.topology import QueueSpec

SUBSCRIBE_SECONDS: Final = 10.0
"""How long the first `take` of a queue may wait until it is known whether messages can come."""

ANSWER_SECONDS: Final = 5.0
"""How long the I/O thread may take to begin with something; it is never busy for so long."""

GROW_SECONDS: Final = 0.01
"""How long a set may grow from its first message on. What was published together arrives one by
one, and is worked on together: a set of one costs as many statements as a set of hundreds."""

_SLOW: Final = Fault(kind=BrokerUnavailable, text="RabbitMQ did not open a channel in time")
_CANCELLED: Final = Fault(
    kind=BrokerUnavailable, text="RabbitMQ cancelled the consumer: its queue was deleted or moved"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One message as it came over the wire."""

    epoch: int
    tag: int
    redelivered: bool
    properties: BasicProperties
    body: bytes


class Unsettled:
    """The tags that a channel gave us and that are not acknowledged, in the order of delivery."""

    def __init__(self) -> None:
        self._tags: dict[int, None] = {}

    def __contains__(self, tag: int) -> bool:
        return tag in self._tags

    def add(self, tag: int) -> None:
        """Note a delivery."""
        self._tags[tag] = None

    def settle(self, tags: Collection[int]) -> tuple[int, list[int]]:
        """Forget tags; tell how to acknowledge them with the fewest frames.

        The first value is a tag that settles itself and all before it, 0 for none: it is used
        only where every unsettled tag before it is among `tags`. The list is the others, one by
        one. Tags that are not unsettled are passed over: acknowledging twice closes a channel.
        """
        wanted = {tag for tag in tags if tag in self._tags}
        upto = 0
        for tag in self._tags:
            if tag not in wanted:
                break
            upto = tag
        singles = sorted(tag for tag in wanted if tag > upto)
        for tag in wanted:
            del self._tags[tag]
        return upto, singles


class Consumer:
    """One queue. `take` and `holds` are for its consumer's thread, the rest for the I/O thread."""

    def __init__(self, spec: QueueSpec, *, prefetch: int, epochs: Iterator[int]) -> None:
        self._spec = spec
        self._prefetch = prefetch
        self._epochs = epochs
        self._changed = Condition()
        self._buffer: deque[Arrival] = deque()
        self._limit = 1
        self._fault: Fault | None = None
        self._wanted = False
        self._consuming = False
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._epoch = 0
        self._unsettled = Unsettled()

    @property
    def wanted(self) -> bool:
        """Whether a channel is there or on its way."""
        return self._wanted

    def take(self, *, limit: int, timeout_seconds: float) -> Sequence[Arrival]:
        """Take what is buffered, waiting for the first message. Raises while none can come.

        The timeout counts from the moment at which the queue is being consumed.
        """
        with self._changed:
            self._limit = limit
            self._changed.wait_for(lambda: self._consuming or self._fault, SUBSCRIBE_SECONDS)
            if self._fault is not None and self._fault.kind is not Permanent:
                self._changed.wait_for(lambda: self._consuming, timeout_seconds)
            if self._consuming:
                self._changed.wait_for(lambda: self._buffer or self._fault, timeout_seconds)
            if self._buffer:
                self._changed.wait_for(self._is_whole, min(GROW_SECONDS, timeout_seconds))
            if not self._consuming:
                raise (self._fault or _SLOW).error()
            return [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]

    def _is_whole(self) -> bool:
        return len(self._buffer) >= self._limit or not self._consuming

    def holds(self, epoch: int, tag: int) -> bool:
        """Whether a message is still ours, as far as is known here."""
        return epoch == self._epoch and tag in self._unsettled

    def up(self, connection: Connection) -> None:
        """Begin to consume over a new connection, if anybody asked."""
        with self._changed:
            self._connection, self._fault = connection, None
        if self._wanted:
            self._open()

    def down(self, fault: Fault) -> None:
        """Learn that there is no connection: what was given to us is no longer ours."""
        self._connection = self._channel = None
        self._forget(fault)

    def want(self) -> None:
        """Have a channel, unless there is one; what went wrong before is forgotten."""
        self._wanted = True
        if self._connection is not None:
            with self._changed:
                self._fault = None
            self._open()

    def release(self) -> None:
        """Close the channel: whatever it had given us goes back to the queue. Idempotent."""
        self._wanted = False
        self._forget(None)
        if self._channel is not None and not (self._channel.is_closing or self._channel.is_closed):
            self._channel.close()

    def ack(self, epoch: int, tags: Collection[int]) -> None:
        """Settle tags of this epoch; those of any other are dropped."""
        channel = self._channel
        if epoch != self._epoch or channel is None or not channel.is_open:
            return
        upto, singles = self._unsettled.settle(tags)
        if upto:
            channel.basic_ack(upto, multiple=True)
        for tag in singles:
            channel.basic_ack(tag)

    def _open(self) -> None:
        connection = self._connection
        if self._channel is None and connection is not None and connection.is_open:
            self._channel = connection.channel(on_open_callback=self._subscribe)
            self._channel.add_on_close_callback(self._closed)
            self._channel.add_on_cancel_callback(partial(self._cancelled, self._channel))

    def _subscribe(self, channel: Channel) -> None:
        # The publisher declares the queue too, but its link may not be up yet, or be older than
        # the queue's deletion.
        declare(channel, (self._spec,), partial(self._consume, channel))

    def _consume(self, channel: Channel) -> None:
        channel.basic_qos(prefetch_count=self._prefetch, callback=ignore)
        ready = partial(self._ready, channel)
        channel.basic_consume(self._spec.name, self._arrived, callback=ready)

    def _ready(self, channel: Channel, _frame: object) -> None:
        if not channel.is_open:
            return  # released meanwhile
        with self._changed:
            self._epoch = next(self._epochs)
            self._consuming, self._fault = True, None
            self._changed.notify_all()

    def _arrived(
        self, channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        if channel is not self._channel or not self._consuming:
            return  # the channel is being closed, and gives this back to its queue
        arrival = Arrival(
            epoch=self._epoch,
            tag=method.delivery_tag or 0,
            redelivered=method.redelivered,
            properties=properties,
            body=body,
        )
        self._unsettled.add(arrival.tag)
        with self._changed:
            self._buffer.append(arrival)
            if len(self._buffer) in {1, self._limit}:  # nobody waits for those in between
                self._changed.notify_all()

    def _cancelled(self, channel: Channel, _frame: object) -> None:
        self._wanted = False
        self._forget(_CANCELLED)
        channel.close()

    def _closed(self, _channel: Channel, error: Exception) -> None:
        self._channel = None
        if not isinstance(error, ChannelClosedByClient):
            self._wanted = False
            self._forget(loss(error) if self._consuming else refusal(error))
        elif self._wanted:
            self._open()  # wanted again while it was closing: what went back comes in order

    def _forget(self, fault: Fault | None) -> None:
        with self._changed:
            self._epoch, self._consuming, self._fault = 0, False, fault
            self._unsettled = Unsettled()
            self._buffer.clear()
            self._changed.notify_all()


class Consumers:
    """Every queue that is read, over one link that is made when the first of them is asked for."""

    def __init__(self, io: IoThread, prefetch: int) -> None:
        self._io = io
        self._prefetch = prefetch
        self._epochs = count(1)
        self._consumers: dict[str, Consumer] = {}
        self._link: Link | None = None
        self._connection: Connection | None = None
        self._fault: Fault | None = None

    def serve(self, link: Link) -> None:
        """Begin: the link must have been made with these consumers as its listener."""
        self._link = link

    def reading(self, spec: QueueSpec) -> Consumer:
        """Find the consumer of a queue, with its channel there or on its way. Any thread."""
        consumer = self._consumers.get(spec.name)
        if consumer is not None and consumer.wanted:
            return consumer
        try:
            return self._io.call(partial(self._want, spec), ANSWER_SECONDS)
        except TimeoutError as error:
            raise BrokerUnavailable(_SLOW.text) from error

    def known(self, queue: str) -> Consumer | None:
        """Find the consumer of a queue that was read before. Any thread."""
        return self._consumers.get(queue)

    def up(self, connection: Connection) -> None:
        """Have every wanted queue consumed over the new connection."""
        self._connection, self._fault = connection, None
        for consumer in self._consumers.values():
            consumer.up(connection)

    def down(self, fault: Fault) -> None:
        """Tell every consumer that there is no connection."""
        self._connection, self._fault = None, fault
        for consumer in self._consumers.values():
            consumer.down(fault)

    def _want(self, spec: QueueSpec) -> Consumer:
        if self._link is not None:
            self._link.start()
        consumer = self._consumers.get(spec.name) or self._new(spec)
        consumer.want()
        return consumer

    def _new(self, spec: QueueSpec) -> Consumer:
        consumer = Consumer(spec, prefetch=self._prefetch, epochs=self._epochs)
        if self._connection is not None:
            consumer.up(self._connection)
        elif self._fault is not None:
            consumer.down(self._fault)
        self._consumers[spec.name] = consumer
        return consumer
