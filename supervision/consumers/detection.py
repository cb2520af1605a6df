"""internal-supervision-detect: ledger rows that are awake, and failed attempts that are due."""

from __future__ import annotations

from collections.abc import Sequence

from supervision.consumers.base import Consumer, Settled, decoded
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.states import Queue
from supervision.ports import Delivery
from supervision.wire import decode_wakeup


def consumer(engine: Engine, batch: int) -> Consumer:
    """Hand job uids to `decide`."""

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        good, bad = decoded(deliveries, lambda each: decode_wakeup(each.envelope))
        engine.decide([wakeup.job_uid for _, wakeup in good if wakeup.job_uid])
        return Settled(acked=[delivery for delivery, _ in good], buried=bad)

    return Consumer(queue=Queue.DETECT, handle=handle, batch=batch)
