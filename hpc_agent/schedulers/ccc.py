"""Bridge, the ccc_* commands of TGCC. Its list shows no directory, and may cut a name."""

from typing import List, Optional

from hpc_agent.schedulers import words
from hpc_agent.schedulers.words import Job, ListingError

NAMES_MAY_BE_CUT = True
COUNTS_ALOUD = False

_SIGHTS = {"PEN": words.QUEUED, "RUN": words.RUNNING}
_OWNER, _ID, _STATE, _SUSPENDED, _NAME, _REASON = 0, 2, 6, 9, 11, 12
_COLUMNS = 12


def job_key(job_id: str) -> str:
    """Compare ids as they are."""
    return job_id.strip()


def submit_command(file: str) -> List[str]:
    """Submit a job file."""
    return ["ccc_msub", file]


def cancel_command(job_id: str) -> List[str]:
    """Cancel a job."""
    return ["ccc_mdel", job_id]


def queue_command(login: str) -> List[str]:
    """List the login's jobs that are queued or running; ended ones are absent."""
    return ["ccc_mpp", "-u", login]


def parse_queue(text: str, login: str) -> List[Job]:
    """Read the columns user, id, state, susp, name and reason."""
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [words.columns(line, _COLUMNS) for line in lines if line.split()[0] != "USER"]
    return [_job(row) for row in rows if row[_OWNER] == login]


def history_command(ids: List[str]) -> Optional[List[str]]:  # noqa: ARG001
    """Ask nothing more: what has ended is gone."""
    return None


def parse_history(text: str) -> List[Job]:
    """Know nothing; there is no history command."""
    raise ListingError("ccc has no history: %r" % text[:200])


def alive_command() -> Optional[List[str]]:
    """List everybody's jobs: a machine without any job at all is not trusted."""
    return ["ccc_mpp"]


def alive(text: str) -> bool:
    """Tell whether there was a job of anybody."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return any(len(line) >= _COLUMNS and line[_ID].isdigit() for line in lines)


def _job(row: List[str]) -> Job:
    reason = row[_REASON] if len(row) > _REASON else ""
    held = row[_SUSPENDED] != "-" or (row[_STATE] == "PEN" and reason.startswith("JobHeld"))
    sight = words.HELD if held else _SIGHTS.get(row[_STATE], words.UNKNOWN)
    return Job(row[_ID], row[_NAME], None, sight, None)
