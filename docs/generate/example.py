"""What `supervision.example.toml` says of each key: the one place where their meaning is written.

A comment speaks of the keys that follow it, up to the next comment or empty line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

EXAMPLE: Final = Path(__file__).parents[2] / "supervision.example.toml"

_TABLE: Final = re.compile(r"\[\[?([^]]+)]]?$")
_KEY: Final = re.compile(r"(?:# )?([a-z_]+) = .*")
_NAMED: Final = re.compile(r"^(sites|users)\.[^.]+")
_TITLE: Final = "# ---"
_EXAMPLE: Final = re.compile(r" \(An example[^)]*\)")
_PLACES: Final = {"sites": "sites.NAME", "users": "users.LOGIN"}


@dataclass(kw_only=True, slots=True)
class Group:
    """Keys of one table that one comment speaks of, in their order."""

    meaning: str
    keys: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Table:
    """One table: what the comment before it says, and its groups of keys. `name` "": the top."""

    name: str
    meaning: str
    groups: list[Group] = field(default_factory=list)


def header() -> list[str]:
    """Give the paragraphs at the top of the file."""
    top = EXAMPLE.read_text().partition("\n\n")[0]
    return [_joined(part) for part in re.split(r"\n#\n", top)]


def tables() -> list[Table]:
    """Read the file, without its top. A second example of the same table adds nothing."""
    found = {"": Table(name="", meaning="")}
    for name, meaning, key in _entries(EXAMPLE.read_text().partition("\n\n")[2]):
        table = found.setdefault(name, Table(name=name, meaning=meaning))
        if key is None:
            continue
        if meaning or not table.groups:
            table.groups.append(Group(meaning=meaning))
        if not any(key in group.keys for group in table.groups):
            table.groups[-1].keys.append(key)
    return list(found.values())


def _entries(text: str) -> Iterator[tuple[str, str, str | None]]:
    """Give each table (without a key) and each key: its table, the comment right before, itself."""
    table, said = "", list[str]()
    for line in text.splitlines():
        opened, key = _TABLE.match(line), _KEY.fullmatch(line)
        if opened or key:
            table = _NAMED.sub(_place, opened[1]) if opened else table
            yield table, _joined("\n".join(said)), key[1] if key else None
            said = []
        elif line.startswith("#"):
            said.append(line)
        elif said and not said[0].startswith(_TITLE):
            said = []  # an empty line ends what a comment speaks of, but for the title of a part


def _place(found: re.Match[str]) -> str:
    return _PLACES[found[1]]


def _joined(comment: str) -> str:
    lines = (line.removeprefix(_TITLE).removeprefix("#") for line in comment.splitlines())
    return _EXAMPLE.sub("", " ".join(line.strip() for line in lines))
