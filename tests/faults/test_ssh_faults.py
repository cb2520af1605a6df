"""What breaks between the service and an agent: login nodes, the budget, the line to them.

Each ends without a second execution, and with a sentence that tells the operator what to do.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import paramiko
import pytest

from supervision.adapters.ssh_access import KeyAccess, TargetOf
from supervision.adapters.ssh_connection import Client, Target
from supervision.errors import DatabaseUnavailable, SiteUnavailable
from supervision.facts import AnswerKind
from tests.agent_kit import SITE, command, until
from tests.faults.tcp_proxy import TcpProxy
from tests.services.sshd import public
from tests.ssh_kit import FIRST, ME, Centre, agent_command


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with one login node."""
    centre = Centre.opened(tmp_path)
    yield centre
    centre.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with two login nodes, which share the home."""
    centre = Centre.opened(tmp_path, nodes=2)
    yield centre
    centre.close()


def _refused(centre: Centre, sentence: str, **changes: object) -> None:
    """Assert that a new transport is not let in, and says why."""
    with pytest.raises(SiteUnavailable, match=sentence):
        centre.status(centre.connect(**changes))  # type: ignore[arg-type]


def test_a_node_that_is_down_and_back(centre: Centre) -> None:
    """It is left alone for the pause, without a contact; then the work goes on by itself."""
    transport = centre.connect()
    centre.node.stop()
    with pytest.raises(SiteUnavailable, match="out of reach"):
        centre.submit(transport)
    centre.node.start()
    before = centre.node.contacts()
    with pytest.raises(SiteUnavailable, match=r"left alone for a while .*out of reach"):
        centre.submit(transport)
    assert before == centre.node.contacts()
    centre.clock.advance(timedelta(seconds=45))
    assert centre.submit(transport) is AnswerKind.ACCEPTED
    assert centre.ended(transport) is AnswerKind.EXECUTED


def test_another_process_leaves_a_failed_node_alone_too(centre: Centre) -> None:
    """The pause after a failure holds for every process of the site."""
    centre.node.stop()
    _refused(centre, "out of reach")
    _refused(centre, "left alone for a while .*another process")


def test_the_second_node_serves_when_the_first_is_down(pair: Centre) -> None:
    """In the same call: nothing had been said yet."""
    pair.node.stop()
    transport = pair.connect()
    assert pair.submit(transport) is AnswerKind.ACCEPTED
    assert pair.ended(transport) is AnswerKind.EXECUTED
    assert pair.nodes[1].accepted() == 1


def _first_runs(pair: Centre, text: str) -> None:
    """Put a program in the agent's place on the first node."""
    command(pair.path / "bin", "stand-in", text)
    (pair.node.folder / "authorized_keys").write_text("")
    pair.node.authorize(pair.key, str(pair.path / "bin" / "stand-in"))


def test_a_submit_that_hangs_on_the_first_node(pair: Centre) -> None:
    """The deadline ends it; the same key goes to the second node, and runs once."""
    _first_runs(pair, f"head -n 1 | ({agent_command(Path(pair.home.path))}); exec sleep 60")
    transport = pair.connect(seconds=8)
    with pytest.raises(SiteUnavailable, match=r"127\.0\.0\.1: the agent did not answer in time"):
        pair.submit(transport)
    assert pair.submit(transport) is AnswerKind.ACCEPTED
    assert pair.ended(transport) is AnswerKind.EXECUTED
    assert (1, 1) == (pair.executions(), pair.nodes[1].accepted())


def test_a_greeting_that_hangs_on_the_first_node(pair: Centre) -> None:
    """Half of the deadline is for the first node: the second one still serves the same call."""
    _first_runs(pair, "exec sleep 60")
    transport = pair.connect(seconds=8)
    assert pair.submit(transport) is AnswerKind.ACCEPTED
    assert pair.ended(transport) is AnswerKind.EXECUTED
    assert pair.executions() == 1


