"""Sets of rows and of ids as parameters of one statement, whatever their number.

The statement's text is the same for one and for a thousand: it is compiled once, no limit on
parameters is met, and the server has one literal to read and not a thousand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Boolean,
    ColumnElement,
    Dialect,
    Executable,
    FromClause,
    Result,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from db.types_common import UtcDateTime, to_text


class Ids(TypeDecorator[Iterable[str]]):
    """Texts without an order, as one parameter. PostgreSQL: an array's literal. SQLite: JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str:
        """Spell them once each, in order, so that a story told again is the same; none: empty."""
        texts = sorted(set(value or ()))
        return json.dumps(texts) if dialect.name == "sqlite" else _literal(texts, dialect)


UIDS: Final = bindparam("uids", type_=Ids())
"""The ids that a statement is about, given when it is executed: it is built once, for all sets."""


def among(wanted: Any, ids: BindParameter[Any] | Iterable[str] = UIDS) -> ColumnElement[bool]:  # noqa: ANN401
    """Whether a column of texts is one of these; what `in_` says, in one parameter."""
    if not isinstance(ids, BindParameter):
        ids = bindparam(None, list(ids), Ids())
    return _Among(wanted, ids)


class _Among(FunctionElement[bool]):
    """`column, ids`; each database spells it its own way."""

    type = Boolean()
    inherit_cache = True


@compiles(_Among, "postgresql")
def _in_array(element: _Among, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    wanted, ids = (compiler.process(each, **options) for each in element.clauses)
    return f"{wanted} = ANY (CAST({ids} AS VARCHAR[]))"


@compiles(_Among, "sqlite")
def _in_json(element: _Among, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    wanted, ids = (compiler.process(each, **options) for each in element.clauses)
    return f"{wanted} IN (SELECT value FROM json_each({ids}))"  # noqa: S608 - both are compiled


Columns = Mapping[str, TypeEngine[Any]]
"""The columns of a set of rows, by name."""


class SetStatement:
    """A statement over a set of rows: built once for each database, executed with any rows.

    `build` makes it of the table, called `given`, that the rows are. What is built anew for each
    set costs as much as what is done for its rows, and keeps the rows in memory: expressions refer
    to each other in rings, so they live until the next collection.
    """

    def __init__(self, columns: Columns, build: Callable[[FromClause], Executable]) -> None:
        """Nothing is built before it is executed."""
        self._columns = dict(columns)
        self._build = build
        self._built: dict[str, Executable] = {}

    def execute(
        self,
        session: Session,
        rows: Sequence[Mapping[str, object]],
        more: Mapping[str, Any] | None = None,
    ) -> Result[Any]:
        """Execute it; keys of `rows` include the columns. `more`: parameters of its own."""
        dialect = session.get_bind().dialect
        statement = self._built.get(dialect.name)
        if statement is None:
            statement = self._built[dialect.name] = self._build(_table(self._columns, dialect))
        given = _given(rows, self._columns, dialect)
        return session.execute(statement, {**given, **(more or {})})


def _table(columns: Columns, dialect: Dialect) -> FromClause:
    """The rows as a table. One parameter a column (PostgreSQL: arrays), or one in all (SQLite)."""
    if dialect.name == "sqlite":
        each = func.json_each(bindparam("given", type_=Text())).table_valued("value").alias("each")
        picked = [
            type_coerce(func.json_extract(each.c.value, f"$.{name}"), kind).label(name)
            for name, kind in columns.items()
        ]
        return select(*picked).select_from(each).subquery("given")
    arrays = [
        cast(bindparam(f"given_{name}", type_=_array(kind)), ARRAY(kind))
        for name, kind in columns.items()
    ]
    typed = [column(name, kind) for name, kind in columns.items()]
    return func.unnest(*arrays).table_valued(*typed).render_derived("given")


def _array(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Bind an array as one literal: elements take the driver long to spell, the server to parse.

    Long texts are left to the driver: of those it is the literal that takes the server long.
    """
    return ARRAY(kind) if isinstance(kind, Text) else Text()


def _given(
    rows: Sequence[Mapping[str, object]], columns: Columns, dialect: Dialect
) -> dict[str, object]:
    """Spell the rows as the parameters of their table."""
    if dialect.name == "sqlite":
        plain = [{name: _plain(row[name]) for name in columns} for row in rows]
        return {"given": json.dumps(plain)}
    spelled: dict[str, object] = {}
    for name, kind in columns.items():
        values = [row[name] for row in rows]
        spelled[f"given_{name}"] = values if isinstance(kind, Text) else _literal(values, dialect)
    return spelled


def _literal(values: Sequence[object], dialect: Dialect) -> str:
    """Spell an array. Most columns of a set hold few different values: each is spelled once."""
    spelled = {value: _element(value, dialect) for value in set(values)}
    return f"{{{','.join(map(spelled.__getitem__, values))}}}"


def _element(value: object, dialect: Dialect) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f'"{_TIME.process_bind_param(value, dialect)}"'
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


_TIME: Final = UtcDateTime()


def _plain(value: object) -> object:
    return to_text(value) if isinstance(value, datetime) else value
