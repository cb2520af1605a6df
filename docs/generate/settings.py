"""docs/reference/settings.md: every key, from what a settings file may look like.

Types, defaults and allowed values come from `supervision/settings_forms.py`, meanings from the
comments of `supervision.example.toml`. A key that one of the two does not have fails here.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generate.example import Group, Table, header, tables
from docs.generate.markdown import code, head, paragraph, prose
from supervision.errors import SettingsError
from supervision.settings_checks import mistakes
from supervision.settings_forms import ROOT, read, refuse
from supervision.settings_values import spelled

_INTRODUCTION: Final = """\
The way to a first file is told in [configuration](../configuration.md); the same keys as one file,
to be copied from, are [`supervision.example.toml`](../../supervision.example.toml). What is in
force, defaults included: `supervision settings`.

"""
_WORDS: Final[dict[object, str]] = {
    bool: "true or false",
    date: "a date",
    datetime: "a time with its zone",
    int: "a whole number",
    Path: "a path",
    str: "a text",
    time: "a time of day",
    timedelta: "a span",
}
_MANY: Final = {"a text": "texts", "a span": "spans"}
_PLACES: Final = {"sites": "sites.NAME", "users": "users.LOGIN"}
_SMALLEST: Final[dict[str, Mapping[str, object]]] = {
    "sites.NAME": {"centres": ["a"], "machines": ["a"]},
    "users.LOGIN": {},
}


def page() -> str:
    """Write the page: a section for each table, a paragraph for each group of keys."""
    introduction = _INTRODUCTION + "\n".join(paragraph(prose(part)) for part in header()[2:])
    title = head("Settings", "`supervision/settings_forms.py` and `supervision.example.toml`")
    return "\n".join((title, introduction, *map(_section, tables())))


def forms() -> dict[str, type[BaseModel]]:
    """Give every table that a file may hold, by its name; "": the top."""
    return dict(_forms("", ROOT))


def _forms(name: str, form: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield name, form
    for key, entry in form.model_fields.items():
        below = _table_of(entry.annotation)
        if below is not None and not _inline(below):
            yield from _forms(place_of(name, key), below)


def place_of(table: str, key: str) -> str:
    """Name the table that a key of a table would hold."""
    named = _PLACES.get(key, key) if table == "" else key
    return f"{table}.{named}".removeprefix(".")


def _table_of(hint: Any) -> type[BaseModel] | None:  # noqa: ANN401  (any type there is)
    if isinstance(hint, type) and issubclass(hint, BaseModel) and not get_args(hint):
        return hint
    return next((found for each in get_args(hint) if (found := _table_of(each))), None)


def _inline(form: type[BaseModel]) -> bool:
    return set(form.model_fields) == {"count", "window"}


def _section(table: Table) -> str:
    title = f"## [{table.name}]" if table.name else "## At the top of the file"
    said = [paragraph(prose(table.meaning))] if table.meaning else []
    groups = table.groups or [Group(meaning="", keys=[])]
    keys = forms()[table.name].model_fields
    return "\n".join([title, "", *said, *(_group(table.name, group, keys) for group in groups)])


def _group(table: str, group: Group, keys: Mapping[str, FieldInfo]) -> str:
    lines = [f"- `{key}`: {_written(table, key, keys[key])}" for key in group.keys]
    said = [paragraph(prose(group.meaning), "    ")] if group.meaning else []
    return "\n".join([*lines, "", *said])


def _written(table: str, key: str, entry: FieldInfo) -> str:
    told = _told(entry.annotation)
    if entry.annotation in {int, timedelta} and not _may_be_nothing(table, key):
        told += ", more than 0"
    if entry.is_required():
        return f"{told}; needed"
    default = _default(entry.default)
    return f"{told}; default {default}" if default else told


def _told(hint: Any) -> str:  # noqa: ANN401  (any type there is)
    if get_origin(hint) is Literal:
        return f"one of {', '.join(code(each) for each in get_args(hint))}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        values = (str(each.value) for each in hint)
        return f"one of {', '.join(map(code, values))}"
    if isinstance(hint, type) and get_origin(hint) is None and hint in _WORDS:
        return _WORDS[hint]
    return _told_of_many(hint)


def _told_of_many(hint: Any) -> str:  # noqa: ANN401  (any type there is)
    form = _table_of(hint)
    if form is not None and _inline(form):
        return "a table of `count`, a whole number, and `window`, a span"
    if get_origin(hint) is tuple and form is not None:
        return f"tables of {', '.join(map(code, form.model_fields))}"
    if get_origin(hint) is tuple:
        return f"a list of {_MANY[_told(_plain(get_args(hint)[0]))]}"
    return _told(_plain(hint))


def _plain(hint: Any) -> Any:  # noqa: ANN401  (any type there is)
    """Take off what says how it is checked."""
    inner = get_args(hint)[0]
    return inner if not isinstance(inner, types.UnionType) else get_args(inner)[0]


def _default(value: object) -> str | None:
    if value is None or value == ():
        return None
    if isinstance(value, timedelta):
        return code(f'"{spelled(value)}"')
    if isinstance(value, tuple):
        return code(f"[{', '.join(str(_default(each)).strip('`') for each in value)}]")
    if hasattr(value, "count") and hasattr(value, "window"):
        return code(f'{{ count = {value.count}, window = "{spelled(value.window)}" }}')
    return code(_toml(value))


def _toml(value: object) -> str:
    if isinstance(value, bool | int) and not isinstance(value, IntEnum):
        return str(value).lower()
    return str(value.value) if isinstance(value, IntEnum) else _quoted(value)


def _quoted(value: object) -> str:
    return value.isoformat() if isinstance(value, time) else f'"{value}"'


def _may_be_nothing(table: str, key: str) -> bool:
    """Ask the checks themselves whether they take a 0 here."""
    values: dict[str, object] = {**_SMALLEST.get(table, {}), key: 0}
    for part in reversed([_example_of(part) for part in table.split(".") if part]):
        values = {part: values}
    try:
        parsed = read(values, "", Path("/"))
        refuse([each for each in mistakes(parsed) if each[0].endswith(f".{key}")], "")
    except SettingsError:
        return False
    return True


def _example_of(part: str) -> str:
    return "example" if part.isupper() else part
