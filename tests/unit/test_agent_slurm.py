"""Slurm's own words, as a Slurm of Debian 12 printed them: tests/data/schedulers/slurm-22.05."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_agent.schedulers import slurm
from hpc_agent.schedulers.words import Job, ListingError

CAPTURED = Path(__file__).parents[1] / "data" / "schedulers" / "slurm-22.05"


def captured(name: str) -> str:
    """Read what a command printed."""
    return (CAPTURED / name).read_text()


def queue(name: str) -> dict[str, Job]:
    """Read a captured queue, by the jobs' names."""
    return {job.name: job for job in slurm.parse_queue(captured(name), "anna")}


@pytest.mark.parametrize(
    ("name", "sight", "reason"),
    [
        ("done", "ended", "completed"),
        ("fail", "ended", "failed"),
        ("sig", "ended", "failed"),
        ("cancel_run", "ended", "cancelled"),
        ("cancel_pend", "ended", "cancelled"),
        ("tlimit", "ended", "timeout"),
        ("runs", "running", None),
        ("susp", "held", None),
        ("held", "held", None),
        ("held_admin", "held", None),
        ("special", "held", None),
        ("begin", "queued", None),
        ("CTL-LMDZ.exp1 with a space", "ended", "completed"),
    ],
)
def test_the_queue(name: str, sight: str, reason: str | None) -> None:
    """Each job is what was done to it when the list was captured."""
    job = queue("squeue.txt")[name]
    assert (sight, reason) == (job.sight, job.reason)


def test_a_lost_node_is_a_reason_of_its_own() -> None:
    """Its jobs that may not be requeued have ended so; the others wait to begin again."""
    jobs = queue("squeue-node-down.txt")
    assert ("ended", "node_fail") == (jobs["node_fail"].sight, jobs["node_fail"].reason)
    assert "queued" == jobs["runs"].sight


def test_a_requeued_job_waits_and_is_queued() -> None:
    """Slurm lets it wait for two minutes: it is not gone, and nobody may submit another."""
    assert "queued" == queue("squeue.txt")["requeued"].sight


def test_a_job_requeued_into_a_hold_is_held() -> None:
    """Slurm calls it pending, and tells only in the reason that somebody keeps it back."""
    assert "held" == queue("squeue.txt")["requeuehold"].sight


def test_a_child_of_a_failed_parent_is_queued_for_ever() -> None:
    """DependencyNeverSatisfied is no end: Slurm keeps such a job until somebody cancels it."""
    assert "queued" == queue("squeue.txt")["child"].sight


def test_a_long_name_is_whole() -> None:
    """Slurm cuts no name, so that a beginning of ours is another job's."""
    assert any(len(name) > 64 for name in queue("squeue.txt"))


def test_parts_of_a_job_are_the_job() -> None:
    """Tasks of an array and components of a composed job compare by the number before."""
    jobs = slurm.parse_queue(captured("squeue-arrays.txt"), "anna")
    keys = {job.id: slurm.job_key(job.id) for job in jobs}
    assert ("26", "27", "27", "20") == (
        keys["26_[1-5%2]"], keys["27+0"], keys["27+1"], keys["20_1"],
    )  # fmt: skip


def test_the_accounts() -> None:
    """They know how jobs ended; what they still call alive is known to nobody."""
    jobs = {job.name: job for job in slurm.parse_history(captured("sacct.txt"))}
    names = ("done", "fail", "cancel_run", "tlimit", "node_fail", "held")
    assert [
        ("ended", "completed"),
        ("ended", "failed"),
        ("ended", "cancelled"),
        ("ended", "timeout"),
        ("ended", "node_fail"),
        ("unknown", None),
    ] == [(jobs[name].sight, jobs[name].reason) for name in names]


def test_the_accounts_by_name() -> None:
    """The same columns answer a question by name."""
    jobs = slurm.parse_history(captured("sacct-by-name.txt"))
    assert ["fail", "parent"] == [job.name for job in jobs]
    command = slurm.history_by_name_command("anna", ["fail", "parent"]) or []
    assert {"--name=fail,parent", "anna", "now-7days"} < set(command)


@pytest.mark.parametrize(
    ("file", "none"), [("sacct-no-accounts.err", True), ("sacct-database-down.err", False)]
)
def test_no_accounts_are_not_accounts_that_fail(file: str, *, none: bool) -> None:
    """A database that is away knows how the job ended, and will tell."""
    assert none == slurm.no_history(captured(file))


@pytest.mark.parametrize(
    ("file", "alive", "counted"),
    [("scontrol-config.txt", True, 26), ("scontrol-config-after-loss.txt", False, 1)],
)
def test_a_controller_tells_how_far_it_has_counted(file: str, *, alive: bool, counted: int) -> None:
    """The second one was started on an empty directory: it is up, and knows of no job."""
    text = captured(file)
    assert (alive, counted) == (slurm.alive(text), slurm.counted(text))


@pytest.mark.parametrize(
    ("standing", "alive"),
    [
        ("Slurmctld(primary) at head is DOWN\nSlurmctld(backup) at tail is UP\n", True),
        ("Slurmctld(primary) at head is DOWN\n", False),
        ("", False),
    ],
)
def test_a_backup_controller_will_do(standing: str, *, alive: bool) -> None:
    """One that is up is enough; with none nothing is believed."""
    text = captured("scontrol-config.txt")
    assert alive == slurm.alive(text.replace("Slurmctld(primary) at head is UP\n", standing))


def test_settings_that_nobody_knows_count_nothing() -> None:
    """Without the number of the next job nothing can be compared with it."""
    assert (None, False) == (slurm.counted("is UP"), slurm.alive("Slurmctld(x) at y is UP\n"))


def test_a_complaint_is_no_list() -> None:
    """What squeue says of a controller that is away reads as an error, not as an empty queue."""
    with pytest.raises(ListingError):
        slurm.parse_queue(captured("squeue-controller-down.err"), "anna")
