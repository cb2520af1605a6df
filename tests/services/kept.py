"""Servers of a test session: started on free loopback ports, kept by a keeper, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_LOWEST_PORT: Final = 15_000
_PORTS: Final = 17_000
_KEEPER: Final = Path(__file__).with_name("keeper.py")


class NotStarted(RuntimeError):
    """A server ended, or did not listen in time; the text ends with what it wrote."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """The run that owns servers: the pid that they must not outlive, and its folder."""

    owner: int
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to start: `log` takes its output, `polite` is the signal that stops it cleanly.

    `ready` tells whether it serves; it is asked again and again, and does not raise. `family`:
    with the server ends all that it ever began, daemons included.
    """

    command: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    polite: signal.Signals = signal.SIGTERM
    user: str | None = None
    family: bool = False


def free_port() -> int:
    """Find a loopback port that nobody listened on a moment ago.

    Below the kernel's own range for outgoing connections: there, who knocks again and again on a
    port that nobody has yet is one day answered by himself.
    """
    while True:
        port = _LOWEST_PORT + secrets.randbelow(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port


def start(session: Session, launch: Launch) -> int:
    """Start a server and wait until it is ready; returns its keeper's pid.

    Raises NotStarted. The server ends with `stop`, or with the session's owner.
    """
    options = ["--owner", str(session.owner), "--remove", str(session.folder)]
    options += ["--polite", str(int(launch.polite))]
    options += ["--user", launch.user] if launch.user else []
    options += ["--family"] if launch.family else []
    with launch.log.open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-IS", str(_KEEPER), *options, *launch.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(launch.environment),
            start_new_session=True,
            cwd=session.folder,
        )
    _await(keeper, launch)
    keeper.returncode = 0  # it is ended by pid, maybe from another process: no warning about it
    return keeper.pid


def stop(keeper: int, *, crash: bool = False) -> None:
    """End a server and wait until it is gone. Idempotent; `crash` kills it without a farewell."""
    with contextlib.suppress(ProcessLookupError):
        gone = os.pidfd_open(keeper)
        os.kill(keeper, signal.SIGQUIT if crash else signal.SIGTERM)
        select.select([gone], [], [], _START_SECONDS)
        os.close(gone)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(keeper, 0)


def runs(keeper: int) -> bool:
    """Whether the server of this keeper, which this process started, still runs."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(keeper, os.WNOHANG) == (0, 0)
    return False


def _await(keeper: subprocess.Popen[bytes], launch: Launch) -> None:
    deadline = monotonic() + _START_SECONDS
    pause = Event()
    while not launch.ready():
        if keeper.poll() is not None or monotonic() > deadline:
            stop(keeper.pid)
            written = launch.log.read_text(errors="replace")[-2000:]
            raise NotStarted(f"{launch.command[0]} did not start:\n{written}")
        pause.wait(_POLL_SECONDS)


def until(true: Callable[[], bool], what: str) -> None:
    """Ask again and again until it is true. Raises NotStarted, saying what was awaited."""
    deadline = monotonic() + _START_SECONDS
    pause = Event()
    while not true():
        if monotonic() > deadline:
            raise NotStarted(f"not in {_START_SECONDS:.0f} s: {what}")
        pause.wait(_POLL_SECONDS)


def listens(*ports: int) -> bool:
    """Whether somebody listens on each of these loopback ports."""
    return all(map(_listens, ports))


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
