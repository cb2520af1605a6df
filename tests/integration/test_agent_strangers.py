"""What strangers leave where the agent reads: lines, marks, cards, pipes and links."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hpc_agent import cards, reading, serve
from hpc_agent.attempts import Attempts
from hpc_agent.home import FOLDER, KEY, Home, HomeError, load
from hpc_agent.journal import ENTRY, JournalError, read_json
from hpc_agent.looks import Subject, look
from hpc_agent.runner import last_object, run_attempt
from tests.agent_kit import Request, command, make_home, request

SUBJECT = {"ref": "r", "name": "EXP00", "directory": "/run", "kind": "compute"}


def _session(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    answers = io.BytesIO()
    serve.serve(str(path), io.BytesIO(b"\n".join(lines) + b"\n"), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def _worked(home: Home, order: Request) -> Request:
    """Submit, run in this process, and tell how it ended."""
    attempts = Attempts(home, lambda *_: None)
    attempts.submit(order)
    run_attempt(home, "s-1", 1)
    return attempts.status("s-1", 1)


HALF = "\ud800"
NESTED = b'{"id": ' + b"[" * 500 + b"]" * 500 + b', "verb": "hello"}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (_line(id=1, verb="submit", supervision_id="s", attempt=1, signature=HALF), "half letters"),
        (_line(id=HALF, verb="hello"), "half letters"),
        (_line(id=1, verb="look", subjects=[{**SUBJECT, "directory": "/" + HALF}]), "half letters"),
        (_line(id=1, verb="look", subjects=[{**SUBJECT, "scheduler_id": "4\0"}]), "NUL"),
        (_line(id=1, verb="look", subjects=[{**SUBJECT, HALF: 1}]), "half letters"),
        (NESTED, "nested more than 16 deep"),
        (b'{"id": NaN, "verb": "hello"}', "NaN is no number"),
        (b'{"id": 1e999, "verb": "hello"}', "out of range"),
        (b'{"id": -9223372036854775809, "verb": "hello"}', "out of range"),
        (b'{"id": ' + b"9" * 1_000_000 + b', "verb": "hello"}', "a number of 1000000 digits"),
    ],
    ids=ascii,
)
def test_a_line_that_nobody_could_carry_further(tmp_path: Path, line: bytes, reason: str) -> None:
    """It is answered with its reason, whoever signed it, and the next one is served."""
    make_home(tmp_path)
    bad, good = _session(tmp_path, line, _line(id=2, verb="hello"))
    assert reason in bad["error"]
    assert good["version"] == 1


def test_letters_of_every_alphabet_are_text() -> None:
    """A whole pair of surrogates is one letter; depth and numbers of ours have room."""
    text = '["\\ud83d\\ude00", 9007199254740992, [[{}]]]'
    assert ["\U0001f600", 2**53, [[{}]]] == reading.parse(text)


def test_a_damaged_mark_ends_no_session(tmp_path: Path) -> None:
    """Who edits the journal by hand harms one supervision: the others are answered."""
    home = make_home(tmp_path)
    _worked(home, request(home))
    record = home.record("s-1")
    Path(record.path(1, ENTRY)).write_text("{}")
    (Path(record.folder) / "\u00b2.entry").touch()
    asked = _line(id=1, verb="status", keys=[{"supervision_id": "s-1", "attempt": 1}])
    again = json.dumps(request(home)).encode()
    known, repeat, good = _session(tmp_path, asked, again, _line(id=2, verb="hello"))
    assert "executed" == known["answers"][0]["kind"]
    assert (serve.STUMBLED in repeat["error"], repeat["later"]) == (True, True)
    assert good["version"] == 1


def test_a_file_nested_without_end_is_a_damaged_one(tmp_path: Path) -> None:
    """It is said to be one, and nothing is concluded from it."""
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(JournalError, match="not JSON"):
        read_json(str(tmp_path / "deep"))


@pytest.mark.parametrize("said", ['{"a": ' + "[" * 300 + "]" * 300 + "}", '{"a": "\\ud800"}'])
def test_a_report_that_nobody_could_carry_is_none(said: str) -> None:
    """The runner writes down how the script ended all the same."""
    assert last_object(said.encode()) is None


def test_a_number_of_another_alphabet_is_none(tmp_path: Path) -> None:
    """`isdigit` is true of a superscript; in run.card, or as an id, it must not end the agent."""
    home = make_home(tmp_path, commands=tmp_path / "bin")
    command(tmp_path / "bin", "sbx-queue", "true")
    (tmp_path / "run" / "run.card").write_text("[Configuration]\nCumulPeriod= \u00b2\n")
    (seen,) = look(home, [Subject("r", "EXP00", f"{home.path}/run", "compute", "\u00b2")])
    assert (seen["run_card"]["period"], seen["newest"]) == (None, None)


@pytest.mark.parametrize("name", ["run.card", "Script_Output_EXP00.000001"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    """A colleague's pipe in a shared directory must not leave an agent hanging on the node."""
    os.mkfifo(tmp_path / name)
    signal.alarm(10)
    try:
        card, problem = cards.run_card(str(tmp_path))
        tail = cards.output_tail(str(tmp_path), "EXP00")
    finally:
        signal.alarm(0)
    assert (card, tail) == (None, "")
    assert problem.startswith("run.card: ")


