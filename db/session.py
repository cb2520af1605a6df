"""The way to the database: engines, transactions, the time that alarms and leases live by.

A transaction raises only what is in supervision.errors; whoever opens one decides its extent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sqlalchemy import (
    Engine,
    create_engine,
    event,
    func,
    make_url,
    select,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from db.types_common import UtcDateTime
from supervision.errors import DatabaseUnavailable, SettingsError

if TYPE_CHECKING:
    from alembic.config import Config

TRANSIENT_SQLSTATES: Final = ("08", "40", "53", "55P03", "57P", "42P01", "42703")
"""Connection lost, rollback by the server, no resources, lock not available, shutting down; and a
table or column that is not there (yet): the schema waits for its upgrade, nothing is wrong with
the message."""

_GIVEN_UP: Final = ("40001", "40P01")
"""Serialization failure and deadlock: the server has rolled back, and the other one goes on."""

_VANISHED: Final = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""A server that vanished without a word is given up within a minute, in less than a lease. The
kernel's own patience is two hours, and a worker would wait that long for its answer."""


_NOW: Final = select(type_coerce(func.clock_timestamp(), UtcDateTime))

T = TypeVar("T")


class HasNow(Protocol):
    """Anything that tells the time in aware UTC."""

    def now(self) -> datetime:
        """Aware UTC."""


def create(url: str, *, pool_size: int = 5) -> Engine:
    """Make an engine for an SQLAlchemy URL of SQLite or PostgreSQL (psycopg2); connects later.

    SQLite: WAL, foreign keys, a busy timeout, and every transaction begins IMMEDIATE, so that two
    writers wait for each other and never deadlock. Raises SettingsError for any other database.
    """
    try:
        backend = make_url(url).get_backend_name()
    except Exception as error:
        raise SettingsError(f"database_url is not an SQLAlchemy URL: {error}") from error
    if backend == "sqlite":
        return _sqlite(url)
    if backend == "postgresql":
        return create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10, "options": "-c timezone=UTC", **_VANISHED},
        )
    raise SettingsError(f"database_url: {backend} is not known; allowed are sqlite and postgresql")


def is_sqlite(url: str) -> bool:
    """Whether this is the URL of a SQLite database."""
    return make_url(url).get_backend_name() == "sqlite"


def make_file(url: str) -> None:
    """Make a SQLite file and its folder; other databases have none. Idempotent.

    Scripts and messages are nobody else's business: a new file is the account's alone, and SQLite
    gives its companions (-wal, -shm) the same mode. One that is there keeps the mode it was given.
    """
    parsed = make_url(url)
    if is_sqlite(url) and parsed.database:
        path = Path(parsed.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:  # noqa: ANN401
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:  # noqa: ANN401
        mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


class Database:
    """One database, and the clock that its alarms and leases are compared with.

    With `clock` None the server's own clock counts (PostgreSQL): many machines, one time.
    """

    def __init__(self, engine: Engine, clock: HasNow | None) -> None:
        """Keep engine and clock; nothing connects yet."""
        self.engine = engine
        self._clock = clock

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: commits at the end, rolls back on any error."""
        with (
            _translated(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def again(self, work: Callable[[Session], T]) -> T:
        """Do work in one transaction; once more from its beginning where it lost against another.

        PostgreSQL ends one of two transactions that wait for each other. The other one goes on, so
        the second try meets nobody; without it a claim would last until its lease ends. Raises what
        `write` raises.
        """
        try:
            with self.write() as session:
                return work(session)
        except DatabaseUnavailable as error:
            if not _was_given_up(error.__cause__):
                raise
        with self.write() as session:
            return work(session)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One transaction that only reads, and keeps no writer waiting."""
        options = {"sqlite_begin": "DEFERRED"}
        with (
            _translated(),
            self.engine.connect().execution_options(**options) as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session

    def now(self, session: Session) -> datetime:
        """The time for alarms and leases, aware UTC."""
        if self._clock is not None:
            return self._clock.now()
        return session.execute(_NOW).scalar_one()

    def skew(self, clock: HasNow) -> timedelta:
        """How far the time of alarms and leases is ahead of this clock."""
        if self._clock is not None:
            return self._clock.now() - clock.now()
        with self.read() as session:
            return self.now(session) - clock.now()

    def close(self) -> None:
        """Close every pooled connection. Idempotent."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if is_transient(error):
            raise DatabaseUnavailable(f"the database does not answer: {error.orig}") from error
        raise


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed later: lost connection, deadlock, conflict."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "pgcode", None) or ""
    return error.connection_invalidated or state.startswith(TRANSIENT_SQLSTATES)


def _was_given_up(error: BaseException | None) -> bool:
    """Whether the database ended the transaction for another one's sake: deadlock, conflict."""
    state = getattr(error.orig, "pgcode", None) if isinstance(error, DBAPIError) else None
    return state in _GIVEN_UP


def migrations_config(url: str) -> Config:
    """Build alembic's configuration for this database, without any ini file."""
    from alembic.config import Config  # noqa: PLC0415 - half of what `ingest` would take to start

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    return config


def upgrade(url: str) -> None:
    """Bring the schema to the newest version; idempotent."""
    from alembic import command  # noqa: PLC0415 - as above

    command.upgrade(migrations_config(url), "head")
