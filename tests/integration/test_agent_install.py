"""`supervision agent`: the file is the same wherever it is built, and taking it there is safe."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import hpc_agent
from hpc_agent import home as homes
from hpc_agent import landing as landing_program
from supervision.adapters import agent_install
from supervision.adapters.agent_archive import build, landing
from supervision.adapters.agent_install import FILE, FOLDER, Installer, authorized_line, command
from supervision.adapters.agent_protocol import Login
from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.adapters.system import SystemClock
from supervision.errors import ProtocolError, Refused
from supervision.facts import AnswerKind, Key
from tests.agent_kit import make_order, settle
from tests.install_kit import Site, snapshot
from tests.integration.cli_kit import give
from tests.ssh_kit import ME

_WHOSE = Login(site="curie", login=ME, key=b"k" * 32)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site on this machine."""
    return Site(path=tmp_path)


def test_the_same_sources_are_the_same_bytes(tmp_path: Path) -> None:
    """Built twice, in another place and order of files, by another process: one digest."""
    code = "from supervision.adapters.agent_archive import build; print(build().sha256)"
    elsewhere = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(hpc_agent.__path__[0]).parent), "TZ": "Asia/Tokyo"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {build().sha256} == {
        elsewhere.stdout.strip(),
        hashlib.sha256(build().content).hexdigest(),
    }


def test_the_file_holds_the_agent_and_nothing_else() -> None:
    """Every module of the agent, a starter, no bytecode: stored, of one date, in order."""
    entries = zipfile.ZipFile(io.BytesIO(build().content)).infolist()
    root = Path(hpc_agent.__path__[0])
    sources = sorted(f"hpc_agent/{path.relative_to(root)}" for path in root.rglob("*.py"))
    assert ["__main__.py", *sources] == [entry.filename for entry in entries]
    assert {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))} == {
        (entry.compress_type, entry.date_time) for entry in entries
    }


def test_build_writes_a_program_and_tells_its_digest(tmp_path: Path) -> None:
    """What is printed is the digest of the file, as sha256sum prints it; the file runs."""
    file = tmp_path / "agent.pyz"
    said = give("agent", "build", "--output", file, env={})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (0, f"{digest}  {file}\n") == (said.code, said.out)
    spoken = subprocess.run([file, "--version"], capture_output=True, text=True, check=True)
    assert spoken.stdout == "hpc_agent, protocol 1 to 1\n"
    assert [file] == list(tmp_path.iterdir())


