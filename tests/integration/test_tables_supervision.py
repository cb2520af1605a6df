"""Supervisions: claims, confirms, their history; what brakes them, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from threading import Barrier
from typing import Any, Final

import pytest
from sqlalchemy.exc import IntegrityError

from db import (
    dao_alarms,
    dao_brakes,
    dao_claims,
    dao_history,
    dao_holds,
    dao_retention,
    dao_supervision,
)
from db.session import Database
from db.types_decisions import Decision
from db.types_holds import HoldRow, SiteSlot
from db.types_messages import Message
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Restart, Supervision, Transition
from supervision.errors import InvalidValue
from supervision.facts import FailureCause, Hold, Key, TriggerKind, Wish
from supervision.facts import Supervision as Value
from supervision.fsm.states import STATES, ExecutionStatus, State
from tests.factories import NOW, ago
from tests.integration.tables_kit import (
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    Row,
    claimed,
    every,
    in_state,
    opened,
    put,
    supervision,
    trigger,
    uid,
    value,
)

JOBS: Final = tuple(f"job {number:02}" for number in range(12))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, empty."""
    with opened(database_url) as made:
        yield made


def _each(*names: str, **changes: Any) -> list[Row]:  # noqa: ANN401
    """One row for each job, each of a simulation of its own."""
    return [supervision(name, simulation_uid=uid(f"of {name}"), **changes) for name in names]


def _insert(database: Database, *rows: Row) -> set[str]:
    with database.write() as session:
        return dao_supervision.insert_new(session, rows)


def _claim(database: Database, *rows: Row, now: datetime = NOW) -> list[Value]:
    with database.write() as session:
        return sorted(claimed(session, *rows, now=now), key=lambda row: row.id)


def _confirm(database: Database, *changes: tuple[Value, Value]) -> set[str]:
    with database.write() as session:
        return dao_supervision.confirm(session, changes)


def _state(database: Database, row: Row) -> tuple[State, str | None]:
    now = value(database, row)
    return now.state, now.reason


# Birth


def test_a_new_supervision_is_detected_and_awake(database: Database) -> None:
    """First attempt, no script yet, nobody's."""
    row = supervision()
    assert {row["id"]} == _insert(database, row)
    made = value(database, row)
    assert (State.DETECTED, ExecutionStatus.PENDING, 1) == (
        made.state,
        made.execution_status,
        made.attempt,
    )
    assert (NOW, None, 0, 0) == (made.wake_at, made.lease_until, made.version, made.claim_count)
    assert (None, None, "base64") == (
        made.script_sha256,
        made.noted_trigger,
        made.script_content_encoding,
    )


@pytest.mark.parametrize("together", [True, False])
def test_a_job_gets_one_supervision_and_no_error(database: Database, *, together: bool) -> None:
    """Two deciders at once: the second learns that its row did not come to be."""
    first, second = supervision(), supervision(id=uid("second"), simulation_uid=uid("another"))
    if together:
        assert 1 == len(_insert(database, first, second))
    else:
        assert {first["id"]} == _insert(database, first)
        assert set() == _insert(database, second)
    assert 1 == len(every(database, Supervision))


@pytest.mark.parametrize("together", [True, False])
def test_a_simulation_gets_one_open_restart_and_no_error(
    database: Database, *, together: bool
) -> None:
    """The other job's decision is looked at again; what blocks nothing comes in beside it."""
    first, second, mail = supervision("a"), supervision("b"), supervision("c", level=1)
    if together:
        born = _insert(database, first, second, mail)
    else:
        born = _insert(database, first) | _insert(database, second) | _insert(database, mail)
    assert mail["id"] in born
    assert 1 == len(born & {first["id"], second["id"]})
    assert born == {row["id"] for row in every(database, Supervision)}


def test_what_cannot_be_a_supervision_is_refused(database: Database) -> None:
    """Nothing of the set comes in."""
    with pytest.raises(InvalidValue, match="login"):
        _insert(database, *_each("a"), *_each("b", login=""))
    assert [] == every(database, Supervision)
    assert set() == _insert(database)


# Claims


def test_a_claim_leases_and_counts(database: Database) -> None:
    """Version and alarm are the guard of what is written back."""
    put(database, Supervision, supervision(version=7, claim_count=2))
    (row,) = _claim(database, supervision())
    assert (8, 3, LEASE, LEASE) == (row.version, row.claim_count, row.lease_until, row.wake_at)
    assert row == value(database, supervision())


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"wake_at": NOW + DAY}, True),  # an early wake-up: the action asks what is true
        ({"not_before": NOW}, True),
        ({"not_before": NOW + MINUTE}, False),
        ({"lease_until": NOW}, True),
        ({"lease_until": NOW + MINUTE}, False),
        ({**in_state(State.EXECUTED), "wake_at": None}, False),
        ({**in_state(State.EXECUTED)}, True),
    ],
)
def test_only_what_has_an_alarm_is_due_and_free_is_claimed(
    database: Database, changes: Row, *, taken: bool
) -> None:
    """Everything else is somebody's, or nobody's any more."""
    put(database, Supervision, supervision(**changes))
    assert taken is bool(_claim(database, supervision()))


