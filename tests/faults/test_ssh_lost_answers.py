"""The answer to a submit is lost a hundred times in a row, anywhere: each script runs once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from supervision.adapters.ssh import SshTransport
from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind, Key, Order
from tests.agent_kit import SITE, make_order, until
from tests.faults.byte_limit import DOWN, UP, ByteLimit
from tests.services.sshd import public
from tests.ssh_kit import ME, ONCE, Centre

LOSSES = 100
SEED = 20150318
KEYS = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(5)]
WARM = [Key(supervision_id=f"w-{number}", attempt=1) for number in range(5)]


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with one login node."""
    centre = Centre.opened(tmp_path)
    yield centre
    centre.close()


@pytest.fixture
def network(centre: Centre) -> Iterator[ByteLimit]:
    """Put a network before the node that breaks where the test says."""
    with ByteLimit(centre.node.port) as way:
        key = public(centre.node.folder / "host_key")
        (centre.path / "known_hosts").write_text(f"[127.0.0.1]:{way.port} {key}\n")
        centre.site = replace(centre.site, port=way.port, failure_pause=timedelta())
        yield way
        for transport in centre.transports:
            transport.close()


def _orders(centre: Centre, keys: list[Key]) -> list[Order]:
    """Build orders, each for a directory of its own."""
    for key in keys:
        (centre.run / key.supervision_id).mkdir(exist_ok=True)
    return [
        make_order(key, centre.run / key.supervision_id, clock=centre.clock, text=ONCE)
        for key in keys
    ]


def _weighed(centre: Centre, network: ByteLimit, transport: SshTransport) -> dict[str, int]:
    """Submit other scripts without a fault; tells how many bytes that takes each way."""
    centre.status(transport)
    before = dict(network.passed)
    answers = transport.submit(SITE, ME, _orders(centre, WARM))
    assert {AnswerKind.ACCEPTED} == {answer.kind for answer in answers}
    return {way: network.passed[way] - before[way] for way in (UP, DOWN)}


def _executions(centre: Centre, keys: list[Key]) -> list[int]:
    """Count how often each key's script ran."""
    traces = [centre.run / key.supervision_id / "trace" for key in keys]
    return [len(trace.read_text().split()) if trace.exists() else 0 for trace in traces]


def test_lost_a_hundred_times_in_a_row(centre: Centre, network: ByteLimit) -> None:
    """Within the request or within its answer, at any byte: what is not known is asked again."""
    print(f"seed {SEED}")  # noqa: T201 - pytest shows it with a failure
    points = random.Random(SEED)  # noqa: S311 - points of failure, no secrets
    transport = centre.connect(seconds=60)
    weight = _weighed(centre, network, transport)
    orders = _orders(centre, KEYS)
    broken: set[str] = set()
    for _ in range(LOSSES):
        centre.status(transport)
        way = points.choice((UP, DOWN))
        network.break_after(way, points.randrange(weight[way] * 9 // 10))
        with pytest.raises(SiteUnavailable):
            transport.submit(SITE, ME, orders)
        broken.add(way)
    transport.submit(SITE, ME, orders)
    until(lambda: all(_executions(centre, KEYS)))
    assert {AnswerKind.EXECUTED} == {centre.ended(transport, key) for key in (*KEYS, *WARM)}
    assert [1] * 10 == _executions(centre, KEYS) + _executions(centre, WARM)
    assert {UP, DOWN} == broken
    assert centre.node.accepted() > LOSSES
