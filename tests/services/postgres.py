"""A private PostgreSQL: trust on loopback only, fsync on, its data in the session's folder."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import psycopg2
from psycopg2 import sql

from tests.services import kept
from tests.services.programs import program

TEMPLATE: Final = "template_supervision"
_SETTINGS: Final = {
    "listen_addresses": kept.HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
    "log_min_messages": "fatal",
    "max_wal_size": "256MB",
}
_CLUSTER: Final = (
    *("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"),
    *("--no-sync", "--no-instructions"),
)
_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A running server; the value travels between the processes of one session."""

    port: int
    keeper: int

    def as_dict(self) -> dict[str, int]:
        """Plain values, for the record that other processes read."""
        return asdict(self)

    @classmethod
    def started(cls, session: kept.Session) -> Self:
        """Make a cluster and start it: about a second. Raises NotStarted."""
        data = session.folder / "postgres"
        _make_cluster(data)
        return cls.restarted(session, port=kept.free_port())

    @classmethod
    def restarted(cls, session: kept.Session, *, port: int) -> Self:
        """Start the session's cluster, as it was left, on this port."""
        keeper = kept.start(session, _launch(session.folder, port))
        return cls(port=port, keeper=keeper)

    def url(self, database: str) -> str:
        """SQLAlchemy's address of a database."""
        return f"postgresql+psycopg2://postgres@{kept.HOST}:{self.port}/{database}"

    def create(self, database: str, *, template: str = "template1") -> None:
        """Clone a database; nobody may be connected to the template."""
        self._run("CREATE DATABASE {} TEMPLATE {}", database, template)

    def drop(self, database: str) -> None:
        """Drop a database, whoever is connected to it. Idempotent."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def close_template(self) -> None:
        """End what the migration left open: a template with a visitor cannot be cloned."""
        with self._connected() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (TEMPLATE,),
            )

    @contextlib.contextmanager
    def fresh(self, template: str) -> Iterator[str]:
        """Address of a clone of the template, dropped afterwards."""
        database = f"test_{os.getpid()}_{next(_NUMBERS)}"
        self.create(database, template=template)
        try:
            yield self.url(database)
        finally:
            self.drop(database)

    def _run(self, statement: str, *names: str) -> None:
        with self._connected() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg2.extensions.cursor]:
        with contextlib.closing(_connect(self.port)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor


def _make_cluster(data: Path) -> None:
    data.mkdir()
    account = _account()
    if account:
        shutil.chown(data, account, pwd.getpwnam(account).pw_gid)
    subprocess.run(
        [program("initdb"), "-D", str(data), *_CLUSTER],
        user=account,
        group=account,
        extra_groups=None if account is None else [],
        cwd=data,
        check=True,
        capture_output=True,
    )


def _launch(folder: Path, port: int) -> kept.Launch:
    settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    data = str(folder / "postgres")
    return kept.Launch(
        command=[program("postgres"), "-D", data, "-p", str(port), *settings],
        log=folder / "postgres.log",
        ready=lambda: _serves(port),
        polite=signal.SIGINT,  # "fast": open sessions do not hold it up
        user=_account(),
    )


def _connect(port: int) -> psycopg2.extensions.connection:
    return psycopg2.connect(host=kept.HOST, port=port, user="postgres", dbname="postgres")


def _serves(port: int) -> bool:
    """Whether it does not only listen: it recovers first, and says so to who connects."""
    with contextlib.suppress(psycopg2.OperationalError), contextlib.closing(_connect(port)):
        return True
    return False


def _account() -> str | None:
    """PostgreSQL refuses to run as root; Debian's package brings the account that it may run as."""
    return "postgres" if os.geteuid() == 0 else None
