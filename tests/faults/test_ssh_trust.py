"""Who is not believed over ssh, and who is not let in: host keys, certificates, private keys.

Each ends before anything is said, with a sentence that tells the operator what to do.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind
from tests.services.sshd import generate, public, sign
from tests.ssh_kit import ME, Centre, agent_command

_NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with one login node."""
    centre = Centre.opened(tmp_path)
    yield centre
    centre.close()


def _refused(centre: Centre, sentence: str, **changes: object) -> None:
    """Assert that a new transport is not let in, and says why."""
    with pytest.raises(SiteUnavailable, match=sentence):
        centre.status(centre.connect(**changes))  # type: ignore[arg-type]


def test_an_unknown_host_is_not_even_contacted(centre: Centre) -> None:
    """Without a line in known_hosts nobody connects, and no line is ever added."""
    (centre.path / "known_hosts").write_text("elsewhere.example.org ssh-ed25519 AAAA\n")
    before = centre.node.contacts()
    _refused(centre, "is not known: ask the centre")
    assert before == centre.node.contacts()
    assert "127.0.0.1" not in (centre.path / "known_hosts").read_text()


def test_without_known_hosts_nobody_is_believed(centre: Centre) -> None:
    """A file that is not there is not an empty permission."""
    (centre.path / "known_hosts").unlink()
    _refused(centre, "known_hosts_file cannot be read")
    _refused(centre, "no known_hosts_file is set", known_hosts_file=None)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_changed_host_key(centre: Centre, kind: str) -> None:
    """Another key than the known one, of the same or of another kind, ends it before the login."""
    other = generate(centre.path / "other", "-t", kind)
    (centre.path / "known_hosts").write_text(f"{centre.node.name} {public(other)}\n")
    _refused(centre, "not the one in .*ask the centre")
    assert centre.node.accepted() == 0


def test_a_revoked_host_key(centre: Centre) -> None:
    """A line @revoked wins over one that believes the same key."""
    lines = (centre.path / "known_hosts").read_text()
    key = public(centre.node.folder / "host_key")
    (centre.path / "known_hosts").write_text(f"{lines}@revoked * {key}\n")
    _refused(centre, "revokes")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-n", "other.example.org"), "is for .*other.example.org"),
        (("-V", "20140101:20150101"), "is not valid today"),
    ],
)
def test_a_host_certificate_that_will_not_do(
    centre: Centre, options: tuple[str, ...], sentence: str
) -> None:
    """A host's certificate counts for its own name, and while it is valid."""
    authority = generate(centre.path / "host_ca")
    names = () if "-n" in options else ("-n", centre.node.address)
    sign(authority, centre.node.folder / "host_key", "-h", *names, *options)
    centre.node.stop()
    centre.node.configure(f"HostCertificate {centre.node.folder}/host_key-cert.pub")
    centre.node.start()
    (centre.path / "known_hosts").write_text(f"@cert-authority * {public(authority)}\n")
    _refused(centre, sentence)


def test_a_host_certificate_of_a_foreign_authority(centre: Centre) -> None:
    """Another authority's signature makes no host known."""
    foreign, known = generate(centre.path / "foreign"), generate(centre.path / "known")
    sign(foreign, centre.node.folder / "host_key", "-h", "-n", centre.node.address)
    centre.node.stop()
    centre.node.configure(f"HostCertificate {centre.node.folder}/host_key-cert.pub")
    centre.node.start()
    (centre.path / "known_hosts").write_text(f"@cert-authority * {public(known)}\n")
    _refused(centre, "not the one in")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-V", "20250101:20260101"), r"expired at 20\d\d-.* put a new one in its place"),
        (("-V", "20300101:20310101"), "is not valid before 20"),
        (("-n", "somebody"), "is for somebody, not for"),
    ],
)
def test_a_certificate_that_will_not_do_is_known_before_connecting(
    centre: Centre, options: tuple[str, ...], sentence: str
) -> None:
    """Expired, early or another's: nobody connects; with a new one it goes on by itself."""
    centre.clock.set(_NOW)
    key = generate(centre.path / "certified")
    forced = agent_command(Path(centre.home.path))
    centre.node.certify(key, forced, *options)
    transport = centre.connect(credential_file=str(key))
    before = centre.node.contacts()
    with pytest.raises(SiteUnavailable, match=sentence):
        centre.status(transport)
    assert before == centre.node.contacts()
    centre.node.certify(key, forced)
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def test_a_certificate_about_another_key(centre: Centre) -> None:
    """A certificate that was copied beside the wrong key is named."""
    other = generate(centre.path / "other")
    certificate = centre.node.certify(other, "true")
    shutil.copy(certificate, f"{centre.key}-cert.pub")
    _refused(centre, "is about another key")


