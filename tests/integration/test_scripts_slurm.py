"""What a real Slurm says, and what a script makes of it, under ksh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from getpass import getuser
from pathlib import Path
from typing import Final

import pytest

from supervision.facts import ExitCode, TriggerKind
from tests.agent_kit import until
from tests.integration.stubs.fake_centre import (
    COMMANDS,
    FACTS,
    NAME,
    Ended,
    FakeCentre,
    ended,
    make,
)
from tests.services.programs import program
from tests.services.slurm import Slurm

SLEEPS: Final = "/bin/sleep 100"  # not the short one, which a job inherits with the script's PATH
JOB: Final = f"#!/bin/ksh\n#SBATCH --job-name={NAME}\nMODIPSL=::modipsl::\n{SLEEPS}\n"
OURS: Final = replace(FACTS, login=getuser(), scheduler_id=None)
PAUSE: Final = ("our_pause='5'", "our_pause='1'")


@pytest.fixture
def centre(tmp_path: Path, slurm: Slurm) -> FakeCentre:
    """Make a centre whose scheduler is Slurm; only the sleeps of its scripts are short."""
    made = make(tmp_path, "ksh")
    for command in COMMANDS["slurm"]:
        (tmp_path / "bin" / command).unlink()
    (made.directory / f"Job_{NAME}").write_text(JOB)
    conf = {"SLURM_CONF": slurm.environment["SLURM_CONF"]}
    return replace(made, environment=conf)


def queued(slurm: Slurm, centre: FakeCentre, *options: str, text: str = SLEEPS) -> str:
    """Submit a job of our name from our directory, as the owner or the chain would."""
    return slurm.submit(centre.directory, NAME, text, *options)


def reaches(slurm: Slurm, job: str, *states: str) -> str:
    """Wait until a job is in one of these states; gives its id."""
    until(lambda: slurm.state(job) in states)
    return job


def running(slurm: Slurm, centre: FakeCentre) -> str:
    """Have a job of our name run in our directory."""
    return reaches(slurm, queued(slurm, centre), "RUNNING")


def suspended(slurm: Slurm, centre: FakeCentre) -> str:
    """Have a job that an operator suspended."""
    job = running(slurm, centre)
    slurm.command("scontrol", "suspend", job)
    return reaches(slurm, job, "SUSPENDED")


def requeued(slurm: Slurm, centre: FakeCentre) -> str:
    """Have a job that Slurm put back: it waits two minutes before it begins again."""
    job = running(slurm, centre)
    slurm.command("scontrol", "requeue", job)
    return reaches(slurm, job, "PENDING")


def orphaned(slurm: Slurm, centre: FakeCentre) -> str:
    """Have a job whose parent failed: it pends for ever."""
    parent = reaches(slurm, slurm.submit(centre.root, "parent", "exit 1"), "FAILED")
    return queued(slurm, centre, f"--dependency=afterok:{parent}")


LIVE: Final[dict[str, Callable[[Slurm, FakeCentre], str]]] = {
    "running": running,
    "suspended": suspended,
    "requeued": requeued,
    "held": lambda slurm, centre: queued(slurm, centre, "--hold"),
    "begins later": lambda slurm, centre: queued(slurm, centre, "--begin=now+1hour"),
    "never satisfied": orphaned,
}


def in_front_of_sbatch(centre: FakeCentre, text: str) -> None:
    """Have something happen in the moment of the submission; $real is Slurm's own sbatch."""
    stub = centre.root / "bin" / "sbatch"
    stub.write_text(f"#!/bin/sh\nreal={program('sbatch')}\n{text}\n")
    stub.chmod(0o755)


def acted(end: Ended) -> str:
    """Check that a script acted; gives the id of its job."""
    assert ExitCode.ACTED == end.exit, end.words
    return str(end.report["scheduler_id"])


def nothing_happened(slurm: Slurm, centre: FakeCentre, end: Ended, jobs: list[str]) -> bool:
    """Whether the directory has only these jobs, and clean was not begun."""
    known = [job for job, _ in slurm.jobs(centre.directory)]
    return (jobs, "nothing", "") == (known, end.report["did"], centre.told("answers"))


