"""A job's keeper: the detached process that queues a job, runs it, and writes down how it ended.

It leads the job's process group. When somebody kills the group the keeper dies with it, and the
record stays as it was: that is how a lost node looks to a scheduler.
"""

from __future__ import annotations

import getopt
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supervision.errors import Refused
from supervision.sandbox import spool
from supervision.sandbox.centre import Centre
from supervision.sandbox.processes import start_time

_DIRECTIVE = "#SBX "
_HEADER_LINES = 30
_OPTIONS = "J:o:e:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked of the scheduler: a script, the job's name and where its output goes."""

    script: Path
    name: str
    output: str
    error: str


def request(arguments: Sequence[str]) -> Request:
    """Read `FILE [-o F] [-e F] [-J NAME]`; options win over the file's `#SBX` lines.

    Refused for anything else, and for a file that cannot be read.
    """
    try:
        options, files = getopt.gnu_getopt(list(arguments), _OPTIONS)
        script = Path(*files) if len(files) == 1 else None
    except getopt.GetoptError as error:
        raise Refused(f"{error}; use: sbx-submit FILE [-o F] [-e F] [-J NAME]") from error
    if script is None:
        raise Refused("exactly one script is needed: sbx-submit FILE [-o F] [-e F] [-J NAME]")
    given = _header(script) | dict(options)
    name = given.get("-J", script.name.removeprefix("Job_"))
    output = given.get("-o", f"{name}.out")
    return Request(script=script, name=name, output=output, error=given.get("-e", output))


def _header(script: Path) -> dict[str, str]:
    try:
        lines = script.read_text(errors="replace").splitlines()[:_HEADER_LINES]
    except OSError as error:
        raise Refused(f"{script} cannot be read: {error.strerror}") from error
    words = [line.split(None, 2) for line in lines if line.startswith(_DIRECTIVE)]
    return {word[1]: word[2].strip() for word in words if len(word) > 2}  # noqa: PLR2004 - #SBX, option, value


def submit(centre: Centre, wanted: Request) -> str:
    """Take a job and tell its id; the job goes on by itself, whatever becomes of the caller."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _keep(centre, wanted, writer)
    os.close(writer)
    with os.fdopen(reader) as answer:
        job_id = answer.read()
    if not job_id:
        raise Refused("the job could not be taken")
    return job_id


def _keep(centre: Centre, wanted: Request, answer: int) -> None:
    """Be the keeper; never returns."""
    try:
        os.setsid()
        streams = _open(wanted)
        job_id = _take(centre, wanted)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)  # lets go of the submitter's pipes: it would wait for our end
        os.write(answer, job_id.encode())
        os.close(answer)
        _run(centre, job_id)
    except OSError as error:
        sys.stderr.write(f"sbx-submit: {error}\n")
    finally:
        os._exit(0)


def _open(wanted: Request) -> tuple[int, int, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    output = os.open(wanted.output, flags, 0o644)
    error = output if wanted.error == wanted.output else os.open(wanted.error, flags, 0o644)
    return os.open(os.devnull, os.O_RDONLY), output, error


def _take(centre: Centre, wanted: Request) -> str:
    record = spool.add(
        centre,
        spool.Record(
            id="",
            name=wanted.name,
            directory=str(Path.cwd()),
            login=centre.login,
            pid=os.getpid(),
            started=start_time(os.getpid()) or 0,
        ),
    )
    shutil.copyfile(wanted.script, _script(centre, record.id))
    return record.id


def _script(centre: Centre, job_id: str) -> Path:
    """Name the scheduler's own copy: a script that changes later changes no job."""
    return centre.spool / f"{job_id}.sh"


def _run(centre: Centre, job_id: str) -> None:
    time.sleep(centre.pace.queue_seconds)
    spool.change(centre, job_id, state=spool.RUNNING)
    environment = {
        **os.environ,
        "PATH": f"{centre.bin}:{os.environ.get('PATH', os.defpath)}",
        "SBX_JOB_ID": job_id,
    }
    command = [centre.interpreter, str(_script(centre, job_id))]
    code = os.spawnvpe(os.P_WAIT, centre.interpreter, command, environment)  # noqa: S606 - a job
    spool.change(centre, job_id, state=spool.ENDED, reason=_reason(code), exit_code=code)


def _reason(code: int) -> str:
    if code < 0:
        return "unknown"  # killed by a signal that its keeper survived
    return "completed" if code == 0 else "failed"


def main(centre: Centre, arguments: Sequence[str]) -> int:
    """`sbx-submit`: print the id of the job that was taken."""
    sys.stdout.write(submit(centre, request(arguments)) + "\n")
    return 0
