"""The script for a failed post-processing job, under both shells; and shellcheck on all scripts."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from supervision.facts import ExitCode, JobKind, Task, TriggerKind
from tests.integration.stubs.fake_centre import (
    FACTS,
    NAME,
    SIMULATION,
    FakeCentre,
    make,
    queue_line,
)

GOLDEN = Path(__file__).parent.parent / "golden"
PACK = replace(
    FACTS,
    kind=JobKind.POST_PROCESSING,
    trigger=TriggerKind.POST_PROCESSING,
    task=Task(name="pack_output", date="18591231"),
)
SERIES = replace(PACK, task=Task(name="create_ts", date="18591231", dimension="2D"))


@pytest.fixture(params=["ksh", "bash"])
def centre(request: pytest.FixtureRequest, tmp_path: Path) -> FakeCentre:
    """Make a centre where the script would act, for each of the two shells."""
    return make(tmp_path, request.param)


def test_a_pack_is_resubmitted_as_libigcm_does(centre: FakeCentre) -> None:
    """Only that job, with the dates that the chain gives it; run.card stays what it was."""
    before = centre.card("Fatal_pack_output")
    end = centre.run(PACK)
    assert ExitCode.ACTED == end.exit
    assert {
        "did": "resubmitted",
        "period": None,
        "scheduler_id": "4712",
        "deleted": [],
        "exit": 0,
    } == end.report
    assert [f"sbatch {centre.root}/modipsl/libIGCM/pack_output.job"] == centre.asked("sbatch")
    assert [
        "DateBegin=18591231-364",
        "DateEnd=18591231",
        "PeriodPack=1Y",
        f"SUBMIT_DIR={centre.directory}",
        "Script_Post_Output=pack_output.18591231",
        "StandAlone=false",
    ] == centre.told("post.environment").splitlines()
    assert before == centre.run_card.read_text()
    assert [] == list(centre.directory.glob("run.card.supervision*"))


def test_series_are_resubmitted_by_their_checker(centre: FakeCentre) -> None:
    """For real: yes. Remove series that it holds for superfluous: no."""
    end = centre.run(SERIES)
    assert (ExitCode.ACTED, "4712") == (end.exit, end.report["scheduler_id"])
    assert "real -> y\nremove -> n\n" == centre.told("answers")


def test_a_checker_that_misses_nothing_declines(centre: FakeCentre) -> None:
    """Somebody has repaired the series by hand."""
    centre.put("complete")
    assert ExitCode.COMPLETED == centre.run(SERIES).exit


def test_a_checker_with_an_unknown_question_fails(centre: FakeCentre) -> None:
    """It is ended, and submits nothing."""
    checker = centre.root / "modipsl" / "libIGCM" / "TimeSeries_Checker.job"
    checker.write_text("printf 'Shall I begin at the Big Bang (y/n) :'\nread answer\n")
    assert ExitCode.UNKNOWN_QUESTION == centre.run(SERIES).exit
    assert [] == centre.asked("sbatch")


def test_a_checker_that_fails_is_told(centre: FakeCentre) -> None:
    """It ended with an error before it submitted anything."""
    checker = centre.root / "modipsl" / "libIGCM" / "TimeSeries_Checker.job"
    checker.write_text("exit 3\n")
    assert ExitCode.CLEAN_FAILED == centre.run(SERIES).exit


@pytest.mark.parametrize("job", ["TimeSeries_Checker", "pack_output"])
def test_a_libigcm_without_the_job_fails(centre: FakeCentre, job: str) -> None:
    """There is nothing that could be resubmitted."""
    (centre.root / "modipsl" / "libIGCM" / f"{job}.job").unlink()
    facts = PACK if job == "pack_output" else SERIES
    assert ExitCode.NO_LIBIGCM == centre.run(facts).exit


def test_a_refused_task_is_not_yet(centre: FakeCentre) -> None:
    """The scheduler did not take it."""
    centre.put("submit.refused")
    end = centre.run(PACK)
    assert (ExitCode.SUBMIT_REFUSED, "nothing") == (end.exit, end.report["did"])


def test_a_task_still_in_the_queue_is_not_yet(centre: FakeCentre) -> None:
    """It is found by its id alone: its name is that of every other simulation's."""
    centre.put("queue", queue_line("slurm", "4711", "TS"))
    assert ExitCode.JOB_LEAVING == centre.run(PACK).exit
    assert [] == centre.asked("sbatch")


def test_jobs_of_the_same_name_are_no_obstacle(centre: FakeCentre) -> None:
    """The compute job runs, another simulation's series too: neither is this job."""
    lines = queue_line("slurm", "1", NAME, str(centre.directory)) + queue_line("slurm", "2", "TS")
    centre.put("queue", lines)
    assert ExitCode.ACTED == centre.run(PACK).exit


def test_a_silent_scheduler_is_not_yet(centre: FakeCentre) -> None:
    """Nobody knows whether the job has gone."""
    centre.put("silent")
    assert ExitCode.SCHEDULER_SILENT == centre.run(PACK).exit


def test_without_an_id_nobody_is_asked(centre: FakeCentre) -> None:
    """Such a script goes by mail: its reader is told what was not looked at."""
    centre.put("silent")
    end = centre.run(replace(PACK, scheduler_id=None))
    assert ExitCode.ACTED == end.exit
    assert "nobody looked" in end.words


def test_another_simulation_declines(centre: FakeCentre) -> None:
    """The directory belongs to another simulation by now."""
    centre.card(simuid="somebody-else")
    assert ExitCode.OTHER_SIMULATION == centre.run(PACK).exit


@pytest.mark.parametrize("state", ["Running", "Completed", "OnQueue"])
def test_the_state_of_the_chain_does_not_matter(centre: FakeCentre, state: str) -> None:
    """Post-processing lags behind, and goes on after the end."""
    before = centre.card(state, simuid=SIMULATION)
    assert ExitCode.ACTED == centre.run(PACK).exit
    assert before == centre.run_card.read_text()


@pytest.mark.parametrize("shell", ["ksh", "bash"])
def test_the_sandbox_keeps_the_job_as_a_file(tmp_path: Path, shell: str) -> None:
    """Its file is submitted; where it is missing, the script says which one it looked for."""
    centre = make(tmp_path, shell, "sandbox")
    end = centre.run(PACK)
    assert ExitCode.NO_LIBIGCM == end.exit
    assert f"Post_{NAME}.pack_output.18591231.job" in end.words
    (centre.directory / f"Post_{NAME}.pack_output.18591231.job").write_text("#!/bin/sh\n")
    end = centre.run(PACK)
    assert (ExitCode.ACTED, "4712") == (end.exit, end.report["scheduler_id"])
    centre.put("submit.refused")
    assert ExitCode.SUBMIT_REFUSED == centre.run(PACK).exit


def test_shellcheck_finds_nothing() -> None:
    """Every script of every scheduler, as the golden files show it."""
    scripts = [str(path) for path in sorted(GOLDEN.glob("*.sh"))]
    checked = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert (0, "") == (checked.returncode, checked.stdout + checked.stderr)
    assert len(scripts) == 20
