"""Whether a job's processes are there: proven by process group and start time, never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_DEAD: Final = frozenset("ZX")


def _stat(pid: int | str) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on: state, ppid, pgrp, ...; None: no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets


def start_time(pid: int) -> int | None:
    """Tell when a process began, in clock ticks since boot; None where it is gone or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in _DEAD else int(fields[19])


def group_alive(leader: int, started: int) -> bool:
    """Whether any process of the group lives that `leader` founded when it began at `started`.

    The kernel gives a number to nobody else while a group uses it: a leader with another start
    time therefore proves that the whole group is gone.
    """
    now = start_time(leader)
    if now is not None:
        return now == started
    names = (path.name for path in _PROC.iterdir())
    return any(_belongs(name, leader) for name in names if name.isdigit())


def _belongs(pid: str, group: int) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[0] not in _DEAD and int(fields[2]) == group
