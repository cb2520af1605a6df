"""What the messages said: the same rows in whatever order they come, alarms that ring once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import count
from threading import Barrier
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from db import dao_alarms, dao_facts, dao_messages, dao_monitoring, dao_recovery
from db.session import Database
from db.types_decisions import Decision
from db.types_messages import Message
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Restart, Supervision, Transition
from supervision.errors import InvalidValue
from supervision.facts import JobFailure, JobKind, OtherSimulation, Task
from supervision.fsm.states import State
from tests.factories import NOW, ago
from tests.integration.tables_kit import (
    DAY,
    HOUR,
    MINUTE,
    Row,
    every,
    in_state,
    job,
    opened,
    put,
    simulation,
    supervision,
    trigger,
    uid,
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, empty."""
    with opened(database_url) as made:
        yield made


def _simulations(database: Database, *rows: Row) -> dict[str, Simulation]:
    with database.write() as session:
        return dao_monitoring.store_simulations(session, rows)


def _jobs(database: Database, *rows: Row, alarms: bool = True) -> dict[str, Job]:
    with database.write() as session:
        return dao_monitoring.store_jobs(session, rows, alarms=alarms)


def _about(name: str = "job", **said: Any) -> Row:  # noqa: ANN401
    """What one message says of a job of the simulation."""
    return {"uid": uid(name), "simulation_uid": uid("simulation"), **said}


def _started(at: datetime, name: str = "job", **said: Any) -> Row:  # noqa: ANN401
    told = {"kind": "compute", "first_at": at, "last_seen_at": at, "started_at": at}
    return _about(name, **told, late_started_at=at + DAY, late_unstarted_at=at + 24 * HOUR, **said)


def _heard(at: datetime, name: str = "job", **said: Any) -> Row:  # noqa: ANN401
    return _about(name, first_at=at, last_seen_at=at, late_unstarted_at=at + 24 * HOUR, **said)


# The same rows in whatever order


def _mail(whole: str) -> list[dict[str, Row]]:
    """What the messages of one simulation's life say, each of simulation, job and period."""
    said: list[tuple[Row, Row, int | None]] = [
        (_announced(1, "CPL01"), {"name": "a", "start": 1, "directory": "/a"}, None),
        ({}, {"name": "a"}, 1),
        ({"last_end_at": _at(3), "last_ended_job_uid": "a"}, {"name": "a", "ended_at": 3}, None),
        ({"last_start_at": _at(4)}, {"name": "b", "start": 4, "scheduler_id": "41234"}, None),
        ({}, {"name": "b"}, 2),
        ({}, {"name": "b"}, 3),
        ({}, {"name": "b", "kind": None}, None),
        ({}, {"name": "b", "failed_at": 8}, None),
        ({}, {"name": "c", "kind": None}, None),
        ({}, {"name": "c", "kind": None}, None),
        ({"deleted_at": _at(11)}, {}, None),
        (_announced(12, "CPL02"), {"name": "d", "start": 12, "directory": "/d"}, None),
        ({}, {"name": "p", "kind": "post-processing", "start": 13, "task_name": "pack"}, None),
        ({"complete_at": _at(14)}, {"name": "d"}, None),
        ({}, {"name": "b"}, 3),
    ]
    return [_rows(whole, at, *each) for at, each in enumerate(said, start=1)]


def _at(number: int) -> datetime:
    return ago(days=20) + number * HOUR


def _announced(at: int, name: str) -> Row:
    said = {"announced_at": _at(at), "name": name, "model": "IPSLCM6", "last_start_at": _at(at)}
    return {**said, "directory": f"/{name}", "directory_at": _at(at)}


def _rows(
    whole: str, at: int, of_simulation: Row, of_job: Row, period: int | None
) -> dict[str, Row]:
    rows = {"simulation": {"uid": uid(whole), "last_seen_at": _at(at), **of_simulation}}
    if not of_job:
        return rows
    name = f"{whole}/{of_job['name']}"
    if "last_ended_job_uid" in of_simulation:
        rows["simulation"]["last_ended_job_uid"] = uid(name)
    told: Row = {"uid": uid(name), "simulation_uid": uid(whole), "kind": "compute", **of_job}
    told |= {key: _at(of_job[key]) for key in ("ended_at", "failed_at") if key in of_job}
    told |= {"first_at": _at(at), "last_seen_at": _at(at), "late_unstarted_at": _at(at) + DAY}
    if "start" in of_job:
        told |= {"started_at": _at(at), "late_started_at": _at(at) + 2 * DAY}
    if period is not None:
        told["period"] = period
        rows["period"] = {
            "job_uid": uid(name),
            "number": period,
            "simulation_uid": uid(whole),
            "begin": f"18{period}00101",
            "end": f"18{period}01231",
            "at": _at(at),
        }
    rows["job"] = {key: value for key, value in told.items() if key not in {"name", "start"}}
    return rows


