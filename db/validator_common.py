"""Checks that every validator shares. Each raises InvalidValue with the name of what is wrong."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from db.types_common import UID_LENGTH
from supervision.errors import InvalidValue

UID: Final = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z._-]*")
_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")
"""NUL, which PostgreSQL refuses, and halves of surrogate pairs, which UTF-8 cannot spell."""


def check_uid(name: str, value: object) -> None:
    """An id: 1 to 63 letters, digits, dots, dashes, underscores."""
    if not isinstance(value, str) or len(value) > UID_LENGTH or not UID.fullmatch(value):
        raise InvalidValue(f"{name}: {value!r:.80} is not an id")


def check_text(name: str, value: object, length: int | None = None) -> None:
    """None or text that every database holds, of at most `length` characters."""
    if value is None:
        return
    if not isinstance(value, str) or _is_unheld(value):
        raise InvalidValue(f"{name}: {value!r:.80} is not text that a database can hold")
    if length is not None and len(value) > length:
        raise InvalidValue(f"{name}: {len(value)} characters, at most {length} are allowed")


def _is_unheld(text: str) -> bool:
    """Most texts are plain ASCII: telling so is a hundred times quicker than searching them."""
    return "\0" in text if text.isascii() else _NO_TEXT.search(text) is not None


def check_time(name: str, value: object) -> None:
    """None or an aware time."""
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise InvalidValue(f"{name}: {value!r:.80} is not an aware time")


def check_filled(name: str, value: object) -> None:
    """Text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidValue(f"{name} is empty: say who or why, in words")
    check_text(name, value)