@pytest.mark.parametrize("limit", [1, 5, 12, 20])
def test_no_more_is_claimed_than_asked_for_and_the_oldest_first(
    database: Database, limit: int
) -> None:
    """A worker with room for one takes the one that has waited longest."""
    for age, row in enumerate(_each(*JOBS)):
        put(database, Supervision, {**row, "wake_at": ago(minutes=age)})
    with database.write() as session:
        found = dao_claims.claim_due(session, "curie", State, lease=(NOW, LEASE), limit=limit)
    expected = {uid(name) for name in JOBS[::-1][:limit]}
    assert expected == {row.job_uid for row in found}
    assert len(expected) == sum(row["version"] for row in every(database, Supervision))


def test_what_rings_at_a_site_is_claimed_and_nothing_else(database: Database) -> None:
    """Not what rings elsewhere, nor what rings later, nor what is in another state."""
    rings = supervision("rings", simulation_uid=uid("of rings"))
    others = [
        supervision("elsewhere", simulation_uid=uid("of elsewhere"), site="irene"),
        supervision("later", simulation_uid=uid("of later"), wake_at=NOW + MINUTE),
        supervision("done", simulation_uid=uid("of done"), **in_state(State.DISPATCHED)),
    ]
    for row in (rings, *others):
        put(database, Supervision, row)
    with database.write() as session:
        found = dao_claims.claim_due(
            session, "curie", [State.DETECTED], lease=(NOW, LEASE), limit=10
        )
    assert [rings["id"]] == [row.id for row in found]


def test_claimers_at_once_get_disjoint_rows(database: Database) -> None:
    """Four workers with room for three each; no row is two workers'."""
    rows = _each(*JOBS)
    _insert(database, *rows)
    barrier = Barrier(4)

    def work(_: int) -> list[str]:
        barrier.wait(timeout=30)
        with database.write() as session:
            taken = dao_claims.claim_due(session, "curie", State, lease=(NOW, LEASE), limit=3)
        return [row.id for row in taken]

    with ThreadPoolExecutor(4) as pool:
        found = [name for names in pool.map(work, range(4)) for name in names]
    assert len(set(found)) == len(found)
    claims = {row["id"]: row["version"] for row in every(database, Supervision)}
    assert {row["id"]: found.count(row["id"]) for row in rows} == claims


def test_a_claimer_skips_what_another_one_is_taking(postgres_url: str) -> None:
    """PostgreSQL: a slow worker's open transaction holds nobody up."""
    with opened(postgres_url) as database:
        rows = _each(*JOBS)
        _insert(database, *rows)
        with database.write() as session:
            mine = claimed(session, *rows[:5])
            with ThreadPoolExecutor(1) as pool:
                theirs = pool.submit(_claim, database, *rows).result(timeout=30)
        assert (5, 7) == (len(mine), len(theirs))
        assert set() == {row.id for row in mine} & {row.id for row in theirs}


def test_a_person_claims_a_row_whatever_its_alarm(database: Database) -> None:
    """But waits for a lease, and for what is not there."""
    put(database, Supervision, supervision(**in_state(State.CANCELLED), wake_at=None))
    name = supervision()["id"]
    with database.write() as session:
        row = dao_claims.seize(session, name, lease=(NOW, LEASE))
        again = dao_claims.seize(session, name, lease=(LEASE - MINUTE, LEASE))
        after = dao_claims.seize(session, name, lease=(LEASE, LEASE + MINUTE))
        nobody = dao_claims.seize(session, uid("nobody"), lease=(NOW, LEASE))
    assert row
    assert after
    assert (1, LEASE, State.CANCELLED) == (row.version, row.lease_until, row.state)
    assert (None, 2, None) == (again, after.version, nobody)


def test_an_order_that_dies_leaves_what_is_finished_at_rest(database: Database) -> None:
    """A row without an alarm gets none by being claimed; a cancelled one would ring for ever.

    An unfinished one rings when the lease is over, as after any claim.
    """
    at_rest = supervision("one", **in_state(State.CANCELLED), wake_at=None)
    awake = supervision("two")
    put(database, Supervision, at_rest, awake)
    with database.write() as session:
        for row in (at_rest, awake):
            dao_claims.seize(session, row["id"], lease=(NOW, LEASE))
    alarms = [value(database, row).wake_at for row in (at_rest, awake)]
    assert [None, LEASE] == alarms


# Confirmations


def test_a_confirm_writes_the_row_and_frees_it(database: Database) -> None:
    """Whatever changed; the claims of the past are forgotten, and so are the repeats."""
    put(database, Supervision, supervision(claim_count=4, rewakes=3))
    (old,) = _claim(database, supervision())
    new = replace(
        old,
        state=State.DISPATCHED,
        execution_status=ExecutionStatus.UNKNOWN,
        journal_id="journal",
        backoff=2,
        wanted=Wish(event="cancel", actor="alice", reason="not now"),
        noted_trigger=TriggerKind.FATAL,
        dispatched_at=NOW,
        wake_at=NOW + HOUR,
        not_before=NOW + MINUTE,
    )
    assert {old.id} == _confirm(database, (old, new))
    expected = replace(new, version=old.version + 1, lease_until=None, claim_count=0)
    assert expected == value(database, supervision())
    assert [0] == [row["rewakes"] for row in every(database, Supervision)]


