"""The embedded service dies by SIGKILL in the middle of its work: same end, nothing done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from supervision.facts import Supervision
from supervision.fsm.engine.reading import History
from supervision.fsm.states import State
from supervision.sandbox import cards
from tests.integration.end_to_end_kit import World, a_world, until

JOBS: Final = 2
"""Jobs of the simulation up to the failed one: the first ends well, its successor fails."""


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[World]:
    """A sandbox, and settings under which its service is one process on SQLite."""
    with a_world(tmp_path, database=sqlite_url) as made:
        yield made


def stored(world: World, uid: str) -> bool:
    """The fatal message is in the ledger; nobody may have looked at it yet."""
    return any(each.kind == "fatal" for each in world.decisions(uid))


def counted(world: World, _uid: str) -> bool:
    """The act is counted, its first byte may have left; no receipt is known."""
    row = world.row()
    return row is not None and row.dispatch_try_count > 0


def dispatched(world: World, _uid: str) -> bool:
    """The agent's receipt is in the row, or all that follows from it."""
    row = world.row()
    return row is not None and row.dispatched_at is not None


def begun(world: World, _uid: str) -> bool:
    """The script runs at the centre, or has run."""
    return bool(started(world))


def started(world: World) -> list[Path]:
    """What the agent's journal says of scripts that were begun."""
    return list(world.centre.root.glob("home/.supervision-agent/journal/*/*.started"))


def submitted(world: World, _uid: str) -> bool:
    """The script has submitted the new job."""
    return len(world.jobs()) > JOBS


POINTS: Final[dict[str, Callable[[World, str], bool]]] = {
    "fatal stored": stored,
    "act counted": counted,
    "dispatched": dispatched,
    "script begun": begun,
    "new job submitted": submitted,
}


def serve_until(world: World, point: Callable[[World, str], bool], uid: str) -> None:
    """Run the service up to a point of the work, and kill it there."""
    service = world.run()
    until(lambda: point(world, uid), point.__name__)
    service.kill()


def recovered(world: World) -> bool:
    """Whether the row is executed and the simulation is known to be beyond the failed period."""
    row = world.row()
    return row is not None and row.state is State.EXECUTED and row.recovered_at is not None


def assert_restarted_once(world: World, uid: str) -> None:
    """One restart at the centre, one attempt in the row, and the simulation is complete."""
    until(lambda: "ended" == world.jobs()[-1][0], "the last job ends")
    ways = [("ended", "completed"), ("ended", "failed"), ("ended", "completed")]
    assert ways == world.jobs()
    card = cards.read_run_card(world.centre.directory_of("demo") / "run.card")
    assert card is not None
    assert (cards.COMPLETED, uid) == (card.state, card.simulation_uid)
    row = world.row()
    assert row is not None
    assert (uid, 1) == (row.simulation_uid, row.attempt)
    assert ["detect", "format", "dispatch", "execute"] == events(world, row)[:4]
    assert {"execute"} >= set(events(world, row)[4:])
    assert len(started(world)) == 1


def events(world: World, row: Supervision) -> list[str]:
    """What moved the row."""
    steps = world.reading().engine.read(History(supervision_id=row.id))
    return [step.event for step in steps]


@pytest.mark.parametrize("point", ["fatal stored", "dispatched", "script begun"])
def test_a_killed_service_ends_its_work_when_it_is_started_again(world: World, point: str) -> None:
    """Whatever it had begun is finished, and the centre sees one restart."""
    uid = world.simulate("error:3")
    serve_until(world, POINTS[point], uid)
    world.run()
    until(lambda: recovered(world), "the simulation has recovered")
    assert_restarted_once(world, uid)


def test_a_service_that_dies_at_every_point_of_the_work(world: World) -> None:
    """Five deaths in a row lose nothing and double nothing."""
    uid = world.simulate("error:3")
    for point in POINTS.values():
        serve_until(world, point, uid)
    world.run()
    until(lambda: recovered(world), "the simulation has recovered")
    assert_restarted_once(world, uid)
