"""`supervision run` takes over new settings: by a signal, by itself, and it still ends in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from supervision.fsm.states import State
from tests.integration.end_to_end_kit import (
    PATIENCE_SECONDS,
    Service,
    World,
    a_world,
    command,
    until,
)

SITE: Final = ('machines = ["elsewhere"]', 'machines = ["sandbox"]')
"""Nobody knows whose machine it is; then it is the sandbox's."""


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[World]:
    """A sandbox whose machine is not in the settings yet."""
    with a_world(tmp_path, database=sqlite_url) as made:
        _edit(made, *SITE[::-1])
        yield made


def _edit(world: World, old: str, new: str) -> None:
    """Rename an edited file into the place of the settings."""
    written = world.config.with_name("new.toml")
    text = world.config.read_text()
    assert old in text
    written.write_text(text.replace(old, new))
    written.chmod(0o600)
    written.replace(world.config)


def _refused_for_want(world: World) -> str:
    """Have a job fail; wait until nobody may help it. Tells the simulation."""
    uid = world.simulate("error:3")
    until(lambda: ["where-and-who"] == _rules(world, uid), "a refusal")
    return uid


def _rules(world: World, uid: str) -> list[str | None]:
    """The rule that spoke about the fatal, if it is decided."""
    return [each.rule for each in world.decisions(uid) if each.kind == "fatal" and each.rule]


def _restarted(world: World) -> bool:
    row = world.row()
    return row is not None and row.state is State.EXECUTED


def _hangup(service: Service) -> None:
    service.process.send_signal(signal.SIGHUP)


def _told(service: Service, event: str, count: int = 1) -> None:
    until(lambda: len(service.log(event)) >= count, f"{event}, {count} times")


def test_a_new_site_has_a_refused_failure_restarted(world: World) -> None:
    """SIGHUP: the decision is made again, the job is given back, and both verdicts replay."""
    service = world.run()
    service.begun()
    uid = _refused_for_want(world)
    (before,) = {each.policy_digest for each in world.decisions(uid) if each.kind == "fatal"}
    _edit(world, *SITE)
    _hangup(service)
    _told(service, "settings.reloaded")
    (line,) = service.log("settings.reloaded")
    assert any("machines" in word for word in line["changes"]), line["changes"]
    until(lambda: _restarted(world), "the row is executed")
    found = [each for each in world.decisions(uid) if each.kind == "fatal"]
    assert [("supervise", line["policy_digest"])] == [
        (it.verdict, it.policy_digest) for it in found
    ]
    assert [True] == [each.replays for each in found]
    assert before not in {None, line["policy_digest"]}
    why = command("why", uid, env=world.environment)
    assert "Replayed on the same facts and policy: the same verdict." in why.stdout
    assert 0 == service.terminate(PATIENCE_SECONDS), service.file.read_text()


def test_a_bad_file_leaves_the_former_policy_in_force(world: World) -> None:
    """The log says so, and nobody is helped by half of it; the corrected one needs no signal."""
    service = world.run()
    service.begun()
    uid = _refused_for_want(world)
    _edit(world, *SITE)
    _edit(world, "want_delay = 2", "want_dealy = 2")
    _hangup(service)
    _told(service, "settings.refused")
    assert "did you mean 'want_delay'?" in service.log("settings.refused")[0]["problems"][0]
    assert ([], ["where-and-who"]) == (world.rows(), _rules(world, uid))
    _edit(world, "want_dealy = 2", "want_delay = 2")
    until(lambda: _restarted(world), "the row is executed")
    assert [False] == [line["asked"] for line in service.log("settings.reloaded")]
    assert 0 == service.terminate(PATIENCE_SECONDS), service.file.read_text()


def test_two_quick_signals_are_answered_and_the_end_is_in_order(world: World) -> None:
    """However the signals fall together, the last file is in force; SIGTERM still means stop."""
    service = world.run()
    service.begun()
    _edit(world, *SITE)
    _hangup(service)
    _hangup(service)
    _told(service, "settings.reloaded")
    _edit(world, *SITE[::-1])
    _hangup(service)
    _hangup(service)
    _told(service, "settings.reloaded", 2)
    assert world.settings.policy.digest == service.log("settings.reloaded")[-1]["policy_digest"]
    _hangup(service)
    assert 0 == service.terminate(PATIENCE_SECONDS), service.file.read_text()
    assert [] == service.log("settings.refused")
    assert service.log("service.stopped")


_AT_A_TERMINAL: Final = """\
import fcntl, os, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-P", "-m", "supervision", "run"])
"""


def test_a_terminal_that_hangs_up_ends_it(tmp_path: Path, world: World) -> None:
    """Who ran it there is gone: it ends as by SIGTERM, and does not live on unseen."""
    keyboard, screen = os.openpty()
    with os.fdopen(screen, "wb") as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", _AT_A_TERMINAL],
            env=world.environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
            start_new_session=True,
        )
    said = b""
    while b"retention.cleaned" not in said:
        said += os.read(keyboard, 4096)
    assert b"service.started" in said
    os.close(keyboard)
    assert 0 == process.wait(PATIENCE_SECONDS)
