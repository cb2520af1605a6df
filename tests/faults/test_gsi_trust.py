"""Who is not believed over gsi-ssh, and who is not let in: proxies, authorities, host certificates.

What can be known here ends before anybody connects; each has a sentence that says what to do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind
from tests.gsi_kit import DAY, HOUR, Authority, GsiCentre, Holder, grid, keep, named
from tests.services.sshd import generate, public
from tests.ssh_kit import FIRST, ME


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[GsiCentre]:
    """Open a centre with one login node."""
    centre = GsiCentre.opened(tmp_path)
    yield centre
    centre.close()


def _foreign(_: GsiCentre) -> bytes:
    """A proxy of the same name, from an authority that is not in the directory."""
    return Authority.made("Rogue CA").person().proxy().pem


def _same_name(_: GsiCentre) -> bytes:
    """A proxy from an authority that calls itself as the one in the directory does."""
    return Authority.made("Test CA").person().proxy().pem


def _mixed(centre: GsiCentre) -> bytes:
    """A proxy's certificate with another one's key."""
    one, other = centre.person.proxy(), centre.person.proxy()
    return replace(one, key=other.key).pem


def _renamed(centre: GsiCentre) -> bytes:
    """A proxy that is named after somebody else."""
    other = grid().authority.person("Somebody Else")
    stranger = replace(other, key=centre.person.key).proxy()
    return replace(stranger, above=(centre.person.certificate,)).pem


def _unsigned(centre: GsiCentre) -> bytes:
    """A proxy that names the person as its signer, and was signed by another key."""
    return replace(centre.person, key=grid().authority.person().key).proxy().pem


def _by_a_person(centre: GsiCentre) -> bytes:
    """A certificate that a person signed as if he were an authority."""
    person = Authority(holder=centre.person).person("Not Me")
    return replace(person, above=(centre.person.certificate,)).pem


def _too_deep(centre: GsiCentre) -> bytes:
    """A proxy below one that allows none below itself."""
    return centre.person.proxy(below=0).proxy().pem


def _old_person(_: GsiCentre) -> bytes:
    """A good proxy of a certificate that has expired."""
    return grid().authority.person(ends=-HOUR).proxy().pem


def _without_person(centre: GsiCentre) -> bytes:
    """A proxy alone, without the certificate that signed it."""
    return replace(centre.person.proxy(), above=()).pem


def _without_key(centre: GsiCentre) -> bytes:
    """A certificate alone."""
    return centre.person.certificate_pem


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            lambda it: it.person.proxy(ends=-timedelta(minutes=1)).pem,
            r"the proxy .*proxy will not do: /O=Grid.*expired at 20\d\d-.*put a new one in",
        ),
        (lambda it: it.person.proxy(begins=HOUR).pem, "is not valid before 20.*this machine's"),
        (_old_person, "CN=Rho Spective expired at"),
        (_foreign, "no authority /O=Grid/CN=Rogue CA is believed here: there is no "),
        (_same_name, "is not signed by the authority that is believed here"),
        (_mixed, "the private key in .* does not belong to the certificate before it"),
        (_renamed, "is not named after its signer"),
        (_unsigned, "the proxy is not signed by /O=Grid/OU=users/CN=Rho Spective"),
        (_by_a_person, "is not signed by the authority that is believed here"),
        (_too_deep, "allows 0 proxies below it, not 1"),
        (_without_person, "holds no person's certificate"),
        (_without_key, "holds no private key"),
        (lambda _: b"rubbish", "holds no certificate"),
        (lambda _: b"", "holds no certificate"),
        (lambda it: it.person.pem.replace(b"MII", b"XII", 1), "cannot be read"),
        (lambda it: it.person.pem.replace(b"KEY-----\nMII", b"KEY-----\nXII"), "cannot be read"),
    ],
)
def test_a_credential_that_will_not_do_is_known_before_connecting(
    centre: GsiCentre, content: Callable[[GsiCentre], bytes], sentence: str
) -> None:
    """Nobody connects; with a good proxy in its place the work goes on by itself."""
    keep(centre.proxy, content(centre))
    transport = centre.connect()
    with pytest.raises(SiteUnavailable, match=sentence):
        centre.status(transport)
    assert centre.server.contacts() == 0
    keep(centre.proxy, centre.person.proxy().pem)
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def _refused(centre: GsiCentre, sentence: str, **changes: object) -> str:
    """Assert that a new transport is not let in, and give what it says."""
    with pytest.raises(SiteUnavailable, match=sentence) as caught:
        centre.status(centre.connect(**changes))  # type: ignore[arg-type]
    return str(caught.value)


def test_a_proxy_that_others_may_read(centre: GsiCentre) -> None:
    """A proxy is a password: one that others may read is not used."""
    centre.proxy.chmod(0o640)
    _refused(centre, "others may read the proxy .*: chmod 600")
    assert centre.server.contacts() == 0


def test_a_file_that_is_not_there_or_is_none(centre: GsiCentre) -> None:
    """A missing file, a directory, and a setting that is not there are each named."""
    _refused(centre, "no proxy .*/nobody: make one with", credential_file="/nowhere/nobody")
    _refused(centre, "Is a directory", credential_file=str(centre.path))
    os.mkfifo(centre.path / "pipe", 0o600)
    _refused(centre, "is no file that could hold", credential_file=str(centre.path / "pipe"))
    _refused(centre, "no credential_file is set", credential_file=None)
    _refused(centre, "no certificate_directory is set", certificate_directory=None)
    assert centre.server.contacts() == 0


def test_authorities_that_are_not_there(centre: GsiCentre) -> None:
    """No directory, an empty one, and an authority without its policy are told apart."""
    _refused(centre, "is no directory", certificate_directory=centre.path / "none")
    empty = centre.path / "empty"
    empty.mkdir()
    _refused(centre, "there is no .*empty/[0-9a-f]{8}.0", certificate_directory=empty)
    grid().authority.install(empty)
    (policy,) = empty.glob("*.signing_policy")
    policy.unlink()
    _refused(centre, "counts for nothing without .*signing_policy", certificate_directory=empty)
    assert centre.server.contacts() == 0


def test_a_key_with_a_passphrase(centre: GsiCentre) -> None:
    """Nobody can be asked for it: a proxy has none."""
    locked = centre.person.locked_pem
    keep(centre.proxy, locked)
    _refused(centre, "has a passphrase: make a proxy")


def test_the_wrong_account(centre: GsiCentre) -> None:
    """A name that grid-mapfile does not know is refused by the node; twice parks the login."""
    centre.server.gridmap.clear()
    centre.server.behave()
    transport = centre.connect()
    for _ in range(2):
        with pytest.raises(SiteUnavailable, match=r"refuses the credential.*grid-mapfile"):
            centre.status(transport)
        centre.clock.advance(timedelta(seconds=50))
    assert [ME] == list(transport.parked())
    with pytest.raises(SiteUnavailable, match="is parked"):
        centre.status(transport)
    centre.server.map(centre.person.subject, ME, centre.command)
    keep(centre.proxy, centre.person.proxy().pem)
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def test_what_only_the_node_knows(centre: GsiCentre) -> None:
    """When the centre believes other authorities than we do, its alarm reaches the sentence."""
    believed = centre.server.folder / "certificates"
    believed.unlink()
    believed.mkdir()
    other = Authority.made("Other CA")
    other.install(believed)
    centre.server.stop()
    centre.server.start()
    _refused(centre, r"refuses the credential.*Untrusted self-signed certificate in chain")
    assert ["Refused"] == [line.split()[0] for line in centre.server.said("Refused")]


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        (lambda: grid().authority.host("other.example.org"), "other.example.org"),
        (lambda: Authority.made("Rogue CA").host("localhost"), "certificate"),
        (lambda: grid().authority.host("localhost").proxy(ends=-HOUR), "expired"),
    ],
)
def test_a_host_that_is_not_believed(
    centre: GsiCentre, host: Callable[[], Holder], sentence: str
) -> None:
    """Another name, another authority, another time: we leave, and nobody is parked for it."""
    centre.server.present(host().pem)
    transport = centre.connect(failure_pause=timedelta())
    for _ in range(3):
        with pytest.raises(SiteUnavailable, match=f"localhost is not believed .*{sentence}"):
            centre.status(transport)
    assert transport.parked() == {}
    assert (0, 0) == (centre.server.accepted(), centre.executions())


def test_the_second_node_serves_when_the_first_is_not_believed(tmp_path: Path) -> None:
    """A node with the wrong host certificate is left alone; the next one is tried at once."""
    centre = GsiCentre.opened(tmp_path, nodes=2)
    try:
        centre.server.present(grid().authority.host("other.example.org").pem)
        transport = centre.connect()
        assert centre.status(transport).kind is AnswerKind.NEVER_SEEN
        assert [0, 1] == [server.accepted() for server in centre.servers]
    finally:
        centre.close()


def test_host_keys_count_as_with_ssh(centre: GsiCentre) -> None:
    """No line: nobody connects. Another key: it ends before the proxy's name is shown."""
    lines = centre.path / "known_hosts"
    lines.write_text("elsewhere.example.org ssh-ed25519 AAAA\n")
    _refused(centre, "is not known: ask the centre")
    assert centre.server.contacts() == 0
    other = generate(centre.path / "other")
    lines.write_text(f"[localhost]:{centre.server.port} {public(other)}\n")
    _refused(centre, "not the one in .*ask the centre")
    assert [] == centre.server.said("Refused")


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("lax", "let us in without proving its own name"),
        ("keys", "does not offer gssapi-with-mic but publickey"),
        ("another", "wants another mechanism than GSI"),
    ],
)
def test_a_node_that_does_not_speak_gsi(centre: GsiCentre, mode: str, sentence: str) -> None:
    """Who lets us in without a handshake has proven nothing, and hears nothing of us."""
    centre.server.behave(mode)
    _refused(centre, sentence)


