"""Database or broker away in the middle of the work: it pauses, nothing is lost, it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision.fsm.states import State
from tests.integration.end_to_end_kit import (
    Service,
    World,
    a_world,
    dead_letters,
    publish,
    topology_is_there,
    until,
)
from tests.services.handles import PostgresHandle, RabbitHandle

ONE_RESTART = [("ended", "completed"), ("ended", "failed"), ("ended", "completed")]


def recovered(world: World) -> bool:
    """Whether the only supervision is executed, and the simulation beyond the failed period."""
    row = world.row()
    return row is not None and row.state is State.EXECUTED and row.recovered_at is not None


def paused(service: Service, queue: str) -> int:
    """How often the consumer of a queue has found a server away."""
    return sum(1 for entry in service.log("consumer.paused") if entry["queue"] == queue)


@pytest.fixture
def without_database(tmp_path: Path, postgresql: PostgresHandle, amqp_url: str) -> Iterator[World]:
    """A sandbox whose service has a PostgreSQL that may go away."""
    with a_world(tmp_path, database=postgresql.url, broker=amqp_url) as world:
        world.run().begun()
        yield world
        postgresql.start()


@pytest.fixture
def without_broker(tmp_path: Path, postgres_url: str, rabbitmq: RabbitHandle) -> Iterator[World]:
    """A sandbox whose service has a RabbitMQ that may go away."""
    with a_world(tmp_path, database=postgres_url, broker=rabbitmq.url) as world:
        world.run().begun()
        yield world
        rabbitmq.start()


def test_the_database_goes_away_twice(without_database: World, postgresql: PostgresHandle) -> None:
    """Before the fatal message is stored, and in the middle of the act: one restart, no grave."""
    world, url = without_database, without_database.broker or ""
    (service,) = world.services
    world.by_hand()
    world.simulate("error:3")
    until(lambda: any(each["msgCode"] == "1999" for each in world.sent()), "the job fails")
    until(lambda: topology_is_there(url), "the queues are declared")
    publish(url, [each for each in world.sent() if each["msgCode"] == "0000"])
    postgresql.kill()
    publish(url, [each for each in world.sent() if each["msgCode"] != "0000"])
    until(lambda: paused(service, "in-monitoring-1999"), "the fatal message waits")
    postgresql.start()
    until(world.row, "a supervision comes to be")
    postgresql.kill()
    until(lambda: service.log("sweep.failed")[1:], "the service has noticed")
    postgresql.start()
    until(lambda: (row := world.row()) and row.state is State.EXECUTED, "the row is executed")
    until(lambda: ONE_RESTART == world.jobs(), "the simulation completes")
    assert [] == dead_letters(url)
    assert 1 == len(world.rows())


def test_the_broker_goes_away(without_broker: World, rabbitmq: RabbitHandle) -> None:
    """Mail waits at the centre, the alarms on the rows stand in for lost wake-ups."""
    world = without_broker
    (service,) = world.services
    world.simulate("error:3")
    until(world.row, "a supervision comes to be")
    rabbitmq.kill()
    until(lambda: paused(service, "in-supervision-execution"), "the service has noticed")
    rabbitmq.start()
    until(lambda: recovered(world), "the simulation has recovered")
    until(lambda: ONE_RESTART == world.jobs(), "the simulation completes")
    assert [] == dead_letters(rabbitmq.url)
