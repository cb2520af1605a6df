"""Seven processes on PostgreSQL and RabbitMQ restart a failed job; all of them end when told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision import app
from supervision.facts import TriggerKind
from supervision.fsm.states import State
from supervision.sandbox import cards
from tests.integration.end_to_end_kit import (
    World,
    a_world,
    columns,
    dead_letters,
    publish,
    topology_is_there,
    until,
)

END_SECONDS = 8.0
"""A take that waits, a status that is asked, and Python's own end, on a machine that is busy."""


@pytest.fixture
def seven(tmp_path: Path, postgres_url: str, amqp_url: str) -> Iterator[World]:
    """A sandbox whose service is seven processes, one a stage."""
    with a_world(tmp_path, database=postgres_url, broker=amqp_url) as world:
        for stage in app.STAGES:
            world.run(stage)
        for service in world.services:
            service.begun()
        yield world


def ended_in_order(world: World) -> None:
    """End every process by SIGTERM; nothing that somebody else would have to wait for stays."""
    for service in world.services:
        ended = service.process.poll()
        code = service.terminate(END_SECONDS) if ended is None else ended
        assert code == 0, service.file.read_text()
    for table in ("tbl_simulation_supervision", "tbl_supervision_decision"):
        assert {(None,)} == set(columns(world.database, table, ("lease_until",)))


def restarted(world: World) -> bool:
    """Whether the only supervision is executed."""
    row = world.row()
    return row is not None and row.state is State.EXECUTED


def test_a_failed_job_is_restarted_by_seven_processes(seven: World) -> None:
    """The sandbox's mail goes through ingest; the simulation completes, and nothing is buried."""
    uid = seven.simulate("error:3")
    until(lambda: restarted(seven), "the row is executed")
    until(lambda: (row := seven.row()) and row.recovered_at, "the simulation has recovered")
    row = seven.row()
    assert row is not None
    assert (uid, TriggerKind.FATAL, 1, 1) == (
        row.simulation_uid, row.trigger, row.attempt, row.dispatch_try_count,
    )  # fmt: skip
    until(lambda: "ended" == seven.jobs()[-1][0], "the last job ends")
    assert [("ended", "completed"), ("ended", "failed"), ("ended", "completed")] == seven.jobs()
    card = cards.read_run_card(seven.centre.directory_of("demo") / "run.card")
    assert card is not None
    assert (cards.COMPLETED, uid) == (card.state, card.simulation_uid)
    ended_in_order(seven)
    assert [] == dead_letters(seven.broker or "")


def test_a_service_that_is_told_to_end_in_the_middle(tmp_path: Path, sqlite_url: str) -> None:
    """It confirms what it was doing and exits with 0; the next one goes on from there."""
    with a_world(tmp_path, database=sqlite_url) as world:
        service = world.run()
        world.simulate("error:3")
        until(lambda: (row := world.row()) and row.dispatch_try_count, "the act is counted")
        ended_in_order(world)
        assert service.log("service.stopped")
        world.run()
        until(lambda: restarted(world), "the row is executed")
        ended_in_order(world)
        assert [("ended", "completed"), ("ended", "failed")] == world.jobs()[:2]
        assert len(world.jobs()) == 3


def test_a_plain_amqp_client_is_heard(seven: World) -> None:
    """What the centre said is published by hand, the fatal message last; a row gets to executed."""
    seven.by_hand()
    uid = seven.simulate("error:3")
    until(lambda: seven.jobs()[-1:] == [("ended", "failed")], "the job fails")
    until(lambda: any(each["msgCode"] == "1999" for each in seven.sent()), "the fatal is sent")
    said = [each for each in seven.sent() if each["msgCode"] != "1999"]
    (fatal,) = (each for each in seven.sent() if each["msgCode"] == "1999")
    url = seven.broker or ""
    until(lambda: topology_is_there(url), "the queues are declared")
    publish(url, said)
    publish(url, [fatal])
    until(lambda: restarted(seven), "the row is executed")
    row = seven.row()
    assert row is not None
    assert (uid, fatal["jobuid"], 1) == (row.simulation_uid, row.job_uid, row.attempt)
    assert [("ended", "completed"), ("ended", "failed")] == seven.jobs()[:2]
    assert len(seven.jobs()) == 3
    assert [] == dead_letters(url)
