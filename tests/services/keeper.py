"""A small process that stands between a test session and one server that it started.

The server ends when the keeper is told to (TERM: politely, QUIT: killed, as in a crash) and when
its owner is gone, however that died: so nothing outlives a session, not even a killed one.
Run as a script, with the standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGQUIT)
_PATIENCE_SECONDS: Final = 20.0
_PR_SET_CHILD_SUBREAPER: Final = 36


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owner", type=int, required=True, help="pid of the session")
    parser.add_argument("--polite", type=int, default=int(signal.SIGTERM), help="signal that stops")
    parser.add_argument("--user", help="account to run the server as")
    parser.add_argument("--remove", help="folder to remove when the owner died")
    parser.add_argument("--family", action="store_true", help="end what the server began, too")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def _adopt() -> None:
    """Become the parent of every descendant whose own parent is gone, a daemon's child included."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel has no subreapers")


def _children() -> list[int]:
    return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


def _end_family() -> None:
    """Kill all descendants, until there is none: who dies leaves us its own children."""
    while children := _children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _spawn(command: list[str], user: str | None) -> subprocess.Popen[bytes]:
    groups: list[str | int] | None = None if user is None else []
    return subprocess.Popen(
        command, user=user, group=user, extra_groups=groups, start_new_session=True
    )


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _listen(asked: list[int]) -> int:
    """Note every signal in `asked`; the pipe that is returned becomes readable with the first.

    The pipe stands before the handlers do, so that no signal falls between them.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    for number in _SIGNALS:
        signal.signal(number, lambda received, _: asked.append(received))
    return readable


def _end(server: subprocess.Popen[bytes], number: int) -> None:
    if server.poll() is None:
        server.send_signal(number)
    try:
        server.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main() -> int:
    """Keep one server until it, its owner or the caller's patience ends; always reaps it."""
    arguments = _arguments()
    asked: list[int] = []
    signalled = _listen(asked)
    owner = _pidfd(arguments.owner)
    if owner is None:
        return 0
    if arguments.family:
        _adopt()
    server = _spawn(arguments.command, arguments.user)
    ready, _, _ = select.select([signalled, owner, os.pidfd_open(server.pid)], [], [])
    _end(server, signal.SIGKILL if signal.SIGQUIT in asked else arguments.polite)
    if arguments.family:
        _end_family()
    if owner in ready and arguments.remove:
        shutil.rmtree(arguments.remove, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
