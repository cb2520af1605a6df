"""How people write single values in a settings file: spans, levels, days, times, paths, names.

Each reader raises ValueError with what is allowed; pydantic adds where it stood.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, cast

from pydantic import AfterValidator, BeforeValidator, Strict, ValidationInfo

from supervision.facts import Level
from supervision.settings_values import SAFE_NAME

_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_SPAN: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_SPAN_HELP: Final = 'allowed: a number of seconds, or a text like "90 s", "10 min", "24 h", "5 d"'
_LONGEST: Final = timedelta(days=36500)


def duration(value: object) -> timedelta:
    """Read a span: a number of seconds or texts like "10 min", "1 h 30 min". ValueError if not."""
    seconds = _seconds(value)
    if seconds is None or not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError(f"is {value!r}; {_SPAN_HELP}")
    return timedelta(seconds=seconds)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return _spelled_seconds(value.lower()) if isinstance(value, str) else value


def _spelled_seconds(text: str) -> float | None:
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text) or any(unit not in _UNITS for _, unit in parts):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _text(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("must be a text of printable characters, and not empty")
    return value


def _count(value: int) -> int:
    if value < 0:
        raise ValueError(f"is {value}; allowed: 0 and more")
    return value


def _level(value: object) -> Level:
    if isinstance(value, bool) or value not in tuple(Level):
        raise ValueError(f"is {value!r}; allowed: 0 (nothing), 1 (script by mail), 2 (automatic)")
    return Level(cast("int", value))


def _day(value: object) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("must be a date without quotes, like 2026-03-01")  # noqa: TRY004
    return value


def _moment(value: object) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(
            "must be a time with its zone, without quotes, like 2026-03-01T08:00:00+01:00"
        )
    return value.astimezone(UTC)


def _time_of_day(value: object) -> time:
    if not isinstance(value, time) or value.tzinfo is not None:
        raise ValueError("must be a time of day without quotes, like 06:00:00")
    return value


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path in quotes")
    return cast("Path", info.context) / Path(value).expanduser()


def _name(value: str) -> str:
    if not SAFE_NAME.fullmatch(value):
        raise ValueError("is no name; allowed: letters, digits, '.', '_', '-', up to 63 of them")
    return value


STRING: Final[Any] = Annotated[str, Strict(), AfterValidator(_text)]
WRITTEN: Final[dict[object, object]] = {
    timedelta: Annotated[timedelta, BeforeValidator(duration)],
    date: Annotated[date, BeforeValidator(_day)],
    datetime: Annotated[datetime, BeforeValidator(_moment)],
    time: Annotated[time, BeforeValidator(_time_of_day)],
    Path: Annotated[Path, BeforeValidator(_path)],
    Level: Annotated[Level, BeforeValidator(_level)],
    int: Annotated[int, Strict(), AfterValidator(_count)],
    bool: Annotated[bool, Strict()],
    str: STRING,
}
"""How each type of the values is written."""
NAME: Final = Annotated[str, AfterValidator(_name)]
