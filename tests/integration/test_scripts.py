"""Every way in which a script looks and does not act, for real, under ksh and under bash."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from supervision.facts import ExitCode, TriggerKind
from tests.integration.stubs.fake_centre import (
    FACTS,
    NAME,
    SIMULATION,
    FakeCentre,
    make,
    queue_line,
    touched_nothing,
)

OTHER = "5000"


@pytest.fixture(params=["ksh", "bash"])
def centre(request: pytest.FixtureRequest, tmp_path: Path) -> FakeCentre:
    """Make a centre where the script would act, for each of the two shells."""
    return make(tmp_path, request.param)


def _running(centre: FakeCentre, number: str, name: str = NAME) -> str:
    return queue_line(centre.scheduler, number, name, str(centre.directory))


def test_a_full_submission_directory_is_not_yet(centre: FakeCentre) -> None:
    """64 KB that do not fit beside run.card stop everything before libIGCM is even looked for."""
    centre.put("full", str(centre.directory))
    ended = centre.run()
    assert ExitCode.NOT_WRITABLE == ended.exit
    assert touched_nothing(centre, ended)


def test_a_full_buffer_is_not_yet(centre: FakeCentre) -> None:
    """The same for R_BUF, which is known as soon as libIGCM was asked."""
    centre.put("full", str(centre.buffer))
    ended = centre.run()
    assert ExitCode.NOT_WRITABLE == ended.exit
    assert "R_BUF" in ended.words


def test_a_buffer_that_hangs_in_the_air_fails(centre: FakeCentre) -> None:
    """Without the login's environment libIGCM puts R_BUF under the root of the machine."""
    card = centre.directory / "config.card"
    card.write_text(card.read_text().replace(str(centre.buffer), "/IGCM_OUT_of_nobody"))
    ended = centre.run()
    assert ExitCode.LIBIGCM_SILENT == ended.exit
    assert touched_nothing(centre, ended)


def test_no_directory_fails(centre: FakeCentre) -> None:
    """A submission directory that is gone ends the script, with its line of JSON all the same."""
    ended = centre.run(replace(FACTS, directory=str(centre.root / "gone")))
    assert ExitCode.NO_DIRECTORY == ended.exit
    assert {"did", "period", "scheduler_id", "deleted", "exit"} == set(ended.report)


def test_no_job_file_fails(centre: FakeCentre) -> None:
    """A directory without the job's file is not the submission directory."""
    (centre.directory / f"Job_{NAME}").unlink()
    assert ExitCode.NO_DIRECTORY == centre.run().exit


def test_no_libigcm_fails(centre: FakeCentre) -> None:
    """Neither MODIPSL nor the usual place has a libIGCM."""
    shutil.rmtree(centre.root / "modipsl" / "libIGCM")
    assert ExitCode.NO_LIBIGCM == centre.run().exit


def test_modipsl_of_the_job_is_found_first(centre: FakeCentre) -> None:
    """An ensemble member lies deeper, so that only MODIPSL in its job file tells where."""
    elsewhere = centre.root / "another place"
    elsewhere.mkdir()
    shutil.move(centre.root / "modipsl" / "libIGCM", elsewhere / "libIGCM")
    job = centre.directory / f"Job_{NAME}"
    job.write_text(f'#!/bin/ksh\n  MODIPSL="{elsewhere}"  \n')
    assert ExitCode.ACTED == centre.run().exit


def test_no_clean_fails(centre: FakeCentre) -> None:
    """A libIGCM without either clean is no libIGCM that could restart anything."""
    (centre.root / "modipsl" / "libIGCM" / "clean_PeriodLenght.job").unlink()
    ended = centre.run()
    assert ExitCode.NO_LIBIGCM == ended.exit
    assert touched_nothing(centre, ended)


def test_no_config_card_fails(centre: FakeCentre) -> None:
    """Its silence, with 0 and empty values from libIGCM, is seen through."""
    (centre.directory / "config.card").unlink()
    assert ExitCode.LIBIGCM_SILENT == centre.run().exit


@pytest.mark.parametrize("told", ["no.site.file", "libigcm.stops"])
def test_a_libigcm_that_ends_the_shell_is_reported(centre: FakeCentre, told: str) -> None:
    """A missing site file ends a ksh; the script lives on and says so."""
    centre.put(told)
    ended = centre.run()
    assert ExitCode.LIBIGCM_SILENT == ended.exit
    assert touched_nothing(centre, ended)