def test_an_output_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    """A colleague's link to the login's private key shows nothing of it."""
    (tmp_path / "secret").write_text("a key")
    (tmp_path / "Script_Output_EXP00.000001").symlink_to(tmp_path / "secret")
    assert "" == cards.output_tail(str(tmp_path), "EXP00")


@pytest.mark.parametrize("what", [FOLDER, f"{FOLDER}/{KEY}"])
def test_a_home_behind_a_link_is_not_used(tmp_path: Path, what: str) -> None:
    """Neither the folder nor the key may be somewhere else than they seem."""
    home = make_home(tmp_path / "home")
    (tmp_path / "home" / what).rename(tmp_path / "moved")
    (tmp_path / "home" / what).symlink_to(tmp_path / "moved")
    with pytest.raises(HomeError, match="no link"):
        load(home.path)


def test_what_the_agent_writes_is_the_logins_alone(tmp_path: Path) -> None:
    """Scripts, outputs, marks, key: under any umask nobody else may even list them."""
    before = os.umask(0)
    try:
        home = make_home(tmp_path)
        _worked(home, request(home))
        _session(tmp_path, _line(id=1, verb="hello"))
    finally:
        os.umask(before)
    root = Path(home.root)
    content = [path for path in root.rglob("*") if path.is_dir() or path.stat().st_size]
    assert [] == [path for path in (root, *content) if path.stat().st_mode & 0o077]


def test_a_strangers_directory_is_not_worked_in(tmp_path: Path) -> None:
    """A forged message names a place with a libIGCM of the forger's: nothing of it is run."""
    home = make_home(tmp_path)
    (tmp_path / "run").chmod(0o777)
    answer = _worked(home, request(home, script="touch canary"))
    assert ("failed", 65) == (answer["kind"], answer["exit_code"])
    assert "not this login's own" in answer["detail"]
    assert [] == list((tmp_path / "run").iterdir())


def test_another_logins_directory_is_not_worked_in(tmp_path: Path) -> None:
    """The same for one that somebody else owns, whatever its mode."""
    home = make_home(tmp_path)
    elsewhere = "/proc/1" if os.getuid() else str(tmp_path / "others")
    if not os.getuid():
        (tmp_path / "others").mkdir()
        os.chown(elsewhere, 65534, 65534)
    answer = _worked(home, request(home, script="touch canary", directory=elsewhere))
    assert ("failed", 65) == (answer["kind"], answer["exit_code"])
