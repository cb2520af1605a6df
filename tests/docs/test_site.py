"""The site is built from every page, and its links out of docs/ hold in it too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]


def _built(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site)
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one page, with this project's way to build a site."""
    docs = tmp_path / "project" / "docs"
    docs.mkdir(parents=True)
    shutil.copy(_ROOT / "docs" / "hooks.py", docs)
    hooks = "site_name: test\nhooks: [docs/hooks.py]\nexclude_docs: '*.py'\nnav: [index.md]\n"
    (docs.parent / "mkdocs.yml").write_text(hooks)
    (docs / "index.md").write_text("# Test\n")
    return docs.parent


def test_the_site_is_built_from_every_page(tmp_path: Path) -> None:
    """Nothing warns, and no page of docs/ is left out."""
    done = _built(_ROOT, tmp_path / "site")
    assert 0 == done.returncode, done.stderr
    pages = {path.relative_to(_ROOT / "docs") for path in (_ROOT / "docs").rglob("*.md")}
    built = {page for page in pages if (tmp_path / "site" / page.with_suffix("")).is_dir()}
    assert {"index.md", "adr/index.md"} == {str(page) for page in pages - built}


def test_a_file_of_the_project_comes_with_the_page_that_links_to_it(
    project: Path, tmp_path: Path
) -> None:
    """The reader of the site gets the same file as the reader of the repository."""
    (project / "example.toml").write_text("a = 1\n")
    (project / "docs" / "index.md").write_text("# Test\n\n[text](../example.toml)\n")
    done = _built(project, tmp_path / "site")
    assert 0 == done.returncode, done.stderr
    assert "a = 1\n" == (tmp_path / "site" / "project" / "example.toml.txt").read_text()
    assert 'href="project/example.toml.txt"' in (tmp_path / "site" / "index.html").read_text()


def test_a_page_that_the_navigation_does_not_name_is_taken_in(
    project: Path, tmp_path: Path
) -> None:
    """A new page can be reached from the first day."""
    (project / "docs" / "new.md").write_text("# A new page\n")
    done = _built(project, tmp_path / "site")
    assert 0 == done.returncode, done.stderr
    assert 'href="new/"' in (tmp_path / "site" / "index.html").read_text()


def test_a_link_that_leads_nowhere_fails_the_build(project: Path, tmp_path: Path) -> None:
    """The build itself sees it, with no help from other tests."""
    (project / "docs" / "index.md").write_text("# Test\n\n[text](../no-such-file.toml)\n")
    assert 1 == _built(project, tmp_path / "site").returncode
