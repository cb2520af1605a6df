"""The make-believe centre: `sbx-queue` prints a JSON object per job, ended ones included."""

import json
from typing import Any, Dict, List, Optional

from hpc_agent.schedulers import words
from hpc_agent.schedulers.words import Job, ListingError

NAMES_MAY_BE_CUT = False
COUNTS_ALOUD = False

_SIGHTS = (words.QUEUED, words.RUNNING, words.HELD, words.ENDED)
_REASONS = (
    words.COMPLETED,
    words.FAILED,
    words.TIMEOUT,
    words.CANCELLED,
    words.NODE_FAIL,
    words.OUT_OF_MEMORY,
)


def job_key(job_id: str) -> str:
    """Compare ids as they are."""
    return job_id.strip()


def submit_command(file: str) -> List[str]:
    """Submit a job file; prints the id."""
    return ["sbx-submit", file]


def cancel_command(job_id: str) -> List[str]:
    """Cancel a job."""
    return ["sbx-cancel", job_id]


def queue_command(login: str) -> List[str]:  # noqa: ARG001 - it always lists everybody's jobs
    """List all jobs that the centre knows."""
    return ["sbx-queue"]


def parse_queue(text: str, login: str) -> List[Job]:
    """Read one JSON object per line; jobs of other logins are left out."""
    rows = [_row(line) for line in text.splitlines() if line.strip()]
    return [_job(row) for row in rows if row["login"] == login]


def history_command(ids: List[str]) -> Optional[List[str]]:  # noqa: ARG001
    """Ask nothing more: ended jobs stay in the queue's list."""
    return None


def parse_history(text: str) -> List[Job]:
    """Know nothing; there is no history command."""
    raise ListingError("the sandbox has no history: %r" % text[:200])


def alive_command() -> Optional[List[str]]:
    """Ask nothing more: a list that came is proof."""
    return None


def alive(text: str) -> bool:  # noqa: ARG001
    """Take the list for proof."""
    return True


def _row(line: str) -> Dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ListingError("a line that is not JSON: %r" % line[:200]) from error
    needed = {"id", "name", "directory", "state", "login"}
    if not isinstance(row, dict) or not needed <= set(row):
        raise ListingError("a line without %s: %r" % (sorted(needed), line[:200]))
    return row


def _job(row: Dict[str, Any]) -> Job:
    sight = row["state"] if row["state"] in _SIGHTS else words.UNKNOWN
    ended = row.get("reason") if row.get("reason") in _REASONS else words.UNKNOWN
    reason = ended if sight == words.ENDED else None
    return Job(str(row["id"]), row["name"], row["directory"], sight, reason)
