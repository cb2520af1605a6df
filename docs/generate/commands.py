"""The tree of commands as plain values: what the reference and the manual page are written from."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

import click

from supervision.cli.root import supervision


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option: how it is written, what it does, what it is unless it is given."""

    written: str
    does: str
    default: str | None
    required: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One command. `paragraphs` are its help, `blocks` the lines at the help's end, by title."""

    name: str
    usage: str
    paragraphs: tuple[str, ...]
    options: tuple[Option, ...]
    blocks: Mapping[str, str]
    commands: tuple[Command, ...]

    @property
    def sentence(self) -> str:
        """What it does, in its first words."""
        return self.paragraphs[0]

    def walk(self) -> Iterator[Command]:
        """Give it and everything below it, in the order of the help."""
        yield self
        for each in self.commands:
            yield from each.walk()


def tree() -> Command:
    """Read the whole command line."""
    return _read(supervision, click.Context(supervision, info_name=supervision.name))


def _read(command: click.Command, ctx: click.Context) -> Command:
    pieces = (piece.strip() for piece in command.collect_usage_pieces(ctx))
    named = (option for option in command.params if isinstance(option, click.Option))
    return Command(
        name=ctx.command_path,
        usage=" ".join((ctx.command_path, *pieces)),
        paragraphs=_paragraphs(command.help),
        options=tuple(_option(option, ctx) for option in named),
        blocks=_blocks(command.epilog),
        commands=tuple(_below(command, ctx)),
    )


def _below(command: click.Command, ctx: click.Context) -> Iterator[Command]:
    for name in command.list_commands(ctx) if isinstance(command, click.Group) else ():
        found = command.get_command(ctx, name)  # type: ignore[attr-defined]
        yield _read(found, click.Context(found, info_name=name, parent=ctx))


def _paragraphs(text: str | None) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in inspect.cleandoc(text or "").split("\n\n"))


def _option(option: click.Option, ctx: click.Context) -> Option:
    record = option.get_help_record(ctx)
    default = option.to_info_dict()["default"]
    plain = default.value if isinstance(default, Enum) else default
    told = isinstance(plain, str | int | float) and not isinstance(plain, bool)
    return Option(
        written=record[0] if record else "",
        does=option.help or "",
        default=str(plain) if told else None,
        required=option.required,
    )


def _blocks(epilog: str | None) -> dict[str, str]:
    """Take the end of a help apart: a title and its lines; what has no title is under none."""
    found = {}
    for part in (epilog or "").split("\b\n"):
        first, _, rest = part.strip("\n").partition("\n")
        title = first.removesuffix(":")
        if first:
            lines = rest if title != first else f"{first}\n{rest}"
            found[title if title != first else ""] = textwrap.dedent(lines).strip("\n")
    return found
