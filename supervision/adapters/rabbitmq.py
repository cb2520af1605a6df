"""The Broker port over RabbitMQ: envelopes to the wire and back, and the port's six promises.

The thread, the connections and the channels live in the `rabbitmq_` files beside this one.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Final

from pika.exceptions import AMQPError
from pika.spec import BasicProperties

from supervision import topology
from supervision.adapters.rabbitmq_connection import (
    BACKOFF_CAP_SECONDS,
    CLOSED,
    Backoff,
    IoThread,
    Link,
)
from supervision.adapters.rabbitmq_consumer import ANSWER_SECONDS, Arrival, Consumers
from supervision.adapters.rabbitmq_publisher import Parcel, Publisher
from supervision.adapters.rabbitmq_socket import parameters_from
from supervision.errors import BrokerUnavailable, InvalidValue, NotFound
from supervision.messages import Envelope
from supervision.ports import Clock, Delivery, Ids
from supervision.topology import QueueSpec

MAX_PROPERTIES_BYTES: Final = 100_000
"""Properties travel in one frame, of 131,072 bytes unless the broker is told otherwise."""

_PERSISTENT: Final = 2
_COUNTERS: Final = {"x-delivery-count", "x-acquired-count"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """`prefetch`: what waits unread in memory, for each queue. The wait: between two connects."""

    prefetch: int = 1000
    longest_wait_seconds: float = BACKOFF_CAP_SECONDS


BOUNDS: Final = Bounds()


class RabbitBroker:
    """Queues of a RabbitMQ, 3.10 or later. Connects at once, and again whenever it must.

    `on_stuck` is called with a
    sentence, in the thread that noticed, when only a new process can help: nothing was heard of
    an open connection, heartbeats included, or the I/O thread died. The default does nothing
    there; the caller gets BrokerUnavailable in either case.
    """

    def __init__(
        self,
        url: str,
        *,
        ids: Ids,
        clock: Clock,
        bounds: Bounds = BOUNDS,
        on_stuck: Callable[[str], object] = lambda _reason: None,
    ) -> None:
        parameters = parameters_from(url)
        self._clock = clock
        self._on_stuck = on_stuck
        self._closed = False
        self._io = IoThread(clock)
        self._publisher = Publisher(self._io)
        self._consumers = Consumers(self._io, bounds.prefetch)
        for side in (self._publisher, self._consumers):
            waits = Backoff(ids, bounds.longest_wait_seconds)
            side.serve(Link(self._io, parameters, backoff=waits, listener=side))

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Publish a set, persistent and mandatory, and wait until RabbitMQ confirmed each message.

        Raises NotFound or InvalidValue before the first one is sent, when RabbitMQ could never
        take one of them; Permanent when it has a queue of ours with other arguments;
        BrokerUnavailable otherwise, at once during an outage.
        """
        self._check()
        parcels = [_parcel(envelope) for envelope in envelopes]
        if parcels:
            self._publisher.send(parcels)

    def take(self, queue: str, *, limit: int, timeout_seconds: float) -> Sequence[Delivery]:
        """Take what is buffered; the first call opens the queue's channel.

        Headers come as text, absent properties as "", an absent timestamp as the time of taking.
        Raises NotFound for an unknown queue, Permanent when RabbitMQ has it with other arguments,
        BrokerUnavailable when the connection was lost meanwhile or is still not back.
        """
        self._check()
        consumer = self._consumers.reading(_spec(queue))
        arrivals = consumer.take(limit=limit, timeout_seconds=timeout_seconds)
        now = self._clock.now()
        return [_delivery(queue, arrival, now) for arrival in arrivals]

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settle messages; returns before RabbitMQ knows. What a loss overtakes comes again."""
        sets: dict[tuple[str, int], list[int]] = defaultdict(list)
        for delivery in deliveries:
            sets[delivery.queue, delivery.epoch].append(delivery.tag)
        for (queue, epoch), tags in sets.items():
            consumer = self._consumers.known(queue)
            if consumer is not None:
                self._io.post(partial(consumer.ack, epoch, tags))

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Publish to the dead letters, wait for the confirm, then ack.

        A delivery that is no longer ours is left alone: whoever gets it next will bury it.
        """
        self._check()
        consumer = self._consumers.known(delivery.queue)
        if consumer is not None and consumer.holds(delivery.epoch, delivery.tag):
            self._publisher.send([_dead_letter(delivery, reason)])
            self.ack([delivery])

    def release(self, queue: str) -> None:
        """Close the queue's channel. What was acked before stays acked."""
        consumer = self._consumers.known(queue)
        if consumer is not None:
            with suppress(TimeoutError, BrokerUnavailable):
                self._io.call(consumer.release, ANSWER_SECONDS)

    def close(self) -> None:
        """End both connections and the thread; a few seconds at most when nobody answers."""
        self._closed = True
        self._io.close()

    def depth(self, queue: str) -> int:
        """Count what is ready in a queue, without what is in anybody's hands."""
        self._check()
        return self._publisher.depth(queue)

    def _check(self) -> None:
        if self._closed:
            raise CLOSED.error()
        trouble = self._io.trouble()
        if trouble is not None:
            self._on_stuck(trouble)
            raise BrokerUnavailable(trouble)


