"""What each kind of message leaves in the tables, and how often: once, whatever comes when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy.exc import DataError

from db import dao_decisions, dao_monitoring
from supervision.errors import DatabaseUnavailable
from supervision.fsm.engine.recording import Fate
from supervision.messages import MonitoringMessage, monitoring_queue
from supervision.wire import decode_monitoring
from tests.factories import DIRECTORY, JOB, NOW, OTHER_JOB, SIMULATION
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    MINUTE,
    POST_JOB,
    Bench,
    bench,
    failing_chain,
    message,
    message_b,
)

AT: Final = NOW - MINUTE


@pytest.fixture
def service(database_url: str) -> Iterator[Bench]:
    """The service at a site where it may act."""
    with bench(database_url) as made:
        yield made


def _job(service: Bench) -> dict[str, Any]:
    (found,) = service.table("tbl_job")
    return found


def _simulation(service: Bench) -> dict[str, Any]:
    (found,) = service.table("tbl_simulation")
    return found


def _some(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def test_a_0000_tells_who_and_where(service: Bench) -> None:
    """The only message that does; it is a start as well, with a directory and a delay."""
    service.feed(message("0000", at=AT))
    told = {
        "name": "CPL01",
        "activity": "IPSL",
        "experiment": "piControl",
        "space": "PROD",
        "model": "IPSLCM6",
        "start_date": "1850-01-01",
        "end_date": "1859-12-31",
        "login": "p86user1",
        "centre": "TGCC",
        "machine": "curie",
        "announced_at": AT,
        "last_start_at": AT,
        "directory": DIRECTORY,
    }
    assert told == _some(_simulation(service), *told)
    job = {
        "kind": "compute",
        "started_at": AT,
        "delay_seconds": 86400,
        "scheduler_id": "41234",
        "late_check_at": AT + DAY + HOUR,
    }
    assert job == _some(_job(service), *job)


def test_a_1000_is_a_start_of_the_chain(service: Bench) -> None:
    """It moves the last start and tells nothing of names."""
    service.feed(message("1000", at=AT))
    expected = {"name": None, "announced_at": None, "last_start_at": AT, "directory": DIRECTORY}
    assert expected == _some(_simulation(service), *expected)


def test_a_1001_is_a_period(service: Bench) -> None:
    """Kept once for each job and number; the job keeps its last one."""
    service.feed(
        message("1001", at=AT, CumulPeriod="8", PeriodDateBegin="18500801"),
        message("1001", at=AT - HOUR, CumulPeriod="7", PeriodDateBegin="18500701"),
    )
    periods = service.table("tbl_job_period")
    assert [(7, AT - HOUR, "18500701"), (8, AT, "18500801")] == [
        (each["number"], each["at"], each["begin"]) for each in periods
    ]
    assert 8 == _job(service)["period"]


@pytest.mark.parametrize("code", ["1100", "2100", "3100"])
def test_an_end_ends_its_job(service: Bench, code: str) -> None:
    """And its alarm; only a compute job's end is one of the chain."""
    start = "1000" if code == "1100" else "2000"
    service.feed(message(start, at=AT - HOUR), message(code, at=AT))
    assert {"ended_at": AT, "late_check_at": None} == _some(
        _job(service), "ended_at", "late_check_at"
    )
    chain = code == "1100"
    expected = {
        "last_end_at": AT if chain else None,
        "last_ended_job_uid": JOB if chain else None,
        "next_start_check_at": AT + DAY if chain else None,
    }
    assert expected == _some(_simulation(service), *expected)


def test_a_0100_completes_the_simulation(service: Bench) -> None:
    """The last word of a chain: no next start is awaited."""
    service.feed(message("1100", at=AT - MINUTE), message("0100", at=AT))
    expected = {"complete_at": AT, "next_start_check_at": None}
    assert expected == _some(_simulation(service), *expected)


def test_a_0100_ends_its_job_too(service: Bench) -> None:
    """Generation C sends no 1100 after it: a finished job must not be late the next day."""
    service.feed(message("1000", at=AT - HOUR), message("0100", at=AT))
    assert {"ended_at": AT, "late_check_at": None} == _some(
        _job(service), "ended_at", "late_check_at"
    )


def test_an_8888_deletes_the_simulation(service: Bench) -> None:
    """It has no job; what is deleted awaits no start."""
    service.feed(message("1100", at=AT - MINUTE), message("8888", at=AT, job=None))
    expected = {"deleted_at": AT, "next_start_check_at": None}
    assert expected == _some(_simulation(service), *expected)
    assert 1 == len(service.table("tbl_job"))


