"""The agent's home: prepared once, private, and refused when it is not."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from hpc_agent import home as homes
from hpc_agent.__main__ import main
from hpc_agent.home import FOLDER, KEY, HomeError
from tests.agent_kit import KEY as LOGIN_KEY
from tests.agent_kit import LOGIN, SITE, make_home


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_prepared_home_is_private(tmp_path: Path) -> None:
    """The folder is 0700 and the key 0600, and both are read back."""
    home = make_home(tmp_path)
    assert _mode(tmp_path / FOLDER) == 0o700
    assert _mode(tmp_path / FOLDER / KEY) == 0o600
    assert (home.site, home.login, home.key) == (SITE, LOGIN, LOGIN_KEY)


def test_preparing_again_keeps_the_journal(tmp_path: Path) -> None:
    """Settings and key may be renewed; the journal's id stays."""
    assert make_home(tmp_path).journal_id == make_home(tmp_path, interval=5.0).journal_id
    assert homes.load(str(tmp_path)).query_interval_seconds == 5.0


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o400, 0o700])
def test_a_key_of_another_mode_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that others may read, or that is no longer as it was made, is not used."""
    make_home(tmp_path)
    (tmp_path / FOLDER / KEY).chmod(mode)
    with pytest.raises(HomeError, match="mode 600"):
        homes.load(str(tmp_path))


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    """Who can enter the journal could write an entry."""
    make_home(tmp_path)
    (tmp_path / FOLDER).chmod(0o755)
    with pytest.raises(HomeError, match="mode 700"):
        homes.load(str(tmp_path))


@pytest.mark.parametrize("name", ["agent.json", "agent.key", "journal.id"])
def test_a_home_without_one_of_its_files_is_refused(tmp_path: Path, name: str) -> None:
    """What is missing is named, and no journal is invented."""
    make_home(tmp_path)
    (tmp_path / FOLDER / name).unlink()
    with pytest.raises(HomeError, match="not prepared"):
        homes.load(str(tmp_path))


def test_a_key_of_another_length_is_refused(tmp_path: Path) -> None:
    """Neither a short key on disk nor a short one to prepare with is accepted."""
    make_home(tmp_path)
    with pytest.raises(HomeError, match="32 bytes"):
        homes.prepare(str(tmp_path), {}, b"short")
    (tmp_path / FOLDER / KEY).write_text("abcd")
    with pytest.raises(HomeError, match="32 bytes"):
        homes.load(str(tmp_path))


def test_tidying_removes_old_drafts_once_a_day(tmp_path: Path) -> None:
    """A draft of a crashed writer goes after a day; the next tidying waits for a day."""
    home = make_home(tmp_path)
    drafts = tmp_path / FOLDER / "tmp"
    for name in ("old", "young"):
        (drafts / name).touch()
    os.utime(drafts / "old", (0, 0))
    homes.tidy(home)
    assert [path.name for path in drafts.iterdir()] == ["young"]
    os.utime(drafts / "young", (0, 0))
    homes.tidy(home)
    assert [path.name for path in drafts.iterdir()] == ["young"]


def test_init_reads_the_key_from_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`init` prepares a home and prints its journal's id; the key is never an argument."""
    monkeypatch.setattr("sys.stdin", io.StringIO(LOGIN_KEY.hex() + "\n"))
    arguments = ["--home", str(tmp_path), "--site", SITE, "--login", LOGIN, "--scheduler", "slurm"]
    assert main(["init", *arguments]) == 0
    home = homes.load(str(tmp_path))
    assert (home.scheduler, home.query_interval_seconds, home.key) == ("slurm", 30.0, LOGIN_KEY)
    assert capsys.readouterr().out == f"{home.journal_id}\n"


@pytest.mark.parametrize("key", ["", "no hex", "abcd"])
def test_init_refuses_what_is_no_key(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is not 32 bytes in hexadecimal ends it with 2."""
    monkeypatch.setattr("sys.stdin", io.StringIO(key))
    arguments = ["--home", str(tmp_path), "--site", SITE, "--login", LOGIN, "--scheduler", "slurm"]
    assert main(["init", *arguments]) == 2
