"""Single fields of an agent's answer, each within bounds that no database chokes on.

Two ways: what an agent says of itself raises ProtocolError when it cannot be true; what comes from
users' files and scripts is made fit, for they may write what they like.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from supervision.errors import ProtocolError

NAME_LENGTH: Final = 63
WORDS_LENGTH: Final = 16_384
OUTPUT_LENGTH: Final = 64 * 1024
"""What the agent keeps of an output, in bytes, and so in characters at most."""

JOB_LENGTH: Final = 511
INTEGER: Final = 2**31 - 1
LARGE: Final = 2**63 - 1
_FIRST: Final = 0
_LAST: Final = 4_102_444_800  # 2100-01-01: no clock that is meant to be right says more


def text_of(row: Mapping[str, object], name: str, most: int = WORDS_LENGTH) -> str:
    """Read a text of at most `most` characters; absent and null are the empty one.

    Raises ProtocolError for a longer one, and for what no database holds: NUL, half a pair.
    """
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or value != cleaned(value, most):
        raise ProtocolError(f"{name} is no text that can be kept: {value!r:.80}")
    return value


def number_of(row: Mapping[str, object], name: str, most: int = INTEGER) -> int | None:
    """Read a whole number from 0 to `most`; None when it is absent or null."""
    value = row.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= most:
        raise ProtocolError(f"{name} is no whole number from 0 to {most}: {value!r:.80}")
    return value


def time_of(row: Mapping[str, object], name: str) -> datetime:
    """Read seconds since 1970 as aware UTC; raises ProtocolError for what no clock says."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProtocolError(f"{name} is no time: {value!r:.80}")
    if not _FIRST <= value <= _LAST:
        raise ProtocolError(f"{name} is no time between 1970 and 2100: {value!r:.80}")
    return datetime.fromtimestamp(value, UTC)


def cleaned(text: str, most: int = WORDS_LENGTH) -> str:
    """Make a text fit to be kept: at most `most` characters, no NUL, no half of a pair."""
    cut = text[:most].replace("\0", "\ufffd")
    return cut.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def told(value: object, most: int = WORDS_LENGTH) -> str | None:
    """Read a text that somebody's file holds; None for an empty one, and for what is no text."""
    return (cleaned(value, most) or None) if isinstance(value, str) else None


def counted(value: object) -> int | None:
    """Read a number that somebody's file holds; None for what no counter can be."""
    return value if type(value) is int and 0 <= value <= INTEGER else None


def job_of(value: object) -> str | None:
    """Read the id of a scheduler's job as a script told it; None for what can be none."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not text.isprintable() or not 0 < len(text) <= JOB_LENGTH:
        return None
    return text