def test_a_post_processing_start_tells_its_task(service: Bench) -> None:
    """Name, date, dimension, component, file; absent ones stay empty."""
    service.feed(message("2000", at=AT, postProcessingFile="null"))
    expected = {
        "kind": "post-processing",
        "task_name": "create_ts",
        "task_date": "18591231",
        "task_dimension": "2D",
        "task_component": "ATM",
        "task_file": None,
    }
    assert expected == _some(_job(service), *expected)
    assert _simulation(service)["last_start_at"] is None


TRIGGERS: Final = [
    (message("1999", at=AT), "fatal", "compute"),
    (message_b("9999", at=AT), "fatal", "compute"),
    (message_b("2900", at=AT), "post-processing", "post-processing"),
    (message_b("3900", at=AT), "post-processing", "post-processing"),
    (message("2999", at=AT), "post-processing", "post-processing"),
    (message("3999", at=AT), "post-processing", "post-processing"),
    (message("1900", at=AT), "command", None),
    (message_b("4900", at=AT, command="cp"), "command", None),
    (message_b("9000", at=AT, command="cp"), "command", None),
    (message("2900", at=AT, command="cp"), "command", "post-processing"),
    (message("3900", at=AT, command="cp"), "command", "post-processing"),
]


@pytest.mark.parametrize(("trigger", "kind", "job"), TRIGGERS)
def test_every_trigger_opens_a_row_of_the_ledger(
    service: Bench, trigger: MonitoringMessage, kind: str, job: str | None
) -> None:
    """One row for a job and a kind, awake at once; what it tells of the job is kept as well."""
    service.feed(trigger)
    (row,) = service.table("tbl_supervision_decision")
    expected = {
        "job_uid": JOB,
        "simulation_uid": SIMULATION,
        "kind": kind,
        "occurrences": 1,
        "first_at": AT,
        "last_at": AT,
        "arrived_at": NOW,
        "wake_at": NOW,
        "verdict": None,
        "cause": trigger.fields.get("command"),
        "failed_not_after": AT if kind != "command" else None,
    }
    assert expected == _some(row, *expected)
    assert job == _job(service)["kind"]
    assert 1 == service.broker.depth("internal-supervision-detect")


@pytest.mark.parametrize("code", ["2000", "3000"])
def test_the_call_stack_of_generation_a_is_no_job(service: Bench, code: str) -> None:
    """A push that looks like a post-processing start is counted and nothing else."""
    pushed = message_b(code, at=AT, command="IGCM_x")
    assert (Fate.IGNORED,) == service.feed(pushed).fates
    assert ([], None) == (service.table("tbl_message"), _job(service)["kind"])


def test_three_hundred_command_failures_are_one_row(service: Bench) -> None:
    """The first command is the cause, the rest are counted."""
    echoes = [
        message("1900", at=AT + timedelta(seconds=second), command=f"cmd{second}")
        for second in range(300)
    ]
    service.feed(*echoes[150:])
    service.feed(*echoes[:150])
    (row,) = service.table("tbl_supervision_decision")
    assert (300, AT, AT + timedelta(seconds=299), "cmd0") == (
        row["occurrences"],
        row["first_at"],
        row["last_at"],
        row["cause"],
    )


def test_metrics_are_counted_once_and_never_stored(service: Bench) -> None:
    """Their numbers stand on the job; a second reading of the same mail changes nothing."""
    metrics = [message("7000", at=AT + timedelta(seconds=each)) for each in range(3)]
    for _ in range(2):
        assert {Fate.IGNORED} == set(service.feed(*metrics).fates)
    assert 3 == json.loads(_job(service)["counts"])["7000"][0]
    assert [] == service.table("tbl_message")


def test_the_figures_of_a_7010_are_kept_on_the_job(service: Bench) -> None:
    """Its last account wins."""
    first, last = message("7010", at=AT, cpu="1"), message("7010", at=AT + MINUTE, cpu="2")
    service.feed(last, first)
    assert last.body == _job(service)["figures"]
    assert 2 == len(service.table("tbl_message"))


def test_a_message_keeps_all_its_times(service: Bench) -> None:
    """As sent, in UTC, of the mail, and of arrival."""
    text = {**json.loads(message("1999", at=AT).body)}
    text["msgTimestamp"] = "2015-03-18T12:48:48.902943114+0100"
    mailed = datetime(2015, 3, 18, 11, 49, 30, tzinfo=UTC)
    service.feed(decode_monitoring(json.dumps(text).encode(), mailed_at=mailed))
    (row,) = service.table("tbl_message")
    expected = {
        "emitted_as": "2015-03-18T12:48:48.902943114+0100",
        "emitted_at": datetime(2015, 3, 18, 11, 48, 48, 902943, tzinfo=UTC),
        "mailed_at": mailed,
        "received_at": NOW,
        "stored_at": NOW,
        "processing_error": None,
        "generation": "C",
    }
    assert expected == _some(row, *expected)


