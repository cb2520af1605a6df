"""The loop of every consumer: take what is there, hand it over, settle it. No rules live here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Event as Signal
from time import perf_counter
from typing import Final, TypeVar

import structlog

from supervision.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    DecodeError,
    Permanent,
    Transient,
)
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.states import Event, Queue
from supervision.logs_about import about
from supervision.ports import Broker, Delivery
from supervision.tracing import NoTracer, Tracer
from supervision.wire import decode_wakeup

_LOG = structlog.get_logger()

TAKE_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What is to be done with deliveries: those handled, and those that go to the dead letters."""

    acked: Sequence[Delivery]
    buried: Sequence[tuple[Delivery, str]] = ()


T = TypeVar("T")

Handler = Callable[[Sequence[Delivery]], Settled]
"""Decodes a set and hands it to one verb of the engine. Raises only what settle_on reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Consumer:
    """One queue, and what is done with a set of its messages; the pauses are for outages."""

    queue: str
    handle: Handler
    batch: int = 400
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    tracer: Tracer = field(default_factory=NoTracer)


Beat = Callable[[], object]
"""Called once a turn, by loops that somebody watches."""


def run(consumer: Consumer, broker: Broker, stop: Signal, beat: Beat = lambda: None) -> None:
    """Consume until `stop` is set. What was taken and not settled goes back to the queue.

    While the database or the broker is away nothing is settled and nothing more is taken; the
    loop comes back with longer and longer pauses, so that an outage uses nothing up.
    """
    pause = consumer.first_pause_seconds
    while not stop.is_set():
        beat()
        try:
            deliveries = broker.take(
                consumer.queue, limit=consumer.batch, timeout_seconds=TAKE_SECONDS
            )
            if deliveries:
                consume(consumer, broker, deliveries)
            pause = consumer.first_pause_seconds
        except Transient as error:
            _LOG.warning("consumer.paused", queue=consumer.queue, problem=str(error), wait=pause)
            broker.release(consumer.queue)
            stop.wait(pause)
            pause = min(pause * 2, consumer.longest_pause_seconds)
    broker.release(consumer.queue)


def consume(consumer: Consumer, broker: Broker, deliveries: Sequence[Delivery]) -> None:
    """Handle one set and settle it. The only place that decides ack, dead letter or neither."""
    handling = consumer.tracer.handling(consumer.queue, deliveries)
    with handling, about(queue=consumer.queue), _about(deliveries):
        _consume(consumer, broker, deliveries)


def _consume(consumer: Consumer, broker: Broker, deliveries: Sequence[Delivery]) -> None:
    started = perf_counter()
    settled = _handled(consumer, deliveries)
    for delivery, reason in settled.buried:
        with _about([delivery]):
            _LOG.error("message.buried", reason=reason)
            broker.bury(delivery, reason)
    broker.ack(settled.acked)
    _LOG.debug(
        "messages.settled",
        acked=len(settled.acked),
        buried=len(settled.buried),
        seconds=round(perf_counter() - started, 4),
    )


def _handled(consumer: Consumer, deliveries: Sequence[Delivery]) -> Settled:
    """Hand the set over; a set that fails for a reason of its own is handed over one by one.

    Database or broker away: nothing is settled, whoever runs the loop pauses (Transient is
    raised). Permanent, or a mistake of ours: the message that fails alone is a dead letter.
    """
    try:
        return consumer.handle(deliveries)
    except (DatabaseUnavailable, BrokerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - one of the two places where anything is caught
        if len(deliveries) == 1:
            _LOG.exception("message.failed")
            return Settled(acked=(), buried=((deliveries[0], _reason(error)),))
    alone = [_handled_alone(consumer, delivery) for delivery in deliveries]
    return Settled(
        acked=[delivery for each in alone for delivery in each.acked],
        buried=[pair for each in alone for pair in each.buried],
    )


def _handled_alone(consumer: Consumer, delivery: Delivery) -> Settled:
    with _about([delivery]):
        return _handled(consumer, [delivery])


def _about(deliveries: Sequence[Delivery]) -> AbstractContextManager[None]:
    """Name these messages on each line of the block, and what their senders say they are about."""
    envelopes = [delivery.envelope for delivery in deliveries]
    return about(
        message_id=[envelope.message_id for envelope in envelopes],
        simulation_uid=[envelope.headers.get("correlation_id_1") for envelope in envelopes],
        job_uid=[envelope.headers.get("correlation_id_2") for envelope in envelopes],
    )


def _reason(error: Exception) -> str:
    kind = "" if isinstance(error, Permanent) else f"{type(error).__name__}: "
    return f"{kind}{error}"[:1000]


def decoded(
    deliveries: Sequence[Delivery], decode: Callable[[Delivery], T]
) -> tuple[list[tuple[Delivery, T]], list[tuple[Delivery, str]]]:
    """Decode each delivery; those that cannot be are returned with their reason."""
    good, bad = [], []
    for delivery in deliveries:
        try:
            good.append((delivery, decode(delivery)))
        except DecodeError as error:
            bad.append((delivery, str(error)))
    return good, bad


def firing(engine: Engine, queue: Queue, event: Event, batch: int) -> Consumer:
    """Make the consumer of a stage: it fires one event for the supervisions that it is given."""

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        good, bad = decoded(deliveries, lambda each: decode_wakeup(each.envelope))
        engine.fire(event, [wakeup.supervision_id for _, wakeup in good if wakeup.supervision_id])
        return Settled(acked=[delivery for delivery, _ in good], buried=bad)

    return Consumer(queue=queue, handle=handle, batch=batch)
