"""Who may import whom: the law of the house as one table, held against the source itself."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("supervision", "db", "hpc_agent")
_LONGEST: Final = 300
_ANYTHING: Final = "anything"

_SHARED: Final = ("supervision.fsm.states", "supervision.facts", "supervision.errors")
_MESSAGES: Final = ("supervision.messages", "supervision.wire", "supervision.topology")
_ACTIONS: Final = (
    *("supervision.ports", "supervision.policy", "supervision.script", "supervision.mails"),
    *("supervision.fsm.acting", "supervision.fsm.asking", "supervision.fsm.looking"),
    *("supervision.fsm.outcomes", "supervision.fsm.readings", "supervision.fsm.watching"),
    "supervision.fsm.withdrawing",
)
"""What `fsm/actions` may import, and the files that it is split into."""

_LAW: Final[dict[str, tuple[str, ...]]] = {
    "supervision.__main__": ("supervision.cli",),
    "supervision.adapters": (
        *("supervision.ports", *_MESSAGES, "supervision.resources", "supervision.logs"),
    ),
    "supervision.app": (_ANYTHING,),
    "supervision.cli": (
        *("supervision.app", "supervision.settings", "supervision.sandbox", "supervision.logs"),
        *("supervision.fsm.engine", "supervision.fsm.diagram", "supervision.ports", *_MESSAGES),
        *("supervision.policy", "supervision.script", "supervision.replay"),
        *("supervision.adapters", "db.roles"),
    ),  # what works is built by app alone; these are questions, values and pure functions
    "supervision.consumers": (
        *("supervision.fsm.engine", "supervision.ports", *_MESSAGES, "supervision.logs"),
        "supervision.tracing",
    ),
    "supervision.errors": (),
    "supervision.facts": (),
    "supervision.fsm.acting": _ACTIONS,
    "supervision.fsm.actions": _ACTIONS,
    "supervision.fsm.asking": _ACTIONS,
    "supervision.fsm.diagram": ("supervision.fsm.machine",),
    "supervision.fsm.engine": (
        *("supervision.fsm.machine", "supervision.fsm.actions", *_ACTIONS),
        *("supervision.replay", *_MESSAGES, "db", "supervision.logs"),
        "supervision.tracing",
    ),
    "supervision.fsm.looking": _ACTIONS,
    "supervision.fsm.machine": (),
    "supervision.fsm.outcomes": _ACTIONS,
    "supervision.fsm.readings": _ACTIONS,
    "supervision.fsm.states": (),
    "supervision.fsm.watching": _ACTIONS,
    "supervision.fsm.withdrawing": _ACTIONS,
    "supervision.logs": ("supervision.masking",),
    "supervision.mails": ("supervision.resources", "supervision.masking"),
    "supervision.masking": (),
    "supervision.messages": ("supervision.wire",),
    "supervision.observing": ("supervision.fsm.engine", "supervision.ports", *_MESSAGES),
    "supervision.policy": ("supervision.rules",),
    "supervision.ports": _MESSAGES,
    "supervision.pulse": ("supervision.ports", *_MESSAGES),
    "supervision.quoting": (),
    "supervision.replay": (),
    "supervision.resources": (),
    "supervision.rules": (),
    "supervision.sandbox": ("supervision.ports", *_MESSAGES),
    "supervision.script": ("supervision.quoting", "supervision.resources"),
    "supervision.settings": ("supervision.masking",),
    "supervision.testing": ("supervision.ports", *_MESSAGES),
    "supervision.tracing": ("supervision.ports", *_MESSAGES, "supervision.logs"),
    "supervision.topology": ("supervision.messages",),
    "supervision.wire": ("supervision.messages",),
    "db": (),
    "db.roles": ("db",),
    "hpc_agent": (),
}
"""A room, and the rooms beside `_SHARED` and itself that it may import.