def test_a_certificate_that_is_none(centre: Centre) -> None:
    """Rubbish, or a host's certificate, in the place of a user's is named before connecting."""
    Path(f"{centre.key}-cert.pub").write_text("rubbish")
    _refused(centre, "cannot be read as a certificate")
    sign(generate(centre.path / "ca"), centre.key, "-h", "-n", "x")
    _refused(centre, "is no user's certificate")


def test_a_key_that_will_not_do(centre: Centre) -> None:
    """Missing, readable by others, with a passphrase, or no key at all: each is said."""
    _refused(centre, "no key .*put the login's private key", credential_file="/nowhere/key")
    _refused(centre, "no credential_file", credential_file=None)
    locked = generate(centre.path / "locked", "-N", "secret")
    _refused(centre, "has a passphrase", credential_file=str(locked))
    rubbish = centre.path / "rubbish"
    rubbish.write_text("rubbish")
    rubbish.chmod(0o600)
    _refused(centre, "cannot be read", credential_file=str(rubbish))
    centre.key.chmod(0o640)
    _refused(centre, "chmod 600")


def test_refused_twice_parks_the_login_until_the_credential_changes(centre: Centre) -> None:
    """Two refusals are enough; nobody knocks a third time, until a new key lies there."""
    key = generate(centre.path / "stranger")
    transport = centre.connect(credential_file=str(key))
    for sentence in ("refuses the credential", "a short pause after a refusal"):
        with pytest.raises(SiteUnavailable, match=sentence):
            centre.status(transport)
    assert transport.parked() == {}
    centre.clock.advance(timedelta(seconds=50))
    with pytest.raises(SiteUnavailable, match="refuses the credential"):
        centre.status(transport)
    knocked = centre.node.contacts()
    centre.clock.advance(timedelta(days=1))
    with pytest.raises(SiteUnavailable, match="is parked: its credential was refused 2 times"):
        centre.status(transport)
    assert (knocked, [ME]) == (centre.node.contacts(), list(transport.parked()))
    shutil.copy(centre.key, key)
    assert transport.parked() == {}
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN


def test_a_refusal_is_known_to_every_process(centre: Centre) -> None:
    """One each of two processes is two: a third one, or a restart, does not knock again."""
    key = str(generate(centre.path / "stranger"))
    first, second, third = (centre.connect(credential_file=key) for _ in range(3))
    for transport, sentence in (
        (first, "refuses the credential"),
        (second, "a short pause after a refusal"),
    ):
        with pytest.raises(SiteUnavailable, match=sentence):
            centre.status(transport)
    centre.clock.advance(timedelta(seconds=50))
    with pytest.raises(SiteUnavailable, match="refuses the credential"):
        centre.status(second)
    knocked = centre.node.contacts()
    centre.clock.advance(timedelta(days=1))
    for transport in (first, second, third):
        with pytest.raises(SiteUnavailable, match="is parked: its credential was refused 2 times"):
            centre.status(transport)
    assert knocked == centre.node.contacts()


def test_a_parked_login_can_be_released(centre: Centre) -> None:
    """When the centre has mended its side, the same credential is tried again."""
    key = generate(centre.path / "stranger")
    transport = centre.connect(credential_file=str(key))
    for _ in range(2):
        with pytest.raises(SiteUnavailable):
            centre.status(transport)
        centre.clock.advance(timedelta(seconds=50))
    centre.node.authorize(key, agent_command(Path(centre.home.path)))
    with pytest.raises(SiteUnavailable, match="parked"):
        centre.status(transport)
    transport.release(ME)
    assert centre.status(transport).kind is AnswerKind.NEVER_SEEN
