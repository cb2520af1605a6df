"""What the scheduler says, and what a script makes of it: both shells, every scheduler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from supervision.facts import ExitCode
from tests.integration.stubs.fake_centre import (
    COMMANDS,
    FACTS,
    NAME,
    NEW_IDS,
    FakeCentre,
    ended,
    make,
    queue_line,
    touched_nothing,
)


@pytest.fixture(params=["ksh", "bash"])
def centre(request: pytest.FixtureRequest, tmp_path: Path) -> FakeCentre:
    """Make a centre where the script would act, for each of the two shells."""
    return make(tmp_path, request.param)


def _running(centre: FakeCentre, number: str, name: str = NAME) -> str:
    return queue_line(centre.scheduler, number, name, str(centre.directory))


def test_a_silent_scheduler_is_not_yet(centre: FakeCentre) -> None:
    """A query that fails is never an empty queue; it is tried three times."""
    centre.put("silent")
    ended = centre.run()
    assert ExitCode.SCHEDULER_SILENT == ended.exit
    assert len(centre.asked("squeue")) == 3
    assert touched_nothing(centre, ended)


def test_nonsense_from_the_scheduler_is_not_yet(centre: FakeCentre) -> None:
    """Words that are no listing are no empty queue either."""
    centre.put("queue", "maintenance until noon\n")
    assert ExitCode.SCHEDULER_SILENT == centre.run().exit


def test_a_scheduler_that_answers_later_is_heard(centre: FakeCentre) -> None:
    """One failed query is no reason to give up."""
    centre.put("silent")
    centre.put("unsilent")
    assert ExitCode.ACTED == centre.run().exit


def test_the_failed_job_still_there_is_not_yet(centre: FakeCentre) -> None:
    """It has 60 s to leave the queue."""
    centre.put("queue", _running(centre, "4711"))
    ended = centre.run()
    assert ExitCode.JOB_LEAVING == ended.exit
    assert ["sleep 5"] * 12 == centre.asked("sleep")
    assert touched_nothing(centre, ended)


def test_the_failed_job_that_leaves_is_waited_for(centre: FakeCentre) -> None:
    """It writes its Fatal on the way out, which is no move of the simulation."""
    centre.card("Running")
    centre.put("queue", _running(centre, "4711"))
    centre.put("queue.later")
    centre.put("run.card.later", centre.run_card.read_text().replace("Running", "Fatal"))
    assert ExitCode.ACTED == centre.run().exit


def test_a_simulation_that_moves_on_meanwhile_declines(centre: FakeCentre) -> None:
    """While the script waited, somebody restarted the simulation."""
    centre.put("queue", _running(centre, "4711"))
    centre.put("queue.later")
    centre.put("run.card.later", centre.run_card.read_text().replace("Fatal", "Running"))
    ended = centre.run()
    assert ExitCode.RUNNING_AGAIN == ended.exit
    assert touched_nothing(centre, ended)


def test_another_job_of_the_name_declines(centre: FakeCentre) -> None:
    """A second copy of a running simulation is the worst that could happen."""
    centre.put("queue", _running(centre, "4711") + _running(centre, "47110"))
    ended = centre.run()
    assert ExitCode.OTHER_JOB == ended.exit
    assert "47110" in ended.words
    assert touched_nothing(centre, ended)


def test_a_job_whose_own_id_is_unknown_may_leave(centre: FakeCentre) -> None:
    """Old messages carry no id, so whatever bears the name gets its 60 s."""
    centre.put("queue", _running(centre, "4711"))
    facts = replace(FACTS, scheduler_id=None)
    assert ExitCode.OTHER_JOB == centre.run(facts).exit
    centre.put("queue.later")
    assert ExitCode.ACTED == centre.run(facts).exit


def test_jobs_elsewhere_and_ended_ones_do_not_count(centre: FakeCentre) -> None:
    """The same name in another directory, a longer name, and an ended job are not our chain."""
    lines = [
        queue_line("slurm", "1", NAME, "/nowhere/else"),
        _running(centre, "2", NAME + "b"),
        _running(centre, "3").replace("RUNNING", "FAILED"),
    ]
    centre.put("queue", "".join(lines))
    assert ExitCode.ACTED == centre.run().exit


def test_a_state_that_nobody_knows_counts_as_present(centre: FakeCentre) -> None:
    """A scheduler that learned a new word is not taken for an empty one."""
    centre.put("queue", _running(centre, "3").replace("RUNNING", "DREAMING"))
    assert ExitCode.OTHER_JOB == centre.run().exit


def test_a_job_known_by_another_path_is_seen(centre: FakeCentre) -> None:
    """A symbolic link to the submission directory is the submission directory."""
    link = centre.root / "link"
    link.symlink_to(centre.directory)
    centre.put("queue", queue_line("slurm", "3", NAME, str(link)))
    assert ExitCode.OTHER_JOB == centre.run().exit


def test_a_scheduler_that_hangs_is_not_yet(centre: FakeCentre) -> None:
    """A query gets a minute, here less, so that the script keeps the time to say so."""
    (centre.root / "bin" / "squeue").write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    end = ended(centre.start(edit=("--foreground 60", "--foreground 0.1")))
    assert ExitCode.SCHEDULER_SILENT == end.exit


@pytest.mark.parametrize(
    ("scheduler", "told", "listed"),
    [
        ("loadleveler", "ada.idris.fr.4711.0", "4711"),
        ("loadleveler", "ada.4711.0", "4711"),
        ("pbs", "4711", "4711"),
        ("pbs", "4711.server", "4711"),
    ],
)
def test_one_job_has_many_spellings(tmp_path: Path, scheduler: str, told: str, listed: str) -> None:
    """The message's id and the scheduler's own differ in host and step, and are one job."""
    centre = make(tmp_path, "ksh", scheduler)
    centre.put("queue", queue_line(scheduler, listed, NAME, str(centre.directory)))
    assert ExitCode.JOB_LEAVING == centre.run(replace(FACTS, scheduler_id=told)).exit


@pytest.mark.parametrize("scheduler", COMMANDS)
def test_each_scheduler_is_spoken_to(tmp_path: Path, scheduler: str) -> None:
    """Looked at, submitted, and the new id read from the scheduler's own answer."""
    centre = make(tmp_path, "ksh", scheduler)
    centre.put("queue", queue_line(scheduler, "1", "SOMETHING"))
    end = centre.run()
    look, submit, _ = COMMANDS[scheduler]
    assert (ExitCode.ACTED, NEW_IDS[scheduler]) == (end.exit, end.report["scheduler_id"])
    assert (2, 1) == (len(centre.asked(look)), len(centre.asked(submit)))


