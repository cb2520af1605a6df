"""The session: every line has its answer, and no line ends it."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import hpc_agent
from hpc_agent import arrivals, journal, process, serve, starter
from hpc_agent.home import FOLDER
from tests.agent_kit import LOGIN, SITE, make_home, request

_TOGETHER = 8
_MANY = 50


def _session(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    answers = io.BytesIO()
    serve.serve(str(path), io.BytesIO(b"\n".join(lines) + b"\n"), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_hello(tmp_path: Path) -> None:
    """Hello tells version, whose agent it is, where, which journal, and its time."""
    home = make_home(tmp_path)
    (hello,) = _session(tmp_path, _line(id=7, verb="hello"))
    assert (hello["id"], hello["version"], hello["journal_id"]) == (7, 1, home.journal_id)
    assert (hello["site"], hello["login"], hello["host"]) == (SITE, LOGIN, process.host())
    assert hello["boot_id"] == process.boot_id()
    assert isinstance(hello["clock"], float)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "no JSON object"),
        (b"x" * (arrivals.LINE_LIMIT_BYTES * 2), "longer than"),
        (_line(id=1), "no such verb"),
        (_line(id=1, verb=["hello"]), "no such verb"),
        (_line(id=1, verb="exec"), "no such verb"),
        (_line(id=1, verb="status"), "keys must be a list"),
        (_line(id=1, verb="status", keys=[{}] * 501), "at most 500"),
        (_line(id=1, verb="status", keys=[7]), "supervision_id"),
        (_line(id=1, verb="status", keys=[{"supervision_id": "../x", "attempt": 1}]), "must match"),
        (_line(id=1, verb="status", keys=[{"supervision_id": "s\n", "attempt": 1}]), "must match"),
        (_line(id=1, verb="status", keys=[{"supervision_id": "s", "attempt": 0}]), "attempt"),
        (_line(id=1, verb="status", keys=[{"supervision_id": "s", "attempt": True}]), "attempt"),
        (_line(id=1, verb="status", keys=[{"supervision_id": "s", "attempt": "1"}]), "attempt"),
        (_line(id=1, verb="output", supervision_id="s"), "attempt"),
        (_line(id=1, verb="submit", supervision_id="s/../t", attempt=1), "must match"),
        (_line(id=1, verb="cancel", attempt=1), "supervision_id"),
        (_line(id=1, verb="look", subjects=[{"ref": "r"}]), "a subject needs"),
        (
            _line(
                id=1, verb="look", subjects=[{"ref": "", "name": "", "directory": "x", "kind": ""}]
            ),
            "absolute path",
        ),
    ],
)
def test_a_bad_line_is_answered_and_the_session_goes_on(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    """The answer gives the reason; the next request is served as if nothing had been."""
    make_home(tmp_path)
    bad, good = _session(tmp_path, line, _line(id=2, verb="hello"))
    assert reason in bad["error"]
    assert good["version"] == 1


def test_an_unprepared_home_is_every_lines_answer(tmp_path: Path) -> None:
    """Without a home the session still speaks, and says what is missing."""
    answers = _session(tmp_path, _line(id=1, verb="hello"), _line(id=2, verb="status", keys=[]))
    assert [answer["id"] for answer in answers] == [1, 2]
    assert all("not prepared" in answer["error"] for answer in answers)


def test_what_the_disk_refuses_is_for_later(tmp_path: Path) -> None:
    """An error of the file system is no verdict: the caller may come again."""
    home = make_home(tmp_path)
    (tmp_path / FOLDER / "tmp").rmdir()
    (answer,) = _session(tmp_path, json.dumps(request(home)).encode())
    assert answer["later"] is True


def test_verbs_name_their_keys(tmp_path: Path) -> None:
    """Status answers each key in the order of the question; output answers one."""
    make_home(tmp_path)
    keys = [{"supervision_id": name, "attempt": 1} for name in ("b", "a")]
    status, output = _session(
        tmp_path,
        _line(id=1, verb="status", keys=keys),
        _line(id=2, verb="output", supervision_id="a", attempt=1),
    )
    assert ["b", "a"] == [answer["supervision_id"] for answer in status["answers"]]
    assert (output["stdout"], output["stderr"]) == ("", "")


def test_a_refused_submit_and_cancel_over_the_line(tmp_path: Path) -> None:
    """Unsigned requests have an answer of their own kind, not an error."""
    make_home(tmp_path)
    answers = _session(
        tmp_path,
        *(_line(id=1, verb=verb, supervision_id="s", attempt=1) for verb in ("submit", "cancel")),
    )
    assert ["refused", "refused"] == [answer["answers"][0]["kind"] for answer in answers]


def test_submits_that_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are answered side by side, in their order, and no thread is left when it may fork."""
    home = make_home(tmp_path)
    alone, threads = threading.active_count(), []
    monkeypatch.setattr(starter, "ring", lambda _: threads.append(threading.active_count()))
    waiting = threading.Barrier(_TOGETHER, timeout=20)
    sync = journal.sync_folder

    def together(folder: str) -> None:
        waiting.wait()
        sync(folder)

    monkeypatch.setattr(journal, "sync_folder", together)
    fields = [request(home, id=number, supervision_id=f"s-{number}") for number in range(_TOGETHER)]
    lines = [json.dumps(each, sort_keys=True).encode() for each in fields]
    answers = _session(tmp_path, *lines, _line(id=99, verb="hello"))
    assert [*range(_TOGETHER), 99] == [answer["id"] for answer in answers]
    assert ["accepted"] * _TOGETHER == [each["answers"][0]["kind"] for each in answers[:-1]]
    assert [alone] == threads


