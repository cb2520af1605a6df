"""What is under deploy/ is believed by the tools that will read it, and names what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from supervision.app import STAGES
from supervision.cli.root import run
from tests.services.programs import program

_ROOT: Final = Path(__file__).parents[2]
_DEPLOY: Final = _ROOT / "deploy"
_UNITS: Final = sorted((_DEPLOY / "systemd").iterdir())


def _compose() -> dict[str, Any]:
    return dict(yaml.safe_load((_DEPLOY / "compose.yaml").read_text()))


@pytest.mark.parametrize("unit", _UNITS, ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_a_unit(unit: Path, tmp_path: Path) -> None:
    """Every key is known and every value allowed; only the program is another one here."""
    for each in _UNITS:
        text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", each.read_text())
        (tmp_path / each.name).write_text(text)
    name = unit.name.replace("@.", "@dispatch.")
    (tmp_path / name).write_text((tmp_path / unit.name).read_text())
    command = [program("systemd-analyze"), "verify", "--man=no", f"./{name}"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (0, "") == (said.returncode, said.stdout + said.stderr)


def test_the_target_starts_every_stage() -> None:
    """None is forgotten: somebody has to run each of them."""
    wanted = re.findall(r"supervision@(\S+)\.service", (_UNITS[0].parent / _TARGET).read_text())
    assert sorted(STAGES) == sorted(wanted)


_TARGET: Final = "supervision.target"


def test_compose_runs_every_stage_once() -> None:
    """The same, spread over three services."""
    commands = [service.get("command", []) for service in _compose()["services"].values()]
    stages = [word for command in commands if command[:1] == ["run"] for word in command[1:]]
    assert sorted(STAGES) == sorted(stages)


def test_compose_calls_commands_that_exist() -> None:
    """A command that was renamed is renamed there too."""
    for service in _compose()["services"].values():
        if command := service.get("command"):
            assert run([*command, "--help"]) == 0


def test_the_example_names_every_variable() -> None:
    """Whoever copies it has filled in all that compose asks for."""
    asked = set(re.findall(r"\$\{(\w+)", (_DEPLOY / "compose.yaml").read_text()))
    given = set(re.findall(r"^(\w+)=$", (_DEPLOY / "env.example").read_text(), re.MULTILINE))
    assert asked == given


def test_the_containerfile_copies_what_exists() -> None:
    """And builds on images that are named with their version."""
    text = (_DEPLOY / "Containerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    missing = [name for line in copied for name in line.split() if not (_ROOT / name).exists()]
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert ([], True) == (missing, all(re.search(r":\d+\.\d+", image) for image in images))