def _store(database: Database, messages: Sequence[dict[str, Row]]) -> None:
    with database.write() as session:
        dao_monitoring.store_simulations(session, [each["simulation"] for each in messages])
        jobs = [each["job"] for each in messages if "job" in each]
        dao_monitoring.store_jobs(session, jobs, alarms=True)
        periods = [each["period"] for each in messages if "period" in each]
        dao_monitoring.store_periods(session, periods)


def _life(database: Database, whole: str) -> list[list[Row]]:
    """Every row of one simulation; ids are replaced by what they are of."""
    names = {uid(f"{whole}/{name}"): name for name in "abcdp"} | {uid(whole): "simulation"}
    tables = (Simulation, Job, JobPeriod)
    found = [
        [
            {key: names.get(value, value) for key, value in row.items()}
            for row in every(database, table)
            if row.get("simulation_uid", row["uid"] if table is Simulation else None) == uid(whole)
        ]
        for table in tables
    ]
    return [sorted(rows, key=repr) for rows in found]


NAMES: Final = count()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=12,
    phases=[Phase.generate],  # to shrink an example on two databases takes minutes
)
@given(data=st.data())
def test_the_order_of_the_mails_does_not_matter(database: Database, data: st.DataObject) -> None:
    """However they are shuffled, cut into sets and repeated: the same rows."""
    expected, actual = f"in order {next(NAMES)}", f"shuffled {next(NAMES)}"
    for message in _mail(expected):
        _store(database, [message])
    shuffled = data.draw(st.permutations(_mail(actual)))
    shuffled += data.draw(st.lists(st.sampled_from(shuffled), max_size=5))
    cuts = data.draw(st.lists(st.integers(0, len(shuffled)), max_size=6).map(sorted))
    for start, end in zip([0, *cuts], [*cuts, len(shuffled)], strict=True):
        _store(database, shuffled[start:end])
    assert _life(database, expected) == _life(database, actual)


def test_what_a_life_leaves_behind(database: Database) -> None:
    """The rows that all those orders lead to, told once in full."""
    _store(database, _mail("life"))
    whole = simulation(database, "life")
    assert ("CPL02", "IPSLCM6", "/CPL02") == (whole.name, whole.model, whole.directory)
    assert [_at(12), _at(12), _at(3), _at(14), _at(11), _at(15)] == [
        *(whole.announced_at, whole.last_start_at, whole.last_end_at),
        *(whole.complete_at, whole.deleted_at, whole.last_seen_at),
    ]
    assert uid("life/a") == whole.last_ended_job_uid
    b = job(database, "life/b")
    assert [_at(4), _at(4), None, _at(8), _at(15), 3, "41234", "compute", None] == [
        *(b.first_at, b.started_at, b.ended_at, b.failed_at, b.last_seen_at),
        *(b.period, b.scheduler_id, b.kind, b.late_check_at),
    ]
    periods = {row["number"]: row["at"] for row in every(database, JobPeriod)}
    assert {1: _at(2), 2: _at(5), 3: _at(6)} == periods
    alarms = {name: job(database, f"life/{name}").late_check_at for name in "acdp"}
    expected = {"a": None, "c": _at(9) + DAY, "d": _at(12) + 2 * DAY, "p": _at(13) + 2 * DAY}
    assert expected == alarms


# How columns merge


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("together", [True, False])
def test_the_latest_announcement_says_who_and_where(
    database: Database, order: tuple[int, ...], *, together: bool
) -> None:
    """A 0000 that comes late does not take back what a later one said; what it alone says stays."""
    both: list[Row] = [
        {"uid": uid("simulation"), "announced_at": ago(days=2), "name": "old", "space": "TEST"},
        {"uid": uid("simulation"), "announced_at": ago(days=1), "name": "new", "space": None},
    ]
    rows = [both[number] for number in order]
    for each in [rows] if together else [[row] for row in rows]:
        _simulations(database, *each)
    found = simulation(database)
    assert ("new", "TEST", ago(days=1)) == (found.name, found.space, found.announced_at)


def test_a_message_that_announces_nothing_changes_no_name(database: Database) -> None:
    """Nor does one that came before the 0000 keep it out."""
    seen = {"uid": uid("simulation"), "last_seen_at": ago(hours=1)}
    _simulations(database, seen)
    _simulations(database, {**seen, "announced_at": ago(days=1), "login": "p86user1"})
    found = _simulations(database, {**seen, "last_seen_at": NOW})
    assert {uid("simulation")} == set(found)
    assert ("p86user1", NOW) == (
        found[uid("simulation")].login,
        found[uid("simulation")].last_seen_at,
    )


def test_the_directory_is_that_of_the_latest_start_that_told_one(database: Database) -> None:
    """A simulation may be moved; a start without a directory moves it nowhere."""
    for at, directory in ((2, "/new"), (1, "/old"), (3, None)):
        told = {"directory": directory, "directory_at": _at(at)} if directory else {}
        _simulations(database, {"uid": uid("simulation"), "last_start_at": _at(at), **told})
    found = simulation(database)
    assert ("/new", _at(2), _at(3)) == (found.directory, found.directory_at, found.last_start_at)


