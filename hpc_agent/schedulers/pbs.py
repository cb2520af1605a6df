"""PBS, of LSCE and IPSL. The full listing, because the short one cuts names at 15 characters."""

import re
from typing import Dict, List, Optional

from hpc_agent import reading
from hpc_agent.schedulers import words
from hpc_agent.schedulers.words import Job, ListingError

NAMES_MAY_BE_CUT = False
COUNTS_ALOUD = False

_SIGHTS = {
    "Q": words.QUEUED,
    "W": words.QUEUED,
    "T": words.QUEUED,
    "R": words.RUNNING,
    "E": words.RUNNING,
    "B": words.RUNNING,
    "H": words.HELD,
    "S": words.HELD,
    "C": words.ENDED,
    "F": words.ENDED,
}
_HEAD = "Job Id:"
_TOTAL = 2  # the column Tot of `qstat -B`
_WORKDIR = re.compile(r"(?:\A|,)PBS_O_WORKDIR=([^,]*)")
_NEEDED = ("Job_Name", "Job_Owner", "job_state")


def job_key(job_id: str) -> str:
    """Compare the number: `123.server`, `123` and `123[4].server` are one job."""
    return job_id.strip().split(".")[0].split("[")[0]


def submit_command(file: str) -> List[str]:
    """Submit a job file; prints `number.server`."""
    return ["qsub", file]


def cancel_command(job_id: str) -> List[str]:
    """Cancel a job."""
    return ["qdel", job_id]


def queue_command(login: str) -> List[str]:  # noqa: ARG001 - `-u` would bring back the short form
    """List all jobs in full; prints nothing when there are none."""
    return ["qstat", "-f"]


def parse_queue(text: str, login: str) -> List[Job]:
    """Read the blocks of `Job Id:` with their attributes; other owners' are left out."""
    blocks = [block for block in re.split(r"(?m)^(?=Job Id:)", text) if block.strip()]
    jobs = [_attributes(block) for block in blocks]
    return [_job(job) for job in jobs if job["Job_Owner"].split("@")[0] == login]


def history_command(ids: List[str]) -> Optional[List[str]]:  # noqa: ARG001
    """Ask nothing more: an ended job stays in the list for a while and is then unknown."""
    return None


def parse_history(text: str) -> List[Job]:
    """Know nothing; there is no history command."""
    raise ListingError("PBS has no history: %r" % text[:200])


def alive_command() -> Optional[List[str]]:
    """Ask for the state of the servers."""
    return ["qstat", "-B"]


def alive(text: str) -> bool:
    """Tell whether a server is active that knows any job: an empty one may have lost them all."""
    rows = [line.split() for line in text.splitlines() if "Active" in line.split()]
    totals = [row[_TOTAL] for row in rows if len(row) > _TOTAL]
    return any(total.isdigit() and int(total) > 0 for total in totals)


def _attributes(block: str) -> Dict[str, str]:
    joined = re.sub(r"\n\t", "", block)  # a long value goes on in lines that begin with a tab
    head, _, rest = joined.partition("\n")
    if not head.startswith(_HEAD):
        raise ListingError("not a job: %r" % head[:200])
    pairs = [line.strip().split(" = ", 1) for line in rest.splitlines() if " = " in line]
    attributes = {pair[0]: pair[1] for pair in pairs}
    if not all(name in attributes for name in _NEEDED):
        raise ListingError("a job without %s: %r" % (", ".join(_NEEDED), block[:200]))
    return dict(attributes, id=head[len(_HEAD) :].strip())


def _job(job: Dict[str, str]) -> Job:
    workdir = _WORKDIR.search(job.get("Variable_List", ""))
    directory = job.get("init_work_dir") or (workdir.group(1) if workdir else None)
    sight = _SIGHTS.get(job["job_state"], words.UNKNOWN)
    reason = _reason(job.get("exit_status", "")) if sight == words.ENDED else None
    return Job(job["id"], job["Job_Name"], directory, sight, reason)


def _reason(exit_status: str) -> str:
    """Tell how a job ended. A signal (negative, or above 128) may be the limit or the owner."""
    code = reading.whole(exit_status)
    if code is None or code >= 128:  # noqa: PLR2004 - the shell's offset
        return words.UNKNOWN
    return words.COMPLETED if exit_status == "0" else words.FAILED
