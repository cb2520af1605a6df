"""What the schedulers' files share: a listed job, the words for how it is, and how ids compare.

Each scheduler's file has the same names: `queue_command(login)` and `parse_queue(text, login)`;
`history_command(ids)` (None where there is none) and `parse_history(text)`; `alive_command()`
(None where a listing proves it) and `alive(text)`; `submit_command`, `cancel_command`;
`job_key(id)`, under which two spellings of one id are equal; NAMES_MAY_BE_CUT; COUNTS_ALOUD, and
where it is true also `counted(text)` of what `alive_command` prints. With a history also
`history_by_name_command(login, names)` and `no_history(problem)`. docs/schedulers.md tells more.
"""

from typing import List, NamedTuple, Optional

QUEUED = "queued"
RUNNING = "running"
HELD = "held"
ENDED = "ended"
ABSENT = "absent"
UNKNOWN = "unknown"

COMPLETED = "completed"
FAILED = "failed"
TIMEOUT = "timeout"
CANCELLED = "cancelled"
NODE_FAIL = "node_fail"
OUT_OF_MEMORY = "out_of_memory"

LIVE = (QUEUED, RUNNING, HELD)


class ListingError(Exception):
    """A scheduler printed something that its parser does not know; nothing is concluded."""


class Job(NamedTuple):
    """One job as a scheduler lists it. `directory` None: this scheduler does not tell.

    `sight` is one of the words above; `reason` tells how an ended one ended.
    """

    id: str
    name: str
    directory: Optional[str]
    sight: str
    reason: Optional[str]


def columns(line: str, at_least: int) -> List[str]:
    """Split a line into columns; raises ListingError when there are fewer than its parser needs."""
    found = line.split()
    if len(found) < at_least:
        raise ListingError("a line with %d columns: %r" % (len(found), line[:200]))
    return found
