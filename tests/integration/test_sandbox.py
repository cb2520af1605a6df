"""Simulations of a sandbox centre: real jobs in real processes, their cards, records and mails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from supervision import wire
from supervision.adapters import mailfiles
from supervision.errors import NotFound, Refused
from supervision.messages import Meaning
from supervision.sandbox import builder
from supervision.sandbox.centre import Centre
from supervision.sandbox.plans import Generation
from tests.integration.sandbox_centre import (
    a_centre,
    at_rest,
    card,
    codes,
    command,
    jobs,
    mails,
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


def test_four_periods_run_to_their_end(centre: Centre) -> None:
    """Two jobs of two periods each, told as generation C tells it."""
    plan = start(centre)
    at_rest(centre)
    assert ["0000", "1001", "1001", "1100", "1000", "1001", "1001", "0100"] == codes(centre)
    assert {plan.uid} == {message["simuid"] for message in messages(centre)}
    assert ("Completed", 4) == (card(centre).state, card(centre).period)
    assert [("ended", "completed")] * 2 == ways(centre)


def test_a_start_tells_where_its_job_lives(centre: Centre) -> None:
    """The service finds job and directory by what the start of generation C says."""
    start(centre, periods=1)
    at_rest(centre)
    first = messages(centre)[0]
    told = (first["login"], first["jobSchedulerID"], first["jobSubmissionPath"])
    assert (centre.login, jobs(centre)[0].id, jobs(centre)[0].directory) == told
    assert str(centre.directory_of("demo")) == first["jobSubmissionPath"]
    assert "3" == first["jobWarningDelay"]


def test_every_job_has_an_identity_and_messages_in_order(centre: Centre) -> None:
    """Two batch jobs, two jobuids; no two messages of a job carry one time."""
    start(centre)
    at_rest(centre)
    by_job: dict[str, list[str]] = {}
    for message in messages(centre):
        by_job.setdefault(message["jobuid"], []).append(message["msgTimestamp"])
    assert 2 == len(by_job)
    assert all(earlier < later for times in by_job.values() for earlier, later in pairwise(times))
    assert len(messages(centre)) == len({message["msgUID"] for message in messages(centre)})


def test_the_announcement_leaves_at_once_and_the_rest_at_job_boundaries(centre: Centre) -> None:
    """A mail a boundary: announcement, end of a job, start of a job, end of the simulation."""
    start(centre)
    at_rest(centre)
    expected = [["0000"], ["1001", "1001", "1100"], ["1000"], ["1001", "1001", "0100"]]
    assert expected == [[message["msgCode"] for message in one] for one in mails(centre)]


def test_generation_b_tells_no_periods_and_ends_with_1100(centre: Centre) -> None:
    """0100 first, then 1100, as in the mails of 2015."""
    start(centre, generation=Generation.B)
    at_rest(centre)
    assert ["0000", "1100", "1000", "0100", "1100"] == codes(centre)
    assert "jobSubmissionPath" not in messages(centre)[0]


def test_each_job_writes_its_own_log(centre: Centre) -> None:
    """The log is numbered with the period that the job begins with, as libIGCM does."""
    start(centre)
    at_rest(centre)
    logs = sorted(path.name for path in centre.directory_of("demo").glob("Script_Output_*"))
    assert ["Script_Output_demo.000001", "Script_Output_demo.000003"] == logs


@pytest.mark.parametrize(
    ("generation", "command_failed", "fatal"),
    [(Generation.B, "4900", "9999"), (Generation.C, "1900", "1999")],
)
def test_an_error_sends_hundreds_of_echoes_one_fatal_and_one_more(
    centre: Centre, generation: Generation, command_failed: str, fatal: str
) -> None:
    """The shape of a real failure: the storm and the fatal in one mail, the echo in a later one."""
    start(centre, "error:3", generation=generation)
    at_rest(centre)
    *_, storm, echo = mails(centre)
    told = [message["msgCode"] for message in storm if message["msgCode"] != "1001"]
    assert [command_failed] * 300 + [fatal] == told
    assert [(command_failed, "IGCM_sys_SendMail")] == [(m["msgCode"], m["command"]) for m in echo]
    assert ("Fatal", 3) == (card(centre).state, card(centre).period)
    assert [("ended", "completed"), ("ended", "failed")] == ways(centre)


def test_the_owner_restarts_after_an_error_and_it_completes(centre: Centre) -> None:
    """An error is transient: cleaned and submitted again, the same simulation ends well."""
    plan = start(centre, "error:3")
    at_rest(centre)
    builder.rerun(centre, "demo")
    at_rest(centre)
    assert ["1000", "1001", "1001", "0100"] == codes(centre)[-4:]
    assert plan.uid == messages(centre)[-1]["simuid"]
    assert "Completed" == card(centre).state


def test_a_killed_job_sends_nothing_more(centre: Centre) -> None:
    """A lost node: the scheduler knows it, run.card still says Running, the rest is silence."""
    start(centre, "silent:2")
    at_rest(centre)
    assert ["0000"] == codes(centre)
    assert ("Running", 2) == (card(centre).state, card(centre).period)
    assert [("ended", "node_fail")] == ways(centre)


def test_the_owner_restarts_a_killed_job_and_it_completes(centre: Centre) -> None:
    """The period that was killed runs the second time."""
    start(centre, "silent:2")
    at_rest(centre)
    builder.rerun(centre, "demo")
    at_rest(centre)
    assert ("Completed", 4) == (card(centre).state, card(centre).period)


def test_a_hung_job_runs_on_past_its_delay(centre: Centre) -> None:
    """It is late by its own word, and the queue says that it runs."""
    slow = paced(centre, warning_delay_seconds=1)
    start(slow, "hang:1")
    until(lambda: ways(slow) == [("running", None)])
    began = time.monotonic()
    until(lambda: time.monotonic() - began > slow.pace.warning_delay_seconds)
    assert [("running", None)] == ways(slow)
    assert ("Running", 1) == (card(slow).state, card(slow).period)


def test_a_hung_job_was_only_slow(centre: Centre) -> None:
    """It goes on where it stood, and completes."""
    slow = paced(centre, hang_seconds=0.5)
    start(slow, "hang:1")
    at_rest(slow)
    begun, ended = _seconds(messages(slow), "0000", "1100")
    assert ended - begun > 0.5
    assert "Completed" == card(slow).state


def _seconds(told: list[dict[str, str]], *codes: str) -> list[float]:
    """When these codes were told first, in seconds."""
    stamps = {message["msgCode"]: message["msgTimestamp"] for message in reversed(told)}
    return [datetime.fromisoformat(stamps[code]).timestamp() for code in codes]


def test_a_blown_up_model_fails_in_the_same_period_again(centre: Centre) -> None:
    """Restarting a run that blows up changes nothing."""
    paced(centre, failed_commands=3)
    start(centre, "nan:3")
    at_rest(centre)
    builder.rerun(centre, "demo")
    at_rest(centre)
    assert 2 == codes(centre).count("1999")
    assert ("Fatal", 3) == (card(centre).state, card(centre).period)


def test_a_full_quota_leaves_an_empty_run_card(centre: Centre) -> None:
    """The temporary file stayed empty and was moved over run.card; the job fails."""
    start(centre, "quota:3")
    at_rest(centre)
    assert "" == (centre.directory_of("demo") / "run.card").read_text()
    assert 1 == codes(centre).count("1999")
    assert ("ended", "failed") == ways(centre)[-1]


def test_a_job_that_cannot_read_its_run_card_does_not_know_who_it_is(centre: Centre) -> None:
    """Submitted over the empty card it fails with an empty simuid, as libIGCM does."""
    paced(centre, failed_commands=3)
    start(centre, "quota:1")
    at_rest(centre)
    command(centre, "sbx-submit", "Job_demo", cwd=centre.directory_of("demo"))
    at_rest(centre)
    last = messages(centre)[-1]["jobuid"]
    assert {""} == {m["simuid"] for m in messages(centre) if m["jobuid"] == last}


def test_the_owner_mends_an_empty_run_card(centre: Centre) -> None:
    """A rerun puts back the last card that was whole, cleans and goes on."""
    paced(centre, failed_commands=3)
    start(centre, "quota:3")
    at_rest(centre)
    builder.rerun(centre, "demo")
    at_rest(centre)
    assert ("Completed", 4) == (card(centre).state, card(centre).period)


def test_a_cancelled_job_sends_nothing_and_the_scheduler_says_so(centre: Centre) -> None:
    """The owner stopped it: that is no failure."""
    start(centre, "cancelled:2")
    at_rest(centre)
    assert ["0000"] == codes(centre)
    assert [("ended", "cancelled")] == ways(centre)
    assert ("Running", 2) == (card(centre).state, card(centre).period)


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (Generation.B, ["2000", "4900", "4900", "4900", "2900"]),
        (Generation.C, ["2000", "2900", "2900", "2900", "2999"]),
    ],
)
def test_a_failed_post_processing_leaves_the_chain_alone(
    centre: Centre, generation: Generation, expected: list[str]
) -> None:
    """The compute jobs complete; the post-processing job of the period fails by itself."""
    start(centre, "post:2", generation=generation)
    at_rest(centre)
    other = {m["jobuid"] for m in messages(centre) if m["msgCode"] == "2000"}
    assert expected == [m["msgCode"] for m in messages(centre) if m["jobuid"] in other]
    assert ("Completed", 4) == (card(centre).state, card(centre).period)
    assert ["completed", "completed", "failed"] == sorted(str(job.reason) for job in jobs(centre))


def test_a_post_processing_job_succeeds_when_it_is_submitted_again(centre: Centre) -> None:
    """Only that job is submitted; it names its task, and run.card stays as it is."""
    start(centre, "post:2")
    at_rest(centre)
    before = card(centre)
    file = "Post_demo.pack_output.18500228.job"
    assert 0 == command(centre, "sbx-submit", file, cwd=centre.directory_of("demo")).returncode
    at_rest(centre)
    begun, ended = messages(centre)[-2:]
    assert ("pack_output", "18500228") == (begun["postProcessingName"], begun["postProcessingDate"])
    assert "2100" == ended["msgCode"]
    assert before == card(centre)


def test_a_chain_can_break_between_two_jobs(centre: Centre) -> None:
    """OnQueue, an end that was told, and no job: nobody sends anything any more."""
    start(centre, "stalled:1")
    at_rest(centre)
    assert ["0000", "1001", "1100"] == codes(centre)
    assert ("OnQueue", 2) == (card(centre).state, card(centre).period)
    assert [("ended", "completed")] == ways(centre)


def test_the_owner_goes_on_after_a_broken_chain_without_cleaning(centre: Centre) -> None:
    """Nothing failed, so that the next period is only submitted."""
    start(centre, "stalled:1")
    at_rest(centre)
    builder.rerun(centre, "demo")
    at_rest(centre)
    assert ("Completed", 4) == (card(centre).state, card(centre).period)


def test_a_delayed_end_leaves_with_the_next_jobs_mail(centre: Centre) -> None:
    """Until then a job that ended well has told no end."""
    start(centre, end_delayed=True)
    at_rest(centre)
    expected = [["0000"], ["1001", "1001"], ["1100", "1000"], ["1001", "1001", "0100"]]
    assert expected == [[message["msgCode"] for message in one] for one in mails(centre)]


def test_a_delayed_end_waits_for_a_job_that_never_comes(centre: Centre) -> None:
    """The end of the last job before the break is never told."""
    start(centre, "stalled:2", end_delayed=True)
    at_rest(centre)
    assert ["0000", "1001", "1001"] == codes(centre)
    assert "OnQueue" == card(centre).state


def test_a_job_submitted_over_a_failed_period_fails(centre: Centre) -> None:
    """Without clean libIGCM does not run a period again."""
    paced(centre, failed_commands=3)
    start(centre, "error:2")
    at_rest(centre)
    command(centre, "sbx-submit", "Job_demo", cwd=centre.directory_of("demo"))
    at_rest(centre)
    assert 2 == codes(centre).count("1999")
    assert ("Fatal", 2) == (card(centre).state, card(centre).period)


def test_a_simulation_without_run_card_is_born_as_another(centre: Centre) -> None:
    """Who deletes run.card in the first period loses the simulation's identity."""
    plan = start(centre, "silent:1", periods=1)
    at_rest(centre)
    (centre.directory_of("demo") / "run.card").unlink()
    builder.rerun(centre, "demo")
    at_rest(centre)
    assert plan.uid != messages(centre)[-1]["simuid"]
    assert ["0000", "0000"] == [code for code in codes(centre) if code == "0000"]


