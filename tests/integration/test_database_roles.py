"""PostgreSQL's roles with the least rights that do: each can do its work, and nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from db import roles, schema
from db.session import create, upgrade
from supervision.facts import RetentionSettings
from supervision.fsm.engine.reading import Show, Why
from supervision.fsm.states import State
from supervision.testing import AgentDouble
from supervision.wire import decode_monitoring
from tests.integration.cli_kit import give
from tests.integration.end_to_end_kit import work_through
from tests.integration.test_end_to_end_hostile import FAILED, JOB, composed, config, start

__all__ = ["config"]


def _all(url: str, statements: list[str]) -> None:
    engine = create(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _as(url: str, role: str) -> str:
    return make_url(url).set(username=role).render_as_string(hide_password=False)


@pytest.fixture
def database(postgres_url: str) -> Iterator[tuple[str, roles.Roles]]:
    """A database whose tables were made by the owner, as the page about databases says."""
    mark = (make_url(postgres_url).database or "").removeprefix("test_")
    named = roles.Roles(owner=f"o_{mark}", service=f"s_{mark}", reader=f"r_{mark}")
    _all(postgres_url, ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"])
    _all(postgres_url, roles.creation(named) * 2)
    upgrade(_as(postgres_url, named.owner))
    _all(_as(postgres_url, named.owner), roles.grants(named) * 2)
    try:
        yield postgres_url, named
    finally:
        names = (named.reader, named.service, named.owner)
        _all(postgres_url, [f"DROP OWNED BY {name} CASCADE" for name in names])
        _all(postgres_url, [f"DROP ROLE {name}" for name in names])


def test_the_service_does_all_its_work(database: tuple[str, roles.Roles], config: Path) -> None:
    """From the failure to the restart, with commands, retention and reading, as the service."""
    url = _as(database[0], database[1].service)
    with composed(config, database=url) as made:
        lines = [json.dumps(each).encode() for each in (start(), *FAILED)]
        made.engine.record([decode_monitoring(line) for line in lines])
        work_through(made)
        (row,) = made.engine.read(Show())
        made.engine.clean(RetentionSettings())
        made.engine.sweep(10)
        assert isinstance(made.transport, AgentDouble)
        assert (JOB, State.EXECUTED) == (row.job_uid, row.state)
        assert "supervise" == made.engine.read(Why(job_uid=JOB))[0].verdict
    why = ("site:curie", "--yes", "--reason", "so")
    environ = {"SUPERVISION_DATABASE_URL": url}
    for words in (("hold", *why), ("release", *why), ("show",)):
        assert 0 == give("--config", config, *words, env=environ).code


FORBIDDEN = (
    "CREATE TABLE x (a int)",
    "DROP TABLE tbl_hold",
    "ALTER TABLE tbl_hold ADD COLUMN x int",
    "TRUNCATE tbl_hold",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "UPDATE tbl_supervision_transition SET actor = 'nobody'",
    "UPDATE tbl_policy SET text = ''",
    "DELETE FROM tbl_policy",
    "UPDATE alembic_version SET version_num = '0'",
    "COPY tbl_hold TO PROGRAM 'cat'",
    "CREATE ROLE x",
)


def test_the_service_changes_neither_shape_nor_history(
    database: tuple[str, roles.Roles],
) -> None:
    """Whoever has the service's password cannot hide what was done, nor become somebody else."""
    url = _as(database[0], database[1].service)
    for statement in FORBIDDEN:
        with _refused():
            _all(url, [statement])


def test_the_reader_reads_and_does_nothing_else(database: tuple[str, roles.Roles]) -> None:
    """Every table, but neither scripts nor raw messages, and no way to write."""
    url = _as(database[0], database[1].reader)
    for name, table in schema.METADATA.tables.items():
        hidden = roles.HIDDEN.get(name, ())
        columns = [f'"{column.name}"' for column in table.columns]
        shown = ", ".join(each for each in columns if each.strip('"') not in hidden)
        _all(url, [f"SELECT {shown} FROM {name}"])  # noqa: S608 - names of our own tables
        refused = [f"SELECT {each} FROM {name}" for each in hidden]  # noqa: S608
        refused += [f"DELETE FROM {name}", f"INSERT INTO {name} DEFAULT VALUES"]  # noqa: S608
        for statement in [*refused, f"UPDATE {name} SET {columns[0]} = NULL"]:  # noqa: S608
            with _refused():
                _all(url, [statement])


def test_the_readers_rights_are_enough_for_a_report(
    database: tuple[str, roles.Roles], config: Path
) -> None:
    """Who makes reports needs neither cards nor facts nor scripts."""
    with composed(config, database=_as(database[0], database[1].service)) as made:
        lines = [json.dumps(each).encode() for each in (start(), *FAILED)]
        made.engine.record([decode_monitoring(line) for line in lines])
        work_through(made)
    environ = {"SUPERVISION_DATABASE_URL": _as(database[0], database[1].reader)}
    said = give("report", "--format", "json", env=environ)
    assert (0, 1) == (said.code, said.json[0]["failures"])


def test_what_is_hidden_is_there() -> None:
    """A column that is renamed does not become visible unseen."""
    for table, names in roles.HIDDEN.items():
        assert set(names) <= set(schema.METADATA.tables[table].columns.keys())
    assert roles.APPENDED.keys() <= schema.METADATA.tables.keys()


def test_the_command_prints_what_is_tested_here() -> None:
    """Both halves, in order, ready for psql; a name that is none is refused."""
    said = give("db", "roles", "--owner", "a", "--service", "b", "--reader", "c", env={})
    named = roles.Roles(owner="a", service="b", reader="c")
    lines = [line for line in said.out.splitlines() if line and not line.startswith("--")]
    assert [f"{line};" for line in [*roles.creation(named), *roles.grants(named)]] == lines
    assert 2 == give("db", "roles", "--owner", "a; DROP", env={}).code
    assert 2 == give("db", "roles", "--owner", "a", "--service", "a", env={}).code


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner|privilege"):
        yield