def _spec(queue: str) -> QueueSpec:
    try:
        return topology.QUEUES[queue]
    except KeyError as error:
        raise NotFound(f"no queue is called {queue!r}") from error


def _parcel(envelope: Envelope) -> Parcel:
    spec = _spec(envelope.queue)
    if len(envelope.body) > topology.MAX_BODY_BYTES:
        raise InvalidValue(f"a body of {len(envelope.body)} bytes is too large for RabbitMQ")
    return Parcel(
        exchange=spec.route,
        key=spec.name,
        properties=_checked(_properties(envelope)),
        body=envelope.body,
    )


def _dead_letter(delivery: Delivery, reason: str) -> Parcel:
    return Parcel(
        exchange=topology.DEFAULT_EXCHANGE,
        key=topology.dead_queue(delivery.queue),
        properties=_dead_properties(delivery.envelope, reason),
        body=delivery.envelope.body,
    )


def _dead_properties(envelope: Envelope, reason: str) -> BasicProperties:
    """Keep what came, unless it does not fit beside the reason: poison always finds its grave."""
    cut = reason.encode(errors="replace").decode()[: topology.MAX_REASON_LENGTH]
    labelled = {topology.REASON_HEADER: cut}
    try:
        return _checked(_properties(replace(envelope, headers={**envelope.headers, **labelled})))
    except InvalidValue:
        bare = replace(envelope, headers=labelled, message_id="", type="", app_id="")
        return _checked(_properties(bare))


class _Properties(BasicProperties):
    """Properties that are put into bytes once, where they are checked, and not again by pika."""

    @cached_property
    def _encoded(self) -> bytes:
        return b"".join(super().encode())

    def encode(self) -> list[bytes]:
        """Their pieces on the wire: here one; pika adds to the list."""
        return [self._encoded]


def _properties(envelope: Envelope) -> BasicProperties:
    return _Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=dict(envelope.headers),
        delivery_mode=_PERSISTENT,
        message_id=envelope.message_id,
        type=envelope.type,
        app_id=envelope.app_id,
        timestamp=int(envelope.timestamp.timestamp()),
    )


def _checked(properties: BasicProperties) -> BasicProperties:
    """Refuse here, in the caller's thread, what the I/O thread would die of."""
    try:
        size = sum(len(piece) for piece in properties.encode())
    except (AMQPError, ValueError, struct.error) as error:
        raise InvalidValue(f"AMQP cannot carry these properties: {error}") from error
    if size > MAX_PROPERTIES_BYTES:
        raise InvalidValue(f"properties of {size} bytes do not fit into a frame")
    return properties


def _delivery(queue: str, arrival: Arrival, now: datetime) -> Delivery:
    properties = arrival.properties
    headers = properties.headers or {}
    envelope = Envelope(
        queue=queue,
        body=arrival.body,
        message_id=_text(properties.message_id),
        type=_text(properties.type),
        app_id=_text(properties.app_id),
        timestamp=_time(properties.timestamp, now),
        headers={_text(k): _text(v) for k, v in headers.items() if k not in _COUNTERS},
    )
    return Delivery(
        queue=queue,
        envelope=envelope,
        epoch=arrival.epoch,
        tag=arrival.tag,
        redelivered=arrival.redelivered,
    )


def _text(value: object) -> str:
    """Read what any client may have put there: text, bytes that are no UTF-8, numbers, nothing."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def _time(seconds: object, now: datetime) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) else now
    except (ValueError, OverflowError, OSError):
        return now  # some clients send milliseconds, which lie beyond the year 9999