def test_what_was_said_of_a_job_first_stays(database: Database) -> None:
    """Its id at the scheduler, its kind and its task do not change."""
    _jobs(database, _about(kind="compute", scheduler_id="1", period=4, first_at=NOW))
    found = _jobs(
        database,
        _about(kind="post-processing", scheduler_id="2", directory="/d", first_at=NOW),
        _about(kind=None, period=3, first_at=ago(hours=1)),
    )[uid("job")]
    assert ("compute", "1", "/d", 4, ago(hours=1)) == (
        *(found.kind, found.scheduler_id, found.directory),
        *(found.period, found.first_at),
    )


def test_bad_rows_and_empty_sets(database: Database) -> None:
    """One keeps its set out, the other is no statement."""
    assert {} == _simulations(database)
    assert {} == _jobs(database)
    with pytest.raises(InvalidValue):
        _simulations(database, {"uid": uid("a")}, {"uid": "no id"})
    with pytest.raises(InvalidValue):
        _jobs(database, _about(), _about("b", kind="interactive"))
    with pytest.raises(InvalidValue), database.write() as session:
        dao_monitoring.store_periods(session, [_period(-1)])
    assert [[], [], []] == [every(database, table) for table in (Simulation, Job, JobPeriod)]


# Late alarms


def test_a_start_arms_the_alarm_by_its_delay(database: Database) -> None:
    """And one that is merely heard of, by its first sign."""
    _jobs(database, _started(NOW, "a", late=None) | {"late_started_at": NOW + HOUR})
    _jobs(database, _heard(NOW, "b"))
    assert [NOW + HOUR, NOW + 24 * HOUR] == [job(database, each).late_check_at for each in "ab"]


def test_the_start_that_came_late_replaces_the_alarm_of_the_first_sign(database: Database) -> None:
    """Also when that one has rung already: the job has a delay of its own now."""
    for name in "ab":
        _jobs(database, _heard(ago(days=1), name))
    with database.write() as session:
        assert 1 == len(dao_alarms.take_late(session, [uid("b")], NOW))
    for name in "ab":
        _jobs(database, _started(ago(days=1), name) | {"late_started_at": NOW + DAY})
    assert [NOW + DAY] * 2 == [job(database, each).late_check_at for each in "ab"]


def test_an_alarm_that_has_rung_is_not_armed_by_what_comes_after(database: Database) -> None:
    """One alarm per job and threshold: no mail every hour."""
    _jobs(database, _started(ago(days=2)))
    with database.write() as session:
        assert 1 == len(dao_alarms.take_late(session, [uid("job")], NOW))
    _jobs(database, _heard(NOW))
    _jobs(database, _started(ago(days=2)))
    assert None is job(database, "job").late_check_at


@pytest.mark.parametrize("end", ["ended_at", "failed_at"])
@pytest.mark.parametrize("first", [True, False])
def test_an_end_clears_the_alarm_whenever_it_comes(
    database: Database, end: str, *, first: bool
) -> None:
    """Also before the start: terminal facts win over silence."""
    rows = [_heard(NOW) | {end: NOW}, _started(ago(hours=1))]
    for row in rows if first else reversed(rows):
        _jobs(database, row)
    _jobs(database, _heard(NOW))
    assert None is job(database, "job").late_check_at


def test_a_history_arms_nothing(database: Database) -> None:
    """A year's mailbox on the first day wakes nobody."""
    _jobs(database, _started(ago(days=300)), alarms=False)
    assert (None, ago(days=300)) == (
        job(database, "job").late_check_at,
        job(database, "job").started_at,
    )


def _ended(name: str, next_start: datetime | None) -> Row:
    ended = {"last_end_at": ago(days=1), "last_ended_job_uid": uid(name)}
    return {"uid": uid(f"of {name}"), "next_start_check_at": next_start, **ended}


def test_alarms_that_are_due_are_found_oldest_first(database: Database) -> None:
    """Late jobs, and the last job of a chain whose next one never started."""
    put(database, Job, _about("late", late_check_at=NOW))
    put(database, Job, _about("later", late_check_at=ago(hours=1)))
    put(database, Job, _about("young", late_check_at=NOW + MINUTE), _about("none"))
    put(database, Simulation, _ended("last", NOW), _ended("not yet", NOW + MINUTE))
    put(database, Simulation, {"uid": "nobody ended", "next_start_check_at": NOW})
    with database.read() as session:
        found = [dao_alarms.due_late_jobs(session, NOW, limit) for limit in (10, 2)]
    expected = [uid(name) for name in ("later", "late", "last")]
    assert [expected, expected[:2]] == [list(each) for each in found]


