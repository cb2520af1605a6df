"""The queues: every name, where it is bound, and what it is declared with."""

from __future__ import annotations

import pytest

from supervision import topology
from supervision.fsm.states import Queue
from supervision.messages import MONITORING_CODES


def test_every_code_and_every_stage_has_a_queue() -> None:
    """Nothing that is produced lacks a queue, and no queue is one too many."""
    facts = {f"in-monitoring-{code}" for code in MONITORING_CODES}
    assert facts | {queue.value for queue in Queue} == set(topology.WORK_QUEUES)


@pytest.mark.parametrize(
    ("queue", "exchange"),
    [
        ("in-monitoring-0000", "x-in"),
        (Queue.EXECUTION, "x-in"),
        (Queue.LATE_JOBS, "x-internal"),
        (Queue.DETECT, "x-internal"),
        (Queue.FORMAT, "x-internal"),
        (Queue.DISPATCH, "x-out"),
    ],
)
def test_a_queue_is_bound_by_its_own_name_on_its_side(queue: str, exchange: str) -> None:
    """The first part of the name says which exchange feeds it."""
    spec = topology.QUEUES[queue]
    assert ((exchange, queue),) == spec.bindings
    assert exchange == spec.route
    assert exchange in topology.EXCHANGES


@pytest.mark.parametrize("queue", topology.WORK_QUEUES)
def test_no_outage_uses_up_a_message(queue: str) -> None:
    """Quorum, an explicit limit beyond reach, and a grave for what an operator's policy takes."""
    arguments = topology.QUEUES[queue].arguments
    assert "quorum" == arguments["x-queue-type"]
    assert arguments["x-delivery-limit"] == topology.DELIVERY_LIMIT >= 10**9
    assert f"dead-{queue}" == arguments["x-dead-letter-routing-key"]
    assert "at-least-once" == arguments["x-dead-letter-strategy"]


@pytest.mark.parametrize("queue", topology.WORK_QUEUES)
def test_dead_letters_stay_until_somebody_settles_them(queue: str) -> None:
    """No length, no age, and as many looks as people like."""
    arguments = topology.QUEUES[topology.dead_queue(queue)].arguments
    assert {"x-queue-type": "quorum", "x-delivery-limit": topology.DELIVERY_LIMIT} == arguments


def test_a_dead_queue_is_declared_before_its_source() -> None:
    """Poison has somewhere to go from the first message on."""
    order = list(topology.QUEUES)
    assert all(
        order.index(topology.dead_queue(queue)) < order.index(queue)
        for queue in topology.WORK_QUEUES
    )


def test_debug_copies_follow_the_three_stages_and_expire() -> None:
    """They are bound to the same keys, and hold neither memory nor disk for long."""
    copies = {name: spec for name, spec in topology.QUEUES.items() if name.startswith("debug-")}
    assert {
        "debug-internal-supervision-detect": (("x-internal", "internal-supervision-detect"),),
        "debug-internal-supervision-format": (("x-internal", "internal-supervision-format"),),
        "debug-out-supervision-dispatch": (("x-out", "out-supervision-dispatch"),),
    } == {name: spec.bindings for name, spec in copies.items()}
    assert {("classic", 1_000, 86_400_000)} == {
        tuple(spec.arguments[key] for key in ("x-queue-type", "x-max-length", "x-message-ttl"))
        for spec in copies.values()
    }
