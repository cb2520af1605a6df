"""The machine's clock and randomness keep the ports' promises."""

from __future__ import annotations

import uuid
from datetime import timedelta

from supervision.adapters.system import SystemClock, SystemIds
from supervision.ports import Clock, Ids


def test_now_is_aware_utc() -> None:
    """Whoever subtracts two times never mixes zones."""
    clock: Clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert timedelta(0) == first.utcoffset()
    assert first <= second


def test_monotonic_seconds_never_go_back() -> None:
    """Deadlines are counted on it."""
    clock: Clock = SystemClock()
    seen = [clock.monotonic_seconds() for _ in range(100)]
    assert sorted(seen) == seen


def test_ids_are_random_uuids() -> None:
    """Version 4, in the usual spelling, and never the same twice."""
    ids: Ids = SystemIds()
    made = [ids.new() for _ in range(200)]
    assert len(set(made)) == 200
    assert {4} == {uuid.UUID(one).version for one in made}
    assert [str(uuid.UUID(one)) for one in made] == made


def test_jitter_is_a_fraction() -> None:
    """At least 0, below 1, and not always the same."""
    ids: Ids = SystemIds()
    drawn = {ids.jitter() for _ in range(200)}
    assert all(0.0 <= one < 1.0 for one in drawn)
    assert len(drawn) > 1
