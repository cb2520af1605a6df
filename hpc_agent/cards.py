"""What a submission directory shows: run.card, the last job's output, the room that is left."""

import errno
import os
import stat
from typing import Any, Dict, List, Optional, Tuple

from hpc_agent import reading

CARD_LIMIT_BYTES = 64 * 1024
TAIL_BYTES = 8 * 1024
TAIL_LINES = 40
_SECTION = "configuration"


def run_card(directory: str) -> Tuple[Optional[Dict[str, Any]], str]:
    """Read the [Configuration] of run.card: simulation, state, period, its first day.

    Returns None and the reason when there is none to be read. libIGCM rewrites the card through a
    temporary file, so at full quota it can be empty: that is said, not guessed around.
    """
    try:
        text = _text(os.path.join(directory, "run.card"), 0)
    except OSError as error:
        return None, "run.card: %s" % error.strerror
    values = _section(text)
    if not values:
        return None, "run.card: no [Configuration] in it"
    return {
        "simulation_uid": values.get("simuid") or None,
        "state": values.get("periodstate") or None,
        "period": reading.whole(values.get("cumulperiod", "")),
        "begin": values.get("perioddatebegin") or None,
    }, ""


def output_tail(directory: str, name: str) -> str:
    """Give the last lines of the newest Script_Output of this job name; empty without one."""
    newest = _newest(directory, "Script_Output_%s" % name)
    if newest is None:
        return ""
    try:
        text = _text(newest, TAIL_BYTES)
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def free_bytes(directory: str) -> Optional[int]:
    """Tell how much room the login has left on the directory's file system, quotas aside."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def _text(path: str, tail: int) -> str:
    """Read the beginning of a file, or its last `tail` bytes; raises OSError for what is no file.

    A pipe in its place is not waited for, and of an output a link is not followed: in a directory
    of a group a colleague may have made either, and what is read here is shown elsewhere.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (os.O_NOFOLLOW if tail else 0))
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no plain file")
        stream.seek(max(status.st_size - tail, 0) if tail else 0)
        content = stream.read(tail or CARD_LIMIT_BYTES)
    return content.decode("utf-8", "replace").replace("\0", "\ufffd")


def _section(text: str) -> Dict[str, str]:
    values: Dict[str, str] = {}
    section = ""
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]").strip().lower()
        elif section == _SECTION and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            values[name.strip().lower()] = value.split("#")[0].strip().strip("'\"").strip()
    return values


def _newest(directory: str, start: str) -> Optional[str]:
    """Find the youngest file of this name or of this name and a number."""
    try:
        names = [name for name in os.listdir(directory) if _belongs(name, start)]
        paths: List[str] = [os.path.join(directory, name) for name in names]
        return max(paths, key=lambda path: os.lstat(path).st_mtime) if paths else None
    except OSError:
        return None


def _belongs(name: str, start: str) -> bool:
    """Tell this job's outputs from those of a job whose name begins alike."""
    return name == start or name.startswith(start + ".")
