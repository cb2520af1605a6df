"""What the shell offers: names and ids where there are any, silence where something is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from click.shell_completion import ShellComplete

from supervision.cli.root import COMMANDS, supervision
from supervision.fsm.states import State
from tests.integration.cli_kit import LOGIN, SIMULATION, Desk, a_desk, failure

_ROOT: Final = Path(__file__).parents[2]
_ALL: Final = (
    "why",
    "history",
    "render",
    "diagram --of",
    "show --simulation",
    "show --site",
    "hold",
)


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A service that looks after one failed job."""
    with a_desk(tmp_path, sqlite_url) as made:
        monkeypatch.setenv("SUPERVISION_DATABASE_URL", sqlite_url)
        made.hear(failure())
        made.work()
        yield made


def offered(line: str, text: str = "", config: Path | None = None) -> list[str]:
    """Press the key after this line and the beginning of a word."""
    words = [*(() if config is None else ("--config", str(config))), *line.split()]
    shell = ShellComplete(supervision, {}, "supervision", "_SUPERVISION_COMPLETE")
    return [item.value for item in shell.get_completions(words, text)]


def test_commands_are_offered_by_name() -> None:
    """All of them, or those that begin so."""
    assert list(COMMANDS) == offered("")
    assert ["render", "release", "retry", "report"] == offered("", "re")


def test_commands_of_commands_options_and_choices_are_offered() -> None:
    """What the help of each lists."""
    assert ["doctor"] == offered("agent", "d")
    assert ["--config"] == offered("", "--c")
    assert ["--simulation"] == offered("show", "--sim")
    assert [State.FORMATTED, State.FAILED] == offered("show --state", "f")


def test_names_of_sites_and_logins_are_those_of_the_settings(desk: Desk) -> None:
    """Of the file that the line names."""
    for line in ("show --site", "report --site", "doctor", "agent install", "incident show"):
        assert ["curie"] == offered(line, "cu", desk.config)
    for line in ("show --login", "report --user", "agent doctor curie"):
        assert [LOGIN] == offered(line, "p", desk.config)


def test_ids_are_those_that_show_prints(desk: Desk) -> None:
    """Short ones, and the whole one where more has been typed; capitals are as good."""
    row = desk.row().id
    for line in ("why", "history", "render", "diagram --of", "retry", "cancel", "force"):
        assert [row[:8]] == offered(line, row[:3].upper(), desk.config)
        assert [row] == offered(line, row[:9], desk.config)
    assert [SIMULATION[:8]] == offered("show --simulation", SIMULATION[:2], desk.config)
    assert [] == offered("why", "nothing-begins-so", desk.config)


def test_what_can_be_held_is_offered(desk: Desk) -> None:
    """Sites, their logins, and after its first word a simulation; as bash hands them over."""
    for line in ("hold", "release"):
        assert ["site:curie", f"login:curie/{LOGIN}"] == offered(line, "", desk.config)
        assert [f"simulation:{SIMULATION}"] == offered(line, "simulation:", desk.config)


@pytest.mark.parametrize("line", _ALL)
@pytest.mark.parametrize("damage", ["no file", "no toml", "no database", "no tables"])
def test_what_is_wrong_is_not_told_here(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    line: str,
    damage: str,
) -> None:
    """Nothing is offered, nothing is said, and no file is made."""
    monkeypatch.delenv("SUPERVISION_DATABASE_URL", raising=False)
    config = tmp_path / "supervision.toml"
    if damage != "no file":
        config.write_text("not toml" if damage == "no toml" else "")
    if damage == "no tables":
        (tmp_path / "supervision.db").write_bytes(b"this is no database\n" * 100)
    before = sorted(tmp_path.iterdir())
    assert [] == offered(line, "", config)
    assert ("", "") == capfd.readouterr()
    assert before == sorted(tmp_path.iterdir())


def test_bash_completes_a_line(desk: Desk, tmp_path: Path) -> None:
    """With the script that the documentation says to load, from the key to the whole word."""
    program = tmp_path / "bin" / "supervision"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m supervision "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(_SUPERVISION_COMPLETE=bash_source supervision)"
        COMP_WORDS=(supervision history "$1") COMP_CWORD=2
        _supervision_completion supervision
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ("bash", "-c", script, "bash", desk.row().id[:2]),
        env={"PATH": f"{program.parent}:/usr/bin:/bin", "PYTHONPATH": str(_ROOT), **desk.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (f"{desk.row().id[:8]}\n", "") == (done.stdout, done.stderr)