def test_a_node_that_says_nothing(centre: Centre) -> None:
    """A port that takes connections and never speaks costs the deadline, not more."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        key = public(centre.node.folder / "host_key")
        (centre.path / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
        with pytest.raises(SiteUnavailable, match="in time"):
            centre.status(centre.connect(seconds=0.5, port=port))


def test_a_port_that_is_no_sshd(centre: Centre, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody who speaks otherwise is told apart from nobody, in a sentence and no traceback."""
    key = public(centre.node.folder / "host_key")
    with socket.create_server(("127.0.0.1", 0)) as web:
        port = web.getsockname()[1]
        (centre.path / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
        server = threading.Thread(target=_answer_as_a_web_server, args=(web,))
        server.start()
        _refused(centre, "the ssh connection failed", port=port)
        server.join()
    assert caplog.records == []


def _answer_as_a_web_server(listener: socket.socket) -> None:
    with listener.accept()[0] as caller:
        caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        while caller.recv(4096):
            pass


def test_a_site_without_hosts(centre: Centre) -> None:
    """Settings that name no login node are told."""
    _refused(centre, "no hosts are set", hosts=())


def test_a_login_that_is_no_file_name(centre: Centre) -> None:
    """A login with a slash in it never becomes a path."""
    with pytest.raises(SiteUnavailable, match=r"no credential_file is set for '\.\./me'"):
        centre.connect(credential_file="/keys/{login}").status(SITE, "../me", [FIRST])


class _NoSlots:
    """Slots whose database is away."""

    def lease(self, scope: str, owner: str, *, lasting: timedelta, slots: int) -> bool:
        """Nobody can be asked."""
        raise DatabaseUnavailable(f"no {scope} {owner} {lasting} {slots}")

    def free(self, owner: str) -> None:
        """The same."""
        raise DatabaseUnavailable(owner)


def test_the_budget_cannot_be_asked(centre: Centre) -> None:
    """Without a place in the budget nobody connects; when it is back, the work goes on."""
    there, centre.slots = centre.slots, _NoSlots()
    _refused(centre, "nobody can say what its sessions are used for")
    assert centre.node.contacts() == 0
    centre.slots = there
    assert centre.status(centre.connect()).kind is AnswerKind.NEVER_SEEN


def test_another_site_is_not_reached_from_here(centre: Centre) -> None:
    """A transport belongs to one site."""
    with pytest.raises(SiteUnavailable, match="is not reached from here"):
        centre.connect().status("elsewhere", ME, [FIRST])


def test_all_sessions_in_use(centre: Centre) -> None:
    """When other processes hold every session of the site, the call ends and says so."""
    assert centre.slots.lease(SITE, "another process", lasting=timedelta(hours=1), slots=1)
    _refused(centre, "all its sessions are in use", max_sessions=1)
    centre.slots.free("another process")
    assert centre.status(centre.connect(max_sessions=1)).kind is AnswerKind.NEVER_SEEN


def test_new_connections_keep_their_distance(centre: Centre) -> None:
    """Two transports, as two processes: the second connection waits until connect_every is over."""
    began = centre.clock.now()
    for _ in range(2):
        centre.status(centre.connect(connect_every=timedelta(seconds=2)))
    assert timedelta(seconds=2) <= centre.clock.now() - began < timedelta(seconds=3)


@pytest.fixture
def network(centre: Centre) -> Iterator[TcpProxy]:
    """Put a proxy before the node, which the test may cut and silence."""
    with TcpProxy(f"tcp://127.0.0.1:{centre.node.port}") as proxy:
        port = int(proxy.url.rpartition(":")[2])
        key = public(centre.node.folder / "host_key")
        (centre.path / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
        centre.site = replace(centre.site, port=port)
        yield proxy
        for transport in centre.transports:
            transport.close()


class _Interrupted(KeyAccess):
    """Access whose line breaks just before the credential is shown."""

    def __init__(self, centre: Centre, network: TcpProxy) -> None:
        super().__init__(centre.site, centre.clock)
        self._network = network

    @contextmanager
    def opened(self, login: str) -> Iterator[TargetOf]:
        """Lend the key, and cut."""
        with super().opened(login) as target_of:
            yield lambda host: self._cutting(target_of(host))

    def _cutting(self, target: Target) -> Target:
        def authenticate(client: paramiko.Transport, user: str) -> object:
            self._network.cut()
            return target.authenticate(client, user)

        return replace(target, authenticate=authenticate)


def test_cut_during_the_login(centre: Centre, network: TcpProxy) -> None:
    """A line that breaks while the credential is shown is no refusal, however often it does."""
    transport = centre.connect(access=_Interrupted(centre, network), failure_pause=timedelta())
    for _ in range(3):
        with pytest.raises(SiteUnavailable, match="the ssh connection failed"):
            centre.status(transport)
    assert transport.parked() == {}


def test_cut_before_the_submit(centre: Centre, network: TcpProxy) -> None:
    """A session that was cut while nobody spoke is opened again, and the call succeeds."""
    transport = centre.connect()
    centre.status(transport)
    network.cut()
    until(lambda: not any(isinstance(thread, Client) for thread in threading.enumerate()))
    assert centre.submit(transport) is AnswerKind.ACCEPTED
    assert centre.ended(transport) is AnswerKind.EXECUTED
    assert (1, 2) == (centre.executions(), centre.node.accepted())


def test_cut_after_the_submit_and_before_the_receipt(centre: Centre, network: TcpProxy) -> None:
    """What was done is not known; the repeat is answered from the journal, and nothing runs twice.

    The answer is swallowed first, so that the cut surely comes after the agent has acted.
    """
    transport = centre.connect()
    centre.status(transport)
    network.silent_down = True
    cutter = threading.Thread(target=_cut_when, args=(centre, network))
    cutter.start()
    with pytest.raises(SiteUnavailable, match="what was done is not known"):
        centre.submit(transport)
    cutter.join()
    network.silent_down = False
    centre.clock.advance(timedelta(seconds=45))
    assert centre.submit(transport) in {AnswerKind.RUNNING, AnswerKind.EXECUTED}
    assert centre.ended(transport) is AnswerKind.EXECUTED
    assert centre.executions() == 1


def _cut_when(centre: Centre, network: TcpProxy) -> None:
    """Cut the line once the script has run."""
    until(lambda: centre.executions() == 1)
    network.cut()


def test_cut_during_status(centre: Centre, network: TcpProxy) -> None:
    """A question whose answer was lost is asked again; nothing happened in between."""
    transport = centre.connect()
    centre.submit(transport)
    centre.ended(transport)
    network.silent_down = True
    threading.Timer(0.2, network.cut).start()
    with pytest.raises(SiteUnavailable, match="what was done is not known"):
        centre.status(transport)
    network.silent_down = False
    centre.clock.advance(timedelta(seconds=45))
    assert (AnswerKind.EXECUTED, 1) == (centre.status(transport).kind, centre.executions())


def test_a_network_that_vanished_without_a_word(centre: Centre, network: TcpProxy) -> None:
    """The deadline comes from outside: a call over a dead line ends, and its session with it."""
    transport = centre.connect(seconds=4)
    centre.status(transport)
    network.silent_up = network.silent_down = True
    with pytest.raises(SiteUnavailable, match="did not answer in time"):
        centre.submit(transport)
    assert not any(isinstance(thread, Client) for thread in threading.enumerate())


def test_the_answer_is_lost_again_and_again(centre: Centre, network: TcpProxy) -> None:
    """Twelve times in a row the line breaks somewhere after the submit; the script runs once."""
    transport = centre.connect(failure_pause=timedelta())
    for number in range(12):
        centre.status(transport)
        network.silent_down = number % 2 == 0
        cutter = threading.Timer(0.002 * number, network.cut)
        cutter.start()
        with suppress(SiteUnavailable):
            centre.submit(transport)
        cutter.join()  # one that came late would cut the next round's connection
        network.silent_down = False
        network.cut()  # where the first cut came before the submit, that has made a new connection
        until(lambda: not any(isinstance(it, Client) for it in threading.enumerate()))
    centre.submit(transport)
    assert centre.ended(transport) is AnswerKind.EXECUTED
    assert centre.executions() == 1