def test_a_late_alarm_is_taken_once(database: Database) -> None:
    """With the time at which it was due; one that is not due stays."""
    put(database, Job, _about("a", late_check_at=NOW), _about("b", late_check_at=NOW + MINUTE))
    with database.write() as session:
        taken = dao_alarms.take_late(session, [uid("a"), uid("b"), uid("nobody")], NOW)
        again = dao_alarms.take_late(session, [uid("a"), uid("b")], NOW)
    assert [(uid("a"), NOW)] == [(each.uid, each.late_check_at) for each in taken]
    assert [] == again
    assert [None, NOW + MINUTE] == [job(database, each).late_check_at for each in "ab"]


def test_a_stalled_chain_is_taken_once_by_the_job_that_ended_last(database: Database) -> None:
    """Not by one that ended before it."""
    put(database, Simulation, _ended("a", NOW), _ended("b", NOW + MINUTE))
    with database.write() as session:
        assert [] == dao_alarms.take_stalled(session, [uid("earlier")], NOW)
        taken = dao_alarms.take_stalled(session, [uid("a"), uid("b")], NOW)
        again = dao_alarms.take_stalled(session, [uid("a"), uid("b")], NOW)
    assert [(uid("of a"), NOW)] == [(each.uid, each.next_start_check_at) for each in taken]
    assert [] == again
    assert None is simulation(database, "of a").next_start_check_at
    assert NOW + MINUTE == simulation(database, "of b").next_start_check_at


def test_takers_at_once_make_one_trigger_of_an_alarm(database: Database) -> None:
    """Each alarm is one taker's."""
    names = [f"job {number}" for number in range(12)]
    put(database, Job, *(_about(name, late_check_at=NOW) for name in names))
    barrier = Barrier(3)

    def work(_: int) -> list[str]:
        barrier.wait(timeout=30)
        with database.write() as session:
            taken = dao_alarms.take_late(session, [uid(name) for name in names], NOW)
            return [each.uid for each in taken]

    with ThreadPoolExecutor(3) as pool:
        found = [each for part in pool.map(work, range(3)) for each in part]
    assert sorted(uid(name) for name in names) == sorted(found)


def test_the_alarm_of_the_next_start_is_armed_and_cleared(database: Database) -> None:
    """Row by row, as the engine says."""
    _simulations(database, {"uid": uid("a")}, {"uid": uid("b")})
    for alarms in ((NOW, None), (None, NOW + DAY)):
        rows = [
            {"uid": uid(name), "next_start_check_at": at}
            for name, at in zip("ab", alarms, strict=True)
        ]
        with database.write() as session:
            dao_monitoring.set_next_start_checks(session, rows)
            dao_monitoring.set_next_start_checks(session, [])
        found = tuple(simulation(database, name).next_start_check_at for name in "ab")
        assert alarms == found


# Periods, counts, figures


def _period(number: int = 7, name: str = "job", at: datetime = NOW, **said: Any) -> Row:  # noqa: ANN401
    row = {"job_uid": uid(name), "number": number, "simulation_uid": uid("simulation"), "at": at}
    return {**row, "begin": "18500101", "end": "18500131", **said}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_period_is_kept_once_by_its_first_sign(
    database: Database, order: tuple[int, ...], *, together: bool
) -> None:
    """Whichever comes first; model dates need not exist in our calendar."""
    both = (_period(7, begin="18500230"), _period(7, at=ago(hours=1), begin="18500230"))
    rows = [*(both[number] for number in order), _period(8), _period(7, "b")]
    with database.write() as session:
        for each in [rows] if together else [[row] for row in rows]:
            dao_monitoring.store_periods(session, each)
        dao_monitoring.store_periods(session, [])
    found = {
        (row["job_uid"], row["number"]): (row["begin"], row["at"])
        for row in every(database, JobPeriod)
    }
    assert {
        (uid("job"), 7): ("18500230", ago(hours=1)),
        (uid("job"), 8): ("18500101", NOW),
        (uid("b"), 7): ("18500101", NOW),
    } == found


def _count(database: Database, name: str, **times: list[str]) -> None:
    with database.write() as session:
        stored = dao_monitoring.store_jobs(session, [_about(name)], alarms=False)
        given_ = {uid(name): {code.removeprefix("c"): each for code, each in times.items()}}
        dao_monitoring.store_counts(session, stored.values(), given_)


def test_ignored_messages_are_counted_and_a_second_reading_counts_none(database: Database) -> None:
    """By code; the same mail twice changes nothing, the next one adds."""
    for _ in range(2):
        _count(database, "job", c7000=["2015-03-18T09:01", "2015-03-18T09:00"], c7100=["2015-03"])
    _count(database, "job", c7000=["2015-03-18T09:01", "2015-03-18T09:02"])
    _count(database, "other")
    expected = {"7000": [3, "2015-03-18T09:02"], "7100": [1, "2015-03"]}
    assert expected == json.loads(job(database, "job").counts or "")
    assert None is job(database, "other").counts


