"""Lines out of mailboxes, Maildirs, directories, pipes and plain files, and files that fail."""

from __future__ import annotations

import base64
import mailbox
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from supervision.adapters.mailfiles import Line, read, total_bytes
from supervision.errors import NotFound, Permanent

MAILS = Path(__file__).parents[1] / "data" / "mails"
FIRST, SECOND, THIRD = (base64.b64encode(f'{{"a":"{n}"}}\n'.encode()) for n in "123")
DATE = b"Date: Wed, 18 Mar 2015 09:48:48 +0100\r\n"


def raws(*paths: Path) -> list[bytes]:
    """Give the bare lines of these files."""
    return [line.raw for line in read(paths)]


def written(path: Path, data: bytes) -> Path:
    """Write a file and give its path."""
    path.write_bytes(data)
    return path


def mail(*lines: bytes) -> bytes:
    """Give a plain mail of these lines."""
    return DATE + b"Subject: jobs\r\n\r\n" + b"".join(line + b"\r\n" for line in lines)


def test_a_mailbox_is_split_into_its_mails(tmp_path: Path) -> None:
    """Origin numbers the mails from 1; a `From ` inside a paragraph splits nothing."""
    first = b"From a@b Wed Mar 18 09:48:48 2015\r\n" + mail(FIRST, b"From here on") + b"\r\n"
    second = b"From a@b Wed Mar 18 09:50:00 2015\r\n" + mail(SECOND)
    path = written(tmp_path / "inbox", b"\r\n" + first + second)
    done: list[int] = []
    lines = list(read([path], progress=done.append))
    assert [(f"{path}#1", FIRST), (f"{path}#1", b"From here on"), (f"{path}#2", SECOND)] == [
        (line.origin, line.raw) for line in lines
    ]
    assert [len(b"\r\n" + first), len(second)] == done


def test_real_mails_in_a_mailbox_are_the_same(tmp_path: Path) -> None:
    """What the standard library writes as mailbox is read like the files it was made of."""
    box = mailbox.mbox(tmp_path / "inbox")
    for path in sorted((MAILS / "curie-2015-fatal").iterdir()):
        box.add(path.read_bytes())
    box.close()
    expected = [
        (line.raw, line.mailed_at, line.config_card) for line in read([MAILS / "curie-2015-fatal"])
    ]
    assert expected == [
        (line.raw, line.mailed_at, line.config_card) for line in read([tmp_path / "inbox"])
    ]


def test_a_mailbox_is_read_while_it_is_still_being_written(tmp_path: Path) -> None:
    """Through a pipe: the first mail comes out before the third is there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    taken = threading.Event()

    def write() -> None:
        with pipe.open("wb", buffering=0) as end:
            end.write(b"From a\n" + mail(FIRST) + b"\nFrom b\n" + mail(SECOND) + b"\n")
            taken.wait(5)
            end.write(b"From c\n" + mail(THIRD))

    writer = threading.Thread(target=write)
    writer.start()
    lines = read([pipe])
    assert FIRST == next(lines).raw
    taken.set()
    assert [SECOND, THIRD] == [line.raw for line in lines]
    writer.join()


def test_a_maildir_gives_new_and_seen_mails_by_name(tmp_path: Path) -> None:
    """Names begin with the time; what is in tmp is not finished, what is hidden is another box."""
    for name in ("cur", "new", "tmp", ".Sent"):
        (tmp_path / name).mkdir()
    written(tmp_path / "new" / "1426668400.b", mail(SECOND))
    written(tmp_path / "cur" / "1426668300.a:2,S", mail(FIRST))
    written(tmp_path / "cur" / "1426668500.c:2,S", mail(THIRD))
    written(tmp_path / "tmp" / "1426668600.d", mail(FIRST))
    written(tmp_path / ".Sent" / "1426668700.e", mail(FIRST))
    written(tmp_path / "dovecot-uidlist", b"3 V1 N1\n")
    assert [FIRST, SECOND, THIRD] == raws(tmp_path)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_files_of_plain_lines(tmp_path: Path, end: bytes) -> None:
    """Base64 and JSON may alternate; numbers are those of an editor; a last line needs no end."""
    json_line = b'{"a": "2"}'
    path = written(tmp_path / "lines", FIRST + end + b"  " + end + json_line + end + b"nonsense")
    assert [
        Line(origin=str(path), number=1, raw=FIRST),
        Line(origin=str(path), number=3, raw=json_line),
        Line(origin=str(path), number=4, raw=b"nonsense"),
    ] == list(read([path]))


def test_a_file_that_is_named_is_read_whatever_it_looks_like(tmp_path: Path) -> None:
    """Somebody who names a file wants to hear of every line that is none."""
    path = written(tmp_path / "notes", b"# notes\n" + FIRST + b"\n")
    assert [b"# notes", FIRST] == raws(path)


def test_a_directory_gives_what_looks_like_mails_or_messages(tmp_path: Path) -> None:
    """Notes, pictures, empty and hidden files are passed over; a linked directory may loop."""
    inner = tmp_path / "b"
    inner.mkdir()
    written(inner / "second", b"From a\n" + mail(SECOND))
    written(tmp_path / "a.eml", mail(FIRST))
    written(tmp_path / "c", THIRD + b"\n")
    written(tmp_path / "README", b"# notes\n")
    written(tmp_path / "empty", b"")
    written(tmp_path / "picture", b"\x89PNG\x00")
    written(tmp_path / ".hidden.eml", mail(FIRST))
    (inner / "up").symlink_to(tmp_path)
    assert [FIRST, SECOND, THIRD] == raws(tmp_path)


def test_one_endless_line_comes_in_pieces(tmp_path: Path) -> None:
    """A file without line ends never fills the memory, and no byte of it is lost."""
    path = written(tmp_path / "endless", b"A" * 5_000_000)
    pieces = raws(path)
    assert (5_000_000, True) == (sum(map(len, pieces)), max(map(len, pieces)) <= 1 << 21)


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    """Nothing in it is nothing to complain about."""
    path = written(tmp_path / "empty", b"")
    assert ([], 0) == (raws(path), total_bytes([path]))


@pytest.mark.parametrize("use", [read, total_bytes])
def test_a_missing_file_is_named_before_anything_is_read(
    tmp_path: Path, use: Callable[[list[Path]], object]
) -> None:
    """A slip of the keyboard costs no half ingestion."""
    good = written(tmp_path / "a.eml", mail(FIRST))
    with pytest.raises(NotFound, match=r"there is no .*mistyped"):
        use([good, tmp_path / "mistyped"])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Whatever the system refuses comes as our own error, with the path and the reason."""
    link = tmp_path / "loop"
    link.symlink_to(link)
    with pytest.raises(Permanent, match=r"cannot read .*loop: Too many levels"):
        read([link])


def test_a_file_that_goes_away_while_others_are_read_is_named(tmp_path: Path) -> None:
    """The lines before it are out already; reading again repeats them, which hurts nobody."""
    first = written(tmp_path / "a.eml", mail(FIRST))
    second = written(tmp_path / "b.eml", mail(SECOND))
    lines = read([first, second])
    assert FIRST == next(lines).raw
    second.unlink()
    with pytest.raises(NotFound, match=r"there is no .*b\.eml"):
        next(lines)
