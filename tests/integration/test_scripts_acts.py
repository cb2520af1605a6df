"""Every way in which a script acts, and every way in which acting goes wrong, under both shells."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from supervision.facts import ExitCode, TriggerKind
from tests.integration.stubs.fake_centre import (
    FACTS,
    NAME,
    FakeCentre,
    ended,
    make,
    queue_line,
)

COPY = "run.card.supervision.0f9c1d2e.2"
POLL_SECONDS = 0.02


@pytest.fixture(params=["ksh", "bash"])
def centre(request: pytest.FixtureRequest, tmp_path: Path) -> FakeCentre:
    """Make a centre where the script would act, for each of the two shells."""
    return make(tmp_path, request.param)


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        Event().wait(POLL_SECONDS)
    pytest.fail("what was waited for never came")


@pytest.mark.parametrize("trigger", [TriggerKind.FATAL, TriggerKind.LATE])
def test_a_failed_period_is_cleaned_and_resubmitted(
    centre: FakeCentre, trigger: TriggerKind
) -> None:
    """Copied aside, listed, cleaned, submitted with a log of its own, looked at again."""
    before = centre.run_card.read_text()
    end = centre.run(replace(FACTS, trigger=trigger))
    archive = centre.root / "archive" / f"{NAME}_18500301_18500330_1M.nc"
    rebuild = centre.buffer / "REBUILD" / "REBUILD_18500301"
    assert ExitCode.ACTED == end.exit
    assert before == (centre.directory / COPY).read_text()
    assert {
        "did": "cleaned+submitted",
        "period": 3,
        "scheduler_id": "4712",
        "deleted": [f"{archive} (8 KiB)", f"{rebuild} (4 KiB)"],
        "exit": 0,
    } == end.report
    output = f"Script_Output_{NAME}.000003"
    assert [f"sbatch --parsable -o {output} -e {output} Job_{NAME}"] == centre.asked("sbatch")
    assert ["squeue"] * 2 == [line.split()[0] for line in centre.asked("squeue")]


def test_each_question_is_answered_by_its_text(centre: FakeCentre) -> None:
    """Files, directories and state: yes; run.card, which is who the simulation is: no."""
    centre.run()
    answers = [line.rpartition(" -> ")[2] for line in centre.told("answers").splitlines()]
    assert ["y", "y", "y", "n"] == answers
    assert "PeriodState= OnQueue" in centre.run_card.read_text()


def test_questions_in_lines_of_their_own_are_answered_too(centre: FakeCentre) -> None:
    """Not every clean leaves its prompt open at the end of a line."""
    centre.put("clean", "asks-in-lines")
    assert ExitCode.ACTED == centre.run().exit
    assert centre.told("answers").startswith("files -> y\n")


@pytest.mark.parametrize("behaviour", ["asks-unknown", "hangs"])
def test_an_unknown_question_ends_it(centre: FakeCentre, behaviour: str) -> None:
    """Nobody says yes to a question that nobody knows; nothing is submitted."""
    centre.put("clean", behaviour)
    end = centre.run()
    assert ExitCode.UNKNOWN_QUESTION == end.exit
    assert "cleaned" == end.report["did"]
    assert [] == centre.asked("sbatch")


@pytest.mark.parametrize("behaviour", ["fails", "leaves-fatal", "empties"])
def test_a_clean_that_goes_wrong_submits_nothing(centre: FakeCentre, behaviour: str) -> None:
    """It fails, leaves Fatal behind, or empties run.card at full quota."""
    centre.put("clean", behaviour)
    end = centre.run()
    assert ExitCode.CLEAN_FAILED == end.exit
    assert [] == centre.asked("sbatch")
    assert "PeriodState= Fatal" in (centre.directory / COPY).read_text()


def test_a_clean_that_falls_silent_is_ended(centre: FakeCentre) -> None:
    """It is given 20 minutes; here, 8 s."""
    centre.put("clean", "waits")
    os.mkfifo(centre.stub / "never")
    end = ended(centre.start(edit=("our_patience=6000", "our_patience=40")))
    assert ExitCode.CLEAN_FAILED == end.exit
    with pytest.raises(ProcessLookupError):
        os.kill(int(centre.told("clean.pid")), 0)


def test_the_older_clean_is_used_where_there_is_no_other(centre: FakeCentre) -> None:
    """Version 2.8.1 of libIGCM calls it clean_month.job."""
    libigcm = centre.root / "modipsl" / "libIGCM"
    (libigcm / "clean_PeriodLenght.job").rename(libigcm / "clean_month.job")
    assert ExitCode.ACTED == centre.run().exit


@pytest.mark.parametrize("submit_only", [True, False])
def test_a_broken_chain_is_only_submitted(centre: FakeCentre, *, submit_only: bool) -> None:
    """OnQueue and no job: the period that is to come must not be cleaned."""
    before = centre.card("OnQueue")
    end = centre.run(replace(FACTS, submit_only=submit_only))
    assert ExitCode.ACTED == end.exit
    assert ("submitted", []) == (end.report["did"], end.report["deleted"])
    assert "" == centre.told("answers")
    assert before == centre.run_card.read_text()


def test_a_refused_job_is_not_yet(centre: FakeCentre) -> None:
    """The scheduler's own words are kept for whoever reads the output."""
    centre.put("submit.refused")
    end = centre.run()
    assert ExitCode.SUBMIT_REFUSED == end.exit
    assert "job violates the accounting policy" in end.words
    assert ("cleaned", None) == (end.report["did"], end.report["scheduler_id"])


