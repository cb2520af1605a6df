"""docs/reference/tables.md: every table of the database, from the models in `db/`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.schema import ColumnCollectionConstraint

from db.schema import METADATA, MODULES
from db.types_common import Base
from docs.generate.markdown import code, head, paragraph, prose, table

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_INTRODUCTION: Final = """\
The same tables in PostgreSQL, whose types stand here, and in SQLite, which keeps a time as text of
26 characters in UTC. How they are looked after: [databases](../databases.md). To read them is safe
at any time; what people order goes through the [commands](cli.md), which keep who and why.

A default is what the service writes unless it knows better: the database itself has none.

"""


def page() -> str:
    """Write the page: a section for each table, by name."""
    names = sorted(METADATA.tables)
    title = head("Tables", "the models in `db/types_*.py`")
    contents = table(("table", "holds"), ((f"[`{n}`](#{n})", _sentence(n)) for n in names))
    sections = (_section(METADATA.tables[name]) for name in names)
    return "\n".join((title, _INTRODUCTION + contents, *sections))


def _models() -> dict[str, type[DeclarativeBase]]:
    """Give every model by the name of its table; what is read from MODULES is all there is."""
    kinds = (kind for module in MODULES for kind in vars(module).values())
    found = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Base))
    return {str(kind.__tablename__): kind for kind in found if kind is not Base}


def _told(name: str) -> list[str]:
    return inspect.cleandoc(_models()[name].__doc__ or "").split("\n\n")


def _sentence(name: str) -> str:
    return prose(re.split(r"(?<=\.)\s", _told(name)[0])[0])


def _section(found: Table) -> str:
    rows = ((code(each.name), _type(each), _null(each), _default(each)) for each in found.columns)
    return "\n".join(
        [
            f"## {found.name}\n",
            *(paragraph(prose(part)) for part in _told(found.name)),
            table(("column", "type", "may be null", "default"), rows),
            "\n".join(f"- {line}" for line in _laws(found)) + "\n",
        ]
    )


def _type(column: Column[object]) -> str:
    return column.type.compile(dialect=_DIALECT).lower()


def _null(column: Column[object]) -> str:
    return "yes" if column.nullable else "no"


def _default(column: Column[object]) -> str:
    given = getattr(column.default, "arg", None)
    return "-" if given is None else code(str(given).lower())


def _laws(found: Table) -> Iterator[str]:
    """Say what the database refuses, then what it finds fast."""
    yield f"primary key: {_columns(found.primary_key)}"
    for each in sorted(found.constraints, key=lambda law: str(law.name)):
        if isinstance(each, UniqueConstraint):
            yield f"unique: {_columns(each)}"
        elif isinstance(each, ForeignKeyConstraint):
            goals = ", ".join(code(key.target_fullname) for key in each.elements)
            yield f"{_columns(each)} leads to {goals}; on delete: {(each.ondelete or '-').lower()}"
        elif isinstance(each, CheckConstraint):
            yield f"check `{each.name}`: `{' '.join(str(each.sqltext).split())}`"
    for index in sorted(found.indexes, key=lambda index: str(index.name)):
        yield _index(index)


def _index(index: Index) -> str:
    where = index.dialect_options["postgresql"]["where"]
    kind = "unique index" if index.unique else "index"
    said = f"{kind} `{index.name}`: {', '.join(code(each.name) for each in index.columns)}"
    return said if where is None else f"{said}, where `{' '.join(str(where).split())}`"


def _columns(law: ColumnCollectionConstraint) -> str:
    return ", ".join(code(each.name) for each in law.columns)
