"""Where things are on this machine: on which file system a path is, and where libIGCM lies."""

import os
import re
from typing import List, Tuple

_MODIPSL = re.compile(r"^\s*MODIPSL=(.*)$", re.MULTILINE)
_MARK = os.path.join("libIGCM_config", "libIGCM_config.ksh")
_READ_BYTES = 1024 * 1024
_FIELDS = 3


def file_system(path: str) -> Tuple[str, str]:
    """Tell the kind of file system that a path is on, and where it is mounted; as /proc has it."""
    real = os.path.realpath(path)
    best = ("unknown", "?")
    for line in _mounts():
        fields = line.split(" ")
        where = fields[1].replace("\\040", " ") if len(fields) >= _FIELDS else ""
        inside = real == where or real.startswith(where.rstrip("/") + "/")
        if where and inside and (len(where) >= len(best[1]) or best[0] == "unknown"):
            best = (fields[2], where)
    return best


def libigcm(directory: str) -> Tuple[str, str]:
    """Find libIGCM as the scripts do; gives its place and "", or "" and what is wrong.

    Where a Job_ file says MODIPSL, else three folders above.
    """
    try:
        jobs = sorted(name for name in os.listdir(directory) if name.startswith("Job_"))
    except OSError as error:
        return "", "%s: %s" % (directory, error.strerror)
    written = [_modipsl(os.path.join(directory, name)) for name in jobs]
    places = [os.path.join(modipsl, "libIGCM") for modipsl in written if os.path.isabs(modipsl)]
    places.append(os.path.join(directory, "..", "..", "..", "libIGCM"))
    for place in places:
        if os.access(os.path.join(place, _MARK), os.R_OK):
            return os.path.realpath(place), ""
    return "", "not where Job_* in %s or its place in the tree says: look at MODIPSL" % directory


def _modipsl(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            found = _MODIPSL.search(stream.read(_READ_BYTES).decode("utf-8", "replace"))
    except OSError:
        return ""
    return found.group(1).strip().strip("'\"") if found else ""


def _mounts() -> List[str]:
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as stream:
            return stream.read().splitlines()
    except OSError:
        return []