@pytest.mark.parametrize("at_centre", [False, True])
@pytest.mark.parametrize("state", State)
def test_every_state_is_written_and_read_back(
    database: Database, state: State, *, at_centre: bool
) -> None:
    """And what the columns keep of how far the script had come."""
    _insert(database, supervision())
    (old,) = _claim(database, supervision())
    new = replace(old, state=state, dispatched_at=NOW if at_centre else None, wake_at=NOW + HOUR)
    _confirm(database, (old, new))
    (row,) = every(database, Supervision)
    assert state is value(database, supervision()).state
    if state in {State.FAILED, State.CANCELLED}:
        assert ("dispatched" if at_centre else state) == row["dispatch_status"]


def test_a_worker_that_was_presumed_dead_overwrites_nothing(database: Database) -> None:
    """Neither while the next claim stands nor after it was confirmed."""
    _insert(database, supervision())
    (mine,) = _claim(database, supervision())
    (theirs,) = _claim(database, supervision(), now=LEASE)
    late = replace(mine, state=State.FORMATTED, reason="late", wake_at=NOW + HOUR)
    in_time = replace(theirs, state=State.CANCELLED, reason="in time", wake_at=None)
    assert set() == _confirm(database, (mine, late))
    assert {mine.id} == _confirm(database, (theirs, in_time))
    assert set() == _confirm(database, (mine, late))
    assert (State.CANCELLED, "in time") == _state(database, supervision())


def test_a_stale_row_in_a_set_keeps_no_other_from_being_written(database: Database) -> None:
    """The ids that come back are those that stand."""
    rows = _each("a", "b")
    _insert(database, *rows)
    a, b = (_claim(database, row)[0] for row in rows)
    _claim(database, rows[0], now=LEASE)
    moved = [(row, replace(row, state=State.FORMATTED, wake_at=NOW + HOUR)) for row in (a, b)]
    assert {b.id} == _confirm(database, *moved)
    assert State.DETECTED is value(database, rows[0]).state


def test_rows_of_one_set_change_each_in_its_own_way(database: Database) -> None:
    """What is said of one row is written to no other."""
    rows = _each("a", "b", "c", output_tail="from before", exit_code=3)
    put(database, Supervision, *rows)
    a, b, c = (_claim(database, row)[0] for row in rows)
    changes = (
        (a, replace(a, state=State.FAILED, reason="no", output_tail=None, wake_at=None)),
        (b, replace(b, state=State.FORMATTED, exit_code=None, wake_at=NOW + HOUR)),
        (c, replace(c, wake_at=NOW + DAY, not_before=NOW + DAY)),
    )
    assert {a.id, b.id, c.id} == _confirm(database, *changes)
    expected = [
        replace(new, version=new.version + 1, lease_until=None, claim_count=0) for _, new in changes
    ]
    assert expected == [value(database, row) for row in rows]


def _wish(database: Database, row: Row) -> None:
    wish = Wish(event="cancel", actor="alice", reason="mine")
    with database.write() as session:
        assert dao_supervision.want(session, row["id"], wish, NOW + MINUTE)


def test_a_wish_that_comes_during_the_claim_outlives_its_confirm(database: Database) -> None:
    """Also where another row of the same set loses its own: a cancel must not be forgotten."""
    rows = _each("a", "b")
    put(database, Supervision, *rows)
    _wish(database, rows[0])
    a, b = (_claim(database, row, now=NOW + MINUTE)[0] for row in rows)
    _wish(database, rows[1])
    with database.write() as session:
        dao_supervision.note_triggers(session, {b.id: "fatal"})
    done = replace(a, state=State.CANCELLED, wanted=None, noted_trigger=None, wake_at=None)
    assert {a.id, b.id} == _confirm(database, (a, done), (b, replace(b, wake_at=NOW + HOUR)))
    assert None is value(database, rows[0]).wanted
    after = value(database, rows[1])
    assert (Wish(event="cancel", actor="alice", reason="mine"), NOW + MINUTE) == (
        after.wanted,
        after.wake_at,
    )


@pytest.mark.parametrize(
    ("given", "kept", "not_before"),
    [
        (NOW + HOUR, NOW + MINUTE, None),
        (NOW + MINUTE / 2, NOW + MINUTE / 2, None),
        (None, None, None),
    ],
)
def test_a_message_during_the_claim_keeps_the_earlier_alarm(
    database: Database, given: datetime | None, kept: object, not_before: object
) -> None:
    """Unless the row needs none any more."""
    put(database, Supervision, supervision(**in_state(State.EXECUTED)))
    (old,) = _claim(database, supervision())
    with database.write() as session:
        dao_supervision.wake(session, [uid("simulation")], NOW + MINUTE)
    _confirm(database, (old, replace(old, wake_at=given, not_before=given)))
    after = value(database, supervision())
    assert (kept, not_before) == (after.wake_at, after.not_before)


def test_an_unfinished_row_keeps_an_alarm(database: Database) -> None:
    """A confirm that would take it is refused, with the row's id."""
    _insert(database, supervision())
    (old,) = _claim(database, supervision())
    with pytest.raises(InvalidValue, match=old.id):
        _confirm(database, (old, replace(old, state=State.FORMATTED, wake_at=None)))
    assert set() == _confirm(database)


