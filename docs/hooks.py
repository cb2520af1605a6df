"""What the site does beyond mkdocs: it takes in every page, and what links outside docs/ lead to.

A page links to the README, to a settings file, to code: such a file becomes part of the site, as
it is, so that the link holds there too. A link to a folder becomes plain text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_LINK: Final = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that the navigation does not name at its end, by name."""
    known = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    pages = sorted(path.name for path in Path(config.docs_dir).glob("*.md"))
    further: list[Any] = [page for page in pages if page not in known]
    config.nav = [*(config.nav or []), *([{"Further pages": further}] if further else [])]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in the files outside docs/ that pages link to."""
    docs = Path(config.docs_dir)
    for page in files.documentation_pages():
        path = docs / page.src_uri
        for _text, link, _anchor in _LINK.findall(path.read_text()):
            target = _outside(path, link, docs)
            if target and target.is_file() and not files.get_file_from_path(_uri(target, docs)):
                files.append(File.generated(config, _uri(target, docs), content=target.read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave docs/ to the copies in the site."""
    docs = Path(config.docs_dir)
    path = docs / page.file.src_uri
    up = "../" * page.file.src_uri.count("/")

    def led(found: re.Match[str]) -> str:
        target = _outside(path, found[2], docs)
        if target is None:
            return found[0]
        known = files.get_file_from_path(_uri(target, docs))
        return f"[{found[1]}]({up}{known.src_uri})" if known else found[1]

    return _LINK.sub(led, markdown)


def _outside(page: Path, link: str, docs: Path) -> Path | None:
    target = (page.parent / link).resolve()
    inside = target.is_relative_to(docs.resolve())
    return None if inside or not target.exists() else target


def _uri(target: Path, docs: Path) -> str:
    return f"project/{target.relative_to(docs.resolve().parent)}.txt"