def test_a_damaged_simuid_is_kept_and_never_guessed(service: Bench) -> None:
    """No simulation, no job, no trigger; the message itself stays for people."""
    text = {**json.loads(message("1999", at=AT).body), "simuid": ""}
    recorded = service.feed(decode_monitoring(json.dumps(text).encode()))
    assert (Fate.UNCORRELATED,) == recorded.fates
    (row,) = service.table("tbl_message")
    assert row["simulation_uid"] is None
    for name in ("tbl_simulation", "tbl_job", "tbl_supervision_decision"):
        assert [] == service.table(name)


def test_a_duplicate_changes_nothing(service: Bench) -> None:
    """Delivered twice, in one set or in two: the rows are the same."""
    story = failing_chain()
    service.feed(*story, *story)
    names = ("tbl_message", "tbl_job", "tbl_simulation", "tbl_supervision_decision")
    before = [service.table(name) for name in names]
    service.clock.advance(MINUTE)
    assert {Fate.DUPLICATE} == set(service.feed(*story).fates)
    assert before == [service.table(name) for name in names]


def test_history_stores_and_never_triggers(service: Bench) -> None:
    """A year's mailbox on the first day: facts, and neither alarm nor trigger."""
    service.feed(*failing_chain(), history=True)
    service.settle()
    assert [] == service.table("tbl_supervision_decision")
    assert {None} == {job["late_check_at"] for job in service.table("tbl_job")}
    assert _simulation(service)["next_start_check_at"] is None
    assert NOW - 10 * DAY == _simulation(service)["announced_at"]
    service.live(40 * DAY, step=DAY)
    assert ([], 0) == (service.rows(), service.broker.depth("internal-monitoring-late-jobs"))


def _refuse_jobs(monkeypatch: pytest.MonkeyPatch, job: str) -> None:
    """Have the database refuse whatever is stored about one job."""
    real = dao_monitoring.store_periods

    def store(session: Any, rows: Any) -> None:  # noqa: ANN401
        kept = list(rows)
        if any(row["job_uid"] == job for row in kept):
            raise DataError("INSERT", {}, ValueError("too much for this column"))
        real(session, kept)

    monkeypatch.setattr(dao_monitoring, "store_periods", store)


def test_a_message_that_fails_alone_is_kept_and_buried(
    service: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its processing error; the rest of its set is stored, and nothing half of it."""
    _refuse_jobs(monkeypatch, OTHER_JOB)
    broken = message("1001", at=AT, job=OTHER_JOB)
    service.publish(message("1001", at=AT), broken, message("1001", at=AT, job=POST_JOB))
    service.drain()
    (dead,) = service.broker.dead()
    assert f"dead-{monitoring_queue('1001')}" == dead[0]
    assert "too much for this column" in dead[1]
    assert {JOB, POST_JOB} == {job["uid"] for job in service.table("tbl_job")}
    errors = {each["uid"]: each["processing_error"] for each in service.table("tbl_message")}
    assert 3 == len(errors)
    assert [broken.uid] == [uid for uid, error in errors.items() if error is not None]


def test_a_broken_message_is_processed_again_when_it_comes_again(
    service: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the fault is mended, the same uid is no duplicate."""
    broken = message("1001", at=AT, job=OTHER_JOB)
    with monkeypatch.context() as fault:
        _refuse_jobs(fault, OTHER_JOB)
        assert (Fate.BROKEN,) == service.feed(broken).fates
        assert (Fate.BROKEN,) == service.feed(broken).fates
    assert (Fate.NEW,) == service.feed(broken).fates
    assert (Fate.DUPLICATE,) == service.feed(broken).fates
    (row,) = service.table("tbl_message")
    assert (None, OTHER_JOB) == (row["processing_error"], _job(service)["uid"])


def test_a_database_that_goes_away_stores_nothing(
    service: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole transaction rolls back, and the facts stay on their queue."""

    def away(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(dao_decisions, "store_triggers", away)
    with pytest.raises(DatabaseUnavailable):
        service.feed(*failing_chain())
    assert ([], []) == (service.table("tbl_message"), service.table("tbl_job"))
    service.publish(message("1999", at=AT))
    with pytest.raises(DatabaseUnavailable):
        service.drain()
    service.broker.release(monitoring_queue("1999"))
    assert 1 == service.broker.depth(monitoring_queue("1999"))
    assert [] == service.broker.dead()