def test_a_retry_beside_an_open_restart_is_refused_by_the_database(database: Database) -> None:
    """Whoever confirms it does so in a savepoint; the failed row stays failed."""
    put(database, Supervision, supervision("a", **in_state(State.FAILED)), supervision("b"))
    (old,) = _claim(database, supervision("a"))
    with pytest.raises(IntegrityError):
        _confirm(database, (old, replace(old, state=State.DETECTED, attempt=2)))
    assert State.FAILED is value(database, supervision("a")).state


# Scripts


def _script(database: Database, row: Row) -> str | None:
    with database.read() as session:
        return dao_supervision.with_scripts(session, [value(database, row)])[0].script_content


def test_a_claim_does_not_load_the_script(database: Database) -> None:
    """It is large; who needs it reads it, in the order asked for."""
    rows = _each("a", "b", "c", script_sha256="1" * 64)
    put(database, Supervision, *({**row, "script_content": row["job_uid"]} for row in rows))
    taken = _claim(database, *rows)
    assert [None] * 3 == [row.script_content for row in taken]
    with database.read() as session:
        whole = dao_supervision.with_scripts(session, taken[::-1])
    assert [row.job_uid for row in taken[::-1]] == [row.script_content for row in whole]
    assert taken[::-1] == [replace(row, script_content=None) for row in whole]


def test_a_script_is_written_when_its_digest_changes(database: Database) -> None:
    """And stays when a row is confirmed that was claimed without it."""
    _insert(database, supervision())
    (old,) = _claim(database, supervision())
    new = replace(old, state=State.FORMATTED, script_content="Zm9v", script_sha256="1" * 64)
    _confirm(database, (old, replace(new, wake_at=NOW + HOUR)))
    assert "Zm9v" == _script(database, supervision())
    (old,) = _claim(database, supervision())
    _confirm(database, (old, replace(old, backoff=1, wake_at=NOW + HOUR)))
    assert "Zm9v" == _script(database, supervision())
    (old,) = _claim(database, supervision())
    blank = replace(old, state=State.DETECTED, script_content=None, script_sha256=None, attempt=2)
    _confirm(database, (old, blank))
    assert None is _script(database, supervision())


def test_a_new_script_in_a_set_takes_no_other_rows_script(database: Database) -> None:
    """The other row was claimed without its script, and keeps it."""
    rows = _each("a", "b", script_content="b2xk", script_sha256="0" * 64)
    put(database, Supervision, *rows)
    a, b = (_claim(database, row)[0] for row in rows)
    built = replace(a, script_content="bmV3", script_sha256="1" * 64, wake_at=NOW + HOUR)
    _confirm(database, (a, built), (b, replace(b, backoff=1, wake_at=NOW + HOUR)))
    assert ["bmV3", "b2xk"] == [_script(database, row) for row in rows]


def test_a_script_that_was_read_for_sending_is_not_written_to_others(database: Database) -> None:
    """One row of the set has its script at hand, the other has not."""
    rows = _each("a", "b", script_content="b2xk", script_sha256="0" * 64)
    put(database, Supervision, *rows)
    a, b = (_claim(database, row)[0] for row in rows)
    with database.read() as session:
        (whole,) = dao_supervision.with_scripts(session, [a])
    sent = replace(whole, state=State.DISPATCHED, wake_at=NOW + HOUR)
    _confirm(database, (a, sent), (b, replace(b, wake_at=NOW + HOUR)))
    assert ["b2xk", "b2xk"] == [_script(database, row) for row in rows]


# The first byte


def test_a_try_is_counted_while_the_claim_stands(database: Database) -> None:
    """It tells until when the agent may begin; the version stays, so the claim can be confirmed."""
    rows = _each("a", "b")
    _insert(database, *rows)
    taken = _claim(database, *rows)
    with database.write() as session:
        assert dict.fromkeys((row.id for row in taken), LEASE) == dao_supervision.raise_tries(
            session, taken, NOW + MINUTE
        )
        assert {} == dao_supervision.raise_tries(session, [], NOW)
    after = [value(database, row) for row in rows]
    assert [(1, NOW + MINUTE, 1)] * 2 == [
        (row.dispatch_try_count, row.acted_at, row.version) for row in after
    ]


@pytest.mark.parametrize("reclaimed", [False, True])
def test_a_worker_whose_lease_is_over_sends_nothing(database: Database, *, reclaimed: bool) -> None:
    """Whether somebody has claimed the row since or not."""
    _insert(database, supervision())
    taken = _claim(database, supervision())
    if reclaimed:
        _claim(database, supervision(), now=LEASE)
    with database.write() as session:
        now = LEASE - MINUTE if reclaimed else LEASE
        assert {} == dao_supervision.raise_tries(session, taken, now)
    assert 0 == value(database, supervision()).dispatch_try_count


# Wishes, triggers, alarms


@pytest.mark.parametrize("state", State)
def test_a_wish_is_stored_on_what_is_unfinished(database: Database, state: State) -> None:
    """It wakes the row at once; what is over cannot be wished away."""
    later: Row = {"wake_at": NOW + DAY, "not_before": NOW + DAY}
    put(database, Supervision, supervision(**in_state(state), **later))
    wish = Wish(event="retry", actor="alice", reason="disk is free again")
    with database.write() as session:
        stored = dao_supervision.want(session, supervision()["id"], wish, NOW)
        assert not dao_supervision.want(session, uid("nobody"), wish, NOW)
    after = value(database, supervision())
    assert STATES[state].unfinished is stored
    expected = (wish, NOW, None) if stored else (None, NOW + DAY, NOW + DAY)
    assert expected == (after.wanted, after.wake_at, after.not_before)