@pytest.mark.parametrize("refused", [True, False])
def test_the_log_of_the_failed_job_survives(centre: FakeCentre, *, refused: bool) -> None:
    """It began with the same period, so the new job would write over the only trace of why."""
    log = centre.directory / f"Script_Output_{NAME}.000003"
    log.write_text("floating point exception")
    kept = log.with_name(log.name + ".supervision.0f9c1d2e.2")
    if refused:
        centre.put("submit.refused")
    centre.run()
    assert "floating point exception" == (log if refused else kept).read_text()
    assert refused == log.exists()


def test_a_job_taken_in_spite_of_an_error_is_found(centre: FakeCentre) -> None:
    """The scheduler took the job and its answer was lost: a second submit would double it."""
    centre.put("queue.after", queue_line("slurm", "4799", NAME, str(centre.directory)))
    submit = centre.root / "bin" / "sbatch"
    submit.write_text('#!/bin/sh\n: >"$STUB/submitted"\necho timed out\nexit 1\n')
    end = centre.run()
    assert ExitCode.ACTED == end.exit
    assert "4799" == end.report["scheduler_id"]


def test_another_job_that_appears_costs_ours(centre: FakeCentre) -> None:
    """Somebody submitted in the same moment: ours is cancelled, never the other."""
    both = [queue_line("slurm", job, NAME, str(centre.directory)) for job in ("4712", "4800")]
    centre.put("queue.after", "".join(both))
    end = centre.run()
    assert ExitCode.OTHER_JOB_APPEARED == end.exit
    assert ["scancel 4712"] == centre.asked("scancel")
    assert "cleaned+submitted+cancelled" == end.report["did"]


def _queue(centre: FakeCentre, *jobs: str) -> str:
    return "".join(queue_line("slurm", job, NAME, str(centre.directory)) for job in jobs)


def _moves_on(centre: FakeCentre) -> None:
    """Let the job that is submitted run at once: it moves run.card to a later period."""
    failed = centre.run_card.read_text()
    centre.put("run.card.after", centre.card("OnQueue", period="5"))
    centre.run_card.write_text(failed)


def test_a_job_that_is_quicker_than_its_scheduler_has_a_next_one(centre: FakeCentre) -> None:
    """It ran, submitted the next of its chain and left before anybody looked: all is well."""
    _moves_on(centre)
    centre.put("queue.after", _queue(centre, "4800"))
    end = centre.run()
    assert (ExitCode.ACTED, "4712") == (end.exit, end.report["scheduler_id"])
    assert ([], "cleaned+submitted") == (centre.asked("scancel"), end.report["did"])
    assert "the next job is there: 4800" in end.words


def test_a_job_at_its_end_may_leave_after_its_next_one_came(centre: FakeCentre) -> None:
    """Both are there for a moment: the one that has moved run.card is given time to leave."""
    _moves_on(centre)
    centre.put("queue.after", _queue(centre, "4712", "4800"))
    centre.put("queue.after.later", _queue(centre, "4800"))
    end = centre.run()
    assert (ExitCode.ACTED, []) == (end.exit, centre.asked("scancel"))


def test_ours_is_cancelled_where_another_moves_run_card(centre: FakeCentre) -> None:
    """A minute later both are there: one runs, and the other one would run over it."""
    _moves_on(centre)
    centre.put("queue.after", _queue(centre, "4712", "4800"))
    end = centre.run()
    assert (ExitCode.OTHER_JOB_APPEARED, ["scancel 4712"]) == (end.exit, centre.asked("scancel"))


