"""Scheduler and mail of a sandbox centre: what lives, what has ended, what is never lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from supervision.sandbox import builder, spool
from supervision.sandbox.centre import Centre
from supervision.sandbox.processes import group_alive, start_time
from tests.integration.sandbox_centre import (
    a_centre,
    at_rest,
    codes,
    command,
    jobs,
    messages,
    paced,
    start,
    until,
    ways,
)


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """A quick centre in a directory whose name needs quoting."""
    with a_centre(tmp_path) as made:
        yield made


def sleeper(centre: Centre) -> str:
    """Submit a job that sleeps until somebody ends it; tells its id, once it runs."""
    script = centre.root / "Job_sleeper"
    script.write_text("touch asleep\nsleep 300\n")
    job_id = command(centre, "sbx-submit", "Job_sleeper").stdout.strip()
    until((centre.root / "asleep").exists)
    return job_id


def test_a_killed_process_group_shows_as_ended(centre: Centre) -> None:
    """Nobody wrote the end down; the process table proves it."""
    job_id = sleeper(centre)
    os.killpg(spool.look(centre, job_id).pid, signal.SIGKILL)
    until(lambda: spool.look(centre, job_id).state == spool.ENDED)
    assert "node_fail" == spool.look(centre, job_id).reason


def test_a_job_lives_while_any_of_its_processes_does(centre: Centre) -> None:
    """Its keeper alone was killed: the job itself still runs, so it must not look ended."""
    job_id = sleeper(centre)
    record = spool.look(centre, job_id)
    os.kill(record.pid, signal.SIGKILL)
    until(lambda: start_time(record.pid) != record.started)
    assert spool.RUNNING == spool.look(centre, job_id).state
    spool.cancel(centre, job_id)
    assert ("ended", "cancelled") == ways(centre)[0]


def test_the_queue_is_shown_as_it_is_at_one_moment(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that submits the next one and ends meanwhile: one of the two is there, at any time."""
    (centre.root / "Job_next").write_text("sleep 300\n")
    script = centre.root / "Job_chain"
    script.write_text("touch asleep\nread go < go\nsbx-submit Job_next\n")
    os.mkfifo(centre.root / "go")
    job_id = command(centre, "sbx-submit", "Job_chain").stdout.strip()
    until((centre.root / "asleep").exists)
    honest = spool.look

    def slow(where: Centre, name: str) -> spool.Record:
        monkeypatch.setattr(spool, "look", honest)
        (centre.root / "go").write_text("go\n")
        with suppress(AssertionError):  # it cannot end before the listing is over
            until(lambda: honest(where, job_id).state == spool.ENDED, seconds=0.5)
        return honest(where, name)

    monkeypatch.setattr(spool, "look", slow)
    assert [job_id] == [record.id for record in spool.queue(centre) if record.state != spool.ENDED]
    until(lambda: [spool.ENDED, spool.RUNNING] == [job.state for job in jobs(centre)])


def test_a_reused_process_number_is_nobody_of_ours() -> None:
    """The number alone proves nothing: the start time must agree."""
    assert not group_alive(os.getpid(), 1)


def test_a_cancelled_job_has_ended_when_cancel_returns(centre: Centre) -> None:
    """And its processes are gone; a second cancel changes nothing."""
    job_id = sleeper(centre)
    assert 0 == command(centre, "sbx-cancel", job_id).returncode
    record = spool.look(centre, job_id)
    assert ("ended", "cancelled") == (record.state, record.reason)
    assert not group_alive(record.pid, record.started)
    assert 0 == command(centre, "sbx-cancel", job_id).returncode


def test_a_queued_job_can_be_cancelled(centre: Centre) -> None:
    """It never runs."""
    waiting = paced(centre, queue_seconds=60)
    start(waiting)
    assert [("queued", None)] == ways(waiting)
    builder.stop(waiting)
    assert [("ended", "cancelled")] == ways(waiting)
    assert not (waiting.directory_of("demo") / "run.card").exists()