def _figures(database: Database, name: str, *told: tuple[datetime, str]) -> None:
    for each in told:
        with database.write() as session:
            stored = dao_monitoring.store_jobs(session, [_about(name)], alarms=False)
            dao_monitoring.store_figures(session, stored.values(), {uid(name): each})


def test_figures_are_kept_as_the_newest_message_told_them(database: Database) -> None:
    """One that was held up on its way takes back no later one."""
    _figures(database, "a", (ago(hours=1), "1"), (NOW, "2"), (ago(minutes=30), "3"))
    with database.write() as session:
        stored = dao_monitoring.store_jobs(session, [_about("b")], alarms=False)
        dao_monitoring.store_figures(session, stored.values(), {uid("a"): (NOW, "4")})
    assert ["2", None] == [job(database, name).figures for name in "ab"]


def test_the_period_of_run_card_fills_what_no_message_told(database: Database) -> None:
    """What the job itself said wins over what was seen at the centre."""
    _jobs(database, _about("told", period=3), _about("silent"))
    rows = [{"uid": uid(name), "period": 9} for name in ("told", "silent")]
    with database.write() as session:
        dao_monitoring.store_seen_periods(session, rows)
        dao_monitoring.store_seen_periods(session, [])
        found = dao_monitoring.jobs(session, [uid("told"), uid("silent"), uid("nobody")])
    assert {uid("told"): 3, uid("silent"): 9} == {name: each.period for name, each in found.items()}


def test_simulations_are_read_by_uid(database: Database) -> None:
    """Unknown ones are missing."""
    _simulations(database, {"uid": uid("a")}, {"uid": uid("b")})
    with database.read() as session:
        assert {uid("a")} == set(dao_monitoring.simulations(session, [uid("a"), uid("c")]))


# Messages


def _message(name: str, **said: Any) -> Row:  # noqa: ANN401
    row = {
        "uid": uid(name),
        "code": "1999",
        "generation": "C",
        "simulation_uid": uid("simulation"),
        "job_uid": uid("job"),
        "body": "{}",
        "emitted_as": "2015-03-18T13:00:00.000000000+0100",
        "emitted_at": NOW,
        "mailed_at": None,
        "received_at": NOW,
        "stored_at": NOW,
        "processing_error": None,
    }
    return {**row, **said}


def _keep(database: Database, *rows: Row) -> set[str]:
    with database.write() as session:
        return dao_messages.store(session, rows)


def test_each_message_has_its_consequences_once(database: Database) -> None:
    """A repeat is known by its uid, in the same set or a year later."""
    assert {uid("a"), uid("b")} == _keep(database, _message("a"), _message("b"), _message("a"))
    assert {uid("c")} == _keep(database, _message("a", body="other"), _message("c"))
    assert set() == _keep(database)
    assert {"{}"} == {row["body"] for row in every(database, Message)}


def test_a_message_that_failed_alone_is_processed_again_when_it_comes_again(
    database: Database,
) -> None:
    """Once: its error is cleared with that, and a new one may be noted."""
    _keep(database, _message("a"), _message("b"))
    with database.write() as session:
        dao_messages.note_errors(session, {uid("a"): "InvalidValue: period"})
    assert {uid("a")} == _keep(database, _message("a"), _message("b"))
    assert set() == _keep(database, _message("a"), _message("b"))
    assert [None, None] == [row["processing_error"] for row in every(database, Message)]


def test_messages_are_read_in_the_order_of_emission(database: Database) -> None:
    """Of one simulation, from a time on."""
    _keep(
        database,
        _message("last", emitted_at=NOW),
        _message("first", emitted_at=ago(hours=1)),
        _message("earlier", emitted_at=ago(hours=2)),
        _message("foreign", simulation_uid=uid("another")),
    )
    with database.read() as session:
        found = dao_messages.of_simulation(session, uid("simulation"), ago(hours=1))
    assert [uid("first"), uid("last")] == [each.uid for each in found]


# What became of failures

FAILED_AT: Final = ago(hours=10)


def _failing(
    database: Database, *, period: int | None = 7, kind: str = "fatal", hours: float = 20
) -> None:
    """A job of the 7th period that failed ten hours ago, and its decision."""
    put(database, Simulation, {"uid": uid("simulation")})
    put(database, Job, _about("job", kind="compute", started_at=ago(hours=hours), period=period))
    put(database, Decision, trigger("job", kind, at=FAILED_AT))


def _next_job(database: Database, name: str = "next", **said: Any) -> None:  # noqa: ANN401
    put(database, Job, _about(name, **{"kind": "compute", "started_at": ago(hours=8), **said}))


ACTED_AT: Final = ago(hours=9)


def _acted(database: Database, at: datetime = ACTED_AT, scheduler_id: str | None = None) -> None:
    put(database, Supervision, supervision(**in_state(State.EXECUTED), executed_at=at))
    row: Row = {"supervision_id": supervision()["id"], "attempt": 1, "site": "curie"}
    row |= {"login": "p86user1", "simulation_uid": uid("simulation"), "at": at}
    put(database, Restart, {**row, "scheduler_id": scheduler_id})


