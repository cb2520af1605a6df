"""The body of a post-processing job, and its submission by the compute job."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Final

from supervision.errors import Refused
from supervision.sandbox import cards, emission, plans, scripts
from supervision.sandbox.centre import Centre
from supervision.sandbox.emission import Words
from supervision.sandbox.plans import FaultKind, Generation
from supervision.sandbox.reporter import Job, Reporter, this_job

TASK: Final = "pack_output"
_COMMANDS: Final = ("IGCM_sys_ncrcat", "IGCM_sys_PutBuffer_Out", "IGCM_debug_Verif_Exit")
_ARGUMENTS: Final = 2


def submit_planned(job: Job, period: int) -> None:
    """Submit the post-processing of a period where one is planned; the chain does not wait for it.

    A sandbox simulation has post-processing only where it is to fail: each job costs processes.
    """
    if job.plan.fault(period, FaultKind.POST) is None:
        return
    path = scripts.write_post_job(job.centre, job.plan.name, task=TASK, period=period)
    command = [str(job.centre.bin / "sbx-submit"), path.name]
    subprocess.run(command, check=False, cwd=job.directory, stdout=subprocess.DEVNULL)


def main(centre: Centre, arguments: Sequence[str]) -> int:
    """`sbx-post NAME PERIOD`: one post-processing job; it fails once where that is planned."""
    if len(arguments) != _ARGUMENTS:
        raise Refused("use: sbx-post NAME PERIOD")
    plan, period = plans.load(centre, arguments[0]), int(arguments[1])
    job = this_job(centre, plan)
    reporter = Reporter(job, _identity(job))
    reporter.say(emission.POST_START, _start(reporter, period))
    reporter.leave()
    time.sleep(centre.pace.period_seconds)
    return _end(job, reporter, period)


def _identity(job: Job) -> str:
    card = cards.read_run_card(job.directory / "run.card")
    return "" if card is None else card.simulation_uid


def _start(reporter: Reporter, period: int) -> Words:
    if reporter.voice.generation is Generation.B:
        return Words()
    told = {
        "postProcessingName": TASK,
        "postProcessingDate": cards.compact(cards.period_dates(period)[1]),
        "postProcessingDimn": "null",
        "postProcessingComp": "null",
        "postProcessingFile": "null",
    }
    return Words(begun=reporter.begun(), told=told)


def _end(job: Job, reporter: Reporter, period: int) -> int:
    fault = job.plan.fault(period, FaultKind.POST)
    failed = fault is not None and plans.happens(job.centre, job.plan, fault)
    codes = reporter.voice.codes
    if failed:
        for number, command in enumerate(_COMMANDS):
            reporter.say_command(codes.post_command, command, nesting=number)
    reporter.say(codes.post_fatal if failed else emission.POST_END)
    reporter.leave()
    return 1 if failed else 0