def test_an_ended_job_keeps_its_reason(centre: Centre) -> None:
    """Who cancels too late has cancelled nothing."""
    start(centre, periods=1)
    at_rest(centre)
    assert "completed" == spool.cancel(centre, jobs(centre)[0].id).reason


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("sbx-cancel", ["41"], "Invalid job id specified: 41"),
        ("sbx-cancel", ["../../x"], "Invalid job id specified: ../../x"),
        ("sbx-cancel", [], "use: sbx-cancel ID"),
        ("sbx-queue", ["all"], "takes no arguments"),
        ("sbx-submit", ["nothing"], "nothing cannot be read"),
        ("sbx-submit", [], "exactly one script"),
        ("sbx-submit", ["-z", "Job_demo"], "use: sbx-submit"),
        ("sbx-post", [], "use: sbx-post NAME PERIOD"),
        ("sbx-compute", ["ghost"], "no simulation is called ghost"),
        ("sbx-compute", [], "use: sbx-compute NAME"),
    ],
)
def test_bad_use_of_a_command_is_a_sentence(
    centre: Centre, name: str, arguments: list[str], sentence: str
) -> None:
    """Exit code 1, the sentence on stderr, nothing on stdout, no traceback."""
    done = command(centre, name, *arguments)
    assert (1, "") == (done.returncode, done.stdout)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_that_cannot_be_written_refuses_the_job(centre: Centre) -> None:
    """The scheduler says why, and no job exists."""
    (centre.root / "Job_x").write_text("true\n")
    done = command(centre, "sbx-submit", "-o", "no/such/log", "Job_x")
    assert 1 == done.returncode
    assert "No such file or directory" in done.stderr
    assert [] == jobs(centre)


def test_the_queue_is_one_object_a_line(centre: Centre) -> None:
    """What scripts and the agent read: six keys in a fixed order."""
    job_id = sleeper(centre)
    line = command(centre, "sbx-queue").stdout
    expected = {
        "id": job_id,
        "name": "sleeper",
        "directory": str(centre.root),
        "state": "running",
        "reason": None,
        "login": centre.login,
    }
    assert list(expected.items()) == list(json.loads(line).items())


def test_two_jobs_never_share_a_number(centre: Centre) -> None:
    """Also when they are submitted at the same time."""
    (centre.root / "Job_x").write_text("true\n")
    words = [str(centre.bin / "sbx-submit"), "Job_x"]
    running = [
        subprocess.Popen(words, cwd=centre.root, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    ids = [process.communicate()[0].strip() for process in running]
    assert [str(1001 + number) for number in range(6)] == sorted(ids)
    at_rest(centre)


def test_mail_that_is_not_taken_stays_and_goes_with_the_next(
    centre: Centre, tmp_path: Path
) -> None:
    """Nothing is lost while the service is away, and nothing is sent twice."""
    (tmp_path / "ingest.closed").touch()
    start(centre, "stalled:1")
    until(lambda: all(job.state == spool.ENDED for job in jobs(centre)))
    assert 2 == builder.undelivered(centre)
    assert 1 == command(centre, "sbx-mail").returncode
    (tmp_path / "ingest.closed").unlink()
    builder.rerun(centre, "demo")
    at_rest(centre)
    assert ["0000", "1001", "1100", "1000"] == codes(centre)[:4]
    assert len(codes(centre)) == len({message["msgUID"] for message in messages(centre)})


def test_mail_is_handed_over_again_by_itself(centre: Centre, tmp_path: Path) -> None:
    """A short outage needs nobody: the postman comes back after a while."""
    patient = paced(centre, periods_per_job=1)
    patient = replace(patient, pace=replace(patient.pace, mail_again_seconds=(0.2,) * 50))
    patient.save()
    (tmp_path / "ingest.closed").touch()
    start(patient, periods=1)
    until(lambda: all(job.state == spool.ENDED for job in jobs(patient)))
    (tmp_path / "ingest.closed").unlink()
    at_rest(patient)
    assert ["0000", "1001", "0100"] == codes(patient)
