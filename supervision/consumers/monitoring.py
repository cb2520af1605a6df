"""in-monitoring-*: the facts. Acknowledged only after the transaction that stores them."""

from __future__ import annotations

from collections.abc import Sequence

from supervision.consumers.base import Consumer, Settled, decoded
from supervision.fsm.engine.verbs import Engine
from supervision.messages import MONITORING_CODES, monitoring_queue
from supervision.ports import Delivery
from supervision.wire import decode_monitoring_envelope


def consumers(engine: Engine, batch: int) -> list[Consumer]:
    """One consumer for each code that has a queue."""

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        good, bad = decoded(deliveries, lambda each: decode_monitoring_envelope(each.envelope))
        recorded = engine.record([message for _, message in good])
        broken = [
            (delivery, recorded.errors[message.uid])
            for delivery, message in good
            if message.uid in recorded.errors
        ]
        fine = [delivery for delivery, message in good if message.uid not in recorded.errors]
        return Settled(acked=fine, buried=[*bad, *broken])

    return [
        Consumer(queue=monitoring_queue(code), handle=handle, batch=batch)
        for code in MONITORING_CODES
    ]
