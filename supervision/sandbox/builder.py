"""Builds a centre and its simulations, restarts and stops them, tells how they are.

This is what the commands for people call; the centre's own commands are in `commands.py`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from supervision.errors import Refused
from supervision.sandbox import cards, mail, plans, scripts, spool
from supervision.sandbox.cards import RunCard
from supervision.sandbox.centre import Centre, Pace
from supervision.sandbox.files import write_whole
from supervision.sandbox.plans import Plan

_LIBIGCM: Final = Path(__file__).with_name("libigcm")
_FORBIDDEN: Final = frozenset("{}:")  # they mean something in patterns and in PATH
_PACKAGE: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """How one simulation is. `state` is run.card's PeriodState, or absent or damaged.

    `job` is the last compute job that the scheduler took for it.
    """

    plan: Plan
    state: str
    period: int | None
    job: spool.Record | None


def present_user() -> str:
    """Tell the login of whoever runs this; its number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def make_centre(
    root: Path, *, ingest: tuple[str, ...] | None = None, pace: Pace | None = None
) -> Centre:
    """Make a centre for the present user; Refused where `root` holds anything.

    `ingest` is the command that takes mail files: this service's own unless told otherwise.
    """
    if not str(root.resolve()).isprintable() or set(str(root.resolve())) & _FORBIDDEN:
        raise Refused(
            f"{root} cannot be a centre: no braces, colons, control characters in its path"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Refused(f"{root} is not empty: a sandbox centre needs a directory of its own")
    root.mkdir(parents=True, exist_ok=True)
    centre = Centre(
        root=root.resolve(),
        login=present_user(),
        python=sys.executable,
        package=str(_PACKAGE),
        ingest=ingest or (sys.executable, "-P", "-m", "supervision", "ingest"),
        pace=pace or Pace(),
    )
    _furnish(centre)
    return centre


def _furnish(centre: Centre) -> None:
    home, scratch = centre.root / "home", centre.root / "scratch"
    for path in (centre.bin, centre.spool, centre.outbox, centre.sent, centre.plans, home, scratch):
        path.mkdir()
    home.chmod(0o700)
    _install_libigcm(centre)
    for name in scripts.COMMANDS:
        scripts.write_command(centre, name)
    centre.save()


def _install_libigcm(centre: Centre) -> None:
    target = centre.modipsl / "libIGCM"
    shutil.copytree(_LIBIGCM, target, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    (target / "libIGCM_sys" / "libIGCM_sys_sandbox.ksh").write_text(scripts.site_file(centre))
    (target / "clean_PeriodLenght.job").chmod(0o755)


def discard(centre: Centre) -> None:
    """Remove all that a centre is made of; its own directory stays, empty. No job may run."""
    for path in centre.root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def start_simulation(centre: Centre, plan: Plan) -> str:
    """Write a simulation's submission directory and submit its first job; tells the job's id.

    Refused when there is a simulation of this name: a name means one simulation here.
    """
    plans.save(centre, plan)
    directory = centre.directory_of(plan.name)
    directory.mkdir(parents=True)
    centre.buffer_of(plan.name).mkdir(parents=True)
    (directory / "config.card").write_text(scripts.config_card(centre, plan))
    scripts.write_job(centre, plan.name)
    return _submit(centre, plan.name, period=1)


def _submit(centre: Centre, name: str, *, period: int) -> str:
    log = f"Script_Output_{name}.{period:06d}"
    command = [str(centre.bin / "sbx-submit"), "-o", log, "-e", log, f"Job_{name}"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=centre.directory_of(name)
    )
    if done.returncode:
        raise Refused(f"the scheduler did not take the job: {done.stderr.strip()}")
    return done.stdout.strip()


def rerun(centre: Centre, name: str) -> str:
    """Restart a simulation as its owner would: restore run.card, clean, submit; tells the job's id.

    Refused while a job of it is queued or running, and when it is complete.
    """
    status = status_of(centre, name)
    if status.job is not None and status.job.state != spool.ENDED:
        raise Refused(f"job {status.job.id} of {name} is {status.job.state}: nothing to restart")
    if status.state == cards.COMPLETED:
        raise Refused(f"{name} is complete: nothing to restart")
    card = _mended(centre, name)
    if card is None:
        return _submit(centre, name, period=1)
    if card.state not in {cards.START, cards.ON_QUEUE}:
        _clean(centre, name)
    return _submit(centre, name, period=card.period)


def _mended(centre: Centre, name: str) -> RunCard | None:
    """Read run.card; a damaged one is put back from the copy that its last writer kept."""
    path = centre.directory_of(name) / "run.card"
    try:
        return cards.read_run_card(path)
    except Refused:
        write_whole(path, path.with_name("run.card.old").read_text())
        return cards.read_run_card(path)


def _clean(centre: Centre, name: str) -> None:
    """Answer clean's questions by their text: yes to all but the end of the identity."""
    command = [centre.interpreter, str(centre.modipsl / "libIGCM" / "clean_PeriodLenght.job")]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=centre.directory_of(name),
    ) as clean:
        if clean.stdin and clean.stdout:
            _converse(clean.stdin, clean.stdout)
    if clean.returncode:
        raise Refused(f"clean_PeriodLenght.job ended with {clean.returncode} for {name}")


def _converse(answers: IO[str], words: IO[str]) -> None:
    """Read letter by letter: a question does not end its line before it has its answer."""
    line = ""
    while letter := words.read(1):
        line = "" if letter == "\n" else line + letter
        if line.endswith("(y/N) "):
            answers.write("n\n" if "run.card" in line else "y\n")
            answers.flush()


def status_of(centre: Centre, name: str) -> Status:
    """Tell how one simulation is; NotFound when the centre has none of this name."""
    plan = plans.load(centre, name)
    directory = str(centre.directory_of(name))
    jobs = [
        record
        for record in spool.queue(centre)
        if record.name == name and record.directory == directory
    ]
    state, period = _progress(centre, name)
    return Status(plan=plan, state=state, period=period, job=jobs[-1] if jobs else None)


def _progress(centre: Centre, name: str) -> tuple[str, int | None]:
    try:
        card = cards.read_run_card(centre.directory_of(name) / "run.card")
    except Refused:
        return "damaged", None
    return ("absent", None) if card is None else (card.state, card.period)


def status(centre: Centre) -> list[Status]:
    """Tell how every simulation of a centre is, in the order of their names."""
    return [status_of(centre, name) for name in plans.names(centre)]


def stop(centre: Centre) -> list[str]:
    """Cancel every job that is queued or running; tells their ids.

    A job may submit its successor while it dies, so this looks again until nobody is left.
    """
    stopped: list[str] = []
    while alive := [job.id for job in spool.queue(centre) if job.state != spool.ENDED]:
        for job_id in alive:
            spool.cancel(centre, job_id)
        stopped.extend(alive)
    return stopped


def undelivered(centre: Centre) -> int:
    """Count the mails that `ingest` has not taken."""
    return len(mail.waiting(centre))