@pytest.mark.parametrize("scheduler", COMMANDS)
def test_each_scheduler_tells_of_another_job(tmp_path: Path, scheduler: str) -> None:
    """A job of our name in our directory is seen in every scheduler's own listing."""
    centre = make(tmp_path, "ksh", scheduler)
    centre.put("queue", queue_line(scheduler, "50", NAME, str(centre.directory)))
    assert ExitCode.OTHER_JOB == centre.run().exit


@pytest.mark.parametrize("scheduler", COMMANDS)
def test_each_scheduler_knows_the_failed_job(tmp_path: Path, scheduler: str) -> None:
    """Ids are matched by column: 4711 is in 47110, and is not it."""
    centre = make(tmp_path, "ksh", scheduler)
    failed = "ada.4711" if scheduler == "loadleveler" else "4711"
    facts = replace(FACTS, scheduler_id=failed)
    centre.put("queue", queue_line(scheduler, "47110", "SOMETHING"))
    assert ExitCode.ACTED == centre.run(facts).exit
    centre.card()
    centre.put("queue", queue_line(scheduler, "4711", NAME, str(centre.directory)))
    assert ExitCode.JOB_LEAVING == centre.run(facts).exit


@pytest.mark.parametrize("scheduler", COMMANDS)
def test_each_scheduler_cancels_ours(tmp_path: Path, scheduler: str) -> None:
    """The id that its own submit told is the one that its cancel gets."""
    centre = make(tmp_path, "ksh", scheduler)
    centre.put("queue.after", queue_line(scheduler, "4800", NAME, str(centre.directory)))
    assert ExitCode.OTHER_JOB_APPEARED == centre.run().exit
    cancel = COMMANDS[scheduler][2]
    assert [f"{cancel} {NEW_IDS[scheduler]}"] == centre.asked(cancel)


@pytest.mark.parametrize(("scheduler", "length"), [("pbs", 11), ("ccc", 8)])
def test_a_cut_name_counts_as_present(tmp_path: Path, scheduler: str, length: int) -> None:
    """A listing that cuts names cannot tell our job from another: so it is ours."""
    centre = make(tmp_path, "ksh", scheduler)
    centre.put("queue", queue_line(scheduler, "50", NAME[:length], str(centre.directory)))
    assert ExitCode.OTHER_JOB == centre.run().exit


def test_loadleveler_gets_the_log_in_a_header(tmp_path: Path) -> None:
    """There is no option of llsubmit for it, so a copy of the job file carries it."""
    centre = make(tmp_path, "ksh", "loadleveler")
    centre.run()
    header = centre.told("submitted")
    assert f"# @ output = Script_Output_{NAME}.000003\n" in header
    assert f"# @ error = Script_Output_{NAME}.000003\n" in header
    assert [] == list(centre.directory.glob(".supervision*"))


def test_no_listing_of_the_user_is_an_empty_loadleveler(tmp_path: Path) -> None:
    """LoadLeveler says in words that there is nothing."""
    centre = make(tmp_path, "ksh", "loadleveler")
    centre.put("queue", "llq: There is currently no job status to report.\n")
    assert ExitCode.ACTED == centre.run().exit
