"""The documentation holds together: every link inside the project leads to a file and a heading."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_PAGES: Final = [*sorted(_ROOT.glob("*.md")), *sorted((_ROOT / "docs").rglob("*.md"))]
_FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING: Final = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Name the headings of a page as the usual hosts of git repositories do."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def _broken(page: Path, link: str) -> bool:
    if re.match(r"[a-z][a-z+.-]*:", link):
        return False  # another site: nothing is asked over the network here
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists() or not target.is_relative_to(_ROOT):
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in _anchors(target)


def _links(text: str) -> list[str]:
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def test_there_is_documentation_to_hold_together() -> None:
    """The page that everybody opens first is there."""
    assert _ROOT / "README.md" in _PAGES


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file or heading that is not there is named."""
    assert [] == [link for link in _links(page.read_text()) if _broken(page, link)]


@pytest.mark.parametrize("link", ["no-such-page.md", "#no-such-heading", "../outside.md"])
def test_a_link_that_leads_nowhere_is_found(link: str, tmp_path: Path) -> None:
    """The check itself sees missing files, missing headings, and paths out of the project."""
    page = tmp_path / "page.md"
    page.write_text(f"# A heading\n\n[text]({link}) and `[code](is-no-link)`\n")
    assert [link] == [found for found in _links(page.read_text()) if _broken(page, found)]
