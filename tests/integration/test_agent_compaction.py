"""The journal forgets what is finished, quiet and expired; never what could still act."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hpc_agent import home as homes
from hpc_agent import process
from hpc_agent.attempts import Attempts
from hpc_agent.compaction import compact
from hpc_agent.home import Home
from hpc_agent.journal import CANCELLED, ENDED, ENTRY, SEEN, STARTED, Record
from hpc_agent.runner import run_attempt
from hpc_agent.serve import Agent
from tests.agent_kit import make_home, request

DAY = 86400.0
KEEP = 60 * DAY
GONE = {"host": process.host(), "boot_id": "another boot", "pid": 1, "process_start": 1}
GONE = {**GONE, "session": 1, "at": 0.0}
OLD_ENTRY = {"expires_at": 1.0, "timeout_seconds": 30.0}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Prepare a home."""
    return make_home(tmp_path)


def _aged(record: Record, days: float = 61.0) -> None:
    """Make a supervision look as if nothing had happened to it for some days."""
    then = time.time() - days * DAY
    for path in (*Path(record.folder).iterdir(), Path(record.folder)):
        os.utime(path, (then, then))


def _marked(home: Home, marks: dict[str, dict[str, Any]], name: str = "s-1") -> Record:
    record = home.record(name)
    for mark, value in marks.items():
        attempt, kind = mark.split(".")
        record.make(int(attempt), kind, value)
    _aged(record)
    return record


@pytest.mark.parametrize(
    "marks",
    [
        {"1.entry": OLD_ENTRY, "1.started": GONE, "1.ended": {}},
        {"1.entry": OLD_ENTRY, "1.started": {"fenced": "attempt 2 was seen"}, "2.seen": {}},
        {"1.entry": OLD_ENTRY, "1.started": GONE},
        {"3.cancelled": {}},
        {"2.seen": {}},
    ],
)
def test_what_is_over_is_forgotten(home: Home, marks: dict[str, dict[str, Any]]) -> None:
    """Ended, fenced, lost for long, or never begun: after the retention nothing of it is left."""
    _marked(home, marks)
    assert compact(home.root, KEEP) == ["s-1"]
    left = [path for place in ("journal", "tmp") for path in (Path(home.root) / place).iterdir()]
    assert [] == left


@pytest.mark.parametrize(
    "marks",
    [
        {"1.entry": OLD_ENTRY},
        {"1.entry": OLD_ENTRY, "1.started": {**process.identity(), "at": 0.0}},
        {"1.entry": OLD_ENTRY, "1.started": {**GONE, "at": 4e9}},
        {
            "1.entry": OLD_ENTRY,
            "1.started": GONE,
            "1.ended": {},
            "2.entry": OLD_ENTRY,
        },
        {"1.entry": {**OLD_ENTRY, "expires_at": 4e9}, "1.started": GONE, "1.ended": {}},
        {"1.entry": {}, "1.started": GONE, "1.ended": {}},
    ],
)
def test_what_could_still_act_is_kept(home: Home, marks: dict[str, dict[str, Any]]) -> None:
    """Not started, running, perhaps running, not expired, or not understood: kept for ever."""
    record = _marked(home, marks)
    assert compact(home.root, KEEP) == []
    assert record.attempts(ENTRY) == sorted({int(mark[0]) for mark in marks if "entry" in mark})


def test_a_damaged_entry_is_kept(home: Home) -> None:
    """What cannot be read may be unfinished: a person looks at it, `doctor` names it."""
    record = _marked(home, {"1.entry": OLD_ENTRY, "1.started": GONE, "1.ended": {}})
    Path(record.path(1, ENTRY)).write_text('{"expires')
    _aged(record)
    assert compact(home.root, KEEP) == []


def test_what_is_young_is_kept_with_its_fences(home: Home) -> None:
    """Before the retention the highest attempt is remembered, and fences the lower ones."""
    record = _marked(home, {"3.cancelled": {}, "2.seen": {}})
    _aged(record, days=59.0)
    assert compact(home.root, KEEP) == []
    assert (record.attempts(CANCELLED), record.attempts(SEEN)) == ([3], [2])
    assert Attempts(home, lambda *_: None).submit(request(home, attempt=3))["kind"] == "stale"


def test_a_forgotten_request_that_comes_again_is_expired(home: Home) -> None:
    """Without its fence a replayed request does nothing either: its expiry is over by then."""
    sent = request(home, script="echo once >> trace")
    attempts = Attempts(home, lambda *_: None)
    attempts.submit(sent)
    assert run_attempt(home, "s-1", 1)
    record = home.record("s-1")
    entry = Path(record.path(1, ENTRY))
    entry.write_text(entry.read_text().replace(str(sent["expires_at"]), "1.0"))
    _aged(record)
    assert compact(home.root, KEEP) == ["s-1"]
    late = request(home, script="echo once >> trace", expires_at=time.time() - 1.0)
    assert attempts.submit(late)["kind"] == "expired"
    assert (Path(home.path) / "run" / "trace").read_text() == "once\n"


def test_a_request_that_would_outlive_the_journal_is_refused(home: Home) -> None:
    """Whatever expires later than the journal remembers could be replayed: it is not taken."""
    sent = request(home, expires_at=time.time() + home.keep_days * DAY + 60)
    answer = Attempts(home, lambda *_: None).submit(sent)
    assert (answer["kind"], "forgotten" in answer["detail"]) == ("refused", True)
    assert home.record("s-1").attempts(ENTRY) == []


def test_many_agents_forget_at_once(home: Home) -> None:
    """Each folder is taken by one of them, and nobody fails."""
    for number in range(20):
        _marked(home, {"1.entry": OLD_ENTRY, "1.started": GONE, "1.ended": {}}, f"s-{number}")
    with ThreadPoolExecutor(4) as pool:
        taken = [
            name
            for names in pool.map(lambda _: compact(home.root, KEEP), range(4))
            for name in names
        ]
    assert sorted(taken) == sorted(f"s-{number}" for number in range(20))


def test_killed_while_it_forgets(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was taken away and not deleted is out of the journal, and goes later."""
    _marked(home, {"1.entry": OLD_ENTRY, "1.started": GONE, "1.ended": {}})
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_, **__: None)
        assert compact(home.root, KEEP) == ["s-1"]
    (left,) = (Path(home.root) / "tmp").iterdir()
    assert Attempts(home, lambda *_: None).status("s-1", 1)["kind"] == "never-seen"
    os.utime(left, (0, 0))
    homes.tidy(home)
    assert list((Path(home.root) / "tmp").iterdir()) == []


def test_tidying_never_stands_in_the_way(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses even that keeps nobody from saying hello."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", full)
    hello = Agent(home, Attempts(home, lambda *_: None)).answer({"verb": "hello"})
    assert hello["journal_id"] == home.journal_id


def test_tidying_forgets_after_the_homes_retention(home: Home) -> None:
    """`keep_days` of the home is the retention."""
    record = _marked(home, {"1.entry": OLD_ENTRY, "1.started": GONE, "1.ended": {}})
    homes.tidy(home._replace(keep_days=90.0))
    assert record.attempts(ENDED) == [1]
    (Path(home.root) / "tidied").unlink()
    homes.tidy(home)
    assert (record.attempts(ENDED), record.attempts(STARTED)) == ([], [])