def test_the_period_is_given_back_to_slurm(slurm: Slurm, centre: FakeCentre) -> None:
    """The job runs in the submission directory, with a log of its own that Slurm writes."""
    (centre.directory / f"Job_{NAME}").write_text(JOB.replace(SLEEPS, "pwd"))
    job = acted(centre.run(OURS))
    reaches(slurm, job, "COMPLETED")
    log = centre.directory / f"Script_Output_{NAME}.000003"
    assert ([(job, "COMPLETED")], f"{centre.directory}\n") == (
        slurm.jobs(centre.directory), log.read_text(),
    )  # fmt: skip


@pytest.mark.parametrize("kind", LIVE)
def test_another_job_of_the_name_declines(slurm: Slurm, centre: FakeCentre, kind: str) -> None:
    """However Slurm keeps it, a job that may still run is never doubled."""
    other = LIVE[kind](slurm, centre)
    end = centre.run(replace(OURS, scheduler_id="999999"))
    assert ExitCode.OTHER_JOB == end.exit
    assert other in end.words
    assert nothing_happened(slurm, centre, end, [other])


@pytest.mark.parametrize("trigger", [TriggerKind.FATAL, TriggerKind.LATE])
def test_the_failed_job_itself_still_there_is_not_yet(
    slurm: Slurm, centre: FakeCentre, trigger: TriggerKind
) -> None:
    """Slow is not dead: what still runs is left alone, and its id is told."""
    job = running(slurm, centre)
    end = centre.run(replace(OURS, scheduler_id=job, trigger=trigger))
    assert ExitCode.JOB_LEAVING == end.exit
    assert nothing_happened(slurm, centre, end, [job])
    assert "RUNNING" == slurm.state(job)


def test_the_failed_job_that_leaves_is_waited_for(slurm: Slurm, centre: FakeCentre) -> None:
    """Its last seconds, COMPLETING among them, are no reason to come back later."""
    (centre.root / "bin" / "sleep").unlink()
    job = reaches(slurm, queued(slurm, centre, text="sleep 3; exit 1"), "RUNNING")
    acted(ended(centre.start(replace(OURS, scheduler_id=job), edit=PAUSE)))
    assert "FAILED" == slurm.state(job)


@pytest.mark.parametrize("text", ["exit 0", "exit 3", "kill -9 $$"])
def test_ended_jobs_do_not_count(slurm: Slurm, centre: FakeCentre, text: str) -> None:
    """Slurm lists them for minutes after their end."""
    before = reaches(slurm, queued(slurm, centre, text=text), "COMPLETED", "FAILED")
    assert before != acted(centre.run(OURS))


def test_a_cancelled_job_is_gone(slurm: Slurm, centre: FakeCentre) -> None:
    """Whether its owner wanted that is asked before, by the service; the script sees an end."""
    slurm.command("scancel", job := running(slurm, centre))
    reaches(slurm, job, "CANCELLED")
    assert job != acted(centre.run(replace(OURS, scheduler_id=job)))


@pytest.mark.parametrize("name", [f"{NAME}b", NAME[:-1], f"{NAME}|b", f"b|{NAME}", f"{NAME} b"])
def test_other_names_do_not_count(slurm: Slurm, centre: FakeCentre, name: str) -> None:
    """Longer, shorter, and with Slurm's own separator in them."""
    reaches(slurm, slurm.submit(centre.directory, name, SLEEPS), "RUNNING")
    acted(centre.run(OURS))


def test_the_same_name_elsewhere_does_not_count(slurm: Slurm, centre: FakeCentre) -> None:
    """A copy of the experiment in another directory is another simulation."""
    reaches(slurm, slurm.submit(centre.root, NAME, SLEEPS), "RUNNING")
    acted(centre.run(OURS))


