"""Slurm behind sshd: what fails there is restarted once, what its owner stopped is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision.facts import CancelCause, ExitCode, Supervision, TriggerKind
from supervision.fsm.states import State
from supervision.sandbox import cards
from tests.integration.end_to_end_kit import until
from tests.integration.slurm_kit import NAME, SlurmWorld, a_slurm_world
from tests.services.slurm import Slurm


@pytest.fixture
def world(tmp_path: Path, slurm: Slurm, sqlite_url: str) -> Iterator[SlurmWorld]:
    """Make a centre with Slurm and a login node, and start the service on this machine."""
    with a_slurm_world(tmp_path, slurm, database=sqlite_url) as made:
        made.world.run()
        yield made


def hangs(world: SlurmWorld) -> None:
    """Wait until the second job stands still, in the third period."""
    # A job that is killed a moment before it stands still leaves the fault to its successor.
    until((world.world.centre.plans / f"{NAME}.hang.3.happened").exists, "the third period hangs")
    assert (cards.RUNNING, 3) == world.progress()
    assert ["COMPLETED", "RUNNING"] == world.states()


def completed(world: SlurmWorld, uid: str, *, before: list[str]) -> None:
    """Wait until the simulation was restarted once by us and is complete."""
    until(world.restarted, "the simulation has recovered")
    until(lambda: (cards.COMPLETED, uid) == world.card(), "the simulation completes")
    until(lambda: "COMPLETED" == world.states()[-1], "its last job has left")
    assert [*before, "COMPLETED"] == world.states()
    row = world.restarted()
    assert row is not None
    assert (uid, 1, 1, world.last_job()) == (
        row.simulation_uid, row.attempt, row.dispatch_try_count, row.scheduler_id,
    )  # fmt: skip


def restarted_by_us(world: SlurmWorld, uid: str, kind: TriggerKind) -> bool:
    """Whether the ledger knows that the new job is ours, and that the simulation went on."""
    row = world.restarted()
    assert row is not None
    # The new job may be late as well, by a second, on a busy machine: that is another trigger.
    told = [each for each in world.world.decisions(uid) if row.job_uid == each.job_uid]
    (trigger,) = (each for each in told if kind == each.kind)
    return "us" == trigger.restarted_by and trigger.recovered_at is not None


def test_a_job_that_fails_is_restarted_by_slurm(world: SlurmWorld) -> None:
    """Its messages are heard; over ssh its period is cleaned and submitted; it completes."""
    uid = world.simulate("error:3")
    completed(world, uid, before=["COMPLETED", "FAILED"])
    assert restarted_by_us(world, uid, TriggerKind.FATAL)
    assert 1 == world.node.accepted()


def test_a_job_whose_time_is_over_is_restarted(world: SlurmWorld) -> None:
    """Slow at first, and left alone; then Slurm ends it, unheard, and it is late and gone."""
    world.world.replaced(hang_seconds=120, warning_delay_seconds=1)
    uid = world.simulate("hang:3")
    hangs(world)
    world.slurm.end_time(world.last_job())
    completed(world, uid, before=["COMPLETED", "TIMEOUT"])
    assert restarted_by_us(world, uid, TriggerKind.LATE)


def test_a_job_that_was_killed_from_outside_is_restarted(world: SlurmWorld) -> None:
    """It says nothing any more; Slurm tells that it failed."""
    world.world.replaced(hang_seconds=120, warning_delay_seconds=1)
    uid = world.simulate("hang:3")
    hangs(world)
    world.kill_from_outside()
    completed(world, uid, before=["COMPLETED", "FAILED"])
    assert restarted_by_us(world, uid, TriggerKind.LATE)


def test_a_job_that_its_owner_cancelled_is_left_alone(world: SlurmWorld) -> None:
    """Nobody restarts what somebody stopped; one mail says so."""
    world.world.replaced(hang_seconds=120, warning_delay_seconds=1)
    uid = world.simulate("hang:3")
    hangs(world)
    world.slurm.command("scancel", world.last_job())
    until(lambda: "cancelled" in world.sentence(uid, TriggerKind.LATE), "the ledger says why")
    assert ([], ["COMPLETED", "CANCELLED"]) == (world.world.rows(), world.states())
    assert ["[supervision] demo is not restarted"] == world.subjects()


def test_a_slow_job_is_left_alone(world: SlurmWorld) -> None:
    """It is late and runs: its owner hears of it once, and nothing else happens."""
    world.world.replaced(hang_seconds=120, warning_delay_seconds=1)
    uid = world.simulate("hang:3")
    hangs(world)
    until(lambda: "is running" in world.sentence(uid, TriggerKind.LATE), "the ledger says why")
    assert ([], ["COMPLETED", "RUNNING"]) == (world.world.rows(), world.states())
    assert ["[supervision] demo is late, but not lost"] == world.subjects()


def declined(world: SlurmWorld) -> Supervision:
    """Wait until the only supervision was declined; gives it."""
    until(lambda: (row := world.world.row()) and row.state is State.CANCELLED, "it is declined")
    row = world.world.row()
    assert row is not None
    return row


def test_an_owner_who_keeps_us_out_is_obeyed(world: SlurmWorld) -> None:
    """NO_SUPERVISION lies in the directory: nothing is cleaned or submitted, and it is told."""
    uid = world.simulate("error:3")
    (world.directory / "NO_SUPERVISION").touch()
    row = declined(world)
    assert (CancelCause.DECLINED, ["COMPLETED", "FAILED"]) == (row.cause, world.states())
    assert (cards.FATAL, uid) == world.card()
    assert "NO_SUPERVISION is there" in (row.reason or "")
    until(lambda: 1 == len(world.subjects()), "its owner hears of it")


def test_a_job_of_the_name_that_waits_already_is_not_doubled(world: SlurmWorld) -> None:
    """Its owner was quicker: the script sees that job in the queue, and leaves everything."""
    uid = world.simulate("error:3")
    other = world.submit("--hold")
    row = declined(world)
    assert (CancelCause.DECLINED, ExitCode.OTHER_JOB) == (row.cause, row.exit_code)
    assert other in (row.reason or "")
    assert ["COMPLETED", "FAILED", "PENDING"] == sorted(world.states())
    assert (cards.FATAL, uid) == world.card()