def _became(database: Database, times: int = 1) -> tuple[object, object, object]:
    for _ in range(times):
        with database.write() as session:
            dao_recovery.note(session, [uid("simulation")])
    (row,) = every(database, Decision)
    return row["restarted_at"], row["restarted_by"], row["recovered_at"]


def test_nothing_has_become_of_a_failure_that_nobody_restarted(database: Database) -> None:
    """Neither its own start nor that of another simulation or of a post-processing job counts."""
    _failing(database, hours=9.9)  # the centre's clock was set back in between
    _next_job(database, "pack", kind="post-processing")
    _next_job(database, "before", started_at=FAILED_AT)
    _next_job(database, "foreign", simulation_uid=uid("another"))
    _next_job(database, "unknown", kind=None)
    with database.write() as session:
        dao_recovery.note(session, [])
    assert (None, None, None) == _became(database)


@pytest.mark.parametrize(
    ("ours", "theirs", "by"),
    [
        ("41300", "41300", "us"),
        ("41300", "41301", "hand"),
        (None, "41301", "hand"),
        (None, None, "us"),
        ("41300", None, "us"),  # generation B tells no scheduler id: we acted in between
    ],
)
def test_who_restarted_is_told_by_the_scheduler_id(
    database: Database, ours: str | None, theirs: str | None, by: str
) -> None:
    """The first start after the failure: ours is the one that carries our job's id."""
    _failing(database)
    _acted(database, scheduler_id=ours)
    _next_job(database, scheduler_id=theirs)
    _next_job(database, "after it", started_at=ago(hours=7), scheduler_id=ours)
    assert (ago(hours=8), by, None) == _became(database, times=2)


@pytest.mark.parametrize("acted", [None, ago(hours=11), ago(hours=7)])
def test_without_an_act_in_between_it_was_somebody_else(
    database: Database, acted: datetime | None
) -> None:
    """An act before the failure or after the start restarted something else."""
    _failing(database)
    if acted:
        _acted(database, acted)
    _next_job(database)
    assert (ago(hours=8), "hand", None) == _became(database)


def test_a_start_that_is_told_before_our_receipt_is_ours_all_the_same(database: Database) -> None:
    """The mail was faster than the answer: worked out anew when the id is known."""
    _failing(database)
    _acted(database, scheduler_id=None)
    _next_job(database, scheduler_id="41300")
    assert "hand" == _became(database)[1]
    with database.write() as session:
        for row in session.query(Restart):
            row.scheduler_id = "41300"
    assert "us" == _became(database)[1]


@pytest.mark.parametrize("kind", ["fatal", "late", "stalled"])
def test_every_failure_of_the_chain_is_followed(database: Database, kind: str) -> None:
    """A silent one as well."""
    _failing(database, kind=kind)
    _next_job(database)
    assert ago(hours=8) == _became(database)[0]


@pytest.mark.parametrize("kind", ["command", "post-processing"])
def test_a_start_of_the_chain_says_nothing_of_other_failures(database: Database, kind: str) -> None:
    """They were not restarted by it."""
    _failing(database, kind=kind)
    _next_job(database, ended_at=NOW)
    assert (None, None, None) == _became(database)


def _began(database: Database, number: int, at: datetime) -> None:
    with database.write() as session:
        dao_monitoring.store_periods(session, [_period(number, "next", at=at)])


def test_a_period_beyond_the_failed_one_is_the_recovery(database: Database) -> None:
    """The failed one again is not; the first beyond it counts, and stays."""
    _failing(database)
    _next_job(database)
    _began(database, 7, ago(hours=7))
    assert None is _became(database)[2]
    _began(database, 9, ago(hours=5))
    _began(database, 8, ago(hours=6))
    assert ago(hours=6) == _became(database)[2]
    put(database, Job, _about("last", kind="compute", started_at=ago(hours=3), ended_at=NOW))
    assert ago(hours=6) == _became(database)[2]


def test_a_period_from_before_the_failure_is_none(database: Database) -> None:
    """A prolonged simulation was cleaned back to an earlier one."""
    _failing(database)
    _began(database, 8, ago(hours=11))
    assert None is _became(database)[2]


@pytest.mark.parametrize("period", [7, None])
def test_a_good_end_of_the_new_job_is_the_recovery(database: Database, period: int | None) -> None:
    """Generations A and B tell no periods."""
    _failing(database, period=period)
    _next_job(database, ended_at=ago(hours=2))
    assert (ago(hours=8), "hand", ago(hours=2)) == _became(database)


@pytest.mark.parametrize("at", [ago(hours=3), ago(hours=9)])
def test_a_complete_simulation_has_recovered(database: Database, at: datetime) -> None:
    """By the 0100 after the restart, told in one mail with it; not by one from before it."""
    _failing(database)
    _next_job(database)
    _simulations(database, {"uid": uid("simulation"), "complete_at": at})
    expected = at if at > ago(hours=8) else None
    assert (ago(hours=8), "hand", expected) == _became(database)


