"""The page of crash windows names tests that exist: one that is renamed or deleted is missed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_PAGES: Final = ("reliability.md", "reliability_real.md")


def test_every_test_that_a_crash_window_names_is_there() -> None:
    """And the page names more than a dozen, so that an empty one does not pass."""
    pages = [_ROOT / "docs" / name for name in _PAGES]
    text = "".join(page.read_text() for page in pages if page.exists())
    named = set(re.findall(r"`(test_\w+)`", text))
    known = {path.stem for path in (_ROOT / "tests").rglob("test_*.py")}
    for path in (_ROOT / "tests").rglob("test_*.py"):
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    assert set() == named - known
    assert len(named) > 12
