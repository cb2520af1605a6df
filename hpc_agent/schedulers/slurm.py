"""Slurm: squeue for what its controller remembers, sacct, if there is one, for the rest."""

import re
from typing import List, Optional, Tuple

from hpc_agent.schedulers import words
from hpc_agent.schedulers.words import Job, ListingError

NAMES_MAY_BE_CUT = False
COUNTS_ALOUD = True

_SIGHTS = {
    "PENDING": words.QUEUED,
    "CONFIGURING": words.QUEUED,
    "REQUEUED": words.QUEUED,
    "REQUEUE_FED": words.QUEUED,
    "RUNNING": words.RUNNING,
    "COMPLETING": words.RUNNING,
    "STAGE_OUT": words.RUNNING,
    "SIGNALING": words.RUNNING,
    "RESIZING": words.RUNNING,
    "SUSPENDED": words.HELD,
    "STOPPED": words.HELD,
    "REQUEUE_HOLD": words.HELD,
    "SPECIAL_EXIT": words.HELD,
}
_REASONS = {
    "COMPLETED": words.COMPLETED,
    "FAILED": words.FAILED,
    "BOOT_FAIL": words.NODE_FAIL,
    "NODE_FAIL": words.NODE_FAIL,
    "TIMEOUT": words.TIMEOUT,
    "DEADLINE": words.TIMEOUT,
    "CANCELLED": words.CANCELLED,
    "REVOKED": words.CANCELLED,
    "OUT_OF_MEMORY": words.OUT_OF_MEMORY,
    "PREEMPTED": words.UNKNOWN,
}
# A requeued job waits 121 s for BeginTime, and counts as queued all that time.
_HELD_REASONS = ("JobHeld", "job requeued in held state", "JobHoldMaxRequeue")
_QUEUE_FIELDS = 5
_HISTORY_FIELDS = 4
_HISTORY_COLUMNS = "JobID,State,WorkDir,JobName"
_HISTORY_SINCE = "now-7days"  # longer than any trigger is acted on
_NO_ACCOUNTS = "accounting storage is disabled"
_SETTING = re.compile(r"(?m)^(FirstJobId|NEXT_JOB_ID) *= *([0-9]+) *$")
_UP = re.compile(r"(?m)^Slurmctld\([^)]*\) at .* is UP *$")


def job_key(job_id: str) -> str:
    """Compare the number: a task of an array or a part of a composed job counts as the job."""
    return job_id.strip().split("_")[0].split("+")[0].split(".")[0]


def submit_command(file: str) -> List[str]:
    """Submit a job file; prints the id, on a federation followed by `;cluster`."""
    return ["sbatch", "--parsable", file]


def cancel_command(job_id: str) -> List[str]:
    """Cancel a job; silent and 0 for an id that nobody knows."""
    return ["scancel", job_id]


def queue_command(login: str) -> List[str]:
    """List the login's jobs in all states. The name comes last, for it may hold the separator."""
    return ["squeue", "-h", "-u", login, "-t", "all", "-o", "%i|%T|%r|%Z|%j"]


def parse_queue(text: str, login: str) -> List[Job]:  # noqa: ARG001 - squeue chose by login
    """Read id, state, reason, working directory and name."""
    return [_queued(line) for line in text.splitlines() if line.strip()]


def history_command(ids: List[str]) -> Optional[List[str]]:
    """Ask the accounts for jobs that the controller has forgotten."""
    keys = ",".join(job_key(job_id) for job_id in ids)
    return ["sacct", "-n", "-P", "-X", "-j", keys, "-o", _HISTORY_COLUMNS]


def history_by_name_command(login: str, names: List[str]) -> Optional[List[str]]:
    """Ask the accounts for the login's jobs of these names in the last days; none has a comma."""
    chosen = "--name=%s" % ",".join(names)
    since = ["-S", _HISTORY_SINCE, "-o", _HISTORY_COLUMNS]
    return ["sacct", "-n", "-P", "-X", "-u", login, chosen] + since  # noqa: RUF005 - reads better


def no_history(problem: str) -> bool:
    """Tell whether what sacct said means that this site keeps no accounts at all."""
    return _NO_ACCOUNTS in problem


def parse_history(text: str) -> List[Job]:
    """Read id, state, working directory and name. `CANCELLED by 1234` is CANCELLED."""
    return [_remembered(line) for line in text.splitlines() if line.strip()]


def alive_command() -> Optional[List[str]]:
    """Ask the controller for its settings: whether it is up, and how far it has counted."""
    return ["scontrol", "show", "config"]


def alive(text: str) -> bool:
    """Tell whether a controller is up that has ever taken a job.

    One that has lost its memory begins to count anew, and its empty list proves nothing.
    """
    settings = dict(_SETTING.findall(text))
    first, following = int(settings.get("FirstJobId", 1)), settings.get("NEXT_JOB_ID")
    return bool(_UP.search(text)) and following is not None and int(following) > first


def counted(text: str) -> Optional[int]:
    """Read the number of the next job: what is absent and below it did end."""
    following = dict(_SETTING.findall(text)).get("NEXT_JOB_ID")
    return int(following) if following else None


def _queued(line: str) -> Job:
    fields = line.split("|", _QUEUE_FIELDS - 1)
    if len(fields) < _QUEUE_FIELDS:
        raise ListingError("a line with %d fields: %r" % (len(fields), line[:200]))
    job_id, state, reason, directory, name = fields
    held = state == "PENDING" and reason.startswith(_HELD_REASONS)
    return _job(job_id, words.HELD if held else _sight(state), state, (name, directory))


def _remembered(line: str) -> Job:
    fields = line.split("|", _HISTORY_FIELDS - 1)
    if len(fields) < _HISTORY_FIELDS:
        raise ListingError("a line with %d fields: %r" % (len(fields), line[:200]))
    job_id, state, directory, name = fields
    word = state.split(" ")[0].rstrip("+")
    sight = _sight(word)
    # The controller does not know it any more: what the accounts still call alive is lost there.
    told = words.UNKNOWN if sight in words.LIVE else sight
    return _job(job_id, told, word, (name, directory))


def _sight(state: str) -> str:
    return _SIGHTS.get(state, words.ENDED if state in _REASONS else words.UNKNOWN)


def _job(job_id: str, sight: str, state: str, place: Tuple[str, str]) -> Job:
    reason = _REASONS.get(state) if sight == words.ENDED else None
    return Job(job_id.strip(), place[0], place[1] or None, sight, reason)
