"""docs/man/supervision.1: the manual page, from the same tree of commands as the reference.

In man(7), which every man reads. One page for the whole program: that is what `man supervision`
looks for, and a search in it finds every option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from docs.generate.commands import Command, Option, tree

_CODE: Final = re.compile(r"`([^`]*)`")
_CAPITALS: Final = re.compile(r"\b[A-Z][A-Z_]+\b")
_EXITS: Final = "Exit codes, of every command"
_FIRST: Final = "A first look"

_FILES: Final = """\
.SH FILES
.TP
.I supervision.toml
Settings, where
.B \\-\\-config
and
.B SUPERVISION_CONFIG
name no other file. Every key of it stands in
.IR supervision.example.toml ,
and what is in force is told by
.BR "supervision settings" .
.TP
.I supervision.db
The database, beside the settings file, unless
.B database_url
names another one.
.SH ENVIRONMENT
.TP
.B SUPERVISION_CONFIG
The settings file to use.
.TP
.B SUPERVISION_DATABASE_URL
Wins over
.B database_url
of the settings: the place for a URL with a password.
.TP
.B SUPERVISION_BROKER_URL
Wins over
.B broker_url
in the same way.
.SH SEE ALSO
.BR ssh (1),
.BR sbatch (1),
.BR systemd.service (5)
"""


def page() -> str:
    """Write the page. It bears no date and no version: the same commands give the same bytes."""
    root = tree()
    return "".join(f"{line}\n" for line in _lines(root)) + _FILES


def _lines(root: Command) -> Iterator[str]:
    yield '.\\" Written by: python -m docs.generate'
    yield '.TH SUPERVISION 1 "" "prodiguer\\-supervision" "User Commands"'
    yield from (".SH NAME", f"supervision \\- {_text(_short(root.sentence))}")
    yield from (".SH SYNOPSIS", *_usage(root))
    yield from (".SH DESCRIPTION", *_paragraphs(root.paragraphs), ".PP", *_raw(root.blocks[""]))
    yield from (".SH OPTIONS", *_options(root))
    yield ".SH COMMANDS"
    for each in root.commands:
        yield from (line for below in each.walk() for line in _command(below))
    yield from (".SH EXIT STATUS", *_exits(root.blocks[_EXITS]))
    yield from (".SH EXAMPLES", f"{_text(_FIRST)}:", *_raw(root.blocks[_FIRST]))


def _short(sentence: str) -> str:
    """Make of a sentence what stands in lists of pages."""
    return (sentence[0].lower() + sentence[1:]).removesuffix(".")


def _command(command: Command) -> Iterator[str]:
    yield f".SS {_text(command.name)}"
    yield from (*_usage(command), *_paragraphs(command.paragraphs, first=".PP"))
    yield from _options(command)
    for title, lines in command.blocks.items():
        yield from (".PP", f"{_text(title)}:", *_raw(lines))


def _usage(command: Command) -> Iterator[str]:
    rest = command.usage.removeprefix(command.name)
    yield f"\\fB{_text(command.name)}\\fR{_marked(rest)}"


def _paragraphs(texts: tuple[str, ...], first: str = "") -> Iterator[str]:
    for number, text in enumerate(texts):
        yield from [".PP"] if number else [first] if first else []
        yield _text(text)


def _options(command: Command) -> Iterator[str]:
    for option in command.options:
        yield from (".TP", f"\\fB{_text(option.written)}\\fR", _text(_told(option)))


def _told(option: Option) -> str:
    if option.required:
        return f"{option.does} It has to be given."
    return option.does if option.default is None else f"{option.does} Default: {option.default}."


def _exits(lines: str) -> Iterator[str]:
    for line in lines.splitlines():
        number, _, words = line.partition(" ")
        yield from (".TP", f".B {number}", _text(words.strip()))


def _raw(lines: str) -> Iterator[str]:
    yield from (".RS 4", ".nf", *map(_text, lines.splitlines()), ".fi", ".RE")


def _marked(usage: str) -> str:
    return _CAPITALS.sub(lambda found: f"\\fI{found[0]}\\fR", _text(usage))


def _text(text: str) -> str:
    """Let every character mean itself; what is between backticks is set in bold."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    plain = plain.replace("~", "\\(ti").replace("^", "\\(ha")
    plain = _CODE.sub(r"\\fB\1\\fR", plain).replace("`", "\\(ga")
    return f"\\&{plain}" if plain.startswith(".") else plain
