"""What the agent makes of a real Slurm: each sight, and what it must never take for an absence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpc_agent import commands
from hpc_agent.home import Home
from hpc_agent.looks import Subject, look
from tests.agent_kit import command, make_home, until
from tests.services.slurm import Slurm
from tests.ssh_kit import ME

NAME = "EXP00"
SLEEPS = "sleep 100"


@pytest.fixture
def home(tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Prepare a home whose scheduler is Slurm; its session finds it as a login does."""
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    made = make_home(tmp_path, commands=tmp_path / "bin")
    return made._replace(scheduler="slurm", login=ME)


def seen(home: Home, scheduler_id: str | None) -> dict[str, Any]:
    """Look at a job of our name and directory."""
    return look(home, [Subject("r", NAME, f"{home.path}/run", "compute", scheduler_id)])[0]


def submit(home: Home, slurm: Slurm, text: str = SLEEPS, *options: str) -> str:
    """Submit a job of our name from our directory."""
    return slurm.submit(Path(home.path) / "run", NAME, text, *options)


def in_state(slurm: Slurm, job: str, state: str) -> str:
    """Wait until a job is in a state; gives its id."""
    until(lambda: slurm.state(job) == state)
    return job


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        ("true", "COMPLETED", "completed"),
        ("exit 3", "FAILED", "failed"),
        ("kill -9 $$", "FAILED", "failed"),
    ],
)
def test_an_end_has_its_reason(
    home: Home, slurm: Slurm, text: str, state: str, reason: str
) -> None:
    """By its id, and by name and directory."""
    job = in_state(slurm, submit(home, slurm, text), state)
    for look_ in (seen(home, job), seen(home, None)):
        assert ("ended", reason, False) == (look_["sight"], look_["reason"], look_["others"])


def test_who_was_cancelled_was_stopped_by_somebody(home: Home, slurm: Slurm) -> None:
    """While it waited, and while it ran."""
    waits, runs = submit(home, slurm, SLEEPS, "--hold"), submit(home, slurm)
    in_state(slurm, runs, "RUNNING")
    slurm.command("scancel", waits, runs)
    for job in (waits, runs):
        in_state(slurm, job, "CANCELLED")
        assert ("ended", "cancelled") == (seen(home, job)["sight"], seen(home, job)["reason"])


def test_what_lives_is_seen(home: Home, slurm: Slurm) -> None:
    """Running, suspended, running again, put back to wait, held while it waits."""
    job = in_state(slurm, submit(home, slurm), "RUNNING")
    sights = [seen(home, job)["sight"]]
    for action, state in (("suspend", "SUSPENDED"), ("resume", "RUNNING"), ("requeue", "PENDING")):
        slurm.command("scontrol", action, job)
        in_state(slurm, job, state)
        sights.append(seen(home, job)["sight"])
    slurm.command("scontrol", "hold", job)
    sights.append(seen(home, job)["sight"])
    assert ["running", "held", "running", "queued", "held"] == sights


def test_another_of_the_name_is_told(home: Home, slurm: Slurm) -> None:
    """The failed job has ended, and its successor waits already."""
    job = in_state(slurm, submit(home, slurm, "exit 1"), "FAILED")
    assert seen(home, job)["others"] is False
    submit(home, slurm, SLEEPS, "--hold")
    assert seen(home, job)["others"] is True


def test_a_job_that_the_controller_forgot_is_absent(home: Home, slurm: Slurm) -> None:
    """It has counted beyond it and shows that it lives; there are no accounts to ask."""
    job = in_state(slurm, submit(home, slurm), "RUNNING")
    slurm.forget(next_job=int(job) + 10)
    submit(home, slurm, "true", "--job-name=another")
    assert ("absent", True, False) == tuple(
        seen(home, job)[key] for key in ("sight", "scheduler_alive", "others")
    )


def test_an_empty_list_after_a_restart_is_unknown(home: Home, slurm: Slurm) -> None:
    """The controller began anew on an empty directory: it never heard of our job."""
    for _ in range(3):
        job = submit(home, slurm)
    slurm.forget(next_job=1)
    look_ = seen(home, job)
    assert ("unknown", False) == (look_["sight"], look_["scheduler_alive"])
    assert "lost its memory" in look_["problem"]


def test_a_controller_that_is_away_is_unknown(home: Home, slurm: Slurm) -> None:
    """Its words are told; when it is back, so is the job."""
    job = in_state(slurm, submit(home, slurm), "RUNNING")
    slurm.stop_controller()
    look_ = seen(home, job)
    assert ("unknown", None) == (look_["sight"], look_["others"])
    assert "Unable to contact slurm controller" in look_["problem"]
    slurm.start()
    assert "running" == seen(home, job)["sight"]


@pytest.mark.parametrize(
    ("squeue", "problem"),
    [
        ("exec sleep 60", "did not answer within 1 s"),
        ("sleep 60 & wait", "did not answer within 1 s"),
        ("echo Be patient: maintenance until noon", "a line with 1 fields"),
        ("echo squeue: command not found >&2; exit 127", "ended with 127"),
    ],
)
def test_a_squeue_that_is_slow_missing_or_talks_nonsense_is_unknown(
    home: Home, slurm: Slurm, monkeypatch: pytest.MonkeyPatch, squeue: str, problem: str
) -> None:
    """Nothing is concluded, and the operator reads what happened."""
    job = in_state(slurm, submit(home, slurm, "exit 1"), "FAILED")
    monkeypatch.setattr(commands, "COMMAND_TIMEOUT_SECONDS", 1.0)
    command(Path(home.bin), "squeue", squeue)
    look_ = seen(home, job)
    assert ("unknown", None, False) == (look_["sight"], look_["others"], look_["scheduler_alive"])
    assert problem in look_["problem"]
