"""The Broker port in memory: queues of one process, nothing on disk, nothing to install.

Keeps the promises of the port and RabbitMQ's visible habits: whole seconds, epochs, dead letters,
bounded debug copies. Facts never pass through it: they are committed before anybody is woken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Condition

from supervision import topology
from supervision.errors import BrokerUnavailable, InvalidValue, NotFound
from supervision.messages import Envelope
from supervision.ports import Delivery


@dataclass(kw_only=True, slots=True)
class _Shelf:
    """One queue: what waits (with whether it was given out before), and what is in hands."""

    waiting: deque[tuple[Envelope, bool]]
    in_hand: dict[int, Envelope] = field(default_factory=dict)
    epoch: int = 1
    last_tag: int = 0

    def give(self) -> tuple[int, Envelope, bool]:
        envelope, redelivered = self.waiting.popleft()
        self.last_tag += 1
        self.in_hand[self.last_tag] = envelope
        return self.last_tag, envelope, redelivered

    def give_back(self) -> None:
        self.waiting.extendleft((envelope, True) for envelope in reversed(self.in_hand.values()))
        self.in_hand.clear()
        self.epoch += 1


class MemoryBroker:
    """A broker for the embedded way of running, and the double of the tests.

    Safe for many threads. Bodies are not copied: they are immutable. What is published is lost
    with the process, which is right for wake-ups: the alarms on the rows send them again.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._closed = False
        self._shelves = {
            name: _Shelf(waiting=deque(maxlen=_room(name))) for name in topology.QUEUES
        }

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Hand messages over: all of them or, after an error, none.

        Raises NotFound for a queue that the topology does not know, InvalidValue for a body over
        MAX_BODY_BYTES, BrokerUnavailable after `close`.
        """
        with self._changed:
            for envelope in envelopes:
                self._check(envelope)
            for envelope in envelopes:
                self._put(envelope)
            self._changed.notify_all()

    def take(self, queue: str, *, limit: int, timeout_seconds: float) -> Sequence[Delivery]:
        """Take up to `limit` messages in the order of their publishing; empty after the timeout.

        Raises NotFound for an unknown queue and BrokerUnavailable after `close`, also to a caller
        that was waiting.
        """
        with self._changed:
            shelf = self._shelf(queue)
            self._changed.wait_for(lambda: shelf.waiting or self._closed, timeout_seconds)
            self._check_open()
            return [_delivery(queue, shelf) for _ in range(min(limit, len(shelf.waiting)))]

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settle messages for good; what is no longer in hand is passed over."""
        with self._changed:
            for delivery in deliveries:
                if self._holds(delivery):
                    del self._shelf(delivery.queue).in_hand[delivery.tag]

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move a message to its dead letters with the reason; one no longer in hand stays put."""
        with self._changed:
            self._check_open()
            if self._holds(delivery):
                envelope = delivery.envelope
                cut = reason[: topology.MAX_REASON_LENGTH]
                headers = {**envelope.headers, topology.REASON_HEADER: cut}
                dead = topology.dead_queue(delivery.queue)
                self._put(replace(envelope, queue=dead, headers=headers))
                del self._shelf(delivery.queue).in_hand[delivery.tag]
                self._changed.notify_all()

    def release(self, queue: str) -> None:
        """Put what is in hand back at the head, in order, marked as redelivered."""
        with self._changed:
            if queue in self._shelves:
                self._shelves[queue].give_back()
                self._changed.notify_all()

    def close(self) -> None:
        """Give everything back and refuse every later call that needs a broker."""
        with self._changed:
            self._closed = True
            for shelf in self._shelves.values():
                shelf.give_back()
            self._changed.notify_all()

    def depth(self, queue: str) -> int:
        """Count what waits in a queue, without what is in hand; also after `close`."""
        with self._changed:
            return len(self._shelf(queue).waiting)

    def _shelf(self, queue: str) -> _Shelf:
        try:
            return self._shelves[queue]
        except KeyError as error:
            raise NotFound(f"no queue is called {queue!r}") from error

    def _holds(self, delivery: Delivery) -> bool:
        shelf = self._shelf(delivery.queue)
        return delivery.epoch == shelf.epoch and delivery.tag in shelf.in_hand

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the broker was closed")

    def _check(self, envelope: Envelope) -> None:
        self._check_open()
        self._shelf(envelope.queue)
        if len(envelope.body) > topology.MAX_BODY_BYTES:
            raise InvalidValue(f"a body of {len(envelope.body)} bytes is too large for a broker")

    def _put(self, envelope: Envelope) -> None:
        kept = replace(envelope, timestamp=envelope.timestamp.replace(microsecond=0))
        self._shelf(envelope.queue).waiting.append((kept, False))
        if envelope.queue in topology.DEBUG_SOURCES:
            copy = replace(kept, queue=topology.debug_queue(envelope.queue))
            self._shelf(copy.queue).waiting.append((copy, False))


def _room(queue: str) -> int | None:
    return topology.DEBUG_LENGTH if queue.startswith(topology.DEBUG_PREFIX) else None


def _delivery(queue: str, shelf: _Shelf) -> Delivery:
    tag, envelope, redelivered = shelf.give()
    return Delivery(
        queue=queue, envelope=envelope, epoch=shelf.epoch, tag=tag, redelivered=redelivered
    )
