"""What every test of a broker needs: envelopes, emptying a queue, and waiting without sleeping."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from supervision.fsm.states import Queue
from supervision.messages import Envelope
from supervision.ports import Broker, Delivery

FORMAT: Final = Queue.FORMAT.value
FACTS: Final = "in-monitoring-9999"
PATIENCE_SECONDS: Final = 10.0

_NUMBERS: Final = itertools.count(1)


def envelope(queue: str = FORMAT, body: bytes = b"{}", **headers: str) -> Envelope:
    """Make a message that is told from every other one by its id."""
    return Envelope(
        queue=queue,
        body=body,
        message_id=f"message-{next(_NUMBERS)}",
        type="format",
        app_id="supervision",
        timestamp=datetime(2015, 3, 18, 9, 48, 48, tzinfo=UTC),
        headers=headers,
    )


def taken(broker: Broker, queue: str, count: int) -> list[Delivery]:
    """Take exactly `count` messages, in as many calls as the broker needs."""
    deliveries: list[Delivery] = []
    while len(deliveries) < count:
        more = broker.take(queue, limit=count - len(deliveries), timeout_seconds=PATIENCE_SECONDS)
        assert more, f"{len(deliveries)} of {count} messages came from {queue}"
        deliveries.extend(more)
    return deliveries


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    """Name what was delivered."""
    return [delivery.envelope.message_id for delivery in deliveries]


def eventually(holds: Callable[[], bool], sentence: str) -> None:
    """Ask again and again, on real time, until it holds; fail with the sentence after a while."""
    never = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if holds():
            return
        never.wait(0.02)
    raise AssertionError(sentence)
