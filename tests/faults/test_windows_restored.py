"""The database under the work is another: restored from a backup, or not yet migrated.

The centre's journals know more than the rows then. They decide, never the rows.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from supervision.adapters.system import SystemIds
from supervision.errors import DatabaseUnavailable
from supervision.facts import AnswerKind
from supervision.fsm.states import Event, State
from supervision.testing import SeededIds
from tests.factories import JOB
from tests.integration.flows_kit import GRACE, Chain, executions, rewire
from tests.unit.engine_kit import HOUR, MINUTE, OPERATOR, Bench, bench, failing_chain


def _copied(source: str | Path, target: str | Path) -> None:
    """Copy a SQLite database whole, whatever lies in its journal."""
    places = [str(place).removeprefix("sqlite:///") for place in (source, target)]
    with closing(sqlite3.connect(places[0])) as old, closing(sqlite3.connect(places[1])) as new:
        old.backup(new)


def _restored(made: Bench, backup: Path, url: str) -> None:
    """Put the backup in the database's place, under a service that is started anew."""
    made.tools.database.close()
    _copied(backup, url)


def test_a_row_that_is_restored_finds_its_own_receipt(sqlite_url: str, tmp_path: Path) -> None:
    """Yesterday nothing had been sent: the same key and script are answered from the journal."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        _copied(sqlite_url, tmp_path / "backup.db")
        made.wait(GRACE)
        assert State.EXECUTED is made.row().state
        _restored(made, tmp_path / "backup.db", sqlite_url)
        assert (State.FORMATTED, 0) == (made.row().state, made.row().dispatch_try_count)
        made.live(HOUR)
        assert (State.EXECUTED, row.id, 1) == (made.row().state, made.row().id, made.row().attempt)
        assert [1] == executions(made.agent)


def test_a_row_of_which_an_older_attempt_is_restored_acts_no_more(
    sqlite_url: str, tmp_path: Path
) -> None:
    """The second attempt has acted, the backup knows the first: the fence refuses it, for good."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        _copied(sqlite_url, tmp_path / "backup.db")
        made.agent.outcome(row.id, 1, kind=AnswerKind.FAILED, exit_code=64)
        made.live(HOUR)
        assert (State.EXECUTED, 2) == (made.row().state, made.row().attempt)
        before = dict(made.agent.executions)
        _restored(made, tmp_path / "backup.db", sqlite_url)
        made.live(HOUR)
        assert before == made.agent.executions


def test_an_id_that_is_used_again_is_a_conflict(sqlite_url: str, tmp_path: Path) -> None:
    """Were ids counted, another simulation would get an old key: no receipt is mistaken."""
    _copied(sqlite_url, tmp_path / "backup.db")
    with bench(sqlite_url) as made:
        used = made.to_executed()
        _restored(made, tmp_path / "backup.db", sqlite_url)
        rewire(made, ids=SeededIds())
        other = Chain(number=2)
        made.feed(*other.failing())
        made.settle()
        assert used.id == made.row(other.job).id, "the ids repeat, as a sequence would"
        made.live(HOUR)
        assert (State.FAILED, None) == (made.row(other.job).state, made.row(other.job).wake_at)
        assert "conflict" in (made.row(other.job).reason or "")
        assert (OPERATOR, "gave-up") in made.mails()
        assert [1] == executions(made.agent)


def test_ids_after_a_restore_are_new(sqlite_url: str, tmp_path: Path) -> None:
    """The same failure, ingested again, is another key: no receipt of yesterday is mistaken."""
    _copied(sqlite_url, tmp_path / "backup.db")
    with bench(sqlite_url) as made:
        rewire(made, ids=SystemIds())
        used = made.to_executed()
        _restored(made, tmp_path / "backup.db", sqlite_url)
        made.feed(*failing_chain())
        made.settle()
        assert used.id != made.row().id


@pytest.mark.parametrize("table", ["tbl_message", "tbl_job", "tbl_supervision_decision"])
def test_facts_come_before_the_migration(postgres_url: str, table: str) -> None:
    """New code on the old schema: no fact is acknowledged or buried, all are stored later."""
    with bench(postgres_url) as made:
        _rename(made, table, "not_yet_migrated")
        made.publish(*failing_chain())
        with pytest.raises(DatabaseUnavailable):
            made.drain()
        _rename(made, "not_yet_migrated", table)
        _given_back(made)
        made.settle()
        assert ([], 1) == (made.broker.dead(), made.ledger()["fatal"].occurrences)
        assert len(failing_chain()) == len(made.table("tbl_message"))


def test_a_migration_between_the_submit_and_its_receipt(postgres_url: str) -> None:
    """The table is away when the receipt is to be written: the key is asked for, once more."""
    name, hidden = "tbl_simulation_supervision", "being_migrated"
    with bench(postgres_url) as made:
        made.to_formatted()
        made.clock.advance(GRACE)
        row = made.row().id
        made.agent.once("after submit", lambda: _rename(made, name, hidden))
        with pytest.raises(DatabaseUnavailable):
            made.engine.fire(Event.DISPATCH, [row])
        _rename(made, hidden, name)
        made.live(HOUR, step=4 * MINUTE)
        assert (State.EXECUTED, 1) == (made.row(JOB).state, made.calls("submit"))
        assert [1] == executions(made.agent)


def _rename(made: Bench, old: str, new: str) -> None:
    with made.tools.database.write() as session:
        session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def _given_back(made: Bench) -> None:
    """Have the broker give back what nobody settled, as when a channel closes."""
    for queue in {"in-monitoring-" + each.code for each in failing_chain()}:
        made.broker.release(queue)
