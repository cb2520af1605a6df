"""The body of a compute job: runs some periods, suffers what is planned, submits its successor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from supervision.errors import Refused
from supervision.sandbox import cards, emission, output, plans, post
from supervision.sandbox.cards import RunCard
from supervision.sandbox.centre import CENTRE_NAME, EXPERIMENT, MACHINE, MODEL, SPACE, Centre
from supervision.sandbox.emission import Words
from supervision.sandbox.plans import FaultKind
from supervision.sandbox.reporter import COMMANDS, LAST_COMMAND, Job, Reporter, this_job

_READY: Final = frozenset({cards.START, cards.ON_QUEUE})
_OWNER_SECONDS: Final = 60


def main(centre: Centre, arguments: Sequence[str]) -> int:
    """`sbx-compute NAME`: one compute job of the simulation; ends with 0 when it ended well."""
    if len(arguments) != 1:
        raise Refused("use: sbx-compute NAME")
    job = this_job(centre, plans.load(centre, arguments[0]))
    try:
        card = cards.read_run_card(job.directory / "run.card")
    except Refused as error:
        return _stop_unknown(job, str(error))
    if card is None:
        return _begin(job)
    if card.state == cards.COMPLETED:
        sys.stderr.write("run.card says Completed: nothing is left to run\n")
        return 1
    return _go_on(job, card)


def _begin(job: Job) -> int:
    """Be the simulation's first job: without a run.card a simulation gets a new identity."""
    first = plans.first_birth(job.centre, job.plan)
    card = RunCard(
        period=1,
        state=cards.START,
        simulation_uid=job.plan.uid if first else emission.new_uid(),
        submit_path=str(job.directory),
    )
    reporter = Reporter(job, card.simulation_uid, left_over=job.left_over)
    _write(job, card)
    words = Words(announced=_announcement(job), begun=reporter.begun())
    reporter.say(emission.SIMULATION_START, words)
    reporter.leave()
    return _chain(job, card, reporter)


def _announcement(job: Job) -> dict[str, str]:
    return {
        "activity": "IPSL",
        "name": job.plan.name,
        "experiment": EXPERIMENT,
        "space": SPACE,
        "model": MODEL,
        "startDate": cards.period_dates(1)[0],
        "endDate": cards.period_dates(job.plan.periods)[1],
        "login": job.centre.login,
        "centre": CENTRE_NAME,
        "machine": MACHINE,
    }


def _go_on(job: Job, card: RunCard) -> int:
    reporter = Reporter(job, card.simulation_uid, left_over=job.left_over)
    reporter.say(emission.JOB_START, Words(begun=reporter.begun()))
    reporter.leave()
    if card.state in _READY and not output.present(job, card.period):
        return _chain(job, card, reporter)
    sys.stderr.write(f"PeriodState is {card.state}: run clean_PeriodLenght.job first\n")
    return _fail(job, reporter)


def _stop_unknown(job: Job, problem: str) -> int:
    """Fail as libIGCM does that cannot read its run.card: whose messages these are is not known."""
    sys.stderr.write(problem + "\n")
    reporter = Reporter(job, "", left_over=job.left_over)
    reporter.say(emission.JOB_START, Words(begun=reporter.begun()))
    return _fail(job, reporter)


def _write(job: Job, card: RunCard) -> None:
    cards.write_run_card(job.directory / "run.card", card)


def _chain(job: Job, card: RunCard, reporter: Reporter) -> int:
    """Run the periods of one job; stop early where the chain is planned to break."""
    for _ in range(job.centre.pace.periods_per_job):
        code = _period(job, card, reporter)
        if code:
            return code
        if card.period == job.plan.periods:
            return _complete(job, card, reporter)
        broken = job.plan.fault(card.period, FaultKind.STALLED)
        card = replace(card, period=card.period + 1)
        if broken and plans.happens(job.centre, job.plan, broken):
            return _end(job, card, reporter, successor=False)
    return _end(job, card, reporter, successor=True)


