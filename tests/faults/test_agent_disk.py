"""What the disk does to an agent: full at any point, and a home that came back from a snapshot.

A full disk is a limit on the size of files: no right is needed for it, and every write beyond it
fails as on a full one.
"""

from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from hpc_agent.attempts import Attempts
from hpc_agent.home import Home, prepare
from hpc_agent.journal import ENDED, ENTRY, STARTED
from hpc_agent.looks import Subject, look
from hpc_agent.runner import run_attempt
from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.adapters.system import SystemClock
from supervision.errors import SiteUnavailable
from supervision.facts import Answer, AnswerKind, Key
from tests.agent_kit import (
    KEY,
    LOGIN,
    SITE,
    command,
    ended,
    make_home,
    make_order,
    request,
    settle,
    sign,
    until,
)

FIRST: Final = Key(supervision_id="s-1", attempt=1)
SECOND: Final = Key(supervision_id="s-1", attempt=2)
ONCE: Final = "echo once >> trace"
_UNENDED: Final = {AnswerKind.ACCEPTED, AnswerKind.RUNNING}


class Login:
    """A home, and transports whose agents may write files of so many KiB only."""

    def __init__(self, path: Path) -> None:
        self.home = make_home(path / "home")
        self.run = path / "home" / "run"
        self._path = path
        self.transports: list[LocalTransport] = []

    def connect(self, most_kib: int | None = None) -> LocalTransport:
        """Reach the home through an agent of its own."""
        python = sys.executable
        if most_kib is not None:
            name = f"python-{most_kib}"
            command(self._path / "bin", name, f'ulimit -f {most_kib}; exec {python} "$@"')
            python = str(self._path / "bin" / name)
        agent = LocalAgent(home=Path(self.home.path), python=python, key=KEY)
        transport = LocalTransport(
            {(SITE, LOGIN): agent}, clock=SystemClock(), deadline=timedelta(seconds=20)
        )
        self.transports.append(transport)
        return transport

    def submit(self, transport: LocalTransport, text: str = ONCE, key: Key = FIRST) -> AnswerKind:
        """Submit one script."""
        order = make_order(key, self.run, clock=SystemClock(), text=text)
        return transport.submit(SITE, LOGIN, [order])[0].kind

    def status(self, transport: LocalTransport, key: Key = FIRST) -> Answer:
        """Ask about one key."""
        return transport.status(SITE, LOGIN, [key])[0]

    def ended(self, transport: LocalTransport, key: Key = FIRST) -> Answer:
        """Wait for the end of an attempt."""
        until(lambda: self.status(transport, key).kind not in _UNENDED)
        return self.status(transport, key)

    def executions(self) -> int:
        """Tell how often a script ran."""
        trace = self.run / "trace"
        return len(trace.read_text().split()) if trace.exists() else 0


def _nobody(*_: object) -> None:
    """Begin no runner: what is asked here is refused before one would be."""


@pytest.fixture
def login(tmp_path: Path) -> Iterator[Login]:
    """Open a home."""
    login = Login(tmp_path)
    yield login
    for transport in login.transports:
        transport.close()
    settle(login.home)


@pytest.mark.parametrize(("most_kib", "text"), [(0, ONCE), (4, f"{ONCE} # {'x' * 8000}")])
def test_full_before_the_entry(login: Login, most_kib: int, text: str) -> None:
    """Nothing was accepted and nothing runs; with room again the same key runs once."""
    with pytest.raises(SiteUnavailable, match="File too large"):
        login.submit(login.connect(most_kib), text)
    assert [] == login.home.record("s-1").attempts(ENTRY)
    assert [] == list((Path(login.home.root) / "tmp").iterdir())
    transport = login.connect()
    assert login.status(transport).kind is AnswerKind.NEVER_SEEN
    assert login.submit(transport, text) in {*_UNENDED, AnswerKind.EXECUTED}
    assert login.ended(transport).kind is AnswerKind.EXECUTED
    assert login.executions() == 1


def test_full_for_the_runner(login: Login) -> None:
    """An entry whose runner could not write that it starts: it did not, and is started later."""
    Attempts(login.home, _nobody).submit(request(login.home, script=ONCE))
    full = login.connect(most_kib=0)
    assert {login.status(full).kind for _ in range(3)} == {AnswerKind.ACCEPTED}
    assert login.executions() == 0
    assert login.ended(login.connect()).kind is AnswerKind.EXECUTED
    assert login.executions() == 1