def test_the_supervision_that_acted_tells_when_it_was_past_the_failure(database: Database) -> None:
    """One that has not acted has brought nothing about."""
    _failing(database)
    _acted(database)
    put(database, Supervision, supervision("other", **in_state(State.CANCELLED), wake_at=None))
    put(database, Decision, trigger("other", at=FAILED_AT))
    _next_job(database, ended_at=ago(hours=2))
    with database.write() as session:
        dao_recovery.note(session, [uid("simulation")])
    found = {row["job_uid"]: row["recovered_at"] for row in every(database, Supervision)}
    assert {uid("job"): ago(hours=2), uid("other"): None} == found


def test_what_has_become_of_it_is_written_once(database: Database) -> None:
    """Each message about a simulation asks anew; rows that say it already are not written again."""
    _failing(database)
    _acted(database, scheduler_id="41300")
    _next_job(database, scheduler_id="41300", ended_at=ago(hours=2))
    written: list[int] = []

    @event.listens_for(database.engine, "after_cursor_execute")
    def _note(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:  # noqa: ANN401
        if statement.startswith("UPDATE"):
            written.append(cursor.rowcount)

    assert (ago(hours=8), "us", ago(hours=2)) == _became(database, times=2)
    assert [1, 1, 1, 0, 0, 0] == written


# What decisions rest on


def test_a_good_end_that_is_told_late_undoes_a_failure(database: Database) -> None:
    """What a job says itself wins over what silence made of it; a fatal stays one."""
    jobs = (
        _about("fatal", failed_at=ago(hours=5), period=3),
        _about("fatal and ended", failed_at=ago(hours=4), ended_at=NOW),
        _about("dead", period=4),
        _about("late only"),
        _about("ended after all", ended_at=NOW),
        _about("foreign", failed_at=NOW, simulation_uid=uid("another")),
    )
    put(database, Job, *jobs)
    dead = {"failed_not_after": ago(hours=3)}
    put(
        database,
        Decision,
        trigger("dead", "late", **dead),
        trigger("ended after all", "late", **dead),
        trigger("late only", "late"),
        trigger("late only", "command", **dead),
    )
    with database.read() as session:
        found = dao_facts.failures(session, [uid("simulation"), uid("nobody")])
    expected = [
        JobFailure(job_uid=uid("fatal"), at=ago(hours=5), period=3),
        JobFailure(job_uid=uid("fatal and ended"), at=ago(hours=4)),
        JobFailure(job_uid=uid("dead"), at=ago(hours=3), period=4),
    ]
    assert {uid("simulation")} == set(found)
    assert expected == [each.failure for each in found[uid("simulation")]]


def test_later_jobs_are_those_that_started_or_ended_after_it(database: Database) -> None:
    """Of the same simulation and of a kind that is known, by their start, with their task."""
    started = {"kind": "compute", "started_at": NOW}
    task = {"task_name": "pack", "task_date": "1850", "task_component": "ATM"}
    put(
        database,
        Job,
        _about("job", kind="compute", first_at=ago(hours=9), started_at=ago(hours=2)),
        _about("second", kind="compute", started_at=ago(hours=1)),
        _about("pack", kind="post-processing", started_at=ago(hours=3), ended_at=NOW, **task),
        _about("same moment", kind="compute", started_at=ago(hours=2)),
        _about("of no kind", kind=None, started_at=NOW),
        {**_about("foreign", **started), "simulation_uid": uid("another")},
    )
    with database.read() as session:
        found = dao_facts.later_jobs(session, [uid("job"), uid("nobody")])
        nothing = dao_facts.later_jobs(session, [])
    assert ({uid("job")}, {}) == (set(found), nothing)
    pack, second = found[uid("job")]
    assert (uid("second"), JobKind.COMPUTE, None) == (second.uid, second.kind, second.task)
    assert (ago(hours=3), NOW) == (pack.started_at, pack.ended_at)
    assert Task(name="pack", date="1850", component="ATM") == pack.task


def _announcement(who: str, at: datetime | None, **said: Any) -> Row:  # noqa: ANN401
    same = {"name": "CPL01", "login": "p86user1", "centre": "TGCC", "machine": "curie"}
    return {"uid": uid(who), "announced_at": at, **same, **said}


def test_a_simulation_is_replaced_by_a_later_one_of_the_same_name(database: Database) -> None:
    """Of the same place and login; its directory is told, so that the rule can compare."""
    put(
        database,
        Simulation,
        _announcement("simulation", ago(days=3)),
        _announcement("second", ago(days=1)),
        _announcement("first", ago(days=2), directory="/first"),
        _announcement("before", ago(days=4)),
        _announcement("unannounced", None),
        _announcement("renamed", NOW, name="CPL02"),
        _announcement("elsewhere", NOW, machine="irene"),
        _announcement("nameless", NOW, name=None),
        _announcement("theirs", NOW, login="p86user2"),
    )
    with database.read() as session:
        found = dao_facts.replacements(session, [uid("simulation"), uid("second"), uid("nameless")])
    expected = [
        OtherSimulation(uid=uid("first"), announced_at=ago(days=2), directory="/first"),
        OtherSimulation(uid=uid("second"), announced_at=ago(days=1), directory=None),
    ]
    assert {uid("simulation"): expected} == found


def _step(event: str, at: datetime, *, by_person: bool = False, **said: Any) -> Row:  # noqa: ANN401
    row = {"supervision_id": supervision()["id"], "target": "detected", "event": event}
    return {**row, "attempt": 1, "at": at, "actor": "alice", "by_person": by_person, **said}


def _progress(database: Database) -> dict[str, datetime]:
    with database.read() as session:
        return dao_facts.progress(session, [uid("simulation"), uid("nobody")])


def test_a_simulation_moves_on_by_ends_new_periods_and_people(database: Database) -> None:
    """The latest of them counts; a period that was reached before is no progress."""
    put(database, Simulation, {"uid": uid("simulation")})
    put(database, Supervision, supervision())
    assert {} == _progress(database)
    with database.write() as session:
        dao_monitoring.store_periods(
            session, [_period(6, at=ago(hours=9)), _period(7, at=ago(hours=8))]
        )
        again = [_period(7, "next", at=ago(hours=3)), _period(6, "next", at=ago(hours=4))]
        dao_monitoring.store_periods(session, again)
    assert {uid("simulation"): ago(hours=8)} == _progress(database)
    _simulations(database, {"uid": uid("simulation"), "last_end_at": ago(hours=7)})
    assert {uid("simulation"): ago(hours=7)} == _progress(database)
    put(
        database,
        Transition,
        _step("retry", ago(hours=6), by_person=True),
        _step("retry", ago(hours=2)),
        _step("force_cancelled", ago(hours=1), by_person=True),
    )
    assert {uid("simulation"): ago(hours=6)} == _progress(database)
    put(database, Transition, _step("detect", ago(hours=5), by_person=True))
    assert {uid("simulation"): ago(hours=5)} == _progress(database)


def test_restarts_whose_new_job_never_came_are_failures_of_the_chain(database: Database) -> None:
    """Each attempt by itself; those of post-processing are not."""
    post = supervision("pack", kind="post-processing", **in_state(State.FAILED))
    put(database, Supervision, supervision(**in_state(State.FAILED)), post)
    gone: Row = {"cause": "new-job-gone"}
    put(
        database,
        Transition,
        _step("fail", ago(hours=1), attempt=2, **gone),
        _step("fail", ago(hours=2), **gone),
        _step("fail", NOW, cause="script"),
        _step("fail", NOW, supervision_id=post["id"], **gone),
    )
    with database.read() as session:
        found = dao_facts.gone_jobs(session, [uid("simulation"), uid("nobody")])
    name = supervision()["id"]
    expected = [(f"{name}/1", ago(hours=2)), (f"{name}/2", ago(hours=1))]
    assert [uid("simulation")] == list(found)
    assert expected == [(each.job_uid, each.at) for each in found[uid("simulation")]]


def _helped(name: str, state: State, executed: datetime | None, **said: Any) -> Row:  # noqa: ANN401
    acted = {"executed_at": executed, "period": 7, "wake_at": None, **in_state(state)}
    return supervision(name, **{**acted, **said})


def test_restarted_periods_are_those_of_scripts_that_acted(database: Database) -> None:
    """The latest last: the next script does not restart that one again."""
    put(
        database,
        Supervision,
        _helped("second", State.EXECUTED, ago(hours=1), period=9),
        _helped("first", State.FAILED, ago(hours=2), period=8),  # its new job was gone
        _helped("never acted", State.FAILED, None),
        _helped("cancelled", State.CANCELLED, None),
        _helped("of no period", State.EXECUTED, NOW, period=None),
        _helped("pack", State.EXECUTED, NOW, kind="post-processing"),
    )
    with database.read() as session:
        found = dao_facts.restarted_periods(session, [uid("simulation"), uid("nobody")])
    assert {uid("simulation"): [(uid("first"), 8), (uid("second"), 9)]} == found


def test_open_work_is_what_is_unfinished(database: Database) -> None:
    """Oldest first; only a compute restart that acts by itself keeps the chain busy."""
    put(
        database,
        Supervision,
        supervision("busy", created_at=NOW),
        supervision("mail", level=1, created_at=ago(hours=1)),
        supervision("pack", kind="post-processing", created_at=ago(hours=2)),
        supervision("over", **in_state(State.EXECUTED)),
    )
    with database.read() as session:
        found = dao_facts.open_work(session, [uid("simulation")])
    expected = [(uid("pack"), False), (uid("mail"), False), (uid("busy"), True)]
    assert expected == [(row.job_uid, dao_facts.is_busy(row)) for row in found]
