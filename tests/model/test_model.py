"""Small worlds explored whole: no law is broken in any state, and none of them is a trap.

The large exploration is `make explore`; docs/reliability.md says what it found and how far it went.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.model.explorer import Explored, Explorer, small_world
from tests.model.states import state_of
from tests.virtual.moments import put_back, taken
from tests.virtual.world import World


@pytest.fixture
def world() -> Iterator[World]:
    """One simulation, of which a job has just failed."""
    made = small_world(1)
    yield made
    made.close()


def _sound(found: Explored) -> tuple[list[str], list[str]]:
    return found.broken, found.trapped


def test_without_faults_every_order_of_events_ends(world: World) -> None:
    """Wake-ups come in any order and time passes between them: all is finished, whatever is first.

    From every state, should everything die there and every hint be lost, the rows alone recover.
    """
    found = Explorer(world, faults=0, limit=60).explore()
    assert ([], []) == _sound(found)
    assert found.finished > 0


def test_one_fault_anywhere_breaks_nothing(world: World) -> None:
    """Death, loss, doubling, an error, a stop beyond the lease, an order: at every gate."""
    found = Explorer(world, faults=1, limit=60, recover_every=20).explore()
    assert ([], []) == _sound(found)
    assert found.states >= 60, "deaths and stops at every gate are states of their own"


def test_a_moment_is_put_back_as_it_was_taken(world: World) -> None:
    """Rows, queues, journals and the clock: what is explored from a state is what was there."""
    before, name = taken(world), state_of(world, ())
    process = world.processes[0]
    process.consume(world.busy()[0])
    process.finish()
    world.to_next_alarm()
    assert name != state_of(world, ())
    put_back(world, before)
    assert name == state_of(world, ())