A room is a module or a folder, with what stands beside it as `name_more.py`; the longest name
that fits is a module's room.
"""

_NOTHING_SHARED: Final = ("hpc_agent", "supervision.resources", "supervision.masking")
"""Rooms that import nothing of ours at all, not even what all others share."""

_LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "transitions": ("supervision.fsm.machine",),
    "pika": ("supervision.adapters.rabbitmq",),
    "paramiko": ("supervision.adapters.ssh", "supervision.adapters.gsi"),
    "sqlalchemy": ("db", "supervision.fsm.engine"),
    "alembic": ("db",),
    "psycopg2": ("db",),
    "matplotlib": ("supervision.cli.report_plot",),
    "opentelemetry": ("supervision.tracing_otel",),
    "prometheus_client": ("supervision.observing", "supervision.app"),
}
"""A library, and the only rooms that may know it."""


def _name(path: Path) -> str:
    parts = path.relative_to(_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _modules() -> dict[str, Path]:
    found = (path for package in _PACKAGES for path in sorted((_ROOT / package).rglob("*.py")))
    return {_name(path): path for path in found}


def _within(module: str, room: str) -> bool:
    return module == room or module.startswith((f"{room}.", f"{room}_"))


def _room(module: str) -> str | None:
    rooms = (room for room in _LAW if _within(module, room))
    return max(rooms, key=len, default=None)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """Full name of what a `from` names; a relative one counts from the module's package."""
    if not node.level:
        return node.module or ""
    package = module.split(".")[: None if _modules()[module].stem == "__init__" else -1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


@cache
def _imports(module: str) -> frozenset[str]:
    tree = ast.parse(_modules()[module].read_bytes())
    return frozenset(name for node in _statements(tree) for name in _named(module, node))


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements below a node, however deep; their expressions import nothing."""
    blocks = (getattr(node, field, []) for field in ("body", "orelse", "finalbody"))
    others = (getattr(node, field, []) for field in ("handlers", "cases"))
    for below in chain(*blocks, *others):
        if isinstance(below, ast.stmt):
            yield below
        yield from _statements(below)


def _named(module: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        origin = _absolute(module, node)
        for alias in node.names:
            inner = f"{origin}.{alias.name}"
            yield inner if inner in _modules() else origin


def _may(room: str, imported: str) -> bool:
    allowed = _LAW[room] + (() if room in _NOTHING_SHARED else _SHARED)
    if _ANYTHING in allowed or _within(imported, room) or imported in _PACKAGES:
        return True
    target = _room(imported)
    return any(target == name or _within(imported, name) for name in allowed)


def _ours(names: frozenset[str]) -> Iterator[str]:
    return (name for name in sorted(names) if name.partition(".")[0] in _PACKAGES)


def test_every_room_imports_only_what_the_law_lets_it() -> None:
    """An import against the table is named with the module that does it."""
    broken = [
        f"{module} imports {imported}"
        for module in _modules()
        if (room := _room(module))
        for imported in _ours(_imports(module))
        if not _may(room, imported)
    ]
    assert [] == broken


def test_every_module_is_in_a_row_of_the_table() -> None:
    """A new room is built on purpose: with a row that says what it may import."""
    plain = {name for name, path in _modules().items() if path.stem == "__init__"}
    assert [] == [name for name in _modules() if name not in plain and _room(name) is None]


def test_every_row_names_rooms_that_a_module_can_have() -> None:
    """A row of the table that grants an unknown room grants nothing, and hides a slip."""
    granted = {name for row in _LAW.values() for name in row} - {_ANYTHING}
    assert set() == granted - set(_LAW)


@pytest.mark.parametrize("library", _LIBRARIES)
def test_a_library_stays_in_its_room(library: str) -> None:
    """What a library raises and returns is known in one place only."""
    outside = [
        module
        for module in _modules()
        if any(_within(name, library) for name in _imports(module))
        and not any(_within(module, room) for room in _LIBRARIES[library])
    ]
    assert [] == outside


def test_the_agent_needs_nothing_but_python() -> None:
    """It runs on login nodes where nothing can be installed."""
    foreign = {
        name
        for module in _modules()
        if _within(module, "hpc_agent")
        for name in _imports(module)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "hpc_agent"}
    }
    assert set() == foreign


def test_every_library_that_is_imported_is_declared() -> None:
    """The installed package asks for all that it needs, not for what another one happens to bring.

    The databases' drivers and the time zones are declared and never imported by name. What only
    some want is an extra.
    """
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[<>=!~; \[]", line)[0] for line in asked}
    brought = {name for distribution in declared for name in _brought(distribution)}
    used = {name.partition(".")[0] for module in _modules() for name in _imports(module)}
    foreign = used - set(sys.stdlib_module_names) - set(_PACKAGES)
    assert set() == foreign - brought


def _brought(distribution: str) -> Iterator[str]:
    """What can be imported, by its first name, once a distribution is installed."""
    files = importlib.metadata.files(distribution) or []
    return (file.parts[0].removesuffix(".py") for file in files)


def test_a_package_opens_with_one_line_and_holds_nothing() -> None:
    """Importing a package runs nothing: its `__init__.py` is one docstring line."""
    full = [
        name
        for name, path in _modules().items()
        if path.stem == "__init__" and not _one_docstring_line(path.read_text())
    ]
    assert [] == full


def _one_docstring_line(source: str) -> bool:
    tree = ast.parse(source)
    return 1 == len(source.splitlines()) == len(tree.body) and bool(ast.get_docstring(tree))


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    """A file is read in one sitting; migrations are history, and stay as they were written."""
    lengths = {
        name: len(path.read_text().splitlines())
        for name, path in _modules().items()
        if not _within(name, "db.migrations")
    }
    assert {} == {name: length for name, length in lengths.items() if length > _LONGEST}
