"""The journal: files that come to be once, marks, fences, and what is forgotten."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpc_agent import home as homes
from hpc_agent.journal import CANCELLED, ENTRY, SEEN, STARTED, JournalError, Record, write_once
from tests.agent_kit import make_home

_MANY = 16


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Open the record of one supervision in a prepared home."""
    return make_home(tmp_path).record("s-1")


def test_a_mark_is_made_once(record: Record) -> None:
    """The second maker is told that it was not the first, and changes nothing."""
    made = [record.make(1, STARTED, {"pid": pid}) for pid in (11, 12)]
    assert made == [True, False]
    assert record.read(1, STARTED) == {"pid": 11}


def test_of_many_makers_one_wins(record: Record) -> None:
    """Threads that make the same mark at once see exactly one winner."""
    with ThreadPoolExecutor(_MANY) as pool:
        made = list(pool.map(lambda pid: record.make(1, STARTED, {"pid": pid}), range(_MANY)))
    assert made.count(True) == 1
    assert record.read(1, STARTED) == {"pid": made.index(True)}


def test_no_draft_is_left(record: Record, tmp_path: Path) -> None:
    """Neither the winner nor the loser leaves a file in the workshop."""
    record.make(1, STARTED, {})
    record.make(1, STARTED, {})
    assert list((tmp_path / homes.FOLDER / "tmp").iterdir()) == []


def test_the_link_count_decides_not_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that was made although its answer was lost (NFS) counts as ours."""
    link: Callable[[str, str], None] = os.link

    def linked_but_said_otherwise(source: str, target: str) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, "as NFS says after a retry", target)

    monkeypatch.setattr(os, "link", linked_but_said_otherwise)
    assert write_once(str(tmp_path / "mark"), b"{}", str(tmp_path))


def test_a_full_disk_is_not_taken_for_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error other than "exists" is raised when nothing was linked, and leaves no draft."""

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "no space", source, None, target)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="no space"):
        write_once(str(tmp_path / "mark"), b"{}", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", '{"attempt": ', "[1]", "\udcff"])
def test_a_damaged_mark_is_not_an_absent_one(record: Record, content: str) -> None:
    """Half a file, no object, no UTF-8: an error, for nothing may be concluded from it."""
    record.make(1, ENTRY, {})
    path = Path(record.path(2, ENTRY))
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(JournalError):
        record.read(2, ENTRY)


def test_an_absent_mark_is_none(record: Record) -> None:
    """Reading and listing what never was is no error."""
    assert record.read(1, ENTRY) is None
    assert record.attempts(ENTRY) == []
    assert record.kept(1, "stdout") == b""


def test_attempts_are_listed_by_number(record: Record) -> None:
    """10 comes after 9, and other kinds of marks are not in the list."""
    for attempt in (10, 9):
        record.make(attempt, ENTRY, {})
    record.make(11, SEEN, {})
    assert record.attempts(ENTRY) == [9, 10]


@pytest.mark.parametrize(
    ("mark", "attempt", "fenced"),
    [
        (SEEN, 1, True),
        (SEEN, 2, False),
        (SEEN, 3, False),
        (CANCELLED, 1, True),
        (CANCELLED, 2, True),
        (CANCELLED, 3, False),
    ],
)
def test_fences(record: Record, mark: str, attempt: int, *, fenced: bool) -> None:
    """A seen attempt fences the lower ones, a cancelled one itself as well."""
    record.make(2, mark, {})
    assert (record.fence(attempt) is not None) == fenced


def test_a_start_is_taken_from_who_has_not_had_it(record: Record) -> None:
    """What was taken can be taken again; what a runner has cannot."""
    record.make(2, STARTED, {"pid": 11})
    assert [record.take_start(1, "why"), record.take_start(1, "why")] == [True, True]
    assert record.take_start(2, "why") is False
    assert record.make(1, STARTED, {"pid": 12}) is False
