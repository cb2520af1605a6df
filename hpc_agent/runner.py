"""The runner: one process per attempt, in its own session. Its first act is to claim the start.

Only who made `started` runs the script; everybody else who thought so ends without a trace. It
outlives the session that began it, and writes down how the script ended before it goes.
"""

import hashlib
import os
import stat
import time
from typing import Any, Dict, Optional

from hpc_agent import commands, journal, process, reading, script
from hpc_agent.home import Home
from hpc_agent.lock import DirectoryLock

EXECUTED = "executed"
DECLINED = "declined"
FAILED = "failed"
OPTED_OUT = "opted-out"
HEARTBEAT_SECONDS = 10.0

_DECLINED_CODES = range(10, 40)
_DIRECTORY_LOCKED = 43
_NO_DIRECTORY = 65
_UNEXPECTED = 66
_NO_INTERPRETER = 127
_END_TRIES = 60  # a full home may be cleared: the outcome is worth ten minutes' patience
_END_PAUSE_SECONDS = 10.0


class Heart:
    """The file whose age tells other hosts that the runner lives."""

    def __init__(self, path: str) -> None:
        """Beat for the first time."""
        self._path = path
        self._last = 0.0
        self.beat()

    def beat(self) -> None:
        """Renew the file's time every HEARTBEAT_SECONDS; a full disk is no reason to end."""
        if time.monotonic() - self._last < HEARTBEAT_SECONDS and self._last:
            return
        self._last = time.monotonic()
        try:
            with open(self._path, "a", encoding="ascii"):
                os.utime(self._path, None)
        except OSError:
            return


def run_attempt(home: Home, supervision_id: str, attempt: int) -> bool:
    """Run an accepted attempt, once in the life of its journal; tells whether it was this call.

    Blocks until the script has ended and its end is written down.
    """
    record = home.record(supervision_id)
    if not record.has(attempt, journal.ENTRY):
        return False  # forgotten since it was told to wait
    started = dict(process.identity(), at=time.time())
    if not record.make(attempt, journal.STARTED, started):
        return False
    heart = Heart(record.path(attempt, journal.HEARTBEAT))
    try:
        ended = _work(home, record, attempt, heart)
    except (OSError, ValueError, KeyError, TypeError, journal.JournalError) as error:
        ended = _failed(_UNEXPECTED, "%s: %s" % (type(error).__name__, error))
    _write_end(record, attempt, ended)
    return True


def _write_end(record: journal.Record, attempt: int, ended: Dict[str, Any]) -> None:
    value = dict(ended, at=time.time())
    for _ in range(_END_TRIES):
        try:
            record.make(attempt, journal.ENDED, value)
        except FileNotFoundError:
            return  # the whole journal is gone: there is nobody to tell
        except OSError:
            time.sleep(_END_PAUSE_SECONDS)
        else:
            return


def _work(home: Home, record: journal.Record, attempt: int, heart: Heart) -> Dict[str, Any]:
    entry = record.read(attempt, journal.ENTRY) or {}
    directory = entry["directory"]
    if not os.path.isdir(directory):
        return _failed(_NO_DIRECTORY, "%s is not a directory" % directory)
    if not _own(directory):
        return _failed(_NO_DIRECTORY, "%s is not this login's own" % directory)
    lock = DirectoryLock(home.root, directory, entry["timeout_seconds"])
    if not lock.acquire(heart.beat):
        return _failed(_DIRECTORY_LOCKED, "another script works in %s" % directory)
    try:
        return _script(home, record, entry, heart)
    finally:
        lock.release()


def _own(directory: str) -> bool:
    """Tell whether a directory is the login's and not open to everybody.

    Its path came in a message, and anybody may send one: what lies in a stranger's directory, a
    libIGCM to be sourced among it, must not run as this login.
    """
    status = os.stat(directory)
    return status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH


def _script(
    home: Home, record: journal.Record, entry: Dict[str, Any], heart: Heart
) -> Dict[str, Any]:
    attempt, directory = entry["attempt"], entry["directory"]
    out = home.opted_out(directory)  # once more: the owner may have acted while we waited
    if out:
        return {"kind": OPTED_OUT, "detail": "%s is there" % out}
    kept = record.kept(attempt, entry["sha256"])
    if hashlib.sha256(kept).hexdigest() != entry["sha256"]:
        return _failed(_UNEXPECTED, "the script in the journal is not the one that was sent")
    environment = commands.environment(home)
    interpreter = commands.find(entry["interpreter"], environment)
    if interpreter is None:
        return _failed(_NO_INTERPRETER, "%s is not on this machine" % entry["interpreter"])
    argv = [interpreter, record.path(attempt, entry["sha256"])]
    deadline = script.Deadline(entry["timeout_seconds"], heart.beat)
    return _outcome(record, attempt, script.run(argv, directory, environment, deadline))


def _outcome(record: journal.Record, attempt: int, result: script.Result) -> Dict[str, Any]:
    _keep(record, attempt, result)
    return {
        "kind": _kind(result.exit_code),
        "exit_code": result.exit_code,
        "detail": result.detail,
        "report": last_object(result.stdout) or {},
    }


def _keep(record: journal.Record, attempt: int, result: script.Result) -> None:
    """Keep the outputs; a home without room for them does not turn what was done into a failure."""
    for name, content in (("stdout", result.stdout), ("stderr", result.stderr)):
        try:
            if content:
                record.keep(attempt, name, content)
        except OSError:
            continue


def _kind(exit_code: int) -> str:
    if exit_code == 0:
        return EXECUTED
    return DECLINED if exit_code in _DECLINED_CODES else FAILED


def last_object(stdout: bytes) -> Optional[Dict[str, Any]]:
    """Read the JSON object that a script says last; None when its last line is anything else."""
    lines = stdout.decode("utf-8", "replace").strip().splitlines()
    try:
        value = reading.parse(lines[-1]) if lines else None
    except reading.Unreadable:
        return None
    return value if isinstance(value, dict) else None


def _failed(exit_code: int, detail: str) -> Dict[str, Any]:
    return {"kind": FAILED, "exit_code": exit_code, "detail": detail, "report": {}}
