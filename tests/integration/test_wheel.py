"""The wheel, installed where no checkout is near: it has all that the service reads and runs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest

from supervision.adapters.agent_archive import build

_ROOT: Final = Path(__file__).parents[2]
_IMPORT_ALL: Final = """
import importlib, pkgutil
for package in ("supervision", "db", "hpc_agent"):
    room = importlib.import_module(package)
    for found in pkgutil.walk_packages(room.__path__, f"{package}."):
        if "__main__" not in found.name and ".migrations" not in found.name:
            importlib.import_module(found.name)
import supervision
from supervision.resources import template_root
print(supervision.__file__)
print(template_root())
"""
_UPGRADE: Final = "import sys; from db.session import upgrade; upgrade(sys.argv[1])"


def _run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the checkout; fails with all that it wrote."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the checkout, with the backend that pyproject.toml names."""
    target = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=_ROOT)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment; answers with the environment's `bin`.

    The libraries that it needs are lent by the environment that runs the tests: that they are all
    declared is held by the law of imports.
    """
    home = tmp_path_factory.mktemp("installed") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python")
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home.parent)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Modules, migrations with their alembic files, the agent and every template are shipped."""
    shipped = set(zipfile.ZipFile(wheel).namelist())
    assert [] == sorted(_expected() - shipped)


def _expected() -> set[str]:
    packages = (_ROOT / name for name in ("supervision", "db", "hpc_agent"))
    code = (path for package in packages for path in package.rglob("*") if path.is_file())
    names = {str(path.relative_to(_ROOT)) for path in code if "__pycache__" not in path.parts}
    templates = (path.relative_to(_ROOT) for path in (_ROOT / "templates").rglob("*.j2"))
    return names | {f"supervision/{path}" for path in templates}


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    """No tests, documents or settings of ours land in somebody's site-packages."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    beside = (".dist-info", ".data")
    assert {"supervision", "db", "hpc_agent"} == {top for top in tops if not top.endswith(beside)}


def test_the_manual_page_is_installed_where_man_looks(wheel: Path, installed: Path) -> None:
    """Beside `bin`, and nothing else is put outside site-packages."""
    names = (name.partition(".data/data/") for name in zipfile.ZipFile(wheel).namelist())
    assert ["share/man/man1/supervision.1"] == [path for _top, data, path in names if data]
    page = installed.parent / "share" / "man" / "man1" / "supervision.1"
    assert (_ROOT / "docs" / "man" / "supervision.1").read_bytes() == page.read_bytes()


def test_every_installed_module_imports(installed: Path, tmp_path: Path) -> None:
    """All rooms, and the templates, come from the installation and not from a checkout."""
    code, templates = _run(installed / "python", "-c", _IMPORT_ALL, cwd=tmp_path).splitlines()
    home = installed.parent
    assert [True, True] == [Path(path).is_relative_to(home) for path in (code, templates)]
    assert {path.name for path in (_ROOT / "templates").rglob("*.j2")} == {
        path.name for path in Path(templates).rglob("*.j2")
    }


def test_the_command_tells_the_version_of_the_project(installed: Path, tmp_path: Path) -> None:
    """The console script is there and works where only the wheel is."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    said = _run(installed / "supervision", "--version", cwd=tmp_path)
    assert project["version"] in said


def test_the_installed_package_makes_its_tables(installed: Path, tmp_path: Path) -> None:
    """The migrations are found and run outside the checkout."""
    database = tmp_path / "fresh.db"
    _run(installed / "python", "-c", _UPGRADE, f"sqlite:///{database}", cwd=tmp_path)
    assert database.stat().st_size > 0


def test_the_installed_package_builds_the_same_agent(installed: Path, tmp_path: Path) -> None:
    """An operator who has the wheel only builds what the checkout builds, byte for byte."""
    said = _run(installed / "supervision", "agent", "build", "--output", "a.pyz", cwd=tmp_path)
    assert f"{build().sha256}  a.pyz\n" == said
    assert build().content == (tmp_path / "a.pyz").read_bytes()
