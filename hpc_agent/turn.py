"""Turns at the scheduler: of all the sessions of one login, one asks it at a time.

This is politeness and no safety: where the home's file system cannot lock, everybody asks.
"""

import contextlib
import errno
import fcntl
import time
from typing import Iterator

_UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def turn(path: str, patience_seconds: float) -> Iterator[bool]:
    """Wait for the turn of whoever asks now, and take it; False: that one took too long.

    It ends with the process that holds it, however that dies.
    """
    with open(path, "a", encoding="ascii") as lock:
        yield _taken(lock.fileno(), time.monotonic() + patience_seconds)


def _taken(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNABLE:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True
