"""`supervision run` as a process: it begins, says so, and ends when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from supervision.app_serve import Told
from supervision.cli import run as running_command
from tests.integration.cli_kit import Said, a_desk, failure, give, lines
from tests.integration.end_to_end_kit import command, environment

PATIENCE_SECONDS = 30.0


class Running:
    """One `supervision run`, and the file of its log."""

    def __init__(self, folder: Path, env: dict[str, str], *words: str) -> None:
        """Start it."""
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervision", "run", *words],
                env=env,
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def events(self) -> list[str]:
        """What was logged, by name."""
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines()]

    def until(self, true: Callable[[], bool]) -> None:
        """Wait; fails with the log."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not true():
            assert time.monotonic() < deadline, self.log.read_text()
            Event().wait(0.05)

    def begun(self) -> None:
        """Wait until it serves."""
        self.until(lambda: self.process.poll() is not None or "service.started" in self.events())
        assert self.process.poll() is None, self.log.read_text()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """No settings at all but a database that is not there yet."""
    return environment(database=f"sqlite:///{tmp_path}/supervision.db")


@pytest.fixture
def running(tmp_path: Path, env: dict[str, str]) -> Iterator[Running]:
    """The whole service, without any configuration."""
    made = Running(tmp_path, env)
    try:
        made.begun()
        yield made
    finally:
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_when_it_is_told_to(running: Running, number: int) -> None:
    """Also told twice: exit code 0, and the last word is that it stopped; the log is JSON."""
    os.kill(running.process.pid, number)
    os.kill(running.process.pid, number)
    assert 0 == running.process.wait(PATIENCE_SECONDS), running.log.read_text()
    assert "service.stopped" == running.events()[-1]


def test_a_signal_after_the_first_is_heard_too(capfd: pytest.CaptureFixture[str]) -> None:
    """However late it comes: not a word on stderr, where the log is."""
    told = Told()
    with running_command._told_by_signals(told):  # noqa: SLF001
        os.kill(os.getpid(), signal.SIGINT)
        assert told.stop.wait(PATIENCE_SECONDS)
        for _ in range(50):
            os.kill(os.getpid(), signal.SIGINT)
            Event().wait(0.002)
    assert "" == capfd.readouterr().err


def test_it_finds_what_another_process_took_in(
    running: Running, tmp_path: Path, env: dict[str, str]
) -> None:
    """`ingest` commits, the sweeper of the service finds it, a decision is made."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    assert 0 == command("ingest", tmp_path / "mail", env=env).returncode
    running.until(lambda: "decision.made" in running.events())


def test_it_is_killed_and_goes_on(running: Running, tmp_path: Path, env: dict[str, str]) -> None:
    """What a killed process leaves behind, the next one takes up."""
    running.process.kill()
    running.process.wait()
    (tmp_path / "mail").write_bytes(lines(failure()))
    command("ingest", tmp_path / "mail", env=env)
    second = Running(tmp_path, env)
    try:
        second.until(lambda: "decision.made" in second.events())
    finally:
        second.process.terminate()
        assert 0 == second.process.wait(PATIENCE_SECONDS)


def run(*words: str, env: dict[str, str]) -> Said:
    """Give a `run` that is not to begin."""
    return give("run", *words, env=env)


def test_stages_cannot_meet_in_memory(env: dict[str, str]) -> None:
    """Some stages alone need a RabbitMQ: a sentence says so."""
    said = run("sweep", "detect", env=env)
    assert 2 == said.code
    assert "set broker_url to a RabbitMQ" in said.err


def test_a_stage_that_there_is_not_is_bad_use(env: dict[str, str]) -> None:
    """The stages that there are are named."""
    said = run("dispense", env=env)
    assert 2 == said.code
    assert "'dispatch'" in said.err


def test_a_database_that_is_away_is_an_exit_of_3(free_port: int) -> None:
    """Whoever supervises the service starts it again."""
    url = f"postgresql://nobody@127.0.0.1:{free_port}/supervision"
    assert 3 == run(env={"SUPERVISION_DATABASE_URL": url}).code


def test_one_stage_runs_where_a_broker_connects_it(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    """A process for one stage begins and ends like the whole."""
    env = environment(database=postgres_url, broker=amqp_url)
    made = Running(tmp_path, env, "format")
    try:
        made.begun()
        made.process.terminate()
        assert 0 == made.process.wait(PATIENCE_SECONDS), made.log.read_text()
    finally:
        made.process.kill()
        made.process.wait()


def test_settings_are_shown_masked(tmp_path: Path, sqlite_url: str) -> None:
    """Every value by its name, no password."""
    with a_desk(tmp_path, sqlite_url) as desk:
        env = {**desk.env, "SUPERVISION_BROKER_URL": "amqp://me:s3cret@broker.example.org/"}
        said = give("settings", env=env)
        assert (0, False) == (said.code, "s3cret" in said.out)
        assert "policy.grace = 0 s" in said.out.splitlines()
        shown = give("settings", "--json", env=env).json
        assert ("act", str(desk.config)) == (shown["sites.curie.mode"], shown["source"])


def test_a_file_is_examined_before_it_is_put_in_place(tmp_path: Path, sqlite_url: str) -> None:
    """What it would change, and what would wait; paths count as if it lay where the other does."""
    with a_desk(tmp_path, sqlite_url) as desk:
        new = tmp_path / "elsewhere" / "new.toml"
        new.parent.mkdir()
        text = desk.config.read_text().replace("grace = 0", "grace = 60")
        new.write_text(f"{text}[engine]\nlease = 300\n")
        said = desk.give("settings", "--check", new)
        told = said.out.splitlines()
        assert (0, f"{new} has no mistake.") == (said.code, told[0])
        assert ["  policy.grace: 0 s -> 1 min", "  engine.lease: needs a restart"] == [
            told[1], told[-1],
        ]  # fmt: skip
        found = desk.give("settings", "--check", new, "--json").json
        assert (["engine.lease"], 2) == (found["restart"], len(found["changes"]))
        new.write_text(text.replace("grace", "graze"))
        said = desk.give("settings", "--check", new)
        assert (2, True, "") == (said.code, "policy.graze" in said.err, said.out)


def test_a_file_is_examined_also_where_the_present_one_is_bad(
    tmp_path: Path, sqlite_url: str
) -> None:
    """There is nothing to compare it with, which is said; its own mistakes are what counts."""
    with a_desk(tmp_path, sqlite_url) as desk:
        good = tmp_path / "good.toml"
        good.write_text(desk.config.read_text())
        desk.config.write_text("[sites")
        said = desk.give("settings", "--check", good)
        assert (0, f"{good} has no mistake.\n") == (said.code, said.out)
        assert "is not TOML" in said.err


def test_a_mistake_in_the_settings_is_named(tmp_path: Path, sqlite_url: str) -> None:
    """Key and what is allowed; exit code 2, from whatever command."""
    with a_desk(tmp_path, sqlite_url) as desk:
        desk.config.write_text(desk.config.read_text().replace('mode = "act"', 'mode = "do it"'))
        for words in (("settings",), ("show",), ("run",), ("ingest", "x"), ("db", "clean")):
            said = desk.give(*words)
            assert 2 == said.code
            assert "mode" in said.err
            assert "observe" in said.err


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """--config is believed: there is no falling back to defaults."""
    said = give("--config", tmp_path / "gone.toml", "settings", env={})
    assert 2 == said.code
    assert "gone.toml" in said.err
