"""JSON from elsewhere: lines of a session, what a script said last, what lies in the journal.

JSON can carry what the rest would stumble over: text that no file name and no command can hold,
numbers that no clock can, depth that no recursion survives. None of that gets past here.
"""

import json
import re
from typing import Any, Dict, List, Optional, TypeVar

DEEPEST = 16  # the deepest request of ours has four levels, the deepest report three
LONGEST_NUMBER = 20  # digits; Pythons before 3.11 take minutes over a million of them
_HIGHEST = 2.0**63
_ESCAPE = "\\u"  # the only way to a NUL or half a letter in a text that has none itself
_WHOLE = re.compile(r"[0-9]{1,18}\Z")
_Number = TypeVar("_Number", int, float)


class Unreadable(ValueError):
    """A text that is not JSON, or holds what nothing of ours ever says; the text says why."""


def parse(text: str) -> Any:
    """Read JSON; raises Unreadable for whatever nobody here could carry further."""
    try:
        value = _DECODER.decode(text)
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable("not JSON: %s" % error) from error
    _check(value, texts=_ESCAPE in text or not _storable(text))
    return value


def whole(text: str) -> Optional[int]:
    """Read a number as schedulers and run.card spell it; None for any other text.

    `isdigit` is true of other alphabets' digits and of exponents, and `int` refuses those.
    """
    return int(text) if _WHOLE.match(text) else None


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise Unreadable("not JSON of ours: a number of %d digits" % len(digits))
    return _bounded(int(digits))


def _real(digits: str) -> float:
    return _bounded(float(digits))


def _bounded(number: _Number) -> _Number:
    if not -_HIGHEST < number < _HIGHEST:
        raise Unreadable("not JSON of ours: a number out of range")
    return number


def _refuse(name: str) -> float:
    raise Unreadable("not JSON: %s is no number" % name)


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_real, parse_constant=_refuse)


def _check(value: Any, *, texts: bool) -> None:
    """Look at every value, a level at a time, for depth is checked; at `texts` only if need be.

    A script is most of a request, and it is read as often as that is parsed.
    """
    level: List[Any] = [value]
    for _ in range(DEEPEST + 1):
        if texts and not all(_storable(part) for part in level if isinstance(part, str)):
            raise Unreadable("not JSON of ours: text with NUL or half letters")
        level = [inner for part in level for inner in _inside(part)]
    if level:
        raise Unreadable("not JSON of ours: nested more than %d deep" % DEEPEST)


def _inside(value: Any) -> List[Any]:
    if isinstance(value, dict):
        fields: Dict[str, Any] = value
        return list(fields) + list(fields.values())
    return value if isinstance(value, list) else []


def _storable(text: str) -> bool:
    """Tell whether a text can be a file's name or a word of a command."""
    try:
        text.encode("utf-8")  # quicker than a look at each letter, and scripts are long
    except UnicodeEncodeError:
        return False
    return "\0" not in text