def test_a_stronger_trigger_is_noted(database: Database) -> None:
    """The attempt goes on with the one that it acts on."""
    _insert(database, supervision(trigger="late"))
    with database.write() as session:
        noted = {supervision()["id"]: "fatal", uid("nobody"): "late"}
        dao_supervision.note_triggers(session, noted)
    after = value(database, supervision())
    assert (TriggerKind.LATE, TriggerKind.FATAL) == (after.trigger, after.noted_trigger)


WAKEABLE: Final = (State.DETECTED, State.FORMATTED, State.DISPATCHED, State.EXECUTED)


@pytest.mark.parametrize("state", State)
def test_a_message_wakes_what_is_unfinished_or_watched(database: Database, state: State) -> None:
    """Leased rows too; a failed one waits for its own next try."""
    later: Row = {"wake_at": NOW + DAY, "not_before": NOW + DAY, "lease_until": LEASE}
    foreign = supervision("foreign", simulation_uid=uid("another"), **later)
    put(database, Supervision, supervision(**in_state(state), **later), foreign)
    with database.write() as session:
        dao_supervision.wake(session, [uid("simulation")], NOW)
    after = value(database, supervision())
    expected = (NOW, None) if state in WAKEABLE else (NOW + DAY, NOW + DAY)
    assert expected == (after.wake_at, after.not_before)
    assert NOW + DAY == value(database, foreign).wake_at


def test_what_is_not_watched_any_more_is_not_woken(database: Database) -> None:
    """No alarm, no work."""
    put(database, Supervision, supervision(**in_state(State.EXECUTED), wake_at=None))
    with database.write() as session:
        dao_supervision.wake(session, [uid("simulation")], NOW)
    assert None is value(database, supervision()).wake_at


def test_a_release_wakes_what_a_hold_put_off(database: Database) -> None:
    """Not what waits for something else, nor a failed row, whose next try has its time."""
    later: Row = {"wake_at": NOW + DAY, "not_before": NOW + DAY}
    rows = [
        supervision("held", cause="hold", **later),
        supervision("down", level=1, cause="maintenance", **later),
        supervision("over", cause="hold", **in_state(State.FAILED), **later),
        supervision("free", level=1, wake_at=NOW + DAY),
    ]
    put(database, Supervision, *rows)
    with database.write() as session:
        dao_brakes.wake(session, NOW)
    found = [value(database, row) for row in rows]
    assert [NOW, NOW + DAY, NOW + DAY, NOW + DAY] == [row.wake_at for row in found]
    assert [None, NOW + DAY, NOW + DAY, None] == [row.not_before for row in found]


def test_what_is_due_is_taken_oldest_first_and_its_alarm_moved(database: Database) -> None:
    """Not what is leased or due later; no more than asked for."""
    names = ("late", "now", "later", "leased")
    late, now, later, leased = _each(*names)
    put(
        database,
        Supervision,
        {**now, "wake_at": NOW},
        {**late, "wake_at": ago(hours=1)},
        {**later, "wake_at": NOW + MINUTE},
        {**leased, "wake_at": ago(hours=2), "lease_until": NOW + MINUTE},
    )
    with database.write() as session:
        assert [late["id"]] == [row.id for row in dao_alarms.take_due(session, Supervision, NOW, 1)]
        due = [row.id for row in dao_alarms.take_due(session, Supervision, NOW, 10)]
        moved = [{"id": name, "wake_at": NOW + HOUR, "rewakes": 4} for name in due]
        dao_alarms.set_alarms(session, Supervision, moved)
        dao_alarms.set_alarms(session, Supervision, [])
    assert [late["id"], now["id"]] == due
    rows = {row["id"]: (row["wake_at"], row["rewakes"]) for row in every(database, Supervision)}
    assert {(NOW + HOUR, 4)} == {rows.pop(name) for name in due}
    assert {later["id"]: (NOW + MINUTE, 0), leased["id"]: (ago(hours=2), 0)} == rows


def test_supervisions_are_read_by_job_and_by_id(database: Database) -> None:
    """Unknown ones are missing."""
    a = supervision("a", created_at=NOW, **in_state(State.FAILED))
    b = supervision("b", created_at=ago(hours=1))
    c = supervision("c", simulation_uid=uid("another"), site="irene")
    put(database, Supervision, a, b, c)
    with database.read() as session:
        of_jobs = dao_supervision.of_jobs(session, [uid("a"), uid("c"), uid("nobody")])
        of_ids = dao_supervision.of_ids(session, [b["id"], uid("nobody")])
        sites = dao_supervision.sites_of(session, [a["id"], c["id"], uid("nobody")])
    assert {uid("a"): a["id"], uid("c"): c["id"]} == {job: row.id for job, row in of_jobs.items()}
    assert [b["id"]] == list(of_ids)
    assert {a["id"]: "curie", c["id"]: "irene"} == sites


# The history


def _step(row: Row, event: str, **changes: Any) -> Row:  # noqa: ANN401
    said = {
        "supervision_id": row["id"],
        "source": "failed",
        "target": "detected",
        "event": event,
        "attempt": 1,
        "at": NOW,
        "actor": "policy",
        "by_person": False,
        "cause": None,
        "reason": None,
        "message_uid": None,
    }
    return {**said, **changes}


