"""`supervision demo`, as people see it who pipe it into a file; and killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from supervision.cli import demo_service
from supervision.cli.demo_roles import ROLES
from supervision.errors import Refused
from supervision.sandbox import builder
from supervision.sandbox.centre import Pace
from supervision.sandbox.processes import start_time
from tests.integration.cli_kit import give
from tests.integration.end_to_end_kit import environment

PATIENCE_SECONDS = 170.0


def begin(directory: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a demonstration whose environment leads to somebody's real database."""
    away = "postgresql://nobody@127.0.0.1:1/production"
    env = environment(database=away, broker="amqp://nobody@127.0.0.1:1/production")
    line = [sys.executable, "-P", "-m", "supervision", "demo", "--dir", str(directory)]
    with out.open("wb") as file:
        return subprocess.Popen(line, env=env, stdout=file, stderr=subprocess.STDOUT)


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        Event().wait(0.05)


def noted(directory: Path) -> int:
    """The number of the service that the demonstration has started; 0 before."""
    try:
        return int(json.loads((directory / "service.json").read_text())["pid"])
    except (OSError, ValueError):
        return 0


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where to play, in a folder whose name needs quoting; nothing of it survives."""
    made = tmp_path / "a demo's $HOME"
    yield made
    if pid := noted(made):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_four_simulations_end_as_they_should_though_everything_is_killed(
    directory: Path, tmp_path: Path
) -> None:
    """The service is killed while it helps, then the demonstration itself, and goes on.

    Two simulations recover after one restart each, two are left alone, with the reason on the
    screen; nothing that was started is left.
    """
    first = begin(directory, tmp_path / "first")
    out = tmp_path / "first"
    until(lambda: b"formatted -> dispatched" in out.read_bytes(), "something is sent")
    killed = noted(directory)
    os.kill(killed, signal.SIGKILL)
    again = b"killed by signal 9; started again"
    until(lambda: again in out.read_bytes(), "the service is started again")
    first.kill()
    first.wait()
    orphan = noted(directory)
    second = begin(directory, tmp_path / "second")
    assert 0 == second.wait(PATIENCE_SECONDS), (tmp_path / "second").read_text()
    told = (tmp_path / "second").read_text()
    ends = [line for line in told.splitlines() if " as it should: " in line]
    assert [role.name for role in ROLES] == [line.split()[0] for line in ends]
    assert ["restarted once"] * 3 + ["never restarted"] == [
        line.split("; ")[1][:15].split(",")[0] for line in ends
    ]
    for part in (
        "0100: the simulation is complete",
        'Leave it alone (refuse), by the rule "again"',
        'Leave it alone (refuse), by the rule "ask"',
        "Timeline",
        "supervision diagram",
    ):
        assert part in told
    assert "\x1b" not in told
    assert [None, None] == [start_time(pid) for pid in (killed, orphan)]


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    """Refused, in a sentence."""
    (tmp_path / "thesis.tex").write_text("precious")
    said = give("demo", "--dir", tmp_path, env={})
    assert 4 == said.code
    assert "is not empty" in said.err
    assert ["thesis.tex"] == [path.name for path in tmp_path.iterdir()]


def test_a_service_that_cannot_live_is_given_up(tmp_path: Path) -> None:
    """It is started again a few times, then the demonstration ends and names the log."""
    centre = builder.make_centre(tmp_path / "centre", ingest=("/bin/true",), pace=Pace())
    (centre.root / "supervision.toml").write_text("nonsense = 1\n")
    service = demo_service.ChildService(centre)
    service.begin()

    def watched() -> None:
        until(lambda: bool(service.check()) and False, "it is given up")

    try:
        with pytest.raises(Refused, match=r"service\.log"):
            watched()
    finally:
        service.end()
    assert "nonsense" in (centre.root / "service.log").read_text()
