"""What the doctor finds, and what its words tell to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpc_agent import commands, doctor, journal, place
from hpc_agent import home as homes
from hpc_agent.home import Home
from tests.agent_kit import command, make_home

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Prepare a home in which nothing is missing."""
    for name in ("sbx-queue", "sbx-submit", "sbx-cancel", "ksh"):
        command(tmp_path / "bin", name, "true")
    return make_home(tmp_path, commands=tmp_path / "bin")


def _found(home: Home, check: str, directory: str | None = None) -> tuple[str, str]:
    findings = doctor.examine(home.path, directory)
    (finding,) = [each for each in findings if each.check == check]
    return finding.state, finding.words


def test_a_home_in_which_nothing_is_missing(home: Home) -> None:
    """Everything is good; what stays is the scheduler's answer, and the lock of who may ask it."""
    before = sorted(Path(home.root).rglob("*"))
    findings = doctor.examine(home.path)
    assert {"good"} == {finding.state for finding in findings}
    left = set(Path(home.root).rglob("*")) - set(before)
    assert {"queue.json", "queue.lock"} == {path.name for path in left}


def test_an_unprepared_home(tmp_path: Path) -> None:
    """Without a home the rest cannot be asked; the words name the command that prepares one."""
    findings = doctor.examine(str(tmp_path))
    assert ["python", "home"] == [finding.check for finding in findings]
    assert (findings[1].state, "supervision agent install" in findings[1].words) == ("bad", True)


@pytest.mark.parametrize(("name", "mode"), [("agent.key", 0o644), (".", 0o755)])
def test_what_others_can_read(home: Home, name: str, mode: int) -> None:
    """A key or a folder that is open to others is bad, and the wanted mode is named."""
    (Path(home.root) / name).chmod(mode)
    state, words = _found(home, "home")
    assert (state, "must be mode" in words) == ("bad", True)