def _append(database: Database, *steps: Row) -> None:
    with database.write() as session:
        dao_history.append(session, steps)


def test_the_history_is_read_as_it_was_written(database: Database) -> None:
    """In its order, also where all happened at the same moment, and nothing is ever replaced."""
    a, b = supervision("a"), supervision("b")
    written = [_step(a, "format", reason=f"{number}") for number in range(40)]
    _append(database, *written[:20], _step(b, "fail", source=None, message_uid=uid("message")))
    _append(database, *written[20:])
    _append(database)
    with database.read() as session:
        found = dao_history.of_supervisions(session, [a["id"]])
        (other,) = dao_history.of_supervisions(session, [b["id"], uid("nobody")])
    assert [row["reason"] for row in written] == [row.reason for row in found]
    assert ("fail", None, uid("message"), NOW) == (
        other.event,
        other.source,
        other.message_uid,
        other.at,
    )


@pytest.mark.parametrize(
    "bad", [{"actor": ""}, {"actor": None}, {"supervision_id": "no id"}, {"reason": "\0"}]
)
def test_a_step_that_nobody_made_is_refused(database: Database, bad: Row) -> None:
    """Nothing of the set is written."""
    with pytest.raises(InvalidValue):
        _append(database, _step(supervision(), "fail"), _step(supervision(), "fail", **bad))
    assert [] == every(database, Transition)


def _failures(database: Database, *rows: Row) -> dict[str, list[tuple[int, str]]]:
    with database.read() as session:
        found = dao_history.failures(session, [row["id"] for row in rows])
    return {
        name: [(failure.attempt, failure.cause.value) for failure in each]
        for name, each in found.items()
    }


def test_failed_attempts_are_counted_since_a_person_began_one(database: Database) -> None:
    """Whoever looked at it starts the count anew; a retry of the policy's does not."""
    a, b, c = (supervision(name) for name in "abc")
    _append(
        database,
        _step(a, "fail", cause="script"),
        _step(a, "retry", attempt=2, actor="alice", by_person=True),
        _step(a, "fail", attempt=2, cause="not-yet"),
        _step(b, "fail", cause="not-yet"),
        _step(a, "retry", attempt=3),
        _step(a, "force_failed", attempt=3, cause="forced", actor="alice", by_person=True),
        _step(b, "force_detected", attempt=2, actor="alice", by_person=True),
        _step(a, "cancel", attempt=3, actor="alice", by_person=True),
        _step(c, "fail"),
    )
    expected = {a["id"]: [(2, "not-yet"), (3, "forced")], b["id"]: [], c["id"]: [(1, "script")]}
    assert expected == _failures(database, a, b, c)


@pytest.mark.parametrize("cause", FailureCause)
def test_every_cause_of_a_failure_is_read_back(database: Database, cause: FailureCause) -> None:
    """Policy chooses the next try by it."""
    _append(database, _step(supervision(), "fail", cause=cause.value))
    assert {supervision()["id"]: [(1, cause.value)]} == _failures(database, supervision())


def _restart(row: Row, attempt: int = 1, **changes: Any) -> Row:  # noqa: ANN401
    said = {
        "supervision_id": row["id"],
        "attempt": attempt,
        "site": "curie",
        "login": "p86user1",
        "simulation_uid": row["simulation_uid"],
        "at": NOW,
    }
    return {**said, **changes}


def test_restarts_are_counted_once_an_attempt_and_inside_their_window(database: Database) -> None:
    """Of a site, oldest first; what is as old as the window is out of it."""
    a, b = supervision("a"), supervision("b", simulation_uid=uid("another"))
    with database.write() as session:
        dao_history.begin_restarts(
            session,
            [
                _restart(a, at=ago(minutes=30)),
                _restart(a, attempt=2, at=ago(minutes=10)),
                _restart(b, at=ago(minutes=20)),
                _restart(b, attempt=2, at=ago(hours=1)),
                _restart(b, attempt=3, at=ago(minutes=5), site="irene"),
            ],
        )
        dao_history.begin_restarts(session, [_restart(a, at=NOW)])
    since = ago(hours=1)
    with database.read() as session:
        at_site = dao_history.restarts_at(session, ["curie"], since)
        earlier = dao_history.restarts_at(session, ["curie"], since, ago(minutes=20))
    assert [(a["id"], 1), (b["id"], 1), (a["id"], 2)] == _keys(at_site)
    assert [(a["id"], 1), (b["id"], 1)] == _keys(earlier)


def _keys(found: Any) -> list[tuple[str, int]]:  # noqa: ANN401
    return [(row.supervision_id, row.attempt) for row in found]


def test_what_restarted_nothing_is_taken_off(database: Database) -> None:
    """Exactly that attempt; taking it off twice is no error."""
    a, b = supervision("a"), supervision("b")
    with database.write() as session:
        dao_history.begin_restarts(session, [_restart(a), _restart(a, 2), _restart(b)])
        for _ in range(2):
            dao_history.take_off_restarts(session, [Key(supervision_id=a["id"], attempt=1)])
        dao_history.take_off_restarts(session, [])
    left = {(row["supervision_id"], row["attempt"]) for row in every(database, Restart)}
    assert {(a["id"], 2), (b["id"], 1)} == left


