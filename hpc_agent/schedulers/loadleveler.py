"""LoadLeveler, of IDRIS. Its list shows no directory, and may cut a name."""

import re
from typing import List, Optional

from hpc_agent.schedulers import words
from hpc_agent.schedulers.words import Job, ListingError

NAMES_MAY_BE_CUT = True
COUNTS_ALOUD = False

_SIGHTS = {
    "I": words.QUEUED,
    "NQ": words.QUEUED,
    "D": words.QUEUED,
    "R": words.RUNNING,
    "ST": words.RUNNING,
    "P": words.RUNNING,
    "H": words.HELD,
    "S": words.HELD,
    "HS": words.HELD,
    "C": words.ENDED,
    "CA": words.ENDED,
    "RM": words.ENDED,
    "TX": words.ENDED,
    "V": words.ENDED,
}
_REASONS = {"C": words.COMPLETED, "CA": words.CANCELLED, "RM": words.CANCELLED}
_COLUMNS = 3
_NOTHING = "no job status to report"
_LEAST_PARTS = 3
_TOTAL = re.compile(r"Total Machines +[0-9]+ machines +([0-9]+) +jobs")


def job_key(job_id: str) -> str:
    """Compare host and job number: `ada.idris.fr.123.0`, `ada.123.0` and `ada.123` are one job."""
    parts = job_id.strip().split(".")
    has_step = len(parts) >= _LEAST_PARTS and parts[-1].isdigit() and parts[-2].isdigit()
    number = parts[-2] if has_step else parts[-1]
    return "%s.%s" % (parts[0], number)


def submit_command(file: str) -> List[str]:
    """Submit a job file."""
    return ["llsubmit", file]


def cancel_command(job_id: str) -> List[str]:
    """Cancel a job."""
    return ["llcancel", job_id]


def queue_command(login: str) -> List[str]:
    """List the login's job steps."""
    return ["llq", "-u", login, "-f", "%id", "%st", "%jn"]


def parse_queue(text: str, login: str) -> List[Job]:  # noqa: ARG001 - llq chose by login
    """Read the rows between the ruler and the blank line: id, state and name."""
    if _NOTHING in text:
        return []
    lines = text.splitlines()
    rulers = [number for number, line in enumerate(lines) if line.startswith("---")]
    if not rulers:
        raise ListingError("a list without a ruler: %r" % text[:200])
    rows = lines[rulers[0] + 1 :]
    end = next((number for number, line in enumerate(rows) if not line.strip()), len(rows))
    return [_job(words.columns(line, _COLUMNS)) for line in rows[:end]]


def history_command(ids: List[str]) -> Optional[List[str]]:  # noqa: ARG001
    """Ask nothing more: what has ended is soon gone."""
    return None


def parse_history(text: str) -> List[Job]:
    """Know nothing; there is no history command."""
    raise ListingError("LoadLeveler has no history: %r" % text[:200])


def alive_command() -> Optional[List[str]]:
    """Ask for the state of the machines."""
    return ["llstatus"]


def alive(text: str) -> bool:
    """Tell whether the central manager lists machines that have any job: no job is no proof."""
    total = _TOTAL.search(text)
    return total is not None and int(total.group(1)) > 0


def _job(row: List[str]) -> Job:
    sight = _SIGHTS.get(row[1], words.UNKNOWN)
    reason = _REASONS.get(row[1], words.UNKNOWN) if sight == words.ENDED else None
    return Job(row[0], row[2], None, sight, reason)
