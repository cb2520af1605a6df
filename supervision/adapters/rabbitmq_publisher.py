"""Publishing to RabbitMQ: the topology is declared, sets are sent whole, then confirms awaited.

Also the declaring itself, which consumers use for their own queue. Everything but the
`serve`, `send` and `depth` of Publisher runs in the I/O thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.exchange_type import ExchangeType
from pika.frame import Method
from pika.spec import Basic, BasicProperties
from pika.spec import Queue as QueueMethods

from supervision import topology
from supervision.adapters.rabbitmq_connection import CLOSED, Fault, IoThread, Link
from supervision.adapters.rabbitmq_socket import Connection
from supervision.errors import BrokerUnavailable, NotFound, Permanent
from supervision.topology import QueueSpec

CONFIRM_SECONDS: Final = 30.0
"""How long a publisher waits for the confirms of its set, and for the first connection."""

_CONNECTING: Final = Fault(kind=BrokerUnavailable, text="not connected to RabbitMQ yet")
_BLOCKED: Final = Fault(
    kind=BrokerUnavailable,
    text="RabbitMQ takes no messages now: its memory or disk alarm is on",
)
_LOG = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """One message, ready for the wire."""

    exchange: str
    key: str
    properties: BasicProperties
    body: bytes


@dataclass(kw_only=True, slots=True)
class _Batch:
    """A set on its way. `done` is resolved when the last of its confirms is in."""

    parcels: Sequence[Parcel]
    done: Future[None] = field(default_factory=Future)
    missing: int = 0
    fault: Fault | None = None

    def settle(self, fault: Fault | None) -> None:
        self.missing -= 1
        self.fault = self.fault or fault
        if self.missing == 0:
            self.finish()

    def fail(self, fault: Fault) -> None:
        self.missing, self.fault = 0, fault
        self.finish()

    def finish(self) -> None:
        if self.done.done():
            return
        if self.fault is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(self.fault.error())


def declare(channel: Channel, specs: Iterable[QueueSpec], done: Callable[[], object]) -> None:
    """Declare exchanges, queues and bindings, then call `done`, unless the channel is closing.

    Idempotent. What the broker has with other arguments it refuses by closing the channel:
    `refusal` reads that. pika sends one step after the other as the answers come in.
    """
    for exchange in topology.EXCHANGES:
        channel.exchange_declare(exchange, ExchangeType.topic, durable=True, callback=ignore)
    for spec in specs:
        arguments = dict(spec.arguments)
        channel.queue_declare(spec.name, durable=True, arguments=arguments, callback=ignore)
        for exchange, key in spec.bindings:
            channel.queue_bind(spec.name, exchange, key, callback=ignore)
    # One step more, known to succeed, whose answer says that all the others were answered.
    last = topology.EXCHANGES[0]
    channel.exchange_declare(last, passive=True, callback=lambda _frame: channel.is_open and done())


def refusal(error: BaseException) -> Fault:
    """Turn the closing of a channel that was declaring into what the caller should raise."""
    if isinstance(error, ChannelClosedByBroker):
        text = f"RabbitMQ refuses our queues: {error.reply_text}"
        return Fault(kind=Permanent, text=text, cause=error)
    return loss(error)


def loss(error: BaseException) -> Fault:
    """Turn the closing of a channel that had served into what the caller should raise."""
    text = f"RabbitMQ's channel is gone: {error}"
    return Fault(kind=BrokerUnavailable, text=text, cause=error)


class Publisher:
    """The confirmed way to the broker, over a link of its own.

    Of its own, because RabbitMQ stops reading from a connection that publishes more than it can
    take: acknowledgements and heartbeats of the consumers must not wait behind that.
    """

    def __init__(self, io: IoThread) -> None:
        self._io = io
        self._link: Link | None = None
        self._channel: Channel | None = None
        self._fault: Fault | None = _CONNECTING
        self._blocked = False
        self._mending = False
        self._last_tag = 0
        self._pending: dict[int, _Batch] = {}
        self._early: deque[_Batch] = deque()

    def serve(self, link: Link) -> None:
        """Begin: the link must have been made with this publisher as its listener. Any thread."""
        self._link = link
        self._io.post(link.start)

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Publish a set and wait until each message is confirmed; an empty one tells if we could.

        Any thread. Raises BrokerUnavailable when one of them may be missing, and Permanent when
        the topology was refused. Waits for a connection only if there never was one.
        """
        batch = _Batch(parcels=parcels)
        if not self._io.post(partial(self._begin, batch)):
            raise CLOSED.error()
        try:
            batch.done.result(CONFIRM_SECONDS)
        except TimeoutError as error:
            text = f"RabbitMQ did not confirm {len(parcels)} messages in {CONFIRM_SECONDS:.0f} s"
            raise BrokerUnavailable(text) from error

    def depth(self, queue: str) -> int:
        """Count what is ready in a queue, without what is in hand. Any thread; for people, tests.

        Raises NotFound for a queue that the broker does not have.
        """
        answer: Future[int] = Future()
        self.send([])
        self._io.post(partial(self._count, queue, answer))
        try:
            return answer.result(CONFIRM_SECONDS)
        except TimeoutError as error:
            raise BrokerUnavailable(f"RabbitMQ did not count {queue}") from error

    def up(self, connection: Connection) -> None:
        """Declare everything on the new connection, then open for publishing."""
        self._blocked = False
        connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(blocked=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(blocked=False))
        connection.channel(on_open_callback=self._prepare)

    def down(self, fault: Fault) -> None:
        """Fail what is under way: nobody knows which part of it the broker holds."""
        self._channel = None
        if self._fault is None or self._fault.kind is not Permanent:
            self._fault = fault
        lost = self._under_way()
        self._pending.clear()
        self._early.clear()
        for batch in lost:
            batch.fail(self._fault)

    def _prepare(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        declare(channel, topology.QUEUES.values(), partial(self._declared, channel))

    def _declared(self, channel: Channel) -> None:
        channel.confirm_delivery(self._confirmed, callback=lambda _frame: self._ready(channel))

    def _ready(self, channel: Channel) -> None:
        self._channel, self._fault = channel, None
        self._last_tag, self._mending = 0, False
        while self._early:
            self._begin(self._early.popleft())

    def _channel_closed(self, _channel: Channel, error: Exception) -> None:
        declaring = self._channel is None
        fault = refusal(error) if declaring else loss(error)
        if fault.kind is Permanent:
            self._fault = fault
            _LOG.error("broker.topology_refused", reason=fault.text)
        self.down(fault)
        if self._link is not None:
            self._link.drop()

    def _set_blocked(self, *, blocked: bool) -> None:
        self._blocked = blocked
        _LOG.warning("broker.publishing_blocked" if blocked else "broker.publishing_unblocked")

    def _begin(self, batch: _Batch) -> None:
        if self._fault is _CONNECTING:
            self._early.append(batch)
        elif self._channel is None or not self._channel.is_open:
            batch.fail(self._fault or _CONNECTING)
        elif self._blocked:
            batch.fail(_BLOCKED)
        else:
            self._emit(batch, self._channel)

    def _emit(self, batch: _Batch, channel: Channel) -> None:
        batch.missing = len(batch.parcels)
        for parcel in batch.parcels:
            self._last_tag += 1
            self._pending[self._last_tag] = batch
            channel.basic_publish(
                parcel.exchange, parcel.key, parcel.body, parcel.properties, mandatory=True
            )
        if not batch.parcels:
            batch.finish()

    def _confirmed(self, frame: Method[Basic.Ack | Basic.Nack]) -> None:
        answer = frame.method
        fault = None
        if isinstance(answer, Basic.Nack):
            fault = Fault(kind=BrokerUnavailable, text="RabbitMQ could not store a message")
        for tag in self._tags(answer):
            self._pending.pop(tag).settle(fault)

    def _tags(self, answer: Basic.Ack | Basic.Nack) -> list[int]:
        last = answer.delivery_tag
        if not answer.multiple:
            return [last] if last in self._pending else []
        tags = []
        for tag in self._pending:  # in the order of publishing, so the first beyond ends it
            if tag > last:
                break
            tags.append(tag)
        return tags

    def _returned(
        self, channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        # The return comes before the confirm of the same message, so its batch is still pending.
        queue = method.routing_key
        text = f"RabbitMQ has no queue {queue}: it was deleted, and is being declared again"
        for batch in self._under_way():
            if any(
                parcel.properties.message_id == properties.message_id for parcel in batch.parcels
            ):
                batch.fault = Fault(kind=BrokerUnavailable, text=text)
        if not self._mending:
            _LOG.error("broker.message_returned", queue=queue, reply=method.reply_text)
            self._mending = True
            declare(channel, topology.QUEUES.values(), self._mended)

    def _mended(self) -> None:
        self._mending = False

    def _under_way(self) -> Collection[_Batch]:
        return {id(batch): batch for batch in (*self._pending.values(), *self._early)}.values()

    def _count(self, queue: str, answer: Future[int]) -> None:
        if self._channel is None or not self._channel.is_open:
            answer.set_exception((self._fault or _CONNECTING).error())
            return
        connection = self._channel.connection
        connection.channel(on_open_callback=lambda channel: _ask_depth(channel, queue, answer))


def _ask_depth(channel: Channel, queue: str, answer: Future[int]) -> None:
    def counted(frame: Method[QueueMethods.DeclareOk]) -> None:
        answer.set_result(frame.method.message_count)
        channel.close()

    def closed(_channel: Channel, error: Exception) -> None:
        if not answer.done():
            text = f"no count of {queue}: {error}"
            answer.set_exception(Fault(kind=NotFound, text=text, cause=error).error())

    channel.add_on_close_callback(closed)
    channel.queue_declare(queue, passive=True, callback=counted)


def ignore(_frame: object) -> None:
    """Take an answer that says only that the step is done; with a callback, pika waits for it."""
