"""What tests of the tables share: a database on either kind, rows to put into it, and readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import insert, select
from sqlalchemy.orm import Session, undefer

from db import dao_claims, dao_decisions, dao_supervision
from db.dao_decisions import VERDICT_COLUMNS
from db.session import Database, create
from db.types_common import Base
from db.types_decisions import Decision
from db.types_monitoring import Job, Simulation
from db.values_decisions import LedgerRow
from supervision.facts import Supervision as Value
from supervision.fsm.states import State, status_of
from supervision.testing import FrozenClock
from tests.factories import DIRECTORY, NOW

Row = dict[str, Any]

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
LEASE: Final = NOW + 2 * MINUTE
"""Until when the claims of these tests last."""


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open a database whose time stands still at NOW."""
    database = Database(create(url), FrozenClock(NOW))
    try:
        yield database
    finally:
        database.close()


def uid(name: str) -> str:
    """An id that is the same in every run."""
    return str(uuid5(NAMESPACE_OID, name))


def trigger(job: str = "job", kind: str = "fatal", **changes: Any) -> Row:  # noqa: ANN401
    """A row for `store_triggers`: one occurrence, now, awake."""
    at = changes.pop("at", NOW)
    row = {
        "id": uid(f"{job}/{kind}"),
        "job_uid": uid(job),
        "simulation_uid": uid("simulation"),
        "kind": kind,
        "occurrences": 1,
        "first_at": at,
        "last_at": at,
        "arrived_at": at,
        "cause": None,
        "wake_at": NOW,
        "failed_not_before": None,
        "failed_not_after": None,
    }
    return {**row, **changes}


def verdict(row: LedgerRow, **changes: Any) -> Row:  # noqa: ANN401
    """A row for `dao_decisions.confirm` about a claimed decision: refused, for good."""
    unsaid = dict.fromkeys(VERDICT_COLUMNS)
    said = {
        "id": row.id,
        "version": row.version,
        "claimed_wake": row.wake_at,
        "wake_at": None,
        "verdict": "refuse",
        "rule": "complete",
        "sentence": "It was complete before.",
        "for_want": False,
        "decided_at": NOW,
    }
    return {**unsaid, **said, **changes}


def supervision(job: str = "job", **changes: Any) -> Row:  # noqa: ANN401
    """A row for `insert_new`: at level 2, about a fatal of a compute job, awake."""
    row = {
        "id": uid(f"supervision of {job}"),
        "simulation_uid": uid("simulation"),
        "job_uid": uid(job),
        "decision_id": None,
        "site": "curie",
        "login": "p86user1",
        "directory": DIRECTORY,
        "kind": "compute",
        "trigger": "fatal",
        "level": 2,
        "wake_at": NOW,
        "created_at": NOW,
    }
    return {**row, **changes}


def in_state(state: State, *, at_centre: bool = False) -> Row:
    """The two status columns of a state."""
    dispatch, execution = status_of(state, at_centre=at_centre)
    return {"dispatch_status": dispatch.value, "execution_status": execution.value}


def put(database: Database, table: type[Base], *rows: Row) -> None:
    """Insert rows as they are, one statement each."""
    with database.write() as session:
        for row in rows:
            session.execute(insert(table), [row])


def every(database: Database, table: type[Base]) -> list[Row]:
    """Every row of a table, by primary key."""
    columns = table.__table__
    with database.read() as session:
        found = session.execute(select(columns).order_by(*columns.primary_key))
        return [dict(row) for row in found.mappings()]


def decision(database: Database, row: Row | str) -> Decision:
    """One row of the ledger, as it is now."""
    name = row if isinstance(row, str) else row["id"]
    with database.read() as session:
        query = select(Decision).options(undefer(Decision.facts)).where(Decision.id == name)
        return session.scalars(query).one()


def value(database: Database, row: Row | str) -> Value:
    """One supervision, as it is now."""
    name = row if isinstance(row, str) else row["id"]
    with database.read() as session:
        return dao_supervision.of_ids(session, [name])[name]


def job(database: Database, name: str) -> Job:
    """One job, as it is now."""
    with database.read() as session:
        return session.scalars(select(Job).where(Job.uid == uid(name))).one()


def simulation(database: Database, name: str = "simulation") -> Simulation:
    """One simulation, as it is now."""
    with database.read() as session:
        return session.scalars(select(Simulation).where(Simulation.uid == uid(name))).one()


def claimed(session: Session, *rows: Row, now: datetime = NOW) -> list[Value]:
    """Claim supervisions by id, until LEASE or as long from a later `now`."""
    ids = [row["id"] for row in rows]
    return dao_claims.claim(session, ids, State, lease=(now, now + (LEASE - NOW)))


def claimed_decisions(
    session: Session, jobs: Sequence[str] = ("job",), now: datetime = NOW
) -> list[LedgerRow]:
    """Claim the ledger rows of these jobs, by id."""
    found = dao_decisions.claim(session, [uid(name) for name in jobs], now, now + (LEASE - NOW))
    return sorted(found, key=lambda row: row.id)
