"""What the agent's tests share: prepared homes, signed requests, and waiting for an end."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

from hpc_agent import process, signing
from hpc_agent.attempts import Attempts
from hpc_agent.home import Home, prepare
from hpc_agent.serve import Agent, respond
from supervision.adapters.agent_protocol import derive_key
from supervision.facts import Key, Order, Script
from supervision.ports import Clock

SITE = "curie"
LOGIN = "p86smith"
MASTER = b"a master that never leaves the platform"
KEY = derive_key(MASTER, SITE, LOGIN)
ACTS = 'echo cleaned; echo \'{"scheduler_id": "4242", "period": 7}\'\n'
PATIENCE_SECONDS = 20.0

Request = dict[str, Any]


def make_home(path: Path, *, commands: Path | None = None, interval: float = 0.0) -> Home:
    """Prepare a login's home, and a submission directory `run` in it."""
    (path / "run").mkdir(parents=True, exist_ok=True)
    settings = {
        "site": SITE,
        "login": LOGIN,
        "scheduler": "sandbox",
        "bin": str(commands or ""),
        "query_interval_seconds": interval,
    }
    return prepare(str(path), settings, KEY)


def command(folder: Path, name: str, text: str) -> None:
    """Put an executable shell script where the scheduler's commands are."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def request(home: Home, verb: str = "submit", /, **changes: object) -> Request:
    """Build a signed request; `script` is plain text here, fields that are None are left out."""
    script = str(changes.pop("script", ACTS)).encode()
    fields: Request = {
        "id": 1,
        "verb": verb,
        "site": SITE,
        "login": LOGIN,
        "supervision_id": "s-1",
        "attempt": 1,
        "journal_id": home.journal_id,
    }
    if verb == "submit":
        fields |= {
            "directory": f"{home.path}/run",
            "script": base64.b64encode(script).decode(),
            "sha256": hashlib.sha256(script).hexdigest(),
            "interpreter": "bash",
            "timeout_seconds": 30.0,
            "expires_at": time.time() + 120,
        }
    fields |= changes
    return sign({name: value for name, value in fields.items() if value is not None})


def sign(fields: Request, key: bytes = KEY) -> Request:
    """Sign a request as its login."""
    return {**fields, "signature": signing.signature(fields, key)}


def until(
    done: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS, every: float = 0.02
) -> None:
    """Wait for something that another process does; fails when it takes longer."""
    end = time.monotonic() + seconds
    pause = Event()
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        pause.wait(every)


def ended(attempts: Attempts, attempt: int = 1, supervision_id: str = "s-1") -> Request:
    """Wait until an attempt is neither accepted nor running, and give its status."""
    until(lambda: attempts.status(supervision_id, attempt)["kind"] not in {"accepted", "running"})
    return attempts.status(supervision_id, attempt)


def settle(home: Home) -> None:
    """Let scripts that wait for `go` end, and wait until no other process runs one here."""
    (Path(home.path) / "run" / "go").touch()
    until(lambda: not any(_works(path) for path in Path(home.root).rglob("*.started")))


def _works(started: Path) -> bool:
    if started.with_suffix(".ended").exists():
        return False  # it goes; asking about a session that is gone takes a look at every process
    try:
        who = json.loads(started.read_text())
    except ValueError:
        return False  # a test damaged it
    return process.fate(who) == process.ALIVE and who["pid"] != os.getpid()


def make_order(key: Key, directory: Path, *, clock: Clock, text: str = ACTS) -> Order:
    """Build an order as the service would: two minutes to begin, half a minute to run."""
    script = text.encode()
    return Order(
        key=key,
        directory=str(directory),
        script=Script(
            content=base64.b64encode(script).decode(),
            sha256=hashlib.sha256(script).hexdigest(),
        ),
        interpreter="bash",
        expires_at=clock.now() + timedelta(seconds=120),
        timeout=timedelta(seconds=30),
    )


class MemoryLine:
    """A Line to an agent in this process, whose runners come to be when the test says so.

    `home` may be changed between two requests, as when a home is restored under an agent.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.sent: list[Request] = []

    def exchange(self, requests: Sequence[bytes]) -> Sequence[bytes]:
        """Have the agent answer, line by line."""
        self.sent += [json.loads(line) for line in requests]
        answer = Agent(self.home, Attempts(self.home, lambda *_: None)).answer
        return [json.dumps(respond(line, answer)).encode() + b"\n" for line in requests]
