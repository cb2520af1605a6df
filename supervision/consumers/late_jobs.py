"""internal-monitoring-late-jobs: alarms of jobs and next starts become triggers."""

from __future__ import annotations

from collections.abc import Sequence

from supervision.consumers.base import Consumer, Settled, decoded
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.states import Queue
from supervision.messages import LateCheck
from supervision.ports import Delivery
from supervision.wire import decode_wakeup


def consumer(engine: Engine, batch: int) -> Consumer:
    """Hand job uids to `record_late`; one whose alarm is not due changes nothing."""

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        good, bad = decoded(deliveries, lambda each: decode_wakeup(each.envelope))
        checks = [LateCheck(job_uid=wakeup.job_uid) for _, wakeup in good if wakeup.job_uid]
        engine.record_late(checks)
        return Settled(acked=[delivery for delivery, _ in good], buried=bad)

    return Consumer(queue=Queue.LATE_JOBS, handle=handle, batch=batch)
