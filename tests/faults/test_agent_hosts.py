"""One home, several login nodes: agents that call themselves by different hosts, as over NFS."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from hpc_agent.attempts import HEARTBEAT_STALE_SECONDS, Attempts
from hpc_agent.home import Home
from hpc_agent.journal import HEARTBEAT, STARTED
from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.adapters.system import SystemClock
from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind, Key
from tests.agent_kit import KEY, LOGIN, SITE, command, make_home, make_order, request, settle, until

FIRST: Final = Key(supervision_id="s-1", attempt=1)
SECOND: Final = Key(supervision_id="s-1", attempt=2)
ONCE: Final = "echo once >> trace"
WAITS: Final = "echo once >> trace; until [ -e go ]; do sleep 0.02; done"
_UNENDED: Final = {AnswerKind.ACCEPTED, AnswerKind.RUNNING}
_AGENT: Final = "import runpy; runpy.run_module('hpc_agent', run_name='__main__', alter_sys=True)"


class Node:
    """One login node's agent on the shared home. `before` is Python that it runs first."""

    def __init__(self, home: Home, host: str, before: str = "pass") -> None:
        self.home = home
        named = f"import os, socket; socket.gethostname = lambda: '{host}'; {before}; {_AGENT}"
        # what LocalTransport says to a Python begins with `-m hpc_agent`
        command(Path(home.path) / host, "python", f'exec {sys.executable} -c "{named}" "${{@:3}}"')
        python = str(Path(home.path) / host / "python")
        agent = LocalAgent(home=Path(home.path), python=python, key=KEY)
        self.transport = LocalTransport(
            {(SITE, LOGIN): agent}, clock=SystemClock(), deadline=timedelta(seconds=20)
        )

    def submit(self, key: Key = FIRST, text: str = ONCE) -> AnswerKind:
        """Submit one script."""
        order = make_order(key, Path(self.home.path) / "run", clock=SystemClock(), text=text)
        return self.transport.submit(SITE, LOGIN, [order])[0].kind

    def status(self, key: Key = FIRST) -> AnswerKind:
        """Ask about one key."""
        return self.transport.status(SITE, LOGIN, [key])[0].kind

    def ended(self, key: Key = FIRST) -> AnswerKind:
        """Wait for the end of an attempt."""
        until(lambda: self.status(key) not in _UNENDED)
        return self.status(key)


class Shared:
    """A home that two login nodes see."""

    def __init__(self, path: Path) -> None:
        self.home = make_home(path)
        self.run = path / "run"
        self.nodes: list[Node] = []
        self.one, self.two = self.node("login1"), self.node("login2")

    def node(self, host: str, before: str = "pass") -> Node:
        """Add a login node."""
        self.nodes.append(Node(self.home, host, before))
        return self.nodes[-1]

    def started(self) -> dict[str, Any]:
        """Wait until the script of attempt 1 runs, and tell who its runner is."""
        until((self.run / "trace").exists)
        return self.home.record("s-1").read(1, STARTED) or {}

    def executions(self) -> int:
        """Tell how often a script ran."""
        return len((self.run / "trace").read_text().split())

    def silence(self) -> None:
        """Let the heartbeat of attempt 1 grow old."""
        path = Path(self.home.record("s-1").path(1, HEARTBEAT))
        then = path.stat().st_mtime - HEARTBEAT_STALE_SECONDS - 1
        os.utime(path, (then, then))

    def close(self) -> None:
        """End every agent and script."""
        for node in self.nodes:
            node.transport.close()
        for started in Path(self.home.root).rglob("*.started"):
            _rename(started)
        settle(self.home)


def _rename(started: Path) -> None:
    """Say that a runner is of this host, so that `settle` sees whether it lives."""
    who = json.loads(started.read_text())
    started.write_text(json.dumps({**who, "host": socket.gethostname()}))


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    """Open a home for two login nodes."""
    shared = Shared(tmp_path)
    yield shared
    shared.close()


def test_the_same_keys_on_both_nodes_at_once(shared: Shared) -> None:
    """Whichever node answers, every key runs once."""
    keys = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(8)]

    def submit(node: Node) -> set[AnswerKind]:
        return {node.submit(key, f"echo {key.supervision_id} >> trace") for key in keys}

    with ThreadPoolExecutor(2) as pool:
        kinds = set().union(*pool.map(submit, (shared.one, shared.two)))
    assert kinds <= {*_UNENDED, AnswerKind.EXECUTED}
    assert {AnswerKind.EXECUTED} == {shared.two.ended(key) for key in keys}
    ran = (shared.run / "trace").read_text().split()
    assert sorted(key.supervision_id for key in keys) == sorted(ran)