def test_a_rerun_is_refused_while_a_job_runs(centre: Centre) -> None:
    """A second copy of a running simulation is the worst that could happen."""
    start(centre, "hang:1")
    until(lambda: ways(centre) == [("running", None)])
    with pytest.raises(Refused, match="is running: nothing to restart"):
        builder.rerun(centre, "demo")


def test_a_rerun_of_a_complete_simulation_is_refused(centre: Centre) -> None:
    """There is nothing left to run."""
    start(centre, periods=1)
    at_rest(centre)
    with pytest.raises(Refused, match="complete"):
        builder.rerun(centre, "demo")


def test_a_rerun_of_nobody_names_those_that_there_are(centre: Centre) -> None:
    """A typing error is found at once."""
    with pytest.raises(NotFound, match="there are: none yet"):
        builder.rerun(centre, "demo")


def test_the_status_tells_how_a_simulation_is(centre: Centre) -> None:
    """Before its first job, run.card is absent; a damaged one is called so."""
    paced(centre, queue_seconds=60)
    start(centre)
    assert "absent" == builder.status_of(centre, "demo").state
    (centre.directory_of("demo") / "run.card").write_text("")
    assert "damaged" == builder.status_of(centre, "demo").state


def test_a_centre_needs_an_empty_directory(tmp_path: Path) -> None:
    """Nothing that is there is ever written over."""
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(Refused, match="not empty"):
        builder.make_centre(tmp_path)


