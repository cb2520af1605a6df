"""The agent on every Python that this machine has: Debian's two, and whatever else is found.

Further interpreters are named in AGENT_PYTHONS, separated as in PATH. What was met is printed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from supervision.adapters.agent_answers import Health
from supervision.adapters.agent_archive import build
from supervision.adapters.agent_protocol import Conversation, Login
from supervision.adapters.child import Child
from supervision.adapters.system import SystemClock
from supervision.facts import AnswerKind, JobKind, Key, Sight, Subject
from tests.agent_kit import KEY, LOGIN, SITE, command, make_order, until
from tests.services.programs import program

_DEBIANS: Final = ("python3", "pypy3")
"""What requirements/debian.txt brings: CPython as Debian has it, and PyPy, which is Python 3.9."""

_MINORS: Final = range(6, 15)
_WHAT: Final = (
    "import json, sys; print(json.dumps([sys.implementation.name, *sys.version_info[:3]]))"
)
_FIRST: Final = Key(supervision_id="s-1", attempt=1)
_SECOND: Final = Key(supervision_id="s-1", attempt=2)


def _version(python: str) -> str | None:
    """Ask an interpreter what it is; None for a name behind which nothing runs."""
    done = subprocess.run([python, "-c", _WHAT], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    name, *numbers = json.loads(done.stdout)
    return f"{name}-{'.'.join(map(str, numbers))}"


def _pythons() -> dict[str, str]:
    """Find interpreters by what they are; of two of one kind the first counts."""
    named = [name for name in os.environ.get("AGENT_PYTHONS", "").split(os.pathsep) if name]
    usual = [shutil.which(name) for name in (f"python3.{minor}" for minor in _MINORS)]
    found: dict[str, str] = {}
    for python in [*_DEBIANS, *named, "/usr/bin/python3", *(path for path in usual if path)]:
        path = shutil.which(python)
        version = _version(path) if path else None
        if version is None and python in {*_DEBIANS, *named}:
            found[python] = python  # its test then fails, and says so
        elif version is not None and path is not None:
            found.setdefault(version, path)
    return found


PYTHONS: Final = _pythons()


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the agent once."""
    file = tmp_path_factory.mktemp("built") / "agent.pyz"
    file.write_bytes(build().content)
    return file


@pytest.fixture(params=PYTHONS.values(), ids=list(PYTHONS))
def python(request: pytest.FixtureRequest) -> str:
    """Each interpreter in turn; a mistake that only warns counts as one."""
    return program(request.param)


@pytest.fixture
def home(python: str, agent: Path, tmp_path: Path) -> Path:
    """Prepare a home with this Python, by the agent's own command."""
    for name in ("sbx-queue", "sbx-submit", "sbx-cancel", "ksh"):
        command(tmp_path / "bin", name, "true")
    (tmp_path / "run").mkdir()
    options = ["--site", SITE, "--login", LOGIN, "--scheduler", "sandbox"]
    options += ["--bin", str(tmp_path / "bin"), "--query-interval-seconds", "0"]
    done = subprocess.run(
        [python, "-W", "error", agent, "init", "--home", tmp_path, *options],
        input=KEY.hex(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return tmp_path


@pytest.fixture
def conversation(python: str, agent: Path, home: Path) -> Iterator[Conversation]:
    """Open a session with an agent that this Python runs."""
    child = Child([python, "-W", "error", str(agent), "serve", "--home", str(home)], home)
    child.until = time.monotonic() + 60.0
    try:
        yield Conversation(child, Login(site=SITE, login=LOGIN, key=KEY), SystemClock())
    finally:
        child.end()


def test_what_was_met(capsys: pytest.CaptureFixture[str]) -> None:
    """Debian's Pythons are among them, and nobody has to guess which ones were run."""
    with capsys.disabled():
        print(f"\nthe agent is run on: {', '.join(PYTHONS)}")  # noqa: T201 - this is for people
    kinds = {name.partition("-")[0] for name in PYTHONS}
    assert {"cpython", "pypy"} <= kinds


def test_a_script_from_submit_to_its_end(conversation: Conversation, home: Path) -> None:
    """Hello, submit, a repeat, status, output, a fence: the runner and the journal work."""
    order = make_order(_FIRST, home / "run", clock=SystemClock(), text="echo once | tee -a trace")
    kinds = {answer.kind for _ in range(2) for answer in conversation.submit([order])}
    assert kinds <= {AnswerKind.ACCEPTED, AnswerKind.RUNNING, AnswerKind.EXECUTED}
    until(lambda: conversation.status([_FIRST])[0].kind is AnswerKind.EXECUTED)
    assert ("once\n", "") == conversation.output(_FIRST)
    assert "once\n" == (home / "run" / "trace").read_text()
    assert conversation.cancel([_SECOND])[0].kind is AnswerKind.FENCED
    late = make_order(_SECOND, home / "run", clock=SystemClock())
    assert conversation.submit([late])[0].kind is AnswerKind.STALE


def test_a_look_and_a_doctor(conversation: Conversation, home: Path) -> None:
    """The scheduler is asked, and the doctor finds nothing bad with this Python."""
    subject = Subject(ref="r", name="X", directory=str(home / "run"), kind=JobKind.COMPUTE)
    assert conversation.look([subject])[0].sight is Sight.ABSENT
    assert {Health.GOOD} == {finding.state for finding in conversation.doctor()}
    assert abs(conversation.greeting.offset) < timedelta(minutes=1)