def test_a_node_that_is_silent_in_the_handshake(centre: GsiCentre) -> None:
    """The deadline ends it; nothing hangs, nothing is parked, and afterwards it works."""
    centre.server.behave("mute")
    transport = centre.connect(seconds=3)
    with pytest.raises(SiteUnavailable, match="in time"):
        centre.status(transport)
    assert transport.parked() == {}
    centre.server.behave()
    centre.clock.advance(timedelta(seconds=50))
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def test_a_silence_is_no_refusal_when_our_own_watch_is_late(
    centre: GsiCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paramiko gives up a login as refused: a busy machine must not park a good credential."""
    late = partial(_late_timer, 1.0)
    monkeypatch.setattr("supervision.adapters.ssh_connection.Timer", late)
    centre.server.behave("mute")
    transport = centre.connect(seconds=3)
    with pytest.raises(SiteUnavailable, match="in time"):
        centre.status(transport)
    assert transport.parked() == {}


def _late_timer(more: float, seconds: float, act: Callable[[], None]) -> threading.Timer:
    return threading.Timer(seconds + more, act)


def test_a_login_that_is_no_file_name(centre: GsiCentre) -> None:
    """A login with a slash in it never becomes a path."""
    with pytest.raises(SiteUnavailable, match=r"no credential_file is set for '\.\./me'"):
        centre.connect(credential_file="/proxies/{login}").status("curie", "../me", [FIRST])


def test_an_authority_that_signed_itself_under_our_name(centre: GsiCentre) -> None:
    """A chain that brings its own root along is not believed for it."""
    rogue = Authority.made("Test CA")
    person = replace(rogue.person(), above=(rogue.holder.certificate,))
    keep(centre.proxy, person.proxy().pem)
    _refused(centre, "is not the authority of that name")
    assert named("Grid", "Test CA") == rogue.holder.certificate.subject


def test_the_clock_decides_not_the_library(centre: GsiCentre) -> None:
    """A proxy that ends in an hour is refused here once the service's clock is past it."""
    keep(centre.proxy, centre.person.proxy(ends=HOUR).pem)
    assert centre.status(centre.connect()).kind is AnswerKind.NEVER_SEEN
    centre.clock.advance(DAY)
    _refused(centre, "expired at")