def test_half_a_line_holds_no_receipt_back(tmp_path: Path) -> None:
    """What is whole is answered, though the rest of the next line does not come."""
    make_home(tmp_path)
    theirs, ours = os.pipe()
    said, heard = os.pipe()
    with (
        os.fdopen(theirs, "rb") as requests,
        os.fdopen(heard, "wb") as answers,
        os.fdopen(said, "rb") as answered,
        os.fdopen(ours, "wb", buffering=0) as asking,
    ):
        thread = threading.Thread(target=serve.serve, args=(str(tmp_path), requests, answers))
        thread.start()
        asking.write(_line(id=1, verb="hello") + b"\n" + b'{"id": 2, ')
        assert json.loads(answered.readline())["id"] == 1
        asking.write(b'"verb": "hello"}\n')
        assert json.loads(answered.readline())["id"] == 2
        asking.close()
        thread.join()


class _Endless(io.BytesIO):
    """Requests that never pause and never stop in front of a line."""

    def read1(self, _: int | None = -1, /) -> bytes:
        return b"line\nhalf a "


def test_a_stream_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts wait for the end of what came together: it comes, and nothing is lost by it."""
    monkeypatch.setattr(arrivals, "TOGETHER_SECONDS", 0.01)
    monkeypatch.setattr(arrivals.Arrivals, "_soon", lambda _: True)
    lines = arrivals.Arrivals(_Endless())
    first, second = list(lines.together()), list(lines.together())
    assert (first[0], set(first[1:] + second)) == (b"line", {b"half a line"})
    assert not lines.ended


def test_one_damaged_submit_among_many_is_its_own_answer(tmp_path: Path) -> None:
    """Side by side each has its own receipt or reason, in order, more than are under way."""
    home = make_home(tmp_path)
    asked = [request(home, id=number, supervision_id=f"s-{number}") for number in range(_MANY)]
    asked[5]["script"] += "altered"
    answers = _session(tmp_path, *(json.dumps(each, sort_keys=True).encode() for each in asked))
    kinds = [answer["answers"][0]["kind"] for answer in answers]
    assert list(range(_MANY)) == [answer["id"] for answer in answers]
    assert kinds == ["refused" if number == 5 else "accepted" for number in range(_MANY)]
    entered = {path.parent.name for path in (tmp_path / FOLDER / "journal").glob("*/1.entry")}
    assert entered == {f"s-{number}" for number in range(_MANY) if number != 5}


SOURCES = sorted(Path(hpc_agent.__path__[0]).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_an_old_python_can_read_it(path: Path) -> None:
    """Login nodes have Python 3.6: its grammar, and no import beyond the standard library."""
    tree = ast.parse(path.read_text(), feature_version=(3, 6))
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ImportFrom) or node.module != "__future__"
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        roots = {name.split(".")[0] for name in names}
        assert roots <= sys.stdlib_module_names | {"hpc_agent"}
