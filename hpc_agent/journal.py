"""The journal: what this login's home remembers of every attempt, and how a file comes to be once.

A folder per supervision holds `<attempt>.<kind>` files. Each is made by link(2) of a synced file:
exclusive on NFS too, never half-written, never replaced. Making one in the folder also refreshes
what this host has cached of it, so who makes a mark first and looks second misses nothing.
"""

import contextlib
import errno
import json
import os
import re
from typing import Any, Dict, List, Optional

from hpc_agent import process, reading

ENTRY = "entry"
STARTED = "started"
ENDED = "ended"
SEEN = "seen"
CANCELLED = "cancelled"
HEARTBEAT = "heartbeat"

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
HIGHEST_ATTEMPT = 9999
FILE_LIMIT_BYTES = 1024 * 1024
NOTHING, CONTENT, NAME = 0, 1, 2  # how much of a file must outlive a crash of the machine
_LINKED = 2


class JournalError(Exception):
    """A journal file is there and cannot be understood; nothing may be concluded from it."""


def write_synced(path: str, content: bytes) -> None:
    """Write a private file and have it on disk when this returns."""
    _write(path, content, durable=True)


def _write(path: str, content: bytes, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_once(path: str, content: bytes, workshop: str, *, sync: int = NAME) -> bool:
    """Make `path` with this content if nobody has; tells whether it was this call that did.

    `workshop` is a folder of the same file system for the file before it is linked. The link
    count decides, not the error: an NFS server may have linked and its answer been lost. With
    CONTENT the name is on disk when another one in its folder is; NOTHING is for locks.
    """
    draft = os.path.join(workshop, "%s-%d-%s" % (process.host(), os.getpid(), os.urandom(8).hex()))
    try:
        _write(draft, content, durable=sync >= CONTENT)
        made = _link(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):  # a full disk may refuse even an empty one
            os.unlink(draft)
    if made and sync == NAME:
        sync_folder(os.path.dirname(path))
    return made


def _link(draft: str, path: str) -> bool:
    try:
        os.link(draft, path)
    except OSError as error:
        made = os.stat(draft).st_nlink == _LINKED
        if not made and error.errno != errno.EEXIST:
            raise
        return made
    return True


def write_json_once(path: str, value: Dict[str, Any], workshop: str, *, sync: int = NAME) -> bool:
    """Make `path` as a JSON file if nobody has, see `write_once`."""
    content = json.dumps(value, sort_keys=True).encode("ascii")
    return write_once(path, content, workshop, sync=sync)


def read_json(path: str) -> Optional[Dict[str, Any]]:
    """Read a JSON object; None when there is no such file.

    Raises JournalError for anything else, a half-written or empty file included.
    """
    content = read_bytes(path)
    if content is None:
        return None
    try:
        value = reading.parse(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise JournalError("%s is not JSON: %s" % (path, error)) from error
    except reading.Unreadable as error:
        raise JournalError("%s is %s" % (path, error)) from error
    if not isinstance(value, dict):
        raise JournalError("%s holds no object" % path)
    return value


def read_bytes(path: str) -> Optional[bytes]:
    """Read a small file; None when it is not there, JournalError when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(FILE_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError("%s cannot be read: %s" % (path, error)) from error


class Record:
    """All that is known of one supervision here. `folder` comes to be with the first mark."""

    def __init__(self, root: str, supervision_id: str) -> None:
        """Name the folder; `root` is the agent's private folder."""
        self.supervision_id = supervision_id
        self.folder = os.path.join(root, "journal", supervision_id)
        self._workshop = os.path.join(root, "tmp")

    def path(self, attempt: int, kind: str) -> str:
        """Name the file of an attempt that holds `kind`."""
        return os.path.join(self.folder, "%d.%s" % (attempt, kind))

    def make(self, attempt: int, kind: str, value: Dict[str, Any]) -> bool:
        """Write a mark unless it is there; tells whether it is ours. Idempotent."""
        self._have_folder()
        return write_json_once(self.path(attempt, kind), value, self._workshop)

    def read(self, attempt: int, kind: str) -> Optional[Dict[str, Any]]:
        """Read a mark; None when it was never made. Raises JournalError for a damaged one."""
        return read_json(self.path(attempt, kind))

    def keep(self, attempt: int, kind: str, content: bytes) -> None:
        """Keep bytes (a script, an output) beside the marks unless they are there.

        They are sure to be found after a crash of the machine once the next mark is made.
        """
        self._have_folder()
        write_once(self.path(attempt, kind), content, self._workshop, sync=CONTENT)

    def _have_folder(self) -> None:
        """Make the supervision's folder, but never the journal: where it is gone, it stays gone."""
        try:
            os.mkdir(self.folder, 0o700)
        except FileExistsError:
            return

    def kept(self, attempt: int, kind: str) -> bytes:
        """Give back what `keep` kept; empty when it was not."""
        return read_bytes(self.path(attempt, kind)) or b""

    def has(self, attempt: int, kind: str) -> bool:
        """Tell whether a mark is there, damaged or not."""
        return os.path.exists(self.path(attempt, kind))

    def attempts(self, kind: str) -> List[int]:
        """List the attempts that have a mark of this kind, lowest first."""
        return _marked(self._names(), kind)

    def fence(self, attempt: int) -> Optional[str]:
        """Say why this attempt may not start any more, or None when it may."""
        names = self._names()
        cancelled = _marked(names, CANCELLED)
        if cancelled and attempt <= cancelled[-1]:
            return "attempt %d was cancelled" % cancelled[-1]
        seen = _marked(names, SEEN)
        if seen and attempt < seen[-1]:
            return "attempt %d was seen" % seen[-1]
        return None

    def take_start(self, attempt: int, why: str) -> bool:
        """Take the start away from an attempt that has not had it; False when it has started."""
        self.make(attempt, STARTED, {"fenced": why})
        return "fenced" in (self.read(attempt, STARTED) or {})

    def _names(self) -> List[str]:
        try:
            return os.listdir(self.folder)
        except FileNotFoundError:
            return []


def _marked(names: List[str], kind: str) -> List[int]:
    marks = [name.split(".") for name in names if name.endswith("." + kind)]
    return sorted(int(mark[0]) for mark in marks if reading.whole(mark[0]) is not None)
