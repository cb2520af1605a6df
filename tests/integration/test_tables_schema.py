"""The schema: models and migrations agree, and the database itself refuses what no row may be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from threading import Event as Signal
from typing import Any, Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text, update
from sqlalchemy.exc import IntegrityError

from db.schema import METADATA
from db.session import Database, create, migrations_config, upgrade
from db.types_common import Base
from db.types_decisions import Decision
from db.types_monitoring import Job
from db.types_supervision import Supervision
from supervision.fsm.states import STATUS_PAIRS, UNFINISHED, DispatchStatus, ExecutionStatus, State
from tests.factories import NOW
from tests.integration.tables_kit import (
    Row,
    every,
    in_state,
    opened,
    put,
    supervision,
    trigger,
    uid,
)

ROOT: Final = Path(__file__).parents[2]
FINISHED: Final = [state for state in State if state not in UNFINISHED]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, empty."""
    with opened(database_url) as made:
        yield made


def _tables(engine: Engine) -> dict[str, dict[str, list[str]]]:
    """Everything that the database knows of its tables, as text that can be compared."""
    seen = inspect(engine)
    return {name: _table(seen, name) for name in sorted(seen.get_table_names())}


def _table(seen: Any, name: str) -> dict[str, list[str]]:  # noqa: ANN401
    parts = {
        "columns": seen.get_columns(name),
        "key": [seen.get_pk_constraint(name)],
        "indexes": seen.get_indexes(name),
        "checks": seen.get_check_constraints(name),
        "unique": seen.get_unique_constraints(name),
        "foreign": seen.get_foreign_keys(name),
    }
    return {part: sorted(map(_words, found)) for part, found in parts.items()}


def _words(part: dict[str, Any]) -> str:
    """Spell a part; SQLite's conditions come as objects of SQLAlchemy's, which are never equal."""
    options = part.get("dialect_options", {})
    return repr({**part, "dialect_options": {name: str(told) for name, told in options.items()}})


def _compared(connection: Connection) -> object:
    options = {"compare_type": True, "compare_server_default": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)


def test_alembic_finds_nothing_to_migrate(database: Database) -> None:
    """A model that nobody wrote a migration for would work here and fail in production."""
    with database.engine.connect() as connection:
        assert [] == _compared(connection)


def test_migrations_make_what_the_models_say_to_the_last_check(
    database: Database, database_url: str
) -> None:
    """Conditions of CHECKs and of partial indexes too, which alembic does not compare."""
    migrated = _tables(database.engine)
    command.downgrade(migrations_config(database_url), "base")
    METADATA.create_all(database.engine)
    assert migrated == _tables(database.engine)


def test_a_downgrade_leaves_nothing_and_an_upgrade_brings_all_back(
    database: Database, database_url: str
) -> None:
    """There and back, on a database that has rows; a second upgrade changes nothing."""
    put(database, Decision, trigger())
    migrated = _tables(database.engine)
    command.downgrade(migrations_config(database_url), "base")
    assert ["alembic_version"] == list(_tables(database.engine))
    upgrade(database_url)
    upgrade(database_url)
    assert migrated == _tables(database.engine)
    assert [] == every(database, Decision)


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    """Hold what an upgrade waits for, so that all of them are under way before one goes on."""
    engine = create(url)
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7302411)"))
        else:
            connection.execute(text("SELECT 1"))  # its transaction has begun IMMEDIATE
        yield connection
    engine.dispose()


