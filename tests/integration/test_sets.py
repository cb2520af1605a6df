"""Sets as parameters: what is in them comes through unchanged, and the statement stays the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import FromClause, Select, String, Text, event, select

from db.session import Database
from db.sets import UIDS, SetStatement, among
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


def _echo(given: FromClause) -> Select[Any]:
    return select(given.c.name, given.c.long)


class _Watched(str):
    """A text of which one can tell whether anything still holds it."""

    __slots__ = ("__weakref__",)


def test_rows_come_through_unchanged_by_a_statement_that_is_built_once(database: Database) -> None:
    """Any text, none at all, and twice the same; the second set meets the same statement."""
    built = 0

    def build(given: FromClause) -> Select[Any]:
        nonlocal built
        built += 1
        return _echo(given)

    echo = SetStatement({"name": String(), "long": Text()}, build)
    rows = [{"name": name, "long": name, "more": 1} for name in (*HOSTILE, None, HOSTILE[0])]
    for given in (rows, rows[:1]):
        with database.read() as session:
            found = [(row.name, row.long) for row in echo.execute(session, given)]
        assert [(row["name"], row["long"]) for row in given] == found
    assert 1 == built


def test_a_statement_does_not_keep_the_rows_that_it_was_given(database: Database) -> None:
    """A set of scripts is many megabytes: it goes with its last reader, not with a collection."""
    echo = SetStatement({"name": String(), "long": Text()}, _echo)
    gc.collect()
    gc.disable()
    try:
        script = _Watched("#!/bin/ksh")
        seen = weakref.ref(script)
        with database.read() as session:
            assert 1 == len(echo.execute(session, [{"name": "a", "long": script}]).all())
        del script
        assert seen() is None
    finally:
        gc.enable()
