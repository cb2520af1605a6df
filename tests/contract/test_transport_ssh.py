"""What the ssh transport promises beside the port: who is believed, what is kept, what it costs."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import paramiko
import pytest

from db import session
from supervision.adapters.ssh_access import KeyAccess, TargetOf
from supervision.adapters.ssh_connection import Client, Target
from supervision.app_ssh import DatabaseSlots, over_ssh
from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind, Key
from tests.agent_kit import MASTER, SITE, until
from tests.services.programs import program
from tests.services.sshd import generate, public, sign
from tests.ssh_kit import FIRST, ME, Centre, agent_command, make_agent_home

_LOGINS = tuple(f"p86user{number}" for number in range(6))


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with one login node."""
    centre = Centre.opened(tmp_path)
    yield centre
    centre.close()


def _certified(centre: Centre, *options: str) -> Path:
    """Make a key that no authorized_keys names, with a certificate of the node's authority."""
    key = generate(centre.path / "certified")
    centre.node.certify(key, agent_command(Path(centre.home.path)), *options)
    return key


def test_many_submits_share_one_connection(centre: Centre) -> None:
    """A session stays warm: a hundred orders, in one call and in many, cost one connection."""
    transport = centre.connect()
    keys = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(100)]
    orders = [centre.order(key) for key in keys[:20]]
    answers = transport.submit(SITE, ME, orders)
    assert keys[:20] == [answer.key for answer in answers]
    for key in keys[20:]:
        transport.status(SITE, ME, [key])
    for key in keys[:20]:
        centre.ended(transport, key)
    assert (20, 1) == (centre.executions(), centre.node.accepted())


def test_many_large_requests_are_under_way_at_once(centre: Centre) -> None:
    """Neither side waits for the other, however much is sent before the first answer is read."""
    transport = centre.connect()
    keys = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(20_000)]
    answers = transport.status(SITE, ME, keys)
    assert keys == [answer.key for answer in answers]


def test_a_session_that_nobody_uses_is_closed(centre: Centre) -> None:
    """After idle_close it is closed and its place is free; the next call opens another one."""
    transport = centre.connect()
    centre.status(transport)
    centre.clock.advance(timedelta(seconds=59))
    assert transport.close_idle() == 0
    centre.clock.advance(timedelta(seconds=1))
    assert transport.close_idle() == 1
    centre.status(transport)
    assert centre.node.accepted() == 2


def test_idle_sessions_are_closed_by_themselves(centre: Centre) -> None:
    """Nobody has to ask: a thread looks for idle sessions, and ends with the transport."""
    transport = centre.connect(idle_close=timedelta())
    centre.status(transport)
    assert any(thread.name == f"ssh-idle-{SITE}" for thread in threading.enumerate())
    transport.close()
    assert not any(thread.name == f"ssh-idle-{SITE}" for thread in threading.enumerate())


def test_close_leaves_nothing_behind(centre: Centre) -> None:
    """No thread, no lease: and a later call opens a session again."""
    before = threading.active_count()
    transport = centre.connect()
    centre.status(transport)
    transport.close()
    until(lambda: before == threading.active_count())
    assert centre.slots.lease(SITE, "another", lasting=timedelta(), slots=1)
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def test_a_user_certificate_opens_a_session(centre: Centre) -> None:
    """A key that only an authority vouches for is taken with its certificate."""
    transport = centre.connect(credential_file=str(_certified(centre)))
    assert centre.submit(transport) is AnswerKind.ACCEPTED
    assert centre.ended(transport) is AnswerKind.EXECUTED


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_key(centre: Centre, kind: str) -> None:
    """RSA (signed with SHA-2) and ECDSA keys open sessions as well, certified too."""
    key = generate(centre.path / kind, "-t", kind)
    centre.node.certify(key, agent_command(Path(centre.home.path)))
    transport = centre.connect(credential_file=str(key))
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def test_as_the_service_builds_it(centre: Centre, sqlite_url: str) -> None:
    """From settings alone: the key derived from the master's file, the budget in the database."""
    master = centre.path / "master"
    site = replace(centre.site, master_key_file=master)
    database = session.Database(session.create(sqlite_url), centre.clock)
    deadline = timedelta(seconds=20)
    transport = over_ssh(site, clock=centre.clock, database=database, deadline=deadline)
    with pytest.raises(SiteUnavailable, match="master_key_file"):
        transport.status(SITE, ME, [FIRST])
    master.write_bytes(MASTER)
    master.chmod(0o600)
    assert transport.submit(SITE, ME, [centre.order()])[0].kind is AnswerKind.ACCEPTED
    until(lambda: transport.status(SITE, ME, [FIRST])[0].kind is AnswerKind.EXECUTED)
    slots = DatabaseSlots(database)
    assert not slots.lease(SITE, "another", lasting=timedelta(), slots=1)
    transport.close()
    assert slots.lease(SITE, "another", lasting=timedelta(), slots=1)
    database.close()


