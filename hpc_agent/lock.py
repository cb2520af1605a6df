"""The lock of a submission directory: two scripts never work in one place, however it is spelled.

A folder made by mkdir, keyed by the real path, with one file in it that names the owner. To break
it is to unlink that very file: of many who saw the owner dead, one succeeds.
"""

import hashlib
import json
import os
import time
from typing import Any, Callable, Dict, Optional

from hpc_agent import journal, process

POLL_SECONDS = 0.2
_PATIENCE = 2  # an owner is given up after so many times its timeout


class DirectoryLock:
    """One process's hold on one directory. `root` is the agent's private folder."""

    def __init__(self, root: str, directory: str, timeout_seconds: float) -> None:
        """Name the lock; `timeout_seconds` bounds both the wait for it and the work under it."""
        name = hashlib.sha256(os.path.realpath(directory).encode("utf-8", "surrogateescape"))
        self.path = os.path.join(root, "locks", name.hexdigest())
        self._workshop = os.path.join(root, "tmp")
        self._directory = directory
        self._timeout_seconds = timeout_seconds
        self._owner = ""  # the file that names us, once the lock is ours

    def acquire(self, while_waiting: Callable[[], None]) -> bool:
        """Wait for the lock, at most the timeout; tells whether it is ours now."""
        deadline = time.monotonic() + self._timeout_seconds
        while not self._take():
            if self._break_when_dead():
                continue
            if time.monotonic() >= deadline:
                return False
            while_waiting()
            time.sleep(POLL_SECONDS)
        return True

    def release(self) -> None:
        """Give the lock back; harmless when it was broken meanwhile."""
        if self._owner and _unlink(self._owner):
            _rmdir(self.path)
        self._owner = ""

    def _take(self) -> bool:
        try:
            os.mkdir(self.path, 0o700)
            owner = os.path.join(self.path, "owner-" + os.urandom(8).hex())
            content = json.dumps(self._claim()).encode("ascii")
            made = journal.write_once(owner, content, self._workshop, sync=journal.NOTHING)
        except (FileExistsError, FileNotFoundError):
            return False  # held, or broken as an orphan before we had signed it
        self._owner = owner if made else ""
        return made

    def _claim(self) -> Dict[str, Any]:
        claim = process.identity()
        claim["directory"] = self._directory
        claim["until"] = time.time() + _PATIENCE * self._timeout_seconds
        return claim

    def _break_when_dead(self) -> bool:
        """Break the lock of an owner that is proven dead; tells whether this call did."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return False
        if not names:
            return self._orphaned() and _rmdir(self.path)
        dead = self._dead(names[0]) and _unlink(os.path.join(self.path, names[0]))
        return dead and _rmdir(self.path)

    def _orphaned(self) -> bool:
        """Tell whether nobody signed it for long: its maker died between two calls."""
        try:
            age = time.time() - os.stat(self.path).st_mtime
        except FileNotFoundError:
            return False
        return age > _PATIENCE * self._timeout_seconds

    def _dead(self, name: str) -> bool:
        try:
            owner: Optional[Dict[str, Any]] = journal.read_json(os.path.join(self.path, name))
        except journal.JournalError:
            return False
        if owner is None:
            return False
        return process.fate(owner) == process.DEAD or time.time() > float(owner["until"])


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _rmdir(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError:
        return False  # gone already, or signed by the next owner
    return True