def _period(job: Job, card: RunCard, reporter: Reporter) -> int:
    """Run one period; gives the exit code that ends the job, or 0."""
    _write(job, replace(card, state=cards.RUNNING))
    if reporter.voice.codes.periods:
        first, last = (cards.compact(day) for day in cards.period_dates(card.period))
        told = {
            "CumulPeriod": str(card.period),
            "PeriodDateBegin": first,
            "PeriodDateEnd": last,
        }
        reporter.say(emission.PERIOD_START, Words(told=told))
    output.begin(job, card.period)
    time.sleep(job.centre.pace.period_seconds)
    code = _suffer(job, card, reporter)
    if not code:
        output.finish(job, card.period)
        post.submit_planned(job, card.period)
    return code


def _suffer(job: Job, card: RunCard, reporter: Reporter) -> int:
    fault = job.plan.fault(card.period, *_SUFFERINGS)
    if fault is None or not plans.happens(job.centre, job.plan, fault):
        return 0
    return _SUFFERINGS[fault.kind](job, card, reporter)


def _error(job: Job, card: RunCard, reporter: Reporter) -> int:
    _write(job, replace(card, state=cards.FATAL))
    return _fail(job, reporter)


def _fail(job: Job, reporter: Reporter) -> int:
    """Fail as libIGCM does: the cause, its echoes, one fatal; and one more echo by a later mail."""
    codes = reporter.voice.codes
    for number in range(job.centre.pace.failed_commands):
        command = COMMANDS[0] if number == 0 else COMMANDS[number % len(COMMANDS)]
        reporter.say_command(codes.command, command, nesting=number % 3)
    reporter.say(codes.fatal)
    reporter.leave()
    time.sleep(job.centre.pace.echo_seconds)
    reporter.say_command(codes.command, LAST_COMMAND)
    reporter.leave()
    return 1


def _quota(job: Job, card: RunCard, reporter: Reporter) -> int:
    """Lose run.card as a full quota does: the temporary file stays empty and is moved over it."""
    _write(job, replace(card, state=cards.FATAL))
    draft = job.directory / "run.card.tmp"
    draft.write_text("")
    draft.replace(job.directory / "run.card")
    return _fail(job, reporter)


def _silent(_job: Job, _card: RunCard, _reporter: Reporter) -> int:
    """Die with the whole process group, the keeper included: as when a node is lost."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    return 1


def _hang(job: Job, _card: RunCard, _reporter: Reporter) -> int:
    """Stand still, then go on: the job is slow, not dead."""
    time.sleep(job.centre.pace.hang_seconds)
    return 0


def _cancelled(job: Job, _card: RunCard, _reporter: Reporter) -> int:
    """Be cancelled by the owner, who is nobody's child here: in a session of his own."""
    command = [str(job.centre.bin / "sbx-cancel"), job.scheduler_id]
    subprocess.run(command, check=True, start_new_session=True, timeout=_OWNER_SECONDS)
    return 1


_SUFFERINGS: Final[dict[FaultKind, Callable[[Job, RunCard, Reporter], int]]] = {
    FaultKind.ERROR: _error,
    FaultKind.NAN: _error,
    FaultKind.SILENT: _silent,
    FaultKind.HANG: _hang,
    FaultKind.QUOTA: _quota,
    FaultKind.CANCELLED: _cancelled,
}


def _complete(job: Job, card: RunCard, reporter: Reporter) -> int:
    _write(job, replace(card, state=cards.COMPLETED))
    reporter.say(emission.SIMULATION_END)
    if not reporter.voice.codes.periods:
        reporter.say(emission.JOB_END)
    reporter.leave()
    return 0


def _end(job: Job, card: RunCard, reporter: Reporter, *, successor: bool) -> int:
    """End well: OnQueue is written before the successor is submitted, as libIGCM does."""
    _write(job, replace(card, state=cards.ON_QUEUE))
    if job.plan.end_delayed:
        reporter.leave()
    reporter.say(emission.JOB_END)
    if job.plan.end_delayed:
        reporter.keep_back()
    else:
        reporter.leave()
    if successor:
        _submit_next(job, card.period)
    return 0


def _submit_next(job: Job, period: int) -> None:
    name = job.plan.name
    log = f"Script_Output_{name}.{period:06d}"
    command = [str(job.centre.bin / "sbx-submit"), "-o", log, "-e", log, f"Job_{name}"]
    subprocess.run(command, check=False, cwd=job.directory)
