"""Lines of monitoring messages out of files: mails, mailboxes, Maildirs, files of plain lines.

What a file is, is seen by looking into it, never by its name. What a line says is decoded by
`wire.py`; here nothing but the mail around it is understood, and nothing is refused.
"""

from __future__ import annotations

import binascii
import email
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from io import BufferedReader
from pathlib import Path
from typing import Final

from supervision.errors import NotFound, Permanent
from supervision.messages import unstorable

Progress = Callable[[int], None]
"""Told how many more bytes of the files are done; the sum ends at `total_bytes`."""

_CARD_NAME: Final = "config.card.base64"
_CARD_LIMIT: Final = 1 << 18  # characters; real ones have 4,000 to 8,000
_LONGEST_LINE: Final = 1 << 21  # bytes; what is longer comes in pieces, and no decoder takes them
_BEYOND_THE_LIBRARY: Final = (RecursionError, TypeError, ValueError, LookupError, AttributeError)
"""What Python's mail library raises on hostile headers; such a mail spoils no mailbox."""
_MAILDIR: Final = ("cur", "new")
_YEARS: Final = range(1970, 2200)  # a Date outside is a mail program's mistake
_HEADER: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
_MESSAGE: Final = re.compile(rb'\{[ \t]*"|e[wy][A-Za-z0-9+/]')  # JSON, or base64 of `{`


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line that should be a message, without the white space around it; never empty.

    `origin` is the file, and in a mailbox `#` with the mail's number from 1. `number` counts from
    1: the line in a plain file, or in the decoded text parts of the mail, taken together.
    `mailed_at` is the mail's Date in UTC, `config_card` the text of its attachment; None where
    there is none that can be read.
    """

    origin: str
    number: int
    raw: bytes
    mailed_at: datetime | None = None
    config_card: str | None = None


class _Kind(Enum):
    MAILBOX = auto()
    MAIL = auto()
    LINES = auto()
    OTHER = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unit:
    """What is read, parsed and counted at once: one mail, or one line (`number` above 0)."""

    origin: str
    data: bytes
    number: int = 0


def read(paths: Sequence[Path], *, progress: Progress | None = None) -> Iterator[Line]:
    """Read every line of these files and directories, mail by mail, as they are asked for.

    A Maildir gives the mails of cur and new by name; any other directory, recursively and sorted,
    its files that look like mails or messages, without hidden ones and linked directories. A file
    that is named is read whatever it looks like, also from a pipe. At most one mail is held in
    memory. Raises NotFound for a path that does not exist, before anything is read, and Permanent,
    which names it, for one that cannot be read. Reading again gives the same lines.
    """
    return _read(_files(paths), progress)


def total_bytes(paths: Sequence[Path]) -> int:
    """Sum the sizes of the files that `read` would read; raises as `read` does."""
    total = 0
    for path in _files(paths):
        with _naming(path):
            total += path.stat().st_size
    return total


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Translate an operating system's refusal into ours, with the file's name."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"there is no {path}") from error
    except OSError as error:
        raise Permanent(f"cannot read {path}: {error.strerror or error}") from error


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        with _naming(path):
            path.stat()
            files += _inside(path) if path.is_dir() else (path,)
    return files


def _inside(directory: Path) -> Iterator[Path]:
    with _naming(directory):
        if all((directory / name).is_dir() for name in _MAILDIR):
            yield from _maildir(directory)
            return
        for child in _visible(directory):
            if child.is_dir():
                if not child.is_symlink():  # it may lead back up
                    yield from _inside(child)
            elif child.is_file() and _kind_of(child) is not _Kind.OTHER:
                yield child


def _maildir(directory: Path) -> list[Path]:
    """List a Maildir's mails; their names begin with the time of delivery. `tmp` is unfinished."""
    mails = [mail for name in _MAILDIR for mail in _visible(directory / name) if mail.is_file()]
    return sorted(mails, key=lambda mail: mail.name)


def _visible(directory: Path) -> list[Path]:
    return sorted(child for child in directory.iterdir() if not child.name.startswith("."))


def _kind_of(path: Path) -> _Kind:
    with _naming(path), path.open("rb") as handle:
        return _kind(handle.peek())


