"""What every table is made of: the declarative base, constraint names, and aware UTC times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import DateTime, Dialect, MetaData, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

UID_LENGTH: Final = 63
NAME_LENGTH: Final = 511
PATH_LENGTH: Final = 4095

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The root of all tables; constraints are named, so that migrations can name them too."""

    metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. PostgreSQL: timestamptz. SQLite: text of fixed width, so it sorts.

    A naive time is refused with ValueError: it is a mistake of the caller, not a value.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type for this database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(26))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:  # noqa: ANN401
        """Turn an aware time into what the database stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value!r}: all times here are aware UTC")
        utc = value.astimezone(UTC)
        return to_text(utc) if dialect.name == "sqlite" else utc

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002
        """Turn what the database stores into an aware UTC time.

        The driver's own form is known for both databases, so there is one call for a value and not
        three: a decision reads some fifty times.
        """
        return _from_text if dialect.name == "sqlite" else _in_utc


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)


def _in_utc(value: datetime | None) -> datetime | None:
    # PostgreSQL is told to speak in UTC, so there is mostly nothing to do.
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


def to_text(value: datetime) -> str:
    """Spell a UTC time as SQLite stores it: fixed width, microseconds, no zone."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