def test_another_jobs_config_card_declines(centre: FakeCentre) -> None:
    """The directory was given to another job of the same user."""
    card = centre.directory / "config.card"
    card.write_text(card.read_text().replace(NAME, "OTHER"))
    assert ExitCode.OTHER_SIMULATION == centre.run().exit


def test_another_simulations_run_card_declines(centre: FakeCentre) -> None:
    """A simulation of the same name was started anew, under another simuid."""
    text = centre.card(simuid="somebody-else")
    ended = centre.run()
    assert ExitCode.OTHER_SIMULATION == ended.exit
    assert touched_nothing(centre, ended)
    assert text == centre.run_card.read_text()


def test_a_simuid_in_capitals_is_the_same(centre: FakeCentre) -> None:
    """Messages are read in small letters, run.card is not."""
    centre.card(simuid=SIMULATION.upper())
    assert ExitCode.ACTED == centre.run().exit


@pytest.mark.parametrize("text", [None, "", "[PostProcessing]\n", "[Configuration]\n"])
def test_a_damaged_run_card_is_never_cleaned(centre: FakeCentre, text: str | None) -> None:
    """A run.card that a full quota left empty, cut or missing is not ours to guess."""
    centre.run_card.unlink()
    if text is not None:
        centre.run_card.write_text(text)
    ended = centre.run()
    wanted = ExitCode.OTHER_SIMULATION if text == "[Configuration]\n" else ExitCode.NO_RUN_CARD
    assert wanted == ended.exit
    assert touched_nothing(centre, ended)


def test_a_run_card_without_a_period_fails(centre: FakeCentre) -> None:
    """Without CumulPeriod nobody knows what would be cleaned."""
    centre.card(period="")
    assert ExitCode.NO_RUN_CARD == centre.run().exit


def test_a_complete_simulation_declines(centre: FakeCentre) -> None:
    """The end message is merely late."""
    centre.card("Completed")
    ended = centre.run()
    assert ExitCode.COMPLETED == ended.exit
    assert ended.report["period"] == 3


def test_a_chain_stopped_by_post_processing_declines(centre: FakeCentre) -> None:
    """Text behind Fatal, while such a failure is open, is for a person."""
    centre.card("Fatal_pack_output")
    assert ExitCode.STOPPED_BY_POST == centre.run(replace(FACTS, post_failures=True)).exit


def test_post_processing_that_was_repaired_stops_nothing(centre: FakeCentre) -> None:
    """The same text means nothing once no such failure is open."""
    centre.card("Fatal_pack_output")
    assert ExitCode.ACTED == centre.run().exit


def test_on_queue_with_its_job_declines(centre: FakeCentre) -> None:
    """The next job waits in the queue: the chain is whole."""
    centre.card("OnQueue")
    centre.put("queue", _running(centre, OTHER))
    ended = centre.run()
    assert ExitCode.ON_QUEUE_WITH_JOB == ended.exit
    assert touched_nothing(centre, ended)


def test_a_broken_chain_with_its_job_declines(centre: FakeCentre) -> None:
    """The same, asked by the script for a chain that was thought broken."""
    centre.card("OnQueue")
    centre.put("queue", _running(centre, OTHER))
    facts = replace(FACTS, trigger=TriggerKind.STALLED, submit_only=True)
    assert ExitCode.ON_QUEUE_WITH_JOB == centre.run(facts).exit


def test_a_chain_that_went_on_is_not_broken(centre: FakeCentre) -> None:
    """run.card says Running: the next job came after all."""
    centre.card("Running")
    ended = centre.run(replace(FACTS, trigger=TriggerKind.STALLED, submit_only=True))
    assert ExitCode.RUNNING_AGAIN == ended.exit
    assert touched_nothing(centre, ended)


def test_the_period_that_was_restarted_before_declines(centre: FakeCentre) -> None:
    """An earlier job's restart ran into the same period: a restart does not help it."""
    ended = centre.run(replace(FACTS, restarted_period=3))
    assert ExitCode.PERIOD_RESTARTED == ended.exit
    assert touched_nothing(centre, ended)


def test_a_later_period_than_the_restarted_one_acts(centre: FakeCentre) -> None:
    """Leading zeros are no octal number, and 8 is not 3."""
    centre.card(period="08")
    ended = centre.run(replace(FACTS, restarted_period=3))
    assert ExitCode.ACTED == ended.exit
    assert f"Script_Output_{NAME}.000008" in centre.asked("sbatch")[0]