def test_the_job_that_an_attempt_began_is_kept_with_it(database: Database) -> None:
    """By it the next start is known as ours; unknown attempts are nobody's."""
    a, b = supervision("a"), supervision("b")
    keys = [Key(supervision_id=row["id"], attempt=2) for row in (a, b)]
    with database.write() as session:
        dao_history.begin_restarts(session, [_restart(a), _restart(a, 2), _restart(b)])
        dao_history.note_new_jobs(session, [(keys[0], "41300"), (keys[1], "41301")])
        dao_history.note_new_jobs(session, [])
    found = {
        (row["supervision_id"], row["attempt"]): row["scheduler_id"]
        for row in every(database, Restart)
    }
    assert {(a["id"], 1): None, (a["id"], 2): "41300", (b["id"], 1): None} == found


# Brakes

HOLD: Final = Hold(scope="site:curie", actor="alice", reason="the file system", since=NOW)


def test_a_hold_keeps_who_placed_it_first(database: Database) -> None:
    """It is released once, and then it is gone."""
    other = Hold(scope=f"simulation:{uid('a')}", actor="bob", reason="mine", since=ago(hours=1))
    with database.write() as session:
        assert dao_holds.place(session, HOLD)
        assert not dao_holds.place(session, replace(HOLD, actor="bob", reason="too"))
        assert dao_holds.place(session, other)
        assert (other, HOLD) == dao_holds.all_holds(session)
        assert dao_holds.release(session, HOLD.scope)
        assert not dao_holds.release(session, HOLD.scope)
        assert (other,) == dao_holds.all_holds(session)


def test_a_hold_on_nothing_is_refused(database: Database) -> None:
    """Somebody would rely on it."""
    with pytest.raises(InvalidValue), database.write() as session:
        dao_holds.place(session, replace(HOLD, scope="curie"))
    assert [] == every(database, HoldRow)


def _slot(database: Database, owner: str, now: datetime = NOW, slots: int = 2) -> bool:
    with database.write() as session:
        lease = (now, now + MINUTE)
        return dao_holds.lease_slot(session, "curie", owner, lease=lease, slots=slots)


def test_sessions_are_leased_up_to_the_budget(database: Database) -> None:
    """An owner has one, however often it asks; another site's are its own."""
    assert [True, True, True, False] == [_slot(database, each) for each in ("a", "b", "a", "c")]
    with database.write() as session:
        assert dao_holds.lease_slot(session, "irene", "c", lease=(NOW, NOW + MINUTE), slots=1)
    assert ["a", "b", "c"] == sorted(row["owner"] for row in every(database, SiteSlot))


def test_a_session_is_free_again_when_its_lease_is_over(database: Database) -> None:
    """A process that died keeps nobody out; one that renews stays in."""
    assert [True, True] == [_slot(database, owner) for owner in ("a", "b")]
    assert _slot(database, "a", NOW + MINUTE / 2)
    assert [True, False] == [_slot(database, owner, NOW + MINUTE) for owner in ("c", "d")]
    assert not _slot(database, "b", NOW + MINUTE)


def test_a_session_that_is_given_back_is_free_at_once(database: Database) -> None:
    """Giving back what one has not is no error."""
    assert [True, False] == [_slot(database, owner, slots=1) for owner in ("a", "b")]
    with database.write() as session:
        dao_holds.free_slots(session, "a")
        dao_holds.free_slots(session, "a")
    assert [True, False] == [_slot(database, owner, slots=1) for owner in ("b", "a")]


def test_a_smaller_budget_counts_at_once(database: Database) -> None:
    """Sessions above it run out; nobody gets one of them any more."""
    assert [True, True] == [_slot(database, owner) for owner in ("a", "b")]
    assert not _slot(database, "b", slots=1)
    assert _slot(database, "a", slots=1)


def test_two_owners_at_once_do_not_get_the_same_session(database: Database) -> None:
    """Over threads, as over processes: one slot, one owner."""
    barrier = Barrier(4)

    def work(number: int) -> bool:
        barrier.wait(timeout=30)
        return _slot(database, f"owner {number}", slots=1)

    with ThreadPoolExecutor(4) as pool:
        assert 1 == sum(pool.map(work, range(4)))


def test_restarts_at_a_site_are_admitted_one_by_one(postgres_url: str) -> None:
    """Who holds the site's row keeps the next one waiting; another site waits for nobody."""
    with opened(postgres_url) as database:
        with database.write() as session:
            dao_holds.lock_site(session, "curie")
        with ThreadPoolExecutor(2) as pool:
            with database.write() as session:
                dao_holds.lock_site(session, "curie")
                _lock(database, "irene")
                second = pool.submit(_lock, database, "curie")
                with pytest.raises(TimeoutError):
                    second.result(timeout=0.2)
            second.result(timeout=30)


def _lock(database: Database, site: str) -> None:
    with database.write() as session:
        dao_holds.lock_site(session, site)


# Retention

BODIES_BEFORE: Final = ago(days=30)
REST_BEFORE: Final = ago(days=400)
OLD: Final = ago(days=500)


def _clean(database: Database) -> dict[str, int]:
    with database.write() as session:
        counts = dao_retention.clean(session, BODIES_BEFORE, REST_BEFORE)
    return {table: count for table, count in counts.items() if count}