def test_a_file_system_that_forgets(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal in memory is gone with the next boot."""
    monkeypatch.setattr(place, "_mounts", lambda: ["none / tmpfs rw 0 0"])
    assert ("bad", "tmpfs, mounted at /: a reboot empties it; set another agent_home") == _found(
        home, "file system"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/abc", ("nfs4", "/home")),
        ("/homes/abc", ("ext4", "/")),
        ("/home/big disk/abc", ("lustre", "/home/big disk")),
        ("/home", ("nfs4", "/home")),
    ],
)
def test_the_longest_mount_that_holds_a_path(
    path: str, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount is matched by whole names; of two on one place the later one counts."""
    lines = [
        "disk / ext4 rw 0 0",
        "auto /home autofs rw 0 0",
        "server:/x /home nfs4 rw 0 0",
        "mds:/y /home/big\\040disk lustre rw 0 0",
        "rubbish",
    ]
    monkeypatch.setattr(place, "_mounts", lambda: lines)
    assert expected == place.file_system(path)


def test_without_a_list_of_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does not tell leaves it unknown."""
    monkeypatch.setattr(place, "_mounts", list)
    assert ("unknown", "?") == place.file_system("/home")


def test_a_file_system_without_links(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where link(2) is not possible no journal can be kept."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    state, words = _found(home, "link")
    assert (state, "cannot be made and linked" in words) == ("bad", True)
    assert [] == list((Path(home.root) / "tmp").iterdir())


def test_links_that_are_not_exclusive(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that lets a second maker win is found out."""
    monkeypatch.setattr(journal, "write_once", lambda path, content, _: _overwritten(path, content))
    assert ("bad", "link(2) is not exclusive here: set another agent_home") == _found(home, "link")


def _overwritten(path: str, content: bytes) -> bool:
    Path(path).write_bytes(content)
    return True


def test_little_room(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a handful of scripts' room is bad."""
    status = os.statvfs(home.root)
    values = list(status)
    values[4] = 3  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    assert ("bad", "0 MB free, quotas aside: make room, or no script can be accepted") == _found(
        home, "room"
    )


def test_a_file_server_of_another_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its times say whether a runner on another host lives: a difference is worth a word."""
    monkeypatch.setattr(doctor.time, "time", lambda: 1.0)  # type: ignore[attr-defined]
    state, words = _found(home, "file clock")
    assert (state, "apart: tell the centre" in words) == ("doubtful", True)


def test_a_damaged_journal_is_named(home: Home) -> None:
    """The supervisions that cannot be read are named; what is under way is counted."""
    home.record("s-1").make(1, journal.ENTRY, {"expires_at": 4e9})
    Path(home.record("s-2").folder).mkdir()
    Path(home.record("s-2").path(1, journal.ENTRY)).write_text('{"expi')
    state, words = _found(home, "journal")
    assert (state, words) == (
        "bad",
        (
            "2 supervisions, 1 of them under way or lately; cannot be read and count as unknown: "
            "s-2 (1 in all); look at what is written there"
        ),
    )


def test_an_owner_who_keeps_us_out(home: Home) -> None:
    """The file by which a login opts out is no fault, and is told."""
    (Path(home.path) / homes.OPT_OUT_HOME).touch()
    state, words = _found(home, "consent")
    assert (state, "every script is declined" in words) == ("doubtful", True)


def test_missing_programs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ksh and each of the scheduler's commands are looked for as scripts will look."""
    monkeypatch.setattr(commands, "find", lambda *_: None)
    assert ("bad", "not found: libIGCM needs it, ask the centre or set --bin") == _found(
        home, "ksh"
    )
    state, words = _found(home, "commands")
    assert (state, "sbx-queue, sbx-submit, sbx-cancel; name their folder" in words) == ("bad", True)


@pytest.mark.parametrize("answer", ["echo out of; echo order >&2; exit 3", "echo rubbish"])
def test_a_scheduler_that_does_not_answer(home: Home, answer: str) -> None:
    """What its command said is in the words, on one line."""
    command(Path(home.path) / "bin", "sbx-queue", answer)
    state, words = _found(home, "scheduler")
    assert (state, "\n" in words, words.endswith(": ask the centre")) == ("bad", False, True)


def test_a_list_that_proves_nothing(home: Home) -> None:
    """An empty list of a scheduler that does not show itself alive is doubtful."""
    for name, text in (("squeue", "true"), ("scontrol", "echo DOWN")):
        command(Path(home.path) / "bin", name, text)
    settings = {"site": home.site, "login": home.login, "scheduler": "slurm", "bin": home.bin}
    homes.prepare(home.path, settings, home.key)
    assert "doubtful" == _found(home, "scheduler")[0]


def test_libigcm_by_its_job(home: Home, tmp_path: Path) -> None:
    """Found where Job_* says, else at its place in the tree; else the words say where to look."""
    run = tmp_path / "config" / "IPSLCM6" / "EXP00"
    run.mkdir(parents=True)
    assert "bad" == _found(home, "libIGCM", str(run))[0]
    usual = _libigcm(tmp_path)
    assert ("good", str(usual)) == _found(home, "libIGCM", str(run))
    other = _libigcm(tmp_path / "other")
    (run / "Job_EXP00").write_text(f'#!/bin/ksh\nMODIPSL="{tmp_path}/other"\n')
    assert ("good", str(other)) == _found(home, "libIGCM", str(run))
    assert ("bad", "/no/where: No such file or directory") == _found(home, "libIGCM", "/no/where")


def _libigcm(folder: Path) -> Path:
    mark = folder / "libIGCM" / "libIGCM_config"
    mark.mkdir(parents=True)
    (mark / "libIGCM_config.ksh").touch()
    return folder / "libIGCM"


def test_by_hand_on_the_node(home: Home) -> None:
    """A line a finding, or JSON; the exit code tells whether something is bad."""
    words = [sys.executable, "-m", "hpc_agent", "doctor", "--home", home.path]
    well = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, check=True)
    assert {"good"} == {line.split()[0] for line in well.stdout.splitlines()}
    (Path(home.path) / "bin" / "sbx-cancel").unlink()
    ill = subprocess.run([*words, "--json"], cwd=_ROOT, capture_output=True, text=True, check=False)
    states = {found["check"]: found["state"] for found in json.loads(ill.stdout)}
    assert (1, "bad", "good") == (ill.returncode, states["commands"], states["journal"])