def test_ours_is_cancelled_where_only_another_can_be_seen(centre: FakeCentre) -> None:
    """A queue that does not show ours yet: run.card has not moved, so ours has not run."""
    centre.put("queue.after", _queue(centre, "4800"))
    end = centre.run()
    assert (ExitCode.OTHER_JOB_APPEARED, ["scancel 4712"]) == (end.exit, centre.asked("scancel"))


def test_two_jobs_that_cannot_be_parted_are_cried_out(centre: FakeCentre) -> None:
    """Ours cannot be cancelled, so two copies may run: that is no decline but a failure."""
    both = [queue_line("slurm", job, NAME, str(centre.directory)) for job in ("4712", "4800")]
    centre.put("queue.after", "".join(both))
    centre.put("cancel.refused")
    end = centre.run()
    assert ExitCode.UNEXPECTED == end.exit
    assert "4712" == end.report["scheduler_id"]


def test_without_an_id_nothing_is_cancelled(centre: FakeCentre) -> None:
    """Who does not know which job is ours must not cancel any."""
    both = [queue_line("slurm", job, NAME, str(centre.directory)) for job in ("4712", "4800")]
    centre.put("queue.after", "".join(both))
    centre.put("answer", "thank you\n")
    end = centre.run()
    assert ExitCode.UNEXPECTED == end.exit
    assert [] == centre.asked("scancel")


def test_an_id_that_was_not_told_is_looked_up(centre: FakeCentre) -> None:
    """The only job of the name in the queue is the one just submitted."""
    centre.put("queue.after", queue_line("slurm", "4712", NAME, str(centre.directory)))
    centre.put("answer", "thank you\n")
    end = centre.run()
    assert (ExitCode.ACTED, "4712") == (end.exit, end.report["scheduler_id"])


def test_a_scheduler_silent_after_the_submit_changes_nothing(centre: FakeCentre) -> None:
    """The job is submitted; the watch will look at it later."""
    centre.put("silent.after")
    end = centre.run()
    assert (ExitCode.ACTED, "4712") == (end.exit, end.report["scheduler_id"])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, ExitCode.TIMED_OUT), (signal.SIGINT, ExitCode.UNEXPECTED)]
)
@pytest.mark.parametrize("clean", ["waits", "deaf"])
def test_a_cut_in_the_middle_still_tells(
    centre: FakeCentre, clean: str, number: signal.Signals, code: ExitCode
) -> None:
    """The end of its time comes while clean runs: the last line is there, and no child is left.

    Not even one that does not listen to the polite signal.
    """
    centre.put("clean", clean)
    os.mkfifo(centre.stub / "never")
    process = centre.start()
    _wait_for((centre.stub / "clean.waits").exists)
    process.send_signal(number)
    end = ended(process)
    assert code == end.exit
    assert "cleaned" == end.report["did"]
    assert [] == list((centre.root / "tmp").iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(int(centre.told("clean.pid")), 0)


def test_an_end_that_nobody_meant_is_told(centre: FakeCentre) -> None:
    """A script that runs into an unset name still ends with its line, and with failed."""
    end = ended(centre.start(edit=("look_or_end\n", ': "$nobody_set_this"\n')))
    assert ExitCode.UNEXPECTED == end.exit
    assert "nothing" == end.report["did"]


def test_file_names_cannot_break_the_last_line(centre: FakeCentre) -> None:
    """What clean will delete may bear any name; the JSON stays JSON."""
    hostile = centre.root / "archive" / 'a"b\\c\u00e9_18500330\t.nc'
    hostile.write_text("x")
    deleted = centre.run().report["deleted"]
    assert isinstance(deleted, list)
    assert f'{centre.root}/archive/a"b\\c??_18500330?.nc (4 KiB)' in deleted


@pytest.mark.parametrize("number", [1, 150])
def test_a_long_list_is_cut(centre: FakeCentre, number: int) -> None:
    """100 names are enough for a mail; how many more there are is said."""
    for index in range(number):
        (centre.root / "archive" / f"more_{index}_18500330.nc").touch()
    deleted = centre.run().report["deleted"]
    assert isinstance(deleted, list)
    assert (number + 2 if number < 100 else 101) == len(deleted)
    assert (number >= 100) == (f"and {number + 2 - 100} more" in deleted)