def _beside(name: str) -> str:
    """Path of a program that comes with ssh-keygen."""
    return str(Path(program("ssh-keygen")).with_name(name))


@pytest.fixture
def ssh_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run an ssh-agent of this test's own, without keys."""
    address = str(tmp_path / "agent")
    process = subprocess.Popen(
        [_beside("ssh-agent"), "-D", "-a", address], stdout=subprocess.DEVNULL
    )
    try:
        until(Path(address).exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", address)
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.usefixtures("ssh_agent")
def test_the_ssh_agent_is_used_when_its_public_key_is_named(centre: Centre) -> None:
    """KEY.pub as the credential asks the ssh-agent for that key, and says when it has none."""
    transport = centre.connect(credential_file=f"{centre.key}.pub")
    with pytest.raises(SiteUnavailable, match="ssh-add"):
        centre.status(transport)
    subprocess.run([_beside("ssh-add"), "-q", str(centre.key)], check=True, env=dict(os.environ))
    centre.key.unlink()
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


@pytest.mark.usefixtures("ssh_agent")
def test_the_ssh_agents_key_with_a_certificate(centre: Centre) -> None:
    """A certificate beside KEY.pub goes with the key that the ssh-agent keeps."""
    key = _certified(centre)
    subprocess.run([_beside("ssh-add"), "-q", str(key)], check=True, env=dict(os.environ))
    key.unlink()
    transport = centre.connect(credential_file=f"{key}.pub")
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def _with_host_certificate(centre: Centre, *options: str) -> None:
    """Have an authority sign the node's host key, and believe only that authority."""
    authority = generate(centre.path / "host_ca")
    names = [] if "-n" in options else ["-n", centre.node.address]
    sign(authority, centre.node.folder / "host_key", "-h", *names, *options)
    certificate = f"HostCertificate {centre.node.folder}/host_key-cert.pub"
    centre.node.stop()
    centre.node.configure(certificate)
    centre.node.start()
    line = f"@cert-authority [127.0.0.*]:{centre.node.port} {public(authority)}\n"
    (centre.path / "known_hosts").write_text(line)


def test_a_host_certificate_is_believed(centre: Centre) -> None:
    """With a line @cert-authority the host's key itself need not be known."""
    _with_host_certificate(centre)
    assert centre.status(centre.connect()).kind is AnswerKind.NEVER_SEEN


def test_many_logins_keep_to_the_sites_sessions(centre: Centre) -> None:
    """Six logins over two transports never hold more sessions than allowed, and all work."""
    access = _Accounts(centre, _LOGINS)
    centre.wait = lambda _: threading.Event().wait(0.01)  # a clock that ran would end leases
    transports = [
        centre.connect(access=access, max_sessions=2, idle_close=timedelta()) for _ in range(2)
    ]

    def ask(number: int) -> AnswerKind:
        login = _LOGINS[number % len(_LOGINS)]
        transport = transports[number % 2]
        return transport.status(SITE, login, [FIRST])[0].kind

    with ThreadPoolExecutor(4) as pool:
        kinds = list(pool.map(_patient(ask), range(12)))
    assert {AnswerKind.NEVER_SEEN} == set(kinds)
    assert 0 < max(access.open) <= 2


def _patient(ask: Callable[[int], AnswerKind]) -> Callable[[int], AnswerKind]:
    """Come back when the sessions are all in use, as the service does."""

    def asked(number: int) -> AnswerKind:
        for _ in range(200):
            try:
                return ask(number)
            except SiteUnavailable:
                threading.Event().wait(0.05)
        return AnswerKind.UNKNOWN

    return asked


class _Accounts(KeyAccess):
    """Access of many logins, each with a key and a home of its own, to the one account here.

    `open` counts the connections that there were whenever one more was being made.
    """

    def __init__(self, centre: Centre, logins: tuple[str, ...]) -> None:
        site = replace(centre.site, credential_file=f"{centre.path}/{{login}}/key")
        super().__init__(site, centre.clock)
        self.open: list[int] = []
        for login in logins:
            home = make_agent_home(centre.path / login / "home", login)
            key = generate(centre.path / login / "key")
            centre.node.authorize(key, agent_command(Path(home.path)))

    @contextmanager
    def opened(self, login: str) -> Iterator[TargetOf]:
        """Lend the login's key, to be shown as the account that runs the tests."""
        with super().opened(login) as target_of:
            yield lambda host: self._counted(target_of(host))

    def _counted(self, target: Target) -> Target:
        def check(key: paramiko.PKey) -> None:
            threads = threading.enumerate()
            self.open.append(sum(isinstance(thread, Client) for thread in threads))
            target.check(key)

        return replace(target, user=ME, check=check)