def test_full_for_the_outputs(login: Login) -> None:
    """Outputs that cannot be kept do not make a failure of a script that has acted."""
    transport = login.connect(most_kib=4)
    says_much = 'seq 5000; echo once >> trace; echo \'{"scheduler_id": "77"}\''
    login.submit(transport, says_much)
    answer = login.ended(transport)
    assert (answer.kind, answer.scheduler_id) == (AnswerKind.EXECUTED, "77")
    assert ("", "") == transport.output(SITE, LOGIN, FIRST)
    assert login.executions() == 1


def test_restored_from_before_the_submit(login: Login, tmp_path: Path) -> None:
    """The journal has forgotten the key: never seen, under the id that it had; nothing runs."""
    shutil.copytree(login.home.path, tmp_path / "snapshot")
    transport = login.connect()
    login.submit(transport)
    before = login.ended(transport)
    _restore(login, tmp_path)
    after = login.status(login.connect())
    assert (after.kind, after.journal_id) == (AnswerKind.NEVER_SEEN, before.journal_id)
    assert not (login.run / "trace").exists()


def test_restored_from_while_it_ran(login: Login, tmp_path: Path) -> None:
    """A start without an end, by a process that is gone: lost where it ran, and not begun again."""
    transport = login.connect()
    login.submit(transport, f"{ONCE}; until [ -e go ]; do sleep 0.02; done")
    until(lambda: login.executions() == 1)
    shutil.copytree(login.home.path, tmp_path / "snapshot")
    (login.run / "go").touch()
    assert login.ended(transport).kind is AnswerKind.EXECUTED
    _restore(login, tmp_path)
    assert login.ended(login.connect()).kind is AnswerKind.LOST
    assert login.executions() == 1


def test_restored_without_its_fence(login: Login, tmp_path: Path) -> None:
    """A cancel that the snapshot has not seen fences no more, yet what it fenced has expired."""
    shutil.copytree(login.home.path, tmp_path / "snapshot")
    sent = request(login.home, script=ONCE, expires_at=1.0)
    assert Attempts(login.home, _nobody).cancel(request(login.home, "cancel"))["kind"] == "fenced"
    _restore(login, tmp_path)
    assert Attempts(login.home, _nobody).submit(sent)["kind"] == "expired"
    assert login.executions() == 0


def _restore(login: Login, path: Path) -> None:
    for transport in login.transports:
        transport.close()
    settle(login.home)
    shutil.rmtree(login.home.path)
    shutil.copytree(path / "snapshot", login.home.path)


def test_replayed_for_another_login(login: Login, tmp_path: Path) -> None:
    """What was signed for one login does nothing at another one, nor with its names changed."""
    other = _another(tmp_path)
    sent = request(login.home, script=ONCE)
    named = {**sent, "login": other.login, "journal_id": other.journal_id}
    signed_again = sign({name: named[name] for name in named if name != "signature"})
    kinds = {Attempts(other, _nobody).submit(each)["kind"] for each in (sent, named, signed_again)}
    cancelled = {**request(login.home, "cancel"), "journal_id": other.journal_id}
    assert {"refused"} == kinds | {Attempts(other, _nobody).cancel(cancelled)["kind"]}
    assert [] == other.record("s-1").attempts(ENTRY)


def _another(path: Path) -> Home:
    (path / "other").mkdir()
    settings = {"site": SITE, "login": "p86other", "scheduler": "sandbox"}
    return prepare(str(path / "other"), settings, b"o" * 32)


def test_an_old_attempt_that_was_delayed(login: Login) -> None:
    """Attempt 1 arrives after attempt 2 has run: stale, whatever its script; 2 keeps its end."""
    sent = request(login.home, script="echo late >> trace")
    attempts = Attempts(login.home, _nobody)
    attempts.submit(request(login.home, attempt=2, script=ONCE))
    run_attempt(login.home, "s-1", 2)
    assert ended(attempts, attempt=2)["kind"] == "executed"
    assert attempts.submit(sent)["kind"] == "stale"
    assert ended(attempts, attempt=2)["kind"] == "executed"
    record = login.home.record("s-1")
    marks = {kind: record.attempts(kind) for kind in (ENTRY, STARTED, ENDED)}
    assert ({ENTRY: [2], STARTED: [2], ENDED: [2]}, 1) == (marks, login.executions())


def test_a_listing_that_cannot_be_kept_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk keeps half of it; looks that fail one after the other must not fill it more."""
    home = make_home(tmp_path, commands=tmp_path / "bin")
    command(tmp_path / "bin", "sbx-queue", "")
    before = sorted(path.name for path in Path(home.root).rglob("*"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    subject = Subject("ref", "CPL01", str(tmp_path / "run"), "compute", None)
    with pytest.raises(OSError, match="No space left"):
        look(home, [subject])
    made = {path.name for path in Path(home.root).rglob("*")} - set(before)
    assert {name for name in made if name != "queue.lock"} == set()
