"""Which page is written by what. A test holds each of them against the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from docs.generate import cli, codes, man, policy, queues, settings, tables

COMMAND: Final = "python -m docs.generate"
"""What writes all of them anew."""

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "policy.md": policy.page,
    "reference/cli.md": cli.page,
    "reference/settings.md": settings.page,
    "reference/queues.md": queues.page,
    "reference/tables.md": tables.page,
    "reference/codes.md": codes.page,
    "man/supervision.1": man.page,
}
"""Every page by its path under docs/."""
