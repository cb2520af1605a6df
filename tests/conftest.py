"""The fixtures of every tier: databases and brokers of our own, started when a test first asks.

Nothing here touches the machine's standard services. One run starts each server once, also when
pytest-xdist spreads it over processes; the controller ends them.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol, cast

import pytest
from hypothesis import settings

from tests.services import kept
from tests.services.handles import PostgresHandle, RabbitHandle
from tests.services.postgres import TEMPLATE, Postgres
from tests.services.rabbitmq import Ports, Rabbit
from tests.services.shared import Run
from tests.services.slurm import Slurm

_RUN: Final = pytest.StashKey[Run]()

# The same examples each time, and no stopwatch: a busy machine is no fault of the code.
settings.register_profile("suite", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("long", deadline=None, max_examples=3000)
settings.load_profile("suite")


class _Node(Protocol):
    """A worker of pytest-xdist, as its controller sees it."""

    config: pytest.Config
    workerinput: dict[str, object]


def pytest_configure(config: pytest.Config) -> None:
    """Begin the run, or join the controller's."""
    passed = cast("dict[str, object]", getattr(config, "workerinput", {})).get("supervision_run")
    if passed is None:
        config.stash[_RUN] = Run.begun()
    else:
        owner, folder = cast("tuple[int, str]", passed)
        config.stash[_RUN] = Run.joined(owner=owner, folder=folder)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: _Node) -> None:
    """Tell a worker which run it belongs to."""
    session = node.config.stash[_RUN].session
    node.workerinput["supervision_run"] = (session.owner, str(session.folder))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from what lives to the end: it would look at it all the time.

    Without this the unit tier takes a tenth longer.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run, when this process began it."""
    run = config.stash.get(_RUN, None)
    if run is not None and run.session.owner == os.getpid():
        run.end()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Leave what failed where `make test` repeats it last: long logs are read from the end."""
    path = os.environ.get("FAILURES")
    stats = cast("dict[str, list[pytest.TestReport]]", terminalreporter.stats)
    failed = [*stats.get("failed", []), *stats.get("error", [])]
    controller = not hasattr(terminalreporter.config, "workerinput")
    if path and failed and controller:
        with Path(path).open("a") as file:
            for report in failed:
                said = [line[:200] for line in report.longreprtext.splitlines() if line.strip()]
                file.write("\n".join([f"FAILED {report.nodeid} ({report.when})", *said[-8:], ""]))


@pytest.fixture(scope="session")
def _run(request: pytest.FixtureRequest) -> Run:
    return request.config.stash[_RUN]


@pytest.fixture(scope="session")
def _postgres(_run: Run) -> Postgres:
    made = _run.once("postgres", lambda: Postgres.started(_run.session).as_dict())
    return Postgres(**cast("dict[str, int]", made))


@pytest.fixture(scope="session")
def template_postgres_url(_run: Run, _postgres: Postgres) -> str:
    """Address of the migrated database that tests get clones of; nobody may stay connected."""
    url = _postgres.url(TEMPLATE)
    _run.once("template-postgres", lambda: _migrated(_postgres))
    return url


def _migrated(server: Postgres) -> dict[str, object]:
    server.drop(TEMPLATE)
    server.create(TEMPLATE)
    _upgrade(server.url(TEMPLATE))
    server.close_template()
    return {}


def _upgrade(url: str) -> None:
    from db.session import upgrade  # noqa: PLC0415 tests without a database do not pay for it

    upgrade(url)


@pytest.fixture
def postgres_url(_postgres: Postgres, template_postgres_url: str) -> Iterator[str]:
    """Address of a PostgreSQL database of this test's own, migrated and empty."""
    with _postgres.fresh(template_postgres_url.rpartition("/")[2]) as url:
        yield url


@pytest.fixture(scope="session")
def _template_sqlite(_run: Run) -> Path:
    path = _run.session.folder / "template.db"

    def make() -> dict[str, object]:
        path.unlink(missing_ok=True)
        _upgrade(f"sqlite:///{path}")
        return {}

    _run.once("template-sqlite", make)
    return path


@pytest.fixture
def sqlite_url(_template_sqlite: Path, tmp_path: Path) -> str:
    """Address of an SQLite file of this test's own, migrated and empty."""
    for file in _template_sqlite.parent.glob(f"{_template_sqlite.name}*"):  # -wal, if one is left
        shutil.copy(file, tmp_path / file.name)
    return f"sqlite:///{tmp_path / _template_sqlite.name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of a fresh database: the test runs once on each kind."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    return cast("str", request.getfixturevalue(fixture))


@pytest.fixture(scope="session")
def _rabbit(_run: Run) -> Rabbit:
    made = dict(_run.once("rabbitmq", lambda: Rabbit.started(_run.session).as_dict()))
    ports = Ports(**cast("dict[str, int]", made.pop("ports")))
    return Rabbit(ports=ports, **cast("dict[str, int]", made))


@pytest.fixture
def amqp_url(_rabbit: Rabbit) -> Iterator[str]:
    """AMQP address of an empty vhost of this test's own."""
    with _rabbit.fresh() as url:
        yield url


@pytest.fixture(scope="session")
def _own_rabbit(_run: Run) -> Iterator[RabbitHandle]:
    with _run.own_session("own-rabbitmq") as session, ExitStack() as stack:
        handle = RabbitHandle(session=session, server=Rabbit.started(session))
        stack.callback(handle.close)
        yield handle


@pytest.fixture
def rabbitmq(_own_rabbit: RabbitHandle) -> Iterator[RabbitHandle]:
    """Give a broker that the test may stop and start; `url` is an empty vhost in it."""
    _own_rabbit.start()
    with ExitStack() as stack:
        _own_rabbit.url = stack.enter_context(_own_rabbit.server.fresh())
        stack.callback(_own_rabbit.start)
        yield _own_rabbit


@pytest.fixture(scope="session")
def _own_postgres(_run: Run) -> Iterator[PostgresHandle]:
    with _run.own_session("own-postgres") as session, ExitStack() as stack:
        handle = PostgresHandle(session=session, server=Postgres.started(session))
        stack.callback(handle.close)
        _migrated(handle.server)
        yield handle


@pytest.fixture
def postgresql(_own_postgres: PostgresHandle) -> Iterator[PostgresHandle]:
    """Give a PostgreSQL that the test may stop and start; `url` is a migrated database in it."""
    _own_postgres.start()
    with ExitStack() as stack:
        _own_postgres.url = stack.enter_context(_own_postgres.server.fresh(TEMPLATE))
        stack.callback(_own_postgres.start)
        yield _own_postgres


@pytest.fixture(scope="session")
def _own_slurm(_run: Run) -> Iterator[Slurm]:
    with _run.own_session("slurm") as session, ExitStack() as stack:
        made = Slurm.prepared(session)
        stack.callback(made.close)
        yield made


@pytest.fixture
def slurm(_own_slurm: Slurm) -> Iterator[Slurm]:
    """Give a Slurm of one node that the test may stop and start; nobody else's jobs run there."""
    _own_slurm.start()
    yield _own_slurm
    _own_slurm.start()
    _own_slurm.clear()


@pytest.fixture
def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    return kept.free_port()