def _kind(head: bytes) -> _Kind:
    head = head.lstrip()
    if head.startswith(b"From "):
        return _Kind.MAILBOX
    if _MESSAGE.match(head):
        return _Kind.LINES
    return _Kind.MAIL if _HEADER.match(head) else _Kind.OTHER


def _read(files: Sequence[Path], progress: Progress | None) -> Iterator[Line]:
    for path in files:
        for unit in _units(path):
            yield from _lines(unit)
            if progress is not None:
                progress(len(unit.data))


def _units(path: Path) -> Iterator[_Unit]:
    origin = str(path)
    with _naming(path), path.open("rb") as handle:
        kind = _kind(handle.peek())
        if kind is _Kind.MAIL:
            yield _Unit(origin=origin, data=handle.read())
        elif kind is _Kind.MAILBOX:
            for index, mail in enumerate(_mails(handle), start=1):
                yield _Unit(origin=f"{origin}#{index}", data=mail)
        else:
            for number, piece in enumerate(_pieces(handle), start=1):
                yield _Unit(origin=origin, data=piece, number=number)


def _pieces(handle: BufferedReader) -> Iterator[bytes]:
    while piece := handle.readline(_LONGEST_LINE):
        yield piece


def _mails(handle: BufferedReader) -> Iterator[bytes]:
    """Split a mailbox where a line `From ` follows an empty one; nothing of it is left out."""
    mail: list[bytes] = []
    begun, after_blank = False, True
    for piece in _pieces(handle):
        if after_blank and piece.startswith(b"From "):
            if begun:
                yield b"".join(mail)
                mail = []
            begun = True
        mail.append(piece)
        after_blank = not piece.rstrip(b"\r\n")
    yield b"".join(mail)


def _lines(unit: _Unit) -> Iterator[Line]:
    if not unit.number:
        yield from _lines_of_mail(unit)
    elif raw := unit.data.strip():
        yield Line(origin=unit.origin, number=unit.number, raw=raw)


def _lines_of_mail(unit: _Unit) -> Iterator[Line]:
    mailed_at, card, texts = _contents(unit.data)
    for number, text in enumerate(texts, start=1):
        if raw := text.strip():
            yield Line(
                origin=unit.origin, number=number, raw=raw, mailed_at=mailed_at, config_card=card
            )


def _contents(data: bytes) -> tuple[datetime | None, str | None, list[bytes]]:
    """Take a mail apart: its Date, its config.card, and the lines of its texts."""
    try:
        mail = email.message_from_bytes(data.lstrip())
        texts = [text for part in mail.walk() for text in _texts(part)]
        return _date(mail), _card(mail), texts
    except _BEYOND_THE_LIBRARY:
        return None, None, data.splitlines()


def _texts(part: Message) -> list[bytes]:
    """Give the lines of a part that may hold messages.

    That is any plain text but config.card, another part that begins like messages do, and a
    multipart whose boundary was lost on its way: its lines are worth more than its form.
    """
    if part.is_multipart() or _name(part) == _CARD_NAME:
        return []
    text = _payload(part)
    plain = part.get_content_type() == "text/plain" or part.get_content_maintype() == "multipart"
    return text.splitlines() if plain or _MESSAGE.match(text.lstrip()) else []


def _name(part: Message) -> str:
    """Read a part's file name; one in a character set that no Python knows is none."""
    try:
        return (part.get_filename() or "").strip().lower()
    except _BEYOND_THE_LIBRARY:
        return ""


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _date(mail: Message) -> datetime | None:
    """Read the Date; one without a zone is UTC, as RFC 5322 has it for -0000."""
    try:
        moment = parsedate_to_datetime(str(mail["Date"]))
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.year in _YEARS else None


def _card(mail: Message) -> str | None:
    for part in mail.walk():
        if not part.is_multipart() and _name(part) == _CARD_NAME:
            return _card_text(_payload(part))
    return None


def _card_text(payload: bytes) -> str | None:
    """Decode an attached config.card; its comments may be older than UTF-8."""
    try:
        raw = binascii.a2b_base64(b"".join(payload.split()), strict_mode=True)
    except binascii.Error:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return None if len(text) > _CARD_LIMIT or unstorable(text) else text