def _old_simulation(database: Database, name: str, **changes: Row) -> None:
    """A simulation that nobody has heard of for 500 days, and everything that belongs to it."""
    mine = {"simulation_uid": uid(name)}
    job = f"job of {name}"
    over: Row = {**in_state(State.EXECUTED), "wake_at": None}
    final: Row = {"wake_at": None, "verdict": "supervise"}
    helped = supervision(job, **{**mine, **over, **changes.get("supervision", {})})
    put(
        database,
        Simulation,
        {"uid": uid(name), "last_seen_at": OLD, **changes.get("simulation", {})},
    )
    put(database, Job, {"uid": uid(job), **mine, **changes.get("job", {})})
    put(database, JobPeriod, {"job_uid": uid(job), "number": 1, "at": OLD, **mine})
    put(database, Decision, trigger(job, **{**mine, **final, **changes.get("decision", {})}))
    put(database, Supervision, {**helped, "decision_id": uid(f"{job}/fatal")})
    put(database, Transition, _step(helped, "execute"))
    put(database, Restart, _restart(helped, at=OLD))
    put(database, Message, _message(name, **mine, **changes.get("message", {})))


def _message(name: str, **changes: Any) -> Row:  # noqa: ANN401
    said = {
        "uid": uid(f"message of {name}"),
        "code": "1999",
        "generation": "C",
        "simulation_uid": None,
        "body": "{}",
        "emitted_as": "2013-11-03T12:00:00.000000000+0000",
        "emitted_at": OLD,
        "received_at": OLD,
        "stored_at": OLD,
    }
    return {**said, **changes}


PARTS: Final = (*(Simulation, Job, JobPeriod, Decision, Supervision, Transition, Restart, Message),)


def _left(database: Database) -> dict[str, int]:
    return {table.__tablename__: len(every(database, table)) for table in PARTS}


ALL: Final = {table.__tablename__: 1 for table in PARTS}


def test_everything_of_an_old_simulation_that_is_over_goes(database: Database) -> None:
    """And nothing of a young one; holds are people's, and stay."""
    _old_simulation(database, "old")
    young: Row = {"simulation": {"last_seen_at": REST_BEFORE}, "message": {"stored_at": NOW}}
    _old_simulation(database, "young", **young)
    with database.write() as session:
        dao_holds.place(session, replace(HOLD, since=OLD))
    assert {**ALL, "bodies": 1} == _clean(database)
    assert ALL == _left(database)
    assert [uid("young")] == [row["uid"] for row in every(database, Simulation)]
    assert 1 == len(every(database, HoldRow))
    assert {} == _clean(database)


@pytest.mark.parametrize(
    "unfinished",
    [
        {"supervision": in_state(State.DETECTED) | {"wake_at": NOW}},
        {"supervision": in_state(State.FORMATTED) | {"wake_at": NOW}},
        {"supervision": in_state(State.DISPATCHED) | {"wake_at": NOW}},
        {"supervision": in_state(State.EXECUTED) | {"wake_at": NOW}},
        {"supervision": in_state(State.FAILED) | {"wake_at": NOW}},
        {"decision": {"wake_at": NOW}},
        {"decision": {"wake_at": NOW, "verdict": None}},
        {"job": {"late_check_at": NOW}},
        {"simulation": {"next_start_check_at": NOW}},
        {"simulation": {"last_seen_at": REST_BEFORE}},
    ],
)
def test_nothing_of_what_is_unfinished_goes(database: Database, unfinished: dict[str, Row]) -> None:
    """However old it is: a row, an alarm, or one that is watched keeps all of it."""
    _old_simulation(database, "old", **unfinished)
    assert {"bodies": 1} == _clean(database)
    assert ALL == _left(database)


def test_an_open_supervision_keeps_only_its_own_simulation(database: Database) -> None:
    """The others go."""
    _old_simulation(database, "open", decision={"wake_at": NOW})
    _old_simulation(database, "over")
    _clean(database)
    assert [uid("open")] == [row["uid"] for row in every(database, Simulation)]
    assert ALL == _left(database)


def test_a_history_that_was_read_in_just_now_stays(database: Database) -> None:
    """It is old by its own clock; its retention begins when it is stored."""
    _old_simulation(database, "old", message={"stored_at": NOW})
    assert {} == _clean(database)
    assert ALL == _left(database)


def test_raw_bodies_go_first(database: Database) -> None:
    """What a message said stays, but for one that still waits to be processed again."""
    put(
        database,
        Message,
        _message("old", stored_at=ago(days=31)),
        _message("young", stored_at=BODIES_BEFORE),
        _message("broken", stored_at=ago(days=31), processing_error="InvalidValue: period"),
    )
    assert {"bodies": 1} == _clean(database)
    bodies = {row["uid"]: row["body"] for row in every(database, Message)}
    names = {"old": None, "young": "{}", "broken": "{}"}
    assert {uid(f"message of {name}"): body for name, body in names.items()} == bodies


def test_messages_of_no_simulation_go_by_their_own_age(database: Database) -> None:
    """There is nothing else that they could wait for."""
    put(
        database,
        Message,
        _message("old"),
        _message("unknown", simulation_uid=uid("never announced")),
        _message("young", stored_at=REST_BEFORE),
    )
    _clean(database)
    assert [uid("message of young")] == [row["uid"] for row in every(database, Message)]
