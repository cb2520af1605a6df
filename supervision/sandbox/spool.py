"""The sandbox's scheduler: one record a job, submit, queue, cancel.

There is no daemon. A job's own keeper process (`keeper.py`) moves its record on; whoever reads a
record proves by the process table that the job still lives.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from supervision.errors import NotFound
from supervision.sandbox.centre import Centre
from supervision.sandbox.files import locked, write_whole
from supervision.sandbox.processes import group_alive

QUEUED: Final = "queued"
RUNNING: Final = "running"
ENDED: Final = "ended"
_FIRST_ID: Final = 1001
_KILL_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What the scheduler knows of one job.

    `pid` and `started` (clock ticks since boot) name its process group. `reason` is how it ended:
    completed, failed, cancelled, node_fail or unknown; a reason may stand before the end does.
    """

    id: str
    name: str
    directory: str
    login: str
    pid: int
    started: int
    state: str = QUEUED
    reason: str | None = None
    exit_code: int | None = None

    def shown(self) -> str:
        """Spell one line of `sbx-queue`: a JSON object, keys always in this order, plain UTF-8."""
        keys = ("id", "name", "directory", "state", "reason", "login")
        return json.dumps({key: getattr(self, key) for key in keys}, ensure_ascii=False)


def _path(centre: Centre, job_id: str) -> Path:
    return centre.spool / f"{job_id}.json"


def _lock(centre: Centre) -> Path:
    return centre.spool / "lock"


def _write(centre: Centre, record: Record) -> None:
    write_whole(_path(centre, record.id), json.dumps(asdict(record)))


def _read(centre: Centre, job_id: str) -> Record:
    known = job_id.isdigit() and _path(centre, job_id).is_file()
    if not known:
        raise NotFound(f"Invalid job id specified: {job_id}")
    return Record(**json.loads(_path(centre, job_id).read_text()))


def add(centre: Centre, record: Record) -> Record:
    """Give the job the next number and keep it; numbers are never given twice."""
    with locked(_lock(centre)):
        counter = centre.spool / "last-id"
        last = int(counter.read_text()) if counter.exists() else _FIRST_ID - 1
        write_whole(counter, str(last + 1))
        record = replace(record, id=str(last + 1))
        _write(centre, record)
    return record


def change(
    centre: Centre,
    job_id: str,
    *,
    state: str | None = None,
    reason: str | None = None,
    exit_code: int | None = None,
) -> None:
    """Move a record on. The first reason stays: who was cancelled did not fail."""
    with locked(_lock(centre)):
        record = _read(centre, job_id)
        _write(
            centre,
            replace(
                record,
                state=state or record.state,
                reason=record.reason or reason,
                exit_code=record.exit_code if exit_code is None else exit_code,
            ),
        )


def _proven(record: Record) -> Record:
    """Correct a record by the process table: a job whose processes are gone has ended."""
    if record.state == ENDED:
        return record
    if group_alive(record.pid, record.started):
        return replace(record, reason=None)
    return replace(record, state=ENDED, reason=record.reason or "node_fail")


def look(centre: Centre, job_id: str) -> Record:
    """Tell how one job is, now; NotFound for an id that was never given."""
    record = _proven(_read(centre, job_id))
    if record.state == ENDED:
        # its keeper may have written the end between our two looks
        return _proven(_read(centre, job_id))
    return record


def queue(centre: Centre) -> Iterator[Record]:
    """Every job that this centre ever took, ended ones included, in the order of their numbers.

    All as they are at one moment: else a job that submits the next one and ends while the others
    are looked at would be gone, and the next one not there yet.
    """
    with locked(_lock(centre)):
        ids = sorted(int(path.stem) for path in centre.spool.glob("[0-9]*.json"))
        return iter([look(centre, str(job_id)) for job_id in ids])


def cancel(centre: Centre, job_id: str) -> Record:
    """End a job and all its processes; it is over when this returns. Idempotent.

    NotFound for an unknown id; a job that had ended keeps its reason.
    """
    record = look(centre, job_id)
    if record.state != ENDED:
        change(centre, job_id, reason="cancelled")
        _kill(record)
    return look(centre, job_id)


def _kill(record: Record) -> None:
    deadline = time.monotonic() + _KILL_SECONDS
    while group_alive(record.pid, record.started) and time.monotonic() < deadline:
        try:
            os.killpg(record.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(_STEP_SECONDS)
