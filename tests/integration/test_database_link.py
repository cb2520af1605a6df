"""The connection to PostgreSQL itself: how long a worker waits for a server that has vanished."""

from __future__ import annotations

import os
import socket
from threading import Event, Thread

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.session import Database, create
from supervision.errors import DatabaseUnavailable


def test_a_server_that_vanished_is_given_up_within_a_minute(postgres_url: str) -> None:
    """The kernel asks after half a minute of silence, and gives up what is not acknowledged."""
    engine = create(postgres_url)
    with engine.connect() as connection:
        descriptor = connection.connection.cursor().connection.fileno()
        with socket.socket(fileno=_doubled(descriptor)) as link:
            options = (
                link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            )
    engine.dispose()
    assert (1, 30, 10, 3, 60_000) == options


def test_who_is_given_up_in_a_deadlock_begins_once_more(postgres_url: str) -> None:
    """The other transaction goes on; the second try meets nobody, and nothing is raised."""
    database = Database(create(postgres_url), None)
    ours, theirs, tries = Event(), Event(), list[int]()

    def other() -> None:
        with database.write() as session:
            session.execute(text("SET LOCAL deadlock_timeout = '1min'"))
            session.execute(text("SELECT pg_advisory_xact_lock(1)"))
            theirs.set()
            ours.wait(30)
            session.execute(text("SELECT pg_advisory_xact_lock(2)"))

    def work(session: Session) -> str:
        tries.append(len(tries))
        session.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
        session.execute(text("SELECT pg_advisory_xact_lock(2)"))
        ours.set()
        session.execute(text("SELECT pg_advisory_xact_lock(1)"))
        return "done"

    thread = Thread(target=other)
    thread.start()
    assert theirs.wait(30)
    assert ("done", [0, 1]) == (database.again(work), tries)
    thread.join()
    database.close()


def test_what_failed_for_another_reason_is_not_begun_again(sqlite_url: str) -> None:
    """A database that is away is the caller's to wait for."""
    database, tries = Database(create(sqlite_url), None), list[Session]()

    def work(session: Session) -> None:
        tries.append(session)
        raise DatabaseUnavailable("away")

    with pytest.raises(DatabaseUnavailable):
        database.again(work)
    assert 1 == len(tries)
    database.close()


def _doubled(descriptor: int) -> int:
    return os.dup(descriptor)
