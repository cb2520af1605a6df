"""The waiting room: one file for each accepted attempt of this host that has no runner yet.

A file here is a hint, as a wake-up is: the journal alone says what was accepted and what has
started. A hint that is lost is put again by the next submit or status that sees the entry.
"""

import contextlib
import os
from typing import Any, Dict, List, Tuple

from hpc_agent import journal, process

Key = Tuple[str, int]

_STARTER = "starter"  # no key is spelled so, for every key has a dot


class Room:
    """The room of this host in one home; login nodes that share the home have their own."""

    def __init__(self, root: str) -> None:
        """Name the room; `root` is the agent's private folder."""
        self._folder = os.path.join(root, "waiting", process.host())
        self._workshop = os.path.join(root, "tmp")

    def put(self, supervision_id: str, attempt: int) -> None:
        """Let an attempt wait here. Idempotent: who waits already keeps its place."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._folder, 0o700)
        os.close(os.open(self._path(supervision_id, attempt), os.O_CREAT | os.O_WRONLY, 0o600))

    def take(self, key: Key) -> bool:
        """Take an attempt out; of many who try, one succeeds."""
        return _unlink(self._path(*key))

    def keys(self) -> List[Key]:
        """List who waits, who came first at the front; nobody where the room is gone."""
        try:
            names = [name for name in os.listdir(self._folder) if "." in name]
        except FileNotFoundError:
            return []
        parts = [name.rpartition(".") for name in sorted(names, key=self._age)]
        return [(part[0], int(part[2])) for part in parts]

    def appoint(self) -> bool:
        """Make this process the starter unless a living one is; tells whether it is now.

        Two that find the same one dead may both be told so, and the earlier of them finds out with
        `is_starter`: what depends on it is how many scripts run at once, and nothing else.
        """
        if os.path.exists(self._path(_STARTER)) and not self.starter():
            _unlink(self._path(_STARTER))
        mark = process.identity()
        journal.write_json_once(self._path(_STARTER), mark, self._workshop, sync=journal.NOTHING)
        return self.is_starter()

    def resign(self) -> None:
        """Be the starter no more."""
        if self.is_starter():
            _unlink(self._path(_STARTER))

    def starter(self) -> Dict[str, Any]:
        """Tell who is the starter, as an identity; empty when no living process is."""
        try:
            mark = journal.read_json(self._path(_STARTER)) or {}
        except journal.JournalError:
            return {}  # a damaged hint is no hint
        alive = mark and process.fate(mark, with_session=False) == process.ALIVE
        return mark if alive else {}

    def is_starter(self) -> bool:
        """Tell whether this process is the starter."""
        return self.starter().get("pid") == os.getpid()

    def _path(self, *parts: Any) -> str:
        return os.path.join(self._folder, ".".join(str(part) for part in parts))

    def _age(self, name: str) -> Tuple[int, str]:
        try:
            return os.stat(self._path(name)).st_mtime_ns, name
        except FileNotFoundError:
            return 0, name  # taken meanwhile: `take` will say so


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