def test_build_with_another_interpreter(tmp_path: Path) -> None:
    """`--python` is the first line; the digest is then another one, and JSON tells it too."""
    file = tmp_path / "agent.pyz"
    words = ("--output", file, "--python", "/opt/python3.9", "--json")
    said = give("agent", "build", *words, env={})
    assert file.read_bytes().startswith(b"#!/opt/python3.9\n")
    assert said.json["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert said.json["sha256"] != build().sha256


def test_build_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A folder that is not there is a sentence, not a traceback."""
    said = give("agent", "build", "--output", tmp_path / "no" / "agent.pyz", env={})
    assert (said.code, "No such file" in said.err) == (1, True)


def test_no_module_of_the_agent_imports_later() -> None:
    """An agent that serves has read all of its file: replacing the file cannot hurt it."""
    late = [
        f"{path.name}:{node.lineno}"
        for path in sorted(Path(hpc_agent.__path__[0]).rglob("*.py"))
        for outer in ast.walk(ast.parse(path.read_text()))
        if isinstance(outer, ast.FunctionDef)
        for node in ast.walk(outer)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert [] == late


def test_a_fresh_login(site: Site) -> None:
    """Folder 0700, agent and key in it, a home that can be served, and nothing bad found."""
    done = site.installed()
    folder = site.home / FOLDER
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert (0o700, 0o700, 0o600) == (modes[FOLDER], modes[FILE], modes["agent.key"])
    assert hashlib.sha256(site.file.read_bytes()).hexdigest() == build().sha256 == done["sha256"]
    home = homes.load(str(site.home))
    assert (home.key, home.login, home.journal_id) == (site.key, ME, done["journal_id"])
    assert {"good"} == {finding["state"] for finding in done["findings"]}
    assert done["line"] is None


def test_the_login_can_be_served_afterwards(site: Site) -> None:
    """The service's own transport runs a script there."""
    site.installed()
    (site.home / "run").mkdir()
    agent = LocalAgent(home=site.home, python=sys.executable, key=site.key)
    transport = LocalTransport({("curie", ME): agent}, clock=SystemClock())
    try:
        order = make_order(
            Key(supervision_id="s-1", attempt=1), site.home / "run", clock=SystemClock()
        )
        assert transport.submit("curie", ME, [order])[0].kind is AnswerKind.ACCEPTED
    finally:
        transport.close()
        settle(homes.load(str(site.home)))


def test_installing_again_changes_nothing(site: Site) -> None:
    """The file is not even written again; journal, key and settings are as they were."""
    site.installed()
    before, written = snapshot(site.home), site.file.stat().st_mtime_ns
    said = site.install()
    after = snapshot(site.home)
    volatile = {str(site.home / FOLDER / name) for name in ("queue.json",)}
    assert {path: file for path, file in before.items() if path not in volatile} == {
        path: file for path, file in after.items() if path not in volatile
    }
    assert (written, 0) == (site.file.stat().st_mtime_ns, said.code)
    assert "is this one already" in said.out


def test_what_is_not_said_again_stays(site: Site) -> None:
    """A second installation without --bin keeps the folder that was named before."""
    site.installed()
    said = site.agent("install", "curie", ME)
    assert (0, str(site.path / "bin")) == (said.code, homes.load(str(site.home)).bin)


def test_a_dry_run_changes_nothing(site: Site) -> None:
    """It tells what would be done, on a fresh login and on one that has an agent."""
    fresh = site.install("--dry-run")
    assert (0, []) == (fresh.code, list(site.home.iterdir()))
    assert "would be installed" in fresh.out
    site.installed()
    site.file.write_bytes(b"another")
    before = snapshot(site.home)
    upgrade = site.install("--dry-run")
    assert "would be replaced" in upgrade.out
    assert before == snapshot(site.home)


def test_an_upgrade_while_an_old_agent_serves(site: Site) -> None:
    """The old one goes on with what it has read; the next session has the new one."""
    site.installed()
    old = subprocess.Popen(
        [sys.executable, site.file, "serve", "--home", site.home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with old:
        assert old.stdin is not None
        assert old.stdout is not None
        for verb in ("hello", "doctor", "nonsense", "status"):
            if verb == "doctor":  # from here on another file lies in the old one's place
                site.file.write_bytes(site.file.read_bytes() + b"older")
                assert "replaced" in site.install().out
            old.stdin.write(json.dumps({"id": verb, "verb": verb, "keys": []}) + "\n")
            old.stdin.flush()
            answer = json.loads(old.stdout.readline())
            assert answer["id"] == verb
            assert ("error" in answer) == (verb == "nonsense")
        old.stdin.close()
    assert hashlib.sha256(site.file.read_bytes()).hexdigest() == build().sha256


def test_an_agent_that_does_not_start_is_not_put_in_place(site: Site) -> None:
    """A new file that this Python cannot run leaves the old one where it was, and no draft."""
    site.installed()
    before = snapshot(site.home)
    content = b"#!/bin/false\nraise SystemExit('too new for me')\n"
    request = {"content": _base64(content), "sha256": hashlib.sha256(content).hexdigest()}
    with pytest.raises(landing_program.Refused, match="does not start here: too new for me"):
        landing_program.put({"home": str(site.home), **request})
    assert before == snapshot(site.home)


def test_what_arrived_spoiled_is_not_put_in_place(site: Site) -> None:
    """The digest is that of what lies on the disk there."""
    request = {"content": _base64(b"spoiled"), "sha256": build().sha256}
    with pytest.raises(landing_program.Refused, match="spoiled it"):
        landing_program.put({"home": str(site.home), **request})
    assert {} == snapshot(site.home)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_home_that_is_no_path(site: Site) -> None:
    """A home that cannot be written to is a sentence with its reason; nothing is half done."""
    site.home.rmdir()
    site.home.write_text("a file")
    said = site.install()
    assert (4, "Not a directory" in said.err) == (said.code, True)


def test_an_unknown_site_and_login(site: Site) -> None:
    """Names that the settings or no system has are refused before anything is contacted."""
    unknown = site.agent("install", "nowhere", ME)
    assert (1, "no site is called 'nowhere'" in unknown.err) == (unknown.code, True)
    odd = site.agent("install", "curie", "../root")
    assert (2, "is not a login" in odd.err) == (odd.code, True)


def test_a_python_that_is_not_there(site: Site) -> None:
    """agent_python is named."""
    site.python = "/no/such/python"
    site.configure()
    said = site.install()
    assert (3, "/no/such/python cannot be started" in said.err) == (said.code, True)


def test_doctor_asks_over_the_services_way(site: Site) -> None:
    """Over the transport: clock first, then what the agent finds; 1 when something is bad."""
    site.installed()
    well = site.agent("doctor", "curie", ME, "--json")
    assert (0, {"good"}) == (well.code, {finding["state"] for finding in well.json})
    assert "clock" == well.json[0]["check"]
    (site.path / "bin" / "sbx-queue").unlink()
    (site.home / FOLDER / "queue.json").unlink()
    ill = site.agent("doctor", "curie", ME)
    assert ill.code == 1
    assert "bad       commands     not found: sbx-queue; name their folder" in ill.out


def test_doctor_before_the_installation(site: Site) -> None:
    """Without a prepared home the finding says what to type."""
    said = site.agent("doctor", "curie", ME)
    assert (1, "not prepared" in said.err + said.out) == (said.code, True)


class ScriptedLine:
    """A Line that answers what was written beforehand, and keeps what it was sent."""

    def __init__(self, *replies: dict[str, Any] | bytes) -> None:
        self._replies = list(replies)
        self.sent: list[bytes] = []

    def exchange(self, requests: Sequence[bytes]) -> Sequence[bytes]:
        """Give the next answers."""
        self.sent += requests
        return [self._next() for _ in requests]

    def _next(self) -> bytes:
        reply = self._replies.pop(0)
        return reply if isinstance(reply, bytes) else json.dumps(reply).encode() + b"\n"


_HERE = {"landing": 1, "home": "/home/abc", "python": "3.9.2", "login": "abc", "host": "h"}


def test_a_forced_command_is_told(site: Site) -> None:
    """Where the credential may run the agent only, the agent answers: that is said, with a way."""
    site.installed()
    line = ScriptedLine({"error": "the line is not JSON", "id": None})
    with pytest.raises(Refused, match=r"may run the agent there and nothing else.*--credential"):
        Installer(line, _WHOSE, None)
    assert line.sent == [landing()]


@pytest.mark.parametrize(
    ("replies", "error", "sentence"),
    [
        ([b"Welcome!\n"], ProtocolError, "start-up files"),
        ([{**_HERE, "home": "relative"}], Refused, "absolute path"),
        ([{**_HERE, "home": "/a\nssh-rsa AAAA"}], Refused, "absolute path"),
        ([{**_HERE, "home": 7}], ProtocolError, "home is no text"),
        ([_HERE, {"id": "put"}], ProtocolError, "not that to what was asked"),
        ([_HERE, {"id": "look", "error": "no\0room"}], Refused, "no\ufffdroom"),
    ],
)
def test_a_centre_that_says_something_else(
    replies: list[dict[str, Any] | bytes], error: type[Exception], sentence: str
) -> None:
    """A banner, another home than a path, another answer, an error: each has its sentence."""
    with pytest.raises(error, match=sentence):
        Installer(ScriptedLine(*replies), _WHOSE, None)


def test_another_digest_there_is_not_believed() -> None:
    """Who says that it has another file than was sent has not installed it."""
    line = ScriptedLine(_HERE, {"id": "look", "sha256": None}, {"id": "put", "sha256": "x"})
    with pytest.raises(ProtocolError, match="another digest"):
        Installer(line, _WHOSE, None).put(build())


def test_the_key_is_on_no_command_line() -> None:
    """It is what `init` reads on its stdin, and stands nowhere else in what is sent."""
    done = {"id": "run", "exit_code": 0, "stdout": "j-1\n"}
    line = ScriptedLine(_HERE, {"id": "look"}, done)
    steps = Installer(line, _WHOSE, None)
    assert "j-1" == steps.prepare("slurm", "/opt/slurm/bin")
    request = json.loads(line.sent[-1])
    assert (_WHOSE.key.hex(), True) == (request.pop("stdin"), "init" in request["arguments"])
    told = json.dumps(request) + repr(steps.found) + command("python3")
    assert not any(secret in told for secret in (_WHOSE.key.hex(), repr(_WHOSE.key)))


def test_a_home_that_cannot_be_prepared() -> None:
    """What `init` said is in the sentence."""
    done = {"id": "run", "exit_code": 2, "stderr": "mode 700\nis needed"}
    steps = Installer(ScriptedLine(_HERE, {"id": "look"}, done), _WHOSE, None)
    with pytest.raises(Refused, match="could not be prepared: mode 700 is needed"):
        steps.prepare("slurm", None)


def test_a_doctor_that_says_nothing() -> None:
    """An agent whose doctor dies is told in its words."""
    done = {"id": "run", "exit_code": 1, "stdout": "", "stderr": "Traceback"}
    steps = Installer(ScriptedLine(_HERE, {"id": "look"}, done), _WHOSE, None)
    with pytest.raises(ProtocolError, match="Traceback"):
        steps.examine()


@pytest.mark.parametrize(
    ("source", "start"),
    [("192.0.2.7", 'restrict,from="192.0.2.7",command="'), ("", "restrict,com")],
)
def test_the_line_of_authorized_keys(source: str, start: str) -> None:
    """Everything is forbidden but the one command, quoted as sshd reads it."""
    line = authorized_line('/a "b"/python3 x', "ssh-ed25519 AAAA", source=source)
    assert line.startswith(start)
    assert line.endswith('command="/a \\"b\\"/python3 x" ssh-ed25519 AAAA')


@pytest.mark.parametrize("shell", ["sh", "bash", "ksh"])
def test_any_login_shell_passes_the_starter_on(shell: str) -> None:
    """The command needs no quoting that shells differ about, and says which Python is too old."""
    text = agent_install.starter()
    assert not set("'!\\$`\n") & set(text)
    spoken = subprocess.run(
        [shell, "-c", command(sys.executable)],
        input=landing(),
        capture_output=True,
        check=True,
        env={"HOME": "/nowhere", "PATH": os.environ["PATH"]},
    )
    assert json.loads(spoken.stdout)["home"] == "/nowhere"