def test_the_heart_is_heard_on_the_other_node(shared: Shared) -> None:
    """A runner on one node is running for the other, and its end is everybody's."""
    shared.one.submit(text=WAITS)
    assert "login1" == shared.started()["host"]
    assert AnswerKind.RUNNING is shared.two.status()
    assert AnswerKind.BUSY is shared.two.submit(SECOND)
    (shared.run / "go").touch()
    assert AnswerKind.EXECUTED is shared.two.ended()
    assert shared.two.submit(SECOND) in {*_UNENDED, AnswerKind.EXECUTED}
    assert AnswerKind.EXECUTED is shared.one.ended(SECOND)
    assert 2 == shared.executions()


def test_lost_is_said_on_the_runners_node_only(shared: Shared) -> None:
    """The other node hears nothing any more and says unknown; only its own host has proof."""
    shared.one.submit(text=WAITS)
    os.kill(shared.started()["pid"], signal.SIGKILL)
    (shared.run / "go").touch()
    until(lambda: shared.one.status() is AnswerKind.LOST)
    assert AnswerKind.RUNNING is shared.two.status()
    shared.silence()
    assert AnswerKind.UNKNOWN is shared.two.status()
    assert AnswerKind.BUSY is shared.two.submit(SECOND)
    assert AnswerKind.LOST is shared.one.status()
    assert 1 == shared.executions()


def test_a_node_that_died_before_the_runner(shared: Shared) -> None:
    """An entry that one node made is started by the other, once, and named for where it runs."""
    Attempts(shared.home, lambda *_: None).submit(request(shared.home, script=ONCE))
    assert AnswerKind.ACCEPTED is shared.two.status()
    assert AnswerKind.EXECUTED is shared.one.ended()
    assert ("login2", 1) == (shared.started()["host"], shared.executions())


def test_the_other_nodes_lock_is_not_broken(shared: Shared) -> None:
    """A directory that a script on one node works in is not worked in from the other."""
    other = Key(supervision_id="s-2", attempt=1)
    shared.one.submit(text=WAITS)
    shared.started()
    shared.two.submit(other, ONCE)
    until(lambda: shared.two.status(other) is AnswerKind.RUNNING)
    assert 1 == shared.executions()
    (shared.run / "go").touch()
    assert AnswerKind.EXECUTED is shared.two.ended(other)
    assert 2 == shared.executions()


def test_cancelled_on_the_other_node(shared: Shared) -> None:
    """A fence that one node makes is seen by the other at once."""
    Attempts(shared.home, lambda *_: None).submit(request(shared.home, script=ONCE))
    (answer,) = shared.two.transport.cancel(SITE, LOGIN, [FIRST])
    assert AnswerKind.FENCED is answer.kind
    assert AnswerKind.STALE is shared.one.status()
    assert AnswerKind.STALE is shared.one.submit()
    assert not (shared.run / "trace").exists()


_LOST: Final = """\
link = os.link
def lost(source, target):
    link(source, target)
    raise OSError(5, 'Input/output error')
os.link = lost
"""
_REFUSED: Final = """\
def refused(source, target):
    raise OSError(5, 'Input/output error')
os.link = refused
"""


def _first(text: str) -> str:
    """Spell Python so that no shell between here and there has anything to quote."""
    return f"exec(bytes.fromhex('{text.encode().hex()}').decode())"


def test_a_server_whose_answers_are_lost(shared: Shared) -> None:
    """link(2) reports an error although the link was made: it was ours, and runs once."""
    node = shared.node("login3", _first(_LOST))
    assert node.submit() in {*_UNENDED, AnswerKind.EXECUTED}
    assert AnswerKind.EXECUTED is node.ended()
    assert ("login3", 1) == (shared.started()["host"], shared.executions())


def test_a_server_that_refuses(shared: Shared) -> None:
    """Without the link nothing was accepted: the error is for later, and another node can."""
    node = shared.node("login3", _first(_REFUSED))
    with pytest.raises(SiteUnavailable, match="Input/output error"):
        node.submit()
    assert AnswerKind.NEVER_SEEN is shared.one.status()
    assert shared.one.submit() in {*_UNENDED, AnswerKind.EXECUTED}
    assert AnswerKind.EXECUTED is shared.one.ended()
    assert 1 == shared.executions()


@pytest.mark.parametrize(
    ("age_seconds", "kind"), [(0.0, AnswerKind.RUNNING), (300.0, AnswerKind.UNKNOWN)]
)
def test_started_and_not_yet_heard(shared: Shared, age_seconds: float, kind: AnswerKind) -> None:
    """Between a runner's start and its first beat the other node hears its start, for as long."""
    Attempts(shared.home, lambda *_: None).submit(request(shared.home, script=ONCE))
    record = shared.home.record("s-1")
    record.make(1, STARTED, {"host": "login1", "boot_id": "b", "pid": 1, "at": 0.0})
    path = Path(record.path(1, STARTED))
    then = path.stat().st_mtime - age_seconds
    os.utime(path, (then, then))
    assert kind is shared.two.status()
