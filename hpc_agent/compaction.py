"""What the journal may forget, and how: whole supervisions, and never one that could still act.

Forgotten is what is finished, quiet for the retention, and past every expiry that was signed for
it. From then on its fences are not needed: whatever it fenced has expired, and is refused for that.
"""

import os
import shutil
import time
from typing import List

from hpc_agent import journal, process
from hpc_agent.journal import ENDED, ENTRY, STARTED, Record

_MARGIN_SECONDS = 60.0
_PATIENCE = 2  # as in attempts.py: the wait for the directory's lock, and the script


def compact(root: str, keep_seconds: float) -> List[str]:
    """Forget supervisions in which nothing has happened for `keep_seconds`; names them.

    Two agents may do it at once: each folder is taken away by one of them, in one step, so a
    crash leaves no half of it in the journal. What cannot be read is kept.
    """
    folder = os.path.join(root, "journal")
    return [name for name in sorted(os.listdir(folder)) if _forgotten(root, name, keep_seconds)]


def _forgotten(root: str, name: str, keep_seconds: float) -> bool:
    record = Record(root, name)
    try:
        quiet = time.time() - _newest(record.folder) > keep_seconds
        return quiet and finished(record) and _taken(root, record)
    except (OSError, ValueError, KeyError, TypeError, journal.JournalError):
        return False  # another agent took it, or it is damaged: then it is for a person to look at


def finished(record: Record) -> bool:
    """Tell whether nothing of this supervision can act any more, and every expiry is over."""
    return all(_over(record, attempt) for attempt in record.attempts(ENTRY))


def _over(record: Record, attempt: int) -> bool:
    entry = record.read(attempt, ENTRY) or {}
    started = record.read(attempt, STARTED)
    if started is None or time.time() <= float(entry["expires_at"]):
        return False
    if "fenced" in started or record.read(attempt, ENDED) is not None:
        return True
    longest = _PATIENCE * float(entry["timeout_seconds"]) + _MARGIN_SECONDS
    silent = time.time() > float(started["at"]) + longest
    return silent and process.fate(started) != process.ALIVE


def _taken(root: str, record: Record) -> bool:
    """Move the folder out of the journal, then delete it: what is half deleted is not in it."""
    away = os.path.join(root, "tmp", "forgotten-" + os.urandom(8).hex())
    os.rename(record.folder, away)
    shutil.rmtree(away, ignore_errors=True)  # tidying drafts takes what is left
    return True


def _newest(folder: str) -> float:
    times = [os.stat(os.path.join(folder, name)).st_mtime for name in os.listdir(folder)]
    return max([os.stat(folder).st_mtime] + times)  # noqa: RUF005 - one expression on Python 3.6
