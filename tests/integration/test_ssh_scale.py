"""ssh at scale, over real sshd: a thousand supervisions of a login, 200 logins of a site."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from db.session import Database, create
from supervision.adapters.agent_protocol import derive_key
from supervision.adapters.ssh import SshTools, SshTransport
from supervision.adapters.ssh_access import KeyAccess, TargetOf
from supervision.adapters.ssh_connection import Target
from supervision.adapters.system import SystemClock, SystemIds
from supervision.app_ssh import DatabaseSlots
from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind, Key
from supervision.settings import SiteSettings
from tests.agent_kit import MASTER, SITE, make_order, until
from tests.services.sshd import Sshd, public
from tests.ssh_kit import FIRST, ME, Centre

THOUSAND = 1000
LOGINS = tuple(f"p86user{number}" for number in range(200))
MAX_SESSIONS = 4
THREADS = 4
PATIENCE_SECONDS = 240.0
"""A thousand shells take some 15 s; on a machine that others use as well, much longer."""
_TRIES = 400
_STAND_IN = """\
read -r hello
echo '{"id": 1, "version": 1, "site": "'"$1"'", "login": "'"$2"'", "host": "login1",' \\
    '"boot_id": "b", "journal_id": "j", "clock": '"$(date +%s)"'}'
while read -r question; do
    echo '{"id": 2, "journal_id": "j", "answers": [{"supervision_id": "s-1", "attempt": 1,' \\
        '"kind": "never-seen", "detail": ""}]}'
done
"""
"""Speaks as an agent that has never seen anything: two hundred Pythons would be the test."""


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with one login node and the real agent."""
    centre = Centre.opened(tmp_path)
    yield centre
    centre.close()


def test_a_thousand_supervisions_of_one_login_use_one_connection(centre: Centre) -> None:
    """Submitted in ten calls and asked about until they have ended; each ran once."""
    transport = centre.connect(seconds=60)
    keys = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(THOUSAND)]
    for key in keys:
        (centre.run / key.supervision_id).mkdir()
    orders = [
        replace(
            make_order(key, centre.run / key.supervision_id, clock=centre.clock, text="echo >>ran"),
            interpreter="sh",
        )
        for key in keys
    ]
    for first in range(0, THOUSAND, 100):
        answers = transport.submit(SITE, ME, orders[first : first + 100])
        assert {AnswerKind.ACCEPTED} == {answer.kind for answer in answers}
    until(lambda: _ended(centre) == THOUSAND, seconds=PATIENCE_SECONDS, every=0.5)
    assert {AnswerKind.EXECUTED} == {it.kind for it in transport.status(SITE, ME, keys)}
    runs = [(centre.run / key.supervision_id / "ran").read_text() for key in keys]
    assert ["\n"] * THOUSAND == runs
    assert centre.node.accepted() == 1


def _ended(centre: Centre) -> int:
    """Count the attempts that have ended, without asking the agent."""
    return len(list(Path(centre.home.root, "journal").glob("*/1.ended")))


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """What one dispatch process is told: its share of the logins, where, on which database."""

    site: SiteSettings
    database_url: str
    logins: tuple[str, ...]
    result: Path

    def __call__(self) -> None:
        """Ask once for each login, some at a time; write how many sessions there were each time."""
        database = Database(create(self.database_url), None)
        access = _OneAccount(self.site, SystemClock())
        tools = SshTools(
            slots=DatabaseSlots(database), clock=SystemClock(), ids=SystemIds(), access=access
        )
        keys = lambda login: derive_key(MASTER, SITE, login)  # noqa: E731
        transport = SshTransport(self.site, keys, tools=tools)
        with ThreadPoolExecutor(THREADS) as pool:
            kinds = list(pool.map(lambda login: _asked(transport, login), self.logins))
        transport.close()
        database.close()
        lines = [" ".join(kind.value for kind in kinds), " ".join(map(str, access.open))]
        self.result.write_text("\n".join(lines))


class _OneAccount(KeyAccess):
    """Access of many logins, each with its key, to the one account that an sshd here admits.

    `open` counts, whenever a session is being opened, how many there are on this machine.
    """

    def __init__(self, site: SiteSettings, clock: SystemClock) -> None:
        super().__init__(site, clock)
        self._port = site.port
        self.open: list[int] = []

    @contextmanager
    def opened(self, login: str) -> Iterator[TargetOf]:
        """Lend the login's key, to be shown as the account that runs the tests."""
        with super().opened(login) as target_of:
            yield lambda host: self._counted(target_of(host))

    def _counted(self, target: Target) -> Target:
        def check(key: paramiko.PKey) -> None:
            self.open.append(_connections(self._port))
            target.check(key)

        return replace(target, user=ME, check=check)


def _connections(port: int) -> int:
    """Count the clients' ends that are connected to this port, in whatever process, in the kernel.

    A client that has said farewell does not count, though the server may not have read it yet.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def _asked(transport: SshTransport, login: str) -> AnswerKind:
    """Come back when the sessions are all in use, as the service does."""
    for _ in range(_TRIES):
        try:
            return transport.status(SITE, login, [FIRST])[0].kind
        except SiteUnavailable:
            Event().wait(0.05)
    return AnswerKind.UNKNOWN


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Sshd]:
    """Run a login node where every login has a key, and a stand-in for its agent."""
    node = Sshd.prepared(tmp_path / "node")
    stand_in = tmp_path / "agent"
    stand_in.write_text(_STAND_IN)
    lines = []
    for login in LOGINS:
        key = Ed25519PrivateKey.generate()
        (tmp_path / login).write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        )
        (tmp_path / login).chmod(0o600)
        shown = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        lines.append(f'restrict,command="sh {stand_in} {SITE} {login}" {shown}\n')
    (node.folder / "authorized_keys").write_text("".join(lines))
    (tmp_path / "known_hosts").write_text(f"{node.name} {public(node.folder / 'host_key')}\n")
    node.start()
    yield node
    node.stop()


def test_two_hundred_logins_keep_to_the_sites_sessions(
    tmp_path: Path, node: Sshd, postgres_url: str
) -> None:
    """Two dispatch processes on one PostgreSQL: all logins are served, never more sessions."""
    site = SiteSettings(
        name=SITE,
        hosts=(node.address,),
        port=node.port,
        credential_file=f"{tmp_path}/{{login}}",
        known_hosts_file=tmp_path / "known_hosts",
        max_sessions=MAX_SESSIONS,
        connect_every=timedelta(),
        idle_close=timedelta(seconds=0.2),
        failure_pause=timedelta(),
    )
    context = multiprocessing.get_context("spawn")
    dispatchers = [
        Dispatcher(site=site, database_url=postgres_url, logins=share, result=tmp_path / name)
        for name, share in (("one", LOGINS[::2]), ("two", LOGINS[1::2]))
    ]
    processes = [context.Process(target=dispatcher) for dispatcher in dispatchers]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [0, 0] == [process.exitcode for process in processes]
    lines = [dispatcher.result.read_text().splitlines() for dispatcher in dispatchers]
    assert [AnswerKind.NEVER_SEEN.value] * len(LOGINS) == [
        kind for kinds, _ in lines for kind in kinds.split()
    ]
    counts = [int(count) for _, each in lines for count in each.split()]
    assert len(counts) >= len(LOGINS)
    assert MAX_SESSIONS == max(counts)
