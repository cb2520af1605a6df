"""The agent as one file that Python runs: the same bytes from the same sources, wherever built."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

PACKAGE: Final = "hpc_agent"
PYTHON: Final = "/usr/bin/env python3"
LANDING: Final = "landing.py"
_STARTER: Final = b"from hpc_agent.__main__ import run\n\nrun()\n"
_FIRST_DAY: Final = (1980, 1, 1, 0, 0, 0)  # the zip format knows no earlier one
_UNIX: Final = 3
_MODE: Final = 0o644 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A built agent. `sha256` is hexadecimal, over all of `content`."""

    content: bytes

    @property
    def sha256(self) -> str:
        """The digest by which both ends know that they have the same agent."""
        return hashlib.sha256(self.content).hexdigest()


def build(python: str = PYTHON) -> Archive:
    """Build the agent that came with this service; `python` is its first line's interpreter.

    Stored, not compressed: what zlib makes of a file differs between its versions.
    """
    found = sorted(_sources(files(PACKAGE), PACKAGE))
    stream = io.BytesIO()
    stream.write(b"#!" + python.encode() + b"\n")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [("__main__.py", _STARTER), *found]:
            archive.writestr(_entry(name), content)
    return Archive(content=stream.getvalue())


def landing() -> bytes:
    """Give the program that takes an agent in at a centre, as a bare Python reads it."""
    return (files(PACKAGE) / LANDING).read_bytes()


def _sources(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        path = f"{name}/{each.name}"
        if each.is_dir():
            yield from _sources(each, path)
        elif each.name.endswith(".py"):
            yield path, each.read_bytes()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _FIRST_DAY)
    entry.create_system, entry.external_attr = _UNIX, _MODE
    return entry
