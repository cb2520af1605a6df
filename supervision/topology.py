"""Exchanges and queues: their names, how they are bound, and the arguments they are declared with.

Derived from the monitoring codes and the wake-up queues; nothing here talks to a broker. Dead
letters and debug copies belong to it, so that whoever declares the topology declares all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from supervision.fsm.states import Queue
from supervision.messages import MONITORING_CODES, MONITORING_QUEUE_PREFIX

EXCHANGES: Final = ("x-in", "x-internal", "x-out")
"""Topic exchanges, durable. `<side>-...` queues are bound to `x-<side>` by their own name."""

DEFAULT_EXCHANGE: Final = ""
"""AMQP's nameless exchange: it routes to the queue that the routing key names."""

DEAD_PREFIX: Final = "dead-"
DEBUG_PREFIX: Final = "debug-"
REASON_HEADER: Final = "reason"
"""The header of a dead letter that says why it was buried."""

MAX_REASON_LENGTH: Final = 8_000
"""A reason is cut here: it travels with the other properties in one frame of 131,072 bytes."""

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""The largest body that RabbitMQ 4 takes unless it is told otherwise; 3.x takes more."""

DELIVERY_LIMIT: Final = 1_000_000_000
"""How often a message may be given back, as an argument of every quorum queue.

A fact must outlive any outage, and giving it back once a second for thirty years does not reach
this. The argument cannot be left out: RabbitMQ 4 then counts to 20 and drops the message, 3.x does
not count. It cannot be -1 either, which 4 reads as no limit and 3.x refuses. And 3.x returns
rejected messages to the head of the queue, in order, only where some limit is set.
"""

DEBUG_LENGTH: Final = 1_000
DEBUG_LIFE_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueSpec:
    """One queue as it is declared. `bindings` are (exchange, routing key) pairs.

    `route` is the exchange that a publisher hands a message to, with the queue's name as key.
    """

    name: str
    route: str
    bindings: tuple[tuple[str, str], ...]
    arguments: Mapping[str, str | int]


def dead_queue(queue: str) -> str:
    """Name the queue where the poison of `queue` is kept for people."""
    return DEAD_PREFIX + queue


def debug_queue(queue: str) -> str:
    """Name the queue where copies of what `queue` carries are kept for people."""
    return DEBUG_PREFIX + queue


def exchange_of(queue: str) -> str:
    """Name the exchange of a working queue: the part before its first hyphen says the side."""
    return "x-" + queue.partition("-")[0]


WORK_QUEUES: Final = (
    *(MONITORING_QUEUE_PREFIX + code for code in MONITORING_CODES),
    *(queue.value for queue in Queue),
)
"""Every queue that a consumer of ours reads."""

DEBUG_SOURCES: Final = (Queue.DETECT.value, Queue.FORMAT.value, Queue.DISPATCH.value)
"""The working queues whose messages are copied for people."""


def _work(queue: str) -> QueueSpec:
    exchange = exchange_of(queue)
    return QueueSpec(
        name=queue,
        route=exchange,
        bindings=((exchange, queue),),
        arguments=MappingProxyType(
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                # An operator's policy may set a lower limit. What it then takes out must not be
                # dropped: it goes where poison goes, and leaves only once it has arrived there,
                # which RabbitMQ promises only to queues that refuse rather than drop when full.
                "x-dead-letter-exchange": DEFAULT_EXCHANGE,
                "x-dead-letter-routing-key": dead_queue(queue),
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        ),
    )


def _dead(queue: str) -> QueueSpec:
    return QueueSpec(
        name=dead_queue(queue),
        route=DEFAULT_EXCHANGE,
        bindings=(),
        # People look at dead letters and put them back: that must not wear them out.
        arguments=MappingProxyType(
            {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT},
        ),
    )


def _debug(queue: str) -> QueueSpec:
    return QueueSpec(
        name=debug_queue(queue),
        route=DEFAULT_EXCHANGE,
        bindings=((exchange_of(queue), queue),),
        arguments=MappingProxyType(
            {
                "x-queue-type": "classic",
                "x-max-length": DEBUG_LENGTH,
                "x-message-ttl": DEBUG_LIFE_SECONDS * 1000,
            },
        ),
    )


QUEUES: Final[Mapping[str, QueueSpec]] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            *(_dead(queue) for queue in WORK_QUEUES),
            *(_work(queue) for queue in WORK_QUEUES),
            *(_debug(queue) for queue in DEBUG_SOURCES),
        )
    },
)
"""Every queue by its name, dead letters first: a queue never exists before its graveyard."""

DEAD_QUEUES: Final = tuple(name for name in QUEUES if name.startswith(DEAD_PREFIX))
"""The graveyards."""
