"""What the log lines of a piece of work are about: bound while it is done, by this thread alone.

Nothing is handed to another thread unless whoever starts it there copies the context on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from structlog.contextvars import (
    bind_contextvars,
    clear_contextvars,
    get_contextvars,
    reset_contextvars,
)

NAMED: Final = 20
"""So many ids of a set stand on a line; their number tells whether there are more."""


Ids = str | Sequence[str | None] | None
"""What something is about: one of a kind, several, or none."""


@contextmanager
def about(**ids: Ids) -> Iterator[None]:
    """Name on every line of this block what it is about: `job_uid="..."`, or all of a set.

    A set of one is named like one. Of more, `job_uids` has the first ones, sorted, and `job_count`
    their number; what is None or empty is left out. Blocks nest, and the narrower one replaces what
    the wider one said of the same key. Undone at the end, however the block ends.
    """
    unsaid = dict.fromkeys((name for key in ids for name in (key, *_names(key))), ...)
    before = bind_contextvars(**unsaid | spelled(ids))  # structlog takes `...` as nothing bound
    try:
        yield
    finally:
        reset_contextvars(**before)


@contextmanager
def afresh() -> Iterator[None]:
    """Forget in this block what the work around it is about; it is known again afterwards."""
    before = get_contextvars()
    clear_contextvars()
    try:
        yield
    finally:
        clear_contextvars()
        bind_contextvars(**before)


def spelled(ids: Mapping[str, Ids]) -> dict[str, str | int | list[str]]:
    """Spell ids as `about` binds them."""
    said: dict[str, str | int | list[str]] = {}
    for key, value in ids.items():
        known = sorted({each for each in _each(value) if each})
        if len(known) == 1:
            said[key] = known[0]
        elif known:
            many, count = _names(key)
            said |= {many: known[:NAMED], count: len(known)}
    return said


def _each(value: Ids) -> Sequence[str | None]:
    return [value] if value is None or isinstance(value, str) else value


def _names(key: str) -> tuple[str, str]:
    """Spell a key's name for many, and for how many: `job_uids`, `job_count`."""
    return f"{key}s", f"{key.rpartition('_')[0] or key}_count"
