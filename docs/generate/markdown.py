"""Markdown as small pieces: tables, code, prose whose every character means itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Final

_SPECIAL: Final = re.compile(r"(`[^`]*`)|([\\*<>\[\]|]|(?<!\w)_|_(?!\w))")
_WIDTH: Final = 100


def head(title: str, source: str) -> str:
    """Begin a page: its title, and how it came to be."""
    origin = paragraph(
        f"This page is written from {source}. Do not edit it: change the code, then run "
        "`python -m docs.generate`. A test compares the two."
    )
    return f"# {title}\n\n<!-- Written by: python -m docs.generate -->\n\n{origin}"


def table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a table; a cell is markdown already, on one line."""
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def code(text: str | None) -> str:
    """Set a word as code, also within a table; `-` for none."""
    return "-" if text in {None, ""} else f"`{str(text).replace('|', chr(92) + '|')}`"


def prose(text: str) -> str:
    """Set text as it reads: on one line, what is between backticks as code, the rest plainly."""
    return _SPECIAL.sub(_meant, " ".join(text.split()))


def paragraph(text: str, indent: str = "") -> str:
    """Set markdown on lines of the usual width."""
    filled = textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{filled}\n"


def _meant(found: re.Match[str]) -> str:
    return found[1].replace("|", "\\|") if found[1] else f"\\{found[2]}"


def block(text: str, language: str) -> str:
    """Set lines as they are."""
    return f"```{language}\n{text.strip(chr(10))}\n```\n"
