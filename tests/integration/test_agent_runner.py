"""The runner and the script: environment, deadline, outputs, and every reason not to run."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from hpc_agent import commands, process, runner, script
from hpc_agent.attempts import Attempts
from hpc_agent.home import Home
from hpc_agent.lock import DirectoryLock
from hpc_agent.runner import run_attempt
from tests.agent_kit import LOGIN, Request, make_home, request


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Prepare a home with a folder of commands."""
    (tmp_path / "bin").mkdir()
    return make_home(tmp_path, commands=tmp_path / "bin")


def _run(home: Home, text: str = "true", /, **changes: object) -> Request:
    attempts = Attempts(home, lambda *_: None)
    attempts.submit(request(home, script=text, **changes))
    run_attempt(home, "s-1", 1)
    return attempts.status("s-1", 1)


def test_it_runs_in_the_directory(home: Home) -> None:
    """The script's working directory is the submission directory; stdin is empty."""
    answer = _run(home, "cat; pwd")
    assert f"{home.path}/run\n" == answer["output_tail"]


def test_the_environment_is_the_logins_without_secrets(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R_BUF and its like are there, secrets are not, and the site's commands come first."""
    monkeypatch.setenv("R_BUF", "/scratch/buf")
    for secret in ("DB_PASSWORD", "API_TOKEN", "MY_SECRET", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(secret, "hidden")
    variables = commands.environment(home)
    assert variables["R_BUF"] == "/scratch/buf"
    assert "hidden" not in variables.values()
    assert (variables["HOME"], variables["USER"]) == (home.path, LOGIN)
    assert variables["PATH"].split(":")[0] == home.bin
    assert "hidden" not in _run(home, "env")["output_tail"]


def test_the_interpreter_is_found_where_the_commands_are(home: Home) -> None:
    """A name is looked up in `bin` first; no shell has a say."""
    own = Path(home.bin) / "bash"
    own.write_text('#!/bin/sh\necho "mine: $1"\n')
    own.chmod(0o755)
    assert _run(home)["output_tail"].startswith("mine: /")


def test_an_unknown_interpreter_is_a_failure(home: Home) -> None:
    """A program that is not there ends the attempt with 127 and its name."""
    answer = _run(home, interpreter="no-such-shell")
    assert (answer["kind"], answer["exit_code"]) == ("failed", 127)
    assert "no-such-shell" in answer["detail"]


def test_a_missing_directory_is_a_failure(home: Home) -> None:
    """A submission directory that was removed ends the attempt with its own code."""
    answer = _run(home, directory=f"{home.path}/gone")
    assert (answer["kind"], answer["exit_code"]) == ("failed", 65)


def test_what_is_not_in_the_journal_is_not_run(home: Home) -> None:
    """A key that waits and has been forgotten meanwhile leaves no trace."""
    assert not run_attempt(home, "s-1", 1)
    assert not Path(home.record("s-1").folder).exists()


def test_a_changed_script_is_not_run(home: Home) -> None:
    """The journal's copy must still be what was signed."""
    attempts = Attempts(home, lambda *_: None)
    fields = request(home, script="echo ran > trace")
    attempts.submit(fields)
    Path(home.record("s-1").path(1, fields["sha256"])).write_text("echo other > trace")
    run_attempt(home, "s-1", 1)
    assert attempts.status("s-1", 1)["kind"] == "failed"
    assert not (Path(home.path) / "run" / "trace").exists()


def test_a_locked_directory_is_not_yet(home: Home) -> None:
    """When another script works there for too long, the code says to come back."""
    held = DirectoryLock(home.root, f"{home.path}/run", 30.0)
    held.acquire(lambda: None)
    answer = _run(home, timeout_seconds=0.01)
    assert (answer["kind"], answer["exit_code"]) == ("failed", 43)


def test_the_lock_is_given_back(home: Home) -> None:
    """After a script, however it ended, its directory is free."""
    _run(home, "exit 1")
    assert DirectoryLock(home.root, f"{home.path}/run", 0.01).acquire(lambda: None)


def test_the_deadline_ends_the_whole_group(home: Home) -> None:
    """At the timeout the script and its children are ended, and the code is 124."""
    answer = _run(home, "sleep 60 & echo $! > child; wait", timeout_seconds=0.3)
    child = int((Path(home.path) / "run" / "child").read_text())
    assert (answer["kind"], answer["exit_code"]) == ("failed", 124)
    assert process.started_at(child) is None


def test_who_ignores_the_polite_signal_gets_the_other(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that traps SIGTERM is killed after its grace."""
    monkeypatch.setattr(script, "_GRACE_SECONDS", 0.1)
    text = "trap '' TERM; while true; do sleep 0.02; done"
    assert _run(home, text, timeout_seconds=0.3)["exit_code"] == 124


def test_a_script_ended_by_a_signal_is_a_failure(home: Home) -> None:
    """A signal is told as a shell does, 128 and its number."""
    assert _run(home, "kill -KILL $$")["exit_code"] == 137


def test_only_the_last_of_the_output_is_kept(home: Home) -> None:
    """A script may say much more than is kept; its last line is read all the same."""
    answer = _run(home, "head -c 300000 /dev/zero | tr '\\0' x; echo; echo '{\"period\": 3}'")
    assert answer["report"] == {"period": 3}
    kept = home.record("s-1").kept(1, "stdout")
    assert len(kept) == script.KEPT_BYTES
    assert len(answer["output_tail"]) == 4000


def test_a_background_process_does_not_hold_the_end(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that keeps the pipe open after the script has ended is not waited for."""
    monkeypatch.setattr(script, "_DRAIN_SECONDS", 0.1)
    answer = _run(home, "sleep 60 & echo $! > child; echo said")
    assert answer["output_tail"] == "said\n"
    os.kill(int((Path(home.path) / "run" / "child").read_text()), signal.SIGKILL)
    for thread in threading.enumerate():
        if isinstance(thread, script.Tail):
            thread.join()
            thread.content()


@pytest.mark.parametrize(
    ("stdout", "last"),
    [
        (b'x\n{"a": 1}\n', {"a": 1}),
        (b'{"a": 1}\n\n', {"a": 1}),
        (b'{"a": 1}\nx', None),
        (b"[1]", None),
        (b"", None),
        (b"\xff\n", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_last_line_is_the_report(stdout: bytes, last: Request | None) -> None:
    """One JSON object as the last line; anything else is no report and no error."""
    assert last == runner.last_object(stdout)


def test_the_end_is_written_when_there_is_room_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full home delays the outcome and does not lose it."""
    record = home.record("s-1")
    make, tries = record.make, []

    def full_at_first(attempt: int, kind: str, value: Request) -> bool:
        tries.append(kind)
        if len(tries) == 1:
            raise OSError("no space left")
        return make(attempt, kind, value)

    monkeypatch.setattr(record, "make", full_at_first)
    monkeypatch.setattr(runner, "_END_PAUSE_SECONDS", 0.0)
    runner._write_end(record, 1, {"kind": "executed"})  # noqa: SLF001 - the window itself
    assert (record.read(1, "ended") or {})["kind"] == "executed"


def test_a_journal_that_is_gone_is_not_made_again(home: Home) -> None:
    """A runner whose home was removed ends without a trace and without patience."""
    record = home.record("s-1")
    Path(home.root, "journal").rmdir()
    runner._write_end(record, 1, {"kind": "executed"})  # noqa: SLF001 - the window itself
    assert not Path(home.root, "journal").exists()


def test_the_heart_beats_seldom(tmp_path: Path) -> None:
    """The file is renewed at most every ten seconds, and a failure to do so is borne."""
    path = tmp_path / "beat"
    heart = runner.Heart(str(path))
    os.utime(path, (0, 0))
    heart.beat()
    assert path.stat().st_mtime == 0
    runner.Heart(str(tmp_path / "gone" / "beat"))


def test_a_command_that_hangs_is_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler's command gets its time and no more."""
    monkeypatch.setattr(commands, "COMMAND_TIMEOUT_SECONDS", 0.1)
    assert "did not answer" in commands.run(home, ["sleep", "60"]).problem


def test_a_command_that_is_not_there(home: Home) -> None:
    """A missing command is a problem with its name, not an exception."""
    assert "no-such-command" in commands.run(home, ["no-such-command"]).problem
