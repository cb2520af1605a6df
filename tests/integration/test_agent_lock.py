"""The lock of a submission directory: one at a time, by real path, broken only with proof."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpc_agent import lock as locks
from hpc_agent import process
from hpc_agent.lock import DirectoryLock
from tests.agent_kit import make_home

Changes = dict[str, object]
LONG = 100.0  # the patience of who must not be given up while a test runs slowly
_NO_PID = 2**22 + 1  # above the highest that Linux gives


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DirectoryLock]:
    """Make locks of one home whose waiting takes no time to speak of."""
    home = make_home(tmp_path)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.001)

    def make(directory: Path = tmp_path / "run", timeout_seconds: float = 0.02) -> DirectoryLock:
        return DirectoryLock(home.root, str(directory), timeout_seconds)

    return make


def _rewrite(held: DirectoryLock, **changes: object) -> None:
    """Change what the lock's file says of its owner."""
    file = next(Path(held.path).iterdir())
    owner: dict[str, Any] = json.loads(file.read_text())
    file.write_text(json.dumps({**owner, **changes}))


def _nothing() -> None:
    return


def test_one_at_a_time(lock: Callable[..., DirectoryLock]) -> None:
    """While it is held nobody gets it, however long it waits; afterwards the next one does."""
    first, second = lock(timeout_seconds=LONG), lock()
    assert first.acquire(_nothing)
    assert not second.acquire(_nothing)
    first.release()
    assert second.acquire(_nothing)


def test_the_real_path_counts(lock: Callable[..., DirectoryLock], tmp_path: Path) -> None:
    """A link to a directory is that directory; another directory is not."""
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert lock(timeout_seconds=LONG).acquire(_nothing)
    assert not lock(tmp_path / "link").acquire(_nothing)
    assert lock(tmp_path).acquire(_nothing)


def test_who_waits_says_so(lock: Callable[..., DirectoryLock]) -> None:
    """The heart beats while the lock is waited for."""
    beats: list[None] = []
    lock(timeout_seconds=LONG).acquire(_nothing)
    lock().acquire(lambda: beats.append(None))
    assert beats


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": _NO_PID, "session": _NO_PID},
        {"process_start": -1, "session": _NO_PID},
        {"boot_id": "an earlier one"},
        {"until": 0},
    ],
    ids=["process gone", "number used again", "host restarted", "twice its timeout"],
)
def test_a_dead_owner_loses_it(lock: Callable[..., DirectoryLock], changes: Changes) -> None:
    """Proof of death on its own host, a new boot, or twice its timeout break the lock."""
    first, second = lock(timeout_seconds=LONG), lock(timeout_seconds=LONG)
    first.acquire(_nothing)
    _rewrite(first, **changes)
    assert second.acquire(_nothing)
    first.release()  # it was broken: the new owner must not notice
    assert not lock().acquire(_nothing)


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "another", "pid": _NO_PID, "session": _NO_PID},
        {"host": "another", "boot_id": "an earlier one"},
        {"pid": _NO_PID},
    ],
    ids=["another host", "another host, another boot", "its script lives on"],
)
def test_without_proof_it_stays(lock: Callable[..., DirectoryLock], changes: Changes) -> None:
    """What cannot be seen is not dead; a script that outlived its runner is not either."""
    first = lock(timeout_seconds=LONG)
    first.acquire(_nothing)
    session = _leaderless_session()
    _rewrite(first, **{"session": session, **changes})
    assert not lock().acquire(_nothing)
    os.killpg(session, signal.SIGKILL)


def _leaderless_session() -> int:
    """Leave a process in a session whose leader has ended, as a runner's has."""
    leave = "sleep 30 >/dev/null 2>&1 & echo $$"
    shown = subprocess.run(["setsid", "sh", "-c", leave], capture_output=True, check=True)
    return int(shown.stdout)


def test_an_unsigned_lock_is_given_time(lock: Callable[..., DirectoryLock]) -> None:
    """A folder without an owner is broken only when twice the timeout has passed over it."""
    waiting = lock()
    Path(waiting.path).mkdir()
    os.utime(waiting.path, (time.time() + LONG, time.time() + LONG))
    assert not waiting.acquire(_nothing)
    os.utime(waiting.path, (0, 0))
    assert waiting.acquire(_nothing)


def test_an_unreadable_owner_is_not_dead(lock: Callable[..., DirectoryLock]) -> None:
    """Half an owner's file proves nothing."""
    first = lock(timeout_seconds=LONG)
    first.acquire(_nothing)
    next(Path(first.path).iterdir()).write_text('{"host": ')
    assert not lock().acquire(_nothing)


def test_this_process_is_alive() -> None:
    """The identity of a living process is alive; with another start time it would be dead."""
    me = process.identity()
    assert process.fate(me) == process.ALIVE
    assert process.fate({**me, "process_start": 0}, with_session=False) == process.DEAD
    assert process.fate({**me, "host": "another"}) == process.UNKNOWN
    assert process.fate({}) == process.UNKNOWN


def test_the_owner_says_when_it_is_given_up(lock: Callable[..., DirectoryLock]) -> None:
    """The owner's file names its host, boot, process and twice the timeout."""
    held = lock(timeout_seconds=100.0)
    before = time.time()
    held.acquire(_nothing)
    owner = json.loads(next(Path(held.path).iterdir()).read_text())
    assert {"host", "boot_id", "pid", "process_start", "session", "directory"} <= set(owner)
    assert before + 200 <= owner["until"] <= time.time() + 200
