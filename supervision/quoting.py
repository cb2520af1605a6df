"""How values enter a shell script: every one is quoted here, by the renderer, and nowhere else.

Opting out is a type, `Shell`, so that it can be seen and searched for. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from jinja2 import Undefined

from supervision.errors import RenderError

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Shell(str):
    """Text that is shell already and enters a script as it is. Never made of a fact."""

    __slots__ = ()


def quote(value: object) -> str:
    """Spell a value as one word of ksh and bash that means exactly this value.

    Text stands in single quotes, where neither shell reads anything but the closing quote: line
    feeds, backticks, dollars and dashes lose their meaning. True is 1, False is 0. Raises
    RenderError for what no script can carry: a missing value, NUL, a lone surrogate, other types.
    """
    if isinstance(value, Shell):
        return str(value)
    return "'" + _text(value).replace("'", "'\\''") + "'"


def _text(value: object) -> str:
    if isinstance(value, Undefined):
        raise RenderError(f"a template asks for {value._undefined_name!r}, which nobody gives")  # noqa: SLF001  # the only way to name it
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, str):
        raise RenderError(f"a script takes text and integers, not {type(value).__name__}")
    if "\0" in value:
        raise RenderError(f"a script cannot carry the NUL in {value!r}")
    if _LONE_SURROGATE.search(value):
        raise RenderError(f"a script cannot carry the lone surrogate in {value!r}")
    return value
