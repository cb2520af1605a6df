"""What every dao function needs: upserts on both databases, and how two accounts of a row merge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import (
    ColumnElement,
    Executable,
    FromClause,
    Integer,
    Table,
    bindparam,
    case,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from db.sets import SetStatement
from db.types_common import UtcDateTime

Row = Mapping[str, Any]
"""Column names to values, for one row of one table."""


EARLIEST: Final = "earliest"
LATEST: Final = "latest"
FIRST: Final = "first"
"""How a column merges: the smaller, the greater, the one that was there. Any other word is the
name of a column: the value goes with the row in which that column is later."""

FRESH: Final = {"populate_existing": True}
"""Read what the statement returns, whatever the session believes that it knows already."""

UNSYNCED: Final = {"synchronize_session": False}
"""A statement over sets: nobody holds objects of these rows that would have to follow."""


NOW: Final = bindparam("now", type_=UtcDateTime())
UNTIL: Final = bindparam("until", type_=UtcDateTime())
MOST: Final = bindparam("most", type_=Integer())
"""Times, and how many rows, given when a statement is executed; its ids are `sets.UIDS`."""


def upsert(session: Session, table: type[DeclarativeBase]) -> postgresql.Insert:
    """An INSERT that knows ON CONFLICT, for the session's database.

    Both dialects spell it alike, so the PostgreSQL type stands for the two.
    """
    return _insert(table, on_postgresql=is_postgresql(session))


def _insert(table: type[DeclarativeBase] | Table, *, on_postgresql: bool) -> postgresql.Insert:
    if not on_postgresql:
        return sqlite.insert(table)  # type: ignore[return-value]
    return postgresql.insert(table)


def insert_rows(
    session: Session,
    table: type[DeclarativeBase],
    rows: Sequence[Row],
    *,
    rules: Mapping[str, str] | None = None,
) -> None:
    """Insert rows in their order, in one statement; one that is there merges by the rules.

    Without rules it stays as it is. All rows have the same columns.
    """
    if rows:
        merging = () if rules is None else tuple(rules.items())
        statement = _inserting(table, tuple(rows[0]), merging, on_postgresql=is_postgresql(session))
        statement.execute(session, rows)


def insert_new_rows(
    session: Session, table: type[DeclarativeBase], rows: Sequence[Row], key: str
) -> set[str]:
    """Insert what `insert_rows` does, without rules; returns the keys of what came to be."""
    on_postgresql = is_postgresql(session)
    statement = _inserting(table, tuple(rows[0]), returning=key, on_postgresql=on_postgresql)
    return set(statement.execute(session, rows).scalars())


@cache
def _inserting(
    table: type[DeclarativeBase],
    names: tuple[str, ...],
    rules: tuple[tuple[str, str], ...] = (),
    *,
    returning: str | None = None,
    on_postgresql: bool,
) -> SetStatement:
    def build(given: FromClause) -> Executable:
        chosen = select(*(given.c[name] for name in names)).where(true())
        into = _insert(core(table), on_postgresql=on_postgresql)
        statement = into.from_select(list(names), chosen)
        if rules:
            keys = [column.name for column in core(table).primary_key]
            changes = merged(table, statement.excluded, dict(rules))
            statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
        else:
            statement = statement.on_conflict_do_nothing()
        return statement if returning is None else statement.returning(core(table).c[returning])

    columns = core(table).c
    return SetStatement({name: columns[name].type for name in names}, build)


@cache
def setting(table: type[DeclarativeBase], key: str, *names: str) -> SetStatement:
    """Make the statement that sets these columns of rows, found by the column `key`."""
    columns = core(table).c
    return SetStatement(
        {name: columns[name].type for name in (key, *names)},
        lambda given: (
            update(core(table))
            .where(columns[key] == given.c[key])
            .values({name: given.c[name] for name in names})
        ),
    )


def core(table: type[DeclarativeBase]) -> Table:
    """Find the table of an entity, for statements over sets.

    A statement about entities is looked at anew each time, for objects that might have to follow.
    """
    return cast("Table", table.__table__)


def is_postgresql(session: Session) -> bool:
    """Whether the session speaks to PostgreSQL."""
    return session.get_bind().dialect.name == "postgresql"


def fold(rows: Iterable[Row], key: str, rules: Mapping[str, str]) -> list[dict[str, Any]]:
    """Make rows with the same key one, by the rules, and sort by key.

    Locks are always taken in this order, so two writers never wait for each other in a ring.
    Every row of the result has the key and every column that the rules name.
    """
    folded: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = folded.setdefault(row[key], {key: row[key]})
        folded[row[key]] = {
            key: row[key],
            **{name: _merge(known, row, name, rule) for name, rule in rules.items()},
        }
    return [folded[name] for name in sorted(folded)]


def _merge(old: Row, new: Row, name: str, rule: str) -> object:
    mine, theirs = old.get(name), new.get(name)
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    if rule == FIRST:
        return mine
    if rule == EARLIEST:
        return min(mine, theirs)
    if rule == LATEST:
        return max(mine, theirs)
    mine_at, theirs_at = old.get(rule), new.get(rule)
    newer = mine_at is None or (theirs_at is not None and theirs_at >= mine_at)
    return theirs if newer else mine


def merged(
    table: type[DeclarativeBase],
    given: ReadOnlyColumnCollection[str, Any],
    rules: Mapping[str, str],
) -> dict[str, ColumnElement[Any]]:
    """Spell the same rules as the SET of an ON CONFLICT DO UPDATE; `given` is its `excluded`."""
    columns = table.__table__.c
    return {
        name: _merged(columns[name], given[name], _guide(columns, rule), _guide(given, rule), rule)
        for name, rule in rules.items()
    }


def _guide(columns: Any, rule: str) -> ColumnElement[Any] | None:  # noqa: ANN401
    return None if rule in {FIRST, EARLIEST, LATEST} else columns[rule]


def _merged(
    old: ColumnElement[Any],
    new: ColumnElement[Any],
    old_at: ColumnElement[Any] | None,
    new_at: ColumnElement[Any] | None,
    rule: str,
) -> ColumnElement[Any]:
    if rule == FIRST:
        return func.coalesce(old, new)
    if rule == EARLIEST:
        return case((or_(old.is_(None), new < old), new), else_=old)
    if rule == LATEST or old_at is None or new_at is None:
        return case((or_(old.is_(None), new > old), new), else_=old)
    newer = or_(old_at.is_(None), new_at >= old_at)
    return case((newer, func.coalesce(new, old)), else_=func.coalesce(old, new))