def _await_waiting(connection: Connection, number: int) -> None:
    """Let both come as far as the lock; SQLite does not tell who waits."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    for _ in range(600):
        if connection.dialect.name != "postgresql":
            return
        if connection.execute(waiting).scalar_one() == number:
            return
        Signal().wait(0.05)
    raise AssertionError("the upgrades never came to the lock")


def test_two_processes_may_upgrade_at_once(database: Database, database_url: str) -> None:
    """Deployments start every consumer together: one makes the tables, the other finds them."""
    migrated = _tables(database.engine)
    command.downgrade(migrations_config(database_url), "base")
    program = "import sys; from db.session import upgrade; upgrade(sys.argv[1])"
    with _locked(database_url) as connection:
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program, database_url],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        _await_waiting(connection, len(both))
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in both]
    assert [("", 0), ("", 0)] == ends
    assert migrated == _tables(database.engine)


def _refused(database: Database, table: type[Base], *rows: Row) -> bool:
    """Whether the database refuses these rows; each is tried, none stays where one is refused."""
    try:
        put(database, table, *rows)
    except IntegrityError:
        return True
    return False


def test_the_check_admits_exactly_the_pairs_of_the_machine(database: Database) -> None:
    """Thirty pairs are tried, the ten that spell a state come in."""
    admitted = set()
    for pair in product(DispatchStatus, ExecutionStatus):
        statuses = {"dispatch_status": pair[0].value, "execution_status": pair[1].value}
        row = supervision(f"job {pair}", id=uid(f"{pair}"), level=1, **statuses)
        if not _refused(database, Supervision, row):
            admitted.add(pair)
    assert set(STATUS_PAIRS) == admitted


@pytest.mark.parametrize(
    "bad",
    [
        {"dispatch_status": "lost"},
        {"execution_status": ""},
        {"kind": "visualisation"},
        {"level": 3},
        {"level": -1},
        {"site": None},
        {"wake_at": None},
    ],
)
def test_a_supervision_that_cannot_be_is_refused(database: Database, bad: Row) -> None:
    """Whoever writes it, and with whatever client."""
    put(database, Supervision, supervision())
    assert _refused(database, Supervision, supervision("other", simulation_uid=uid("2"), **bad))


@pytest.mark.parametrize(
    "pair", [pair for pair, state in STATUS_PAIRS.items() if state in UNFINISHED]
)
def test_an_unfinished_row_cannot_lose_its_alarm(
    database: Database, pair: tuple[DispatchStatus, ExecutionStatus]
) -> None:
    """Neither at birth nor by an UPDATE: nobody would look at it again."""
    statuses = {"dispatch_status": pair[0].value, "execution_status": pair[1].value}
    assert _refused(database, Supervision, supervision(**statuses, wake_at=None))
    put(database, Supervision, supervision(**statuses))
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(update(Supervision).values(wake_at=None))


@pytest.mark.parametrize(("state", "at_centre"), list(product(FINISHED, [False, True])))
def test_what_is_over_may_be_without_an_alarm(
    database: Database, state: State, *, at_centre: bool
) -> None:
    """And may have one: it is watched, or its next try is due."""
    statuses = in_state(state, at_centre=at_centre)
    put(database, Supervision, supervision(**statuses, wake_at=None))
    put(database, Supervision, supervision("other", **statuses))
    assert 2 == len(every(database, Supervision))


@pytest.mark.parametrize("state", UNFINISHED)
def test_one_open_restart_per_simulation(database: Database, state: State) -> None:
    """Two chains of the same simulation would write the same files."""
    put(database, Supervision, supervision(**in_state(state)))
    assert _refused(database, Supervision, supervision("other", **in_state(State.DETECTED)))


@pytest.mark.parametrize(
    "other",
    [
        {"simulation_uid": uid("another simulation")},
        {"level": 1},
        {"level": 0},
        {"kind": "post-processing"},
        *(in_state(state) for state in FINISHED),
    ],
)
def test_what_touches_no_chain_or_is_over_may_stand_beside_it(
    database: Database, other: Row
) -> None:
    """Mails, post-processing and history block nothing."""
    put(database, Supervision, supervision(**in_state(State.DISPATCHED)))
    put(database, Supervision, supervision("other", **other))
    assert 2 == len(every(database, Supervision))


def test_a_finished_row_cannot_be_opened_beside_an_open_one(database: Database) -> None:
    """A retry is an UPDATE, and the index refuses it as well."""
    put(database, Supervision, supervision(), supervision("other", **in_state(State.FAILED)))
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(
            update(Supervision)
            .where(Supervision.job_uid == uid("other"))
            .values(**in_state(State.DETECTED))
        )


def test_a_job_has_one_supervision_for_ever(database: Database) -> None:
    """Retries are attempts of the same row, also when it is over."""
    put(database, Supervision, supervision(**in_state(State.CANCELLED)))
    again = supervision(id=uid("another"), simulation_uid=uid("another simulation"))
    assert _refused(database, Supervision, again)


def test_a_supervision_outlives_the_decision_that_it_began_with(database: Database) -> None:
    """Its column becomes empty; a decision that never was is refused."""
    put(database, Decision, trigger())
    put(database, Supervision, supervision(decision_id=trigger()["id"]))
    assert _refused(database, Supervision, supervision("2", level=1, decision_id=uid("none")))
    with database.write() as session:
        session.execute(text("DELETE FROM tbl_supervision_decision"))
    assert [None] == [row["decision_id"] for row in every(database, Supervision)]


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ({"kind": "lethal"}, {"kind": "stalled"}),
        ({"verdict": "perhaps"}, {"verdict": "merge"}),
        ({"restarted_by": "them"}, {"restarted_by": "hand"}),
        ({"wake_at": None}, {"wake_at": None, "verdict": "refuse"}),
        ({"job_uid": uid("first"), "kind": "fatal"}, {"job_uid": uid("first"), "kind": "late"}),
    ],
)
def test_the_ledger_admits_only_what_a_decision_can_be(
    database: Database, bad: Row, good: Row
) -> None:
    """One row per job and kind; without a verdict it has an alarm."""
    put(database, Decision, trigger("first"))
    assert _refused(database, Decision, trigger("second", **bad))
    put(database, Decision, trigger("second", **good))
    assert 2 == len(every(database, Decision))


def test_a_job_is_of_a_kind_that_there_is_or_of_none_yet(database: Database) -> None:
    """What no message has told stays empty."""
    assert _refused(database, Job, {"uid": "a", "simulation_uid": "s", "kind": "interactive"})
    put(database, Job, {"uid": "a", "simulation_uid": "s", "kind": None})
    put(database, Job, {"uid": "b", "simulation_uid": "s", "kind": "post-processing"})
    assert ["a", "b"] == [row["uid"] for row in every(database, Job)]


def test_a_time_without_a_zone_is_nobodys_time(database: Database) -> None:
    """It is a mistake of the caller, on either kind of database."""
    with pytest.raises(Exception, match="naive time"):
        put(database, Decision, trigger(first_at=NOW.replace(tzinfo=None)))
