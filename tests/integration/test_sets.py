"""Sets as parameters: what is in them comes through unchanged, and the statement stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import event, select

from db.session import Database
from db.sets import UIDS, among
from db.types_monitoring import Simulation
from tests.integration.tables_kit import opened, put

HOSTILE: Final = ("", " ", 'a"b', "a\\b", "a,b", "{}", "NULL", "'; DROP TABLE x; --", "é", "%(x)s")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with simulations of odd names."""
    with opened(database_url) as made:
        for number, name in enumerate((*HOSTILE, None, "another")):
            put(made, Simulation, {"uid": f"simulation-{number}", "name": name})
        yield made


def _named(database: Database, names: list[str]) -> list[str | None]:
    with database.read() as session:
        query = select(Simulation.name).where(among(Simulation.name, names))
        return sorted(session.scalars(query), key=str)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_finds_itself_and_nothing_else(database: Database, name: str) -> None:
    """Quotes, braces and the word NULL are text like any other, alone and among others."""
    assert [name] == _named(database, [name])
    assert [name] == _named(database, [name, name, "not there", '"', "\\"])


def test_all_of_them_are_found_together(database: Database) -> None:
    """A name that is missing is among nothing."""
    assert sorted(HOSTILE) == _named(database, list(HOSTILE))


def test_nothing_is_among_none(database: Database) -> None:
    """An empty set is no error."""
    assert [] == _named(database, [])


def test_one_statement_serves_every_number_of_ids(database: Database) -> None:
    """One text with one parameter, so that it is compiled and read once, whatever the set."""
    seen: set[tuple[str, int]] = set()

    @event.listens_for(database.engine, "before_cursor_execute")
    def _note(_c: Any, _cursor: Any, statement: str, given: Any, *_rest: Any) -> None:  # noqa: ANN401
        if "json_each" in statement or "ANY" in statement:
            seen.add((statement, len(given)))

    query = select(Simulation.uid).where(among(Simulation.uid, UIDS))
    for count in (1, 2, 500):
        wanted = [f"simulation-{number}" for number in range(count)]
        with database.read() as session:
            found = session.scalars(query, {"uids": wanted}).all()
        assert min(count, len(HOSTILE) + 2) == len(found)
    [(_, parameters)] = seen
    assert 1 == parameters