def test_a_directory_by_another_path_is_the_directory(slurm: Slurm, centre: FakeCentre) -> None:
    """Slurm remembers the path that was typed, links and all."""
    link = centre.root / "link"
    link.symlink_to(centre.directory)
    slurm.command("sbatch", "-J", NAME, f"--chdir={link}", "-H", "-o", "/dev/null", "--wrap=true")
    assert ExitCode.OTHER_JOB == centre.run(OURS).exit


def test_on_queue_with_its_job_declines(slurm: Slurm, centre: FakeCentre) -> None:
    """The next job waits: the chain is whole."""
    centre.card("OnQueue")
    job = queued(slurm, centre, "--begin=now+1hour")
    end = centre.run(OURS)
    assert ExitCode.ON_QUEUE_WITH_JOB == end.exit
    assert nothing_happened(slurm, centre, end, [job])


def test_a_broken_chain_is_only_submitted(slurm: Slurm, centre: FakeCentre) -> None:
    """OnQueue and no job: the period to come is not cleaned."""
    before = centre.card("OnQueue")
    end = centre.run(replace(OURS, trigger=TriggerKind.STALLED, submit_only=True))
    reaches(slurm, acted(end), "RUNNING")
    assert ("submitted", before) == (end.report["did"], centre.run_card.read_text())


def test_a_job_that_appears_meanwhile_costs_ours(slurm: Slurm, centre: FakeCentre) -> None:
    """Its owner submits between our look and our submission: ours goes, never the other."""
    words = f'"$real" -J {NAME} -o /dev/null --wrap "{SLEEPS}" >/dev/null\nexec "$real" "$@"'
    in_front_of_sbatch(centre, words)
    end = centre.run(OURS)
    assert ExitCode.OTHER_JOB_APPEARED == end.exit
    (other, _), (ours, _) = slurm.jobs(centre.directory)
    assert ours == end.report["scheduler_id"]
    reaches(slurm, ours, "CANCELLED")
    reaches(slurm, other, "RUNNING")


def test_a_lost_answer_is_looked_for(slurm: Slurm, centre: FakeCentre) -> None:
    """Slurm took the job and the answer was lost: it is found in the queue, not sent again."""
    in_front_of_sbatch(centre, '"$real" "$@" >/dev/null\necho "Socket timed out" >&2\nexit 1')
    job = acted(centre.run(OURS))
    assert [job] == [each for each, _ in slurm.jobs(centre.directory)]


def test_a_job_that_slurm_refuses_is_not_yet(slurm: Slurm, centre: FakeCentre) -> None:
    """Slurm's own words tell the operator why."""
    job = centre.directory / f"Job_{NAME}"
    job.write_text(JOB.replace("MODIPSL", "#SBATCH --partition=nowhere\nMODIPSL"))
    end = centre.run(OURS)
    assert (ExitCode.SUBMIT_REFUSED, []) == (end.exit, slurm.jobs(centre.directory))
    assert "invalid partition" in end.words


def test_a_controller_that_is_away_is_not_yet(slurm: Slurm, centre: FakeCentre) -> None:
    """Its silence is no empty queue; when it is back its list is whole again."""
    job = queued(slurm, centre, "--hold")
    slurm.stop_controller()
    end = centre.run(OURS)
    assert ExitCode.SCHEDULER_SILENT == end.exit
    assert "Unable to contact slurm controller" in end.words
    slurm.start()
    assert nothing_happened(slurm, centre, end, [job])
    assert ExitCode.OTHER_JOB == centre.run(OURS).exit


def test_no_slurm_on_this_node_is_not_yet(slurm: Slurm, centre: FakeCentre) -> None:
    """Where nobody finds squeue, nobody looked: nothing is cleaned, and the words say it."""
    stub = centre.root / "bin" / "squeue"
    stub.write_text("#!/bin/sh\necho squeue: command not found >&2\nexit 127\n")
    stub.chmod(0o755)
    end = centre.run(OURS)
    assert ExitCode.SCHEDULER_SILENT == end.exit
    assert "command not found" in end.words
    assert nothing_happened(slurm, centre, end, [])
