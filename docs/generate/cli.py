"""docs/reference/cli.md: every command, as its help has it."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.commands import Command, Option, tree
from docs.generate.markdown import block, code, head, paragraph, prose, table

_INTRODUCTION = """\
Each command says the same with `--help`. On a terminal `man supervision` has it too, once the
service is [installed](../how-to/shell-completion.md#the-manual-page). How a command ends:
[exit codes](codes.md#exit-codes-of-commands).
"""


def page() -> str:
    """Write the page: a section for each command, in the order of the help."""
    root = tree()
    parts = [head("Commands", "the commands themselves"), _INTRODUCTION, _contents(root)]
    return "\n".join([*parts, *(_section(each) for each in root.walk())])


def _contents(root: Command) -> str:
    rows = ((_link(each), prose(each.sentence)) for each in root.commands)
    return table(("command", "does"), rows)


def _link(command: Command) -> str:
    return f"[{code(command.name)}](#{command.name.replace(' ', '-')})"


def _section(command: Command) -> str:
    depth = "#" * min(2 + command.name.count(" ") // 2, 3)
    return "\n".join([f"{depth} {command.name}\n", *_parts(command)])


def _parts(command: Command) -> Iterator[str]:
    yield block(command.usage, "text")
    yield from (paragraph(prose(text)) for text in command.paragraphs)
    if command.options:
        yield table(("option", "default", "does"), map(_option, command.options))
    if command.commands and " " in command.name:  # the first one's are at the top of the page
        yield _contents(command)
    for title, lines in command.blocks.items():
        yield from _lines(title, lines)


def _option(option: Option) -> tuple[str, str, str]:
    default = "required" if option.required else code(option.default)
    return code(option.written), default, prose(option.does)


def _lines(title: str, lines: str) -> Iterator[str]:
    examples = all(line.startswith("supervision ") for line in lines.splitlines())
    if title:
        yield f"{title}:\n"
    if examples:
        lines = "\n".join(f"$ {line}" for line in lines.splitlines())
    yield block(lines, "console" if examples else "text")
