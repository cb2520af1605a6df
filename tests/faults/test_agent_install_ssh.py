"""The agent is taken to a real login node: over sshd, with forced commands and what breaks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_agent import home as homes
from supervision.adapters.agent_archive import build
from supervision.adapters.agent_install import FOLDER
from tests.agent_kit import command
from tests.faults.tcp_proxy import TcpProxy
from tests.install_kit import Node, Site, snapshot
from tests.ssh_kit import ME


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A login node that the operator can enter, and the service not yet."""
    (tmp_path / "home").mkdir()
    node = Node.opened(tmp_path)
    yield node
    node.sshd.stop()


@pytest.fixture
def site(node: Node, tmp_path: Path) -> Site:
    """The site of that login node."""
    return node.site(tmp_path)


def _authorized(node: Node, site: Site) -> str:
    """Install with the operator's key, and put the line that is told where it belongs."""
    done = site.installed("--credential", node.operator)
    line: str = done["line"]
    node.authorize(line)
    return line


def test_from_nothing_to_a_session_of_the_service(node: Node, site: Site) -> None:
    """Installed with the operator's key, its line put in place, the service's own session works."""
    line = _authorized(node, site)
    assert line.startswith('restrict,from="127.0.0.1",command="python3 ')
    assert line.endswith(" supervision")
    said = site.agent("doctor", "curie", ME)
    assert (0, "") == (said.code, said.err)
    assert {"good"} == {line.split()[0] for line in said.out.splitlines()}


def test_the_key_lies_there_and_nowhere_else(node: Node, site: Site) -> None:
    """0600 in the agent's folder; in no log of the login node, and in nothing that is printed."""
    said = site.install("--credential", node.operator)
    key = site.home / FOLDER / "agent.key"
    assert (site.key.hex(), 0o600) == (key.read_text(), key.stat().st_mode & 0o777)
    assert site.key.hex() not in said.out + said.err + node.logged()


def test_the_logins_own_home_is_the_usual_one(node: Node, tmp_path: Path) -> None:
    """Without agent_home it is the home that the login has over there."""
    site = node.site(tmp_path, agent_home=False)
    done = site.installed("--credential", node.operator)
    assert done["found"]["home"] == str(site.home)
    assert homes.load(str(site.home)).key == site.key


def test_another_login_node_can_be_named(node: Node, site: Site) -> None:
    """--host wins over the site's first one, and must be known as well."""
    site.address = "127.0.0.99"
    site.configure()
    words = ("--credential", node.operator, "--host")
    assert 3 == site.install("--credential", node.operator).code
    assert 0 == site.install(*words, "127.0.0.1").code
    unknown = site.install(*words, "localhost")
    assert (3, "host key" in unknown.err) == (unknown.code, True)


def test_a_forced_command_in_place_is_told(node: Node, site: Site) -> None:
    """The service's own key can run the agent only: nothing is changed, and the way is said."""
    _authorized(node, site)
    before = snapshot(site.home)
    said = site.install()
    assert (4, "--credential FILE" in said.err) == (said.code, True)
    assert before == snapshot(site.home)


def test_an_upgrade_beside_the_forced_command(node: Node, site: Site) -> None:
    """With the operator's key the file is replaced; the line in authorized_keys stays right."""
    line = _authorized(node, site)
    site.file.write_bytes(b"an older one")
    done = site.installed("--credential", node.operator)
    assert (line, hashlib.sha256(b"an older one").hexdigest()) == (
        done["line"],
        done["found"]["sha256"],
    )
    assert hashlib.sha256(site.file.read_bytes()).hexdigest() == build().sha256
    assert site.agent("doctor", "curie", ME).code == 0


def test_without_a_credential_nobody_is_contacted(node: Node, site: Site) -> None:
    """A key that is missing, or that others may read, is a sentence before any contact."""
    contacts = node.sshd.contacts()
    node.service.chmod(0o644)
    said = site.install()
    assert (3, "others may read" in said.err) == (said.code, True)
    node.service.unlink()
    said = site.install()
    assert (3, "no key" in said.err) == (said.code, True)
    assert contacts == node.sshd.contacts()


def test_a_credential_that_is_refused(site: Site) -> None:
    """The service's key before its line is there: the login node says no, and what to look at."""
    said = site.install()
    assert (3, "refuses the credential" in said.err) == (said.code, True)
    assert {} == snapshot(site.home)


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("echo Welcome to the machine", 1, "start-up files"),
        ("echo no such thing >&2; exit 127", 3, "cannot be run there; set agent_python: no such"),
        ('echo "Python 3.6 or later is needed" >&2; exit 1', 3, "3.6 or later is needed"),
        ('read -r _; echo "{}"', 1, "start-up files"),
    ],
)
def test_what_is_no_python_of_ours(
    node: Node, site: Site, text: str, code: int, sentence: str
) -> None:
    """A banner, a missing or an old Python, another program: each is told apart."""
    command(site.path / "tools", "python", text)
    site.python = str(site.path / "tools" / "python")
    site.configure()
    said = site.install("--credential", node.operator)
    assert (code, sentence in said.err) == (said.code, True), said.err
    assert {} == snapshot(site.home)


def test_an_old_python_says_so_itself(node: Node, site: Site) -> None:
    """The first thing that runs is the question for the version, readable by any Python."""
    pretend = "import sys; sys.version_info = (3, 5, 2); exec(sys.argv[2])"
    command(site.path / "tools", "python", f'exec python3 -c "{pretend}" "$@"')
    site.python = str(site.path / "tools" / "python")
    site.configure()
    said = site.install("--credential", node.operator)
    assert (3, "Python 3.6 or later is needed, set agent_python" in said.err) == (said.code, True)


@pytest.mark.parametrize("limit", [20_000, 60_000, 120_000])
def test_cut_while_the_agent_travels(node: Node, site: Site, limit: int) -> None:
    """Half of a file is never in place; the same command, given again, finishes the work."""
    with TcpProxy(f"tcp://127.0.0.1:{node.sshd.port}") as proxy:
        _reach(site, node, int(proxy.url.rpartition(":")[2]))
        proxy.limit_up = limit
        said = site.install("--credential", node.operator)
        assert (3, "the connection broke" in said.err) == (said.code, True), said.err
        assert {} == snapshot(site.home)
        proxy.limit_up = None
        assert 0 == site.install("--credential", node.operator).code
    assert hashlib.sha256(site.file.read_bytes()).hexdigest() == build().sha256


def _reach(site: Site, node: Node, port: int) -> None:
    known = site.path / "known_hosts"
    known.write_text(known.read_text().replace(str(node.sshd.port), str(port)))
    site.port = port
    site.configure()


def test_a_home_that_is_full(node: Node, site: Site) -> None:
    """A file that cannot be written whole is not put in place, and the reason is told."""
    command(site.path / "tools", "python", 'ulimit -f 20; exec python3 "$@"')
    site.python = str(site.path / "tools" / "python")
    site.configure()
    said = site.install("--credential", node.operator)
    assert (4, "File too large" in said.err) == (said.code, True)
    assert {} == snapshot(site.home)