@pytest.mark.parametrize("name", ["a{b}", "a:b", "a\nb"])
def test_a_path_that_settings_cannot_carry_is_refused(tmp_path: Path, name: str) -> None:
    """Braces mean fields in patterns, colons separate PATH."""
    with pytest.raises(Refused, match="cannot be a centre"):
        builder.make_centre(tmp_path / name)


@pytest.mark.parametrize("generation", list(Generation))
def test_the_service_understands_every_line(centre: Centre, generation: Generation) -> None:
    """Read as `ingest` reads them, the mails mean what happened here."""
    paced(centre, failed_commands=3)
    plan = start(centre, "post:1", "error:3", generation=generation)
    at_rest(centre)
    read = [wire.decode_line(line.raw) for line in mailfiles.read(sorted(centre.sent.iterdir()))]
    meanings = {message.meaning for message in read}
    assert {plan.uid} == {message.simulation_uid for message in read}
    assert {generation.value} == {message.generation for message in read}
    assert {
        Meaning.SIMULATION_START,
        Meaning.COMPUTE_END,
        Meaning.COMPUTE_START,
        Meaning.COMMAND_FAILED,
        Meaning.FATAL,
        Meaning.POST_START,
        Meaning.POST_FAILED,
    } == meanings - {Meaning.PERIOD_START}
