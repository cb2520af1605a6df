"""Credentials as they lie in files: certificates and proxies are read, changes are seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from supervision.adapters.ssh_credentials import mark_of
from supervision.app_credentials import FileCredentials
from supervision.facts import Credential, Level, Policy
from supervision.settings import SiteSettings, TransportKind
from tests.factories import PolicyFactory, SitePolicyFactory, UserPolicyFactory
from tests.gsi_kit import Authority, keep
from tests.services.sshd import generate, sign

END: Final = datetime(2030, 5, 6, 7, 8, 9, tzinfo=UTC)


def _policy(*sites: str, **site: object) -> Policy:
    return PolicyFactory.build(
        sites=tuple(SitePolicyFactory.build(name=name, **site) for name in sites or ("curie",)),
        users=(
            UserPolicyFactory.build(login="abc", level=Level.AUTOMATIC, sites=()),
            UserPolicyFactory.build(login="xyz", level=Level.MAIL, sites=("irene",)),
            UserPolicyFactory.build(login="none", level=Level.NOTHING, sites=()),
        ),
    )


def _site(
    folder: Path, name: str = "curie", kind: TransportKind = TransportKind.SSH
) -> SiteSettings:
    return SiteSettings(name=name, transport=kind, credential_file=str(folder / "{login}"))


def _credentials(policy: Policy, *sites: SiteSettings) -> FileCredentials:
    return FileCredentials(lambda: (policy, sites))


def _one(folder: Path, kind: TransportKind = TransportKind.SSH) -> Credential:
    (found,) = _credentials(_policy(), _site(folder, kind=kind)).read()
    return found


def _proxy(path: Path, *ends: datetime) -> Path:
    """Write a file with one certificate for each end: a proxy, and the chain behind it."""
    text = b""
    for end in ends:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "abc")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
        builder = builder.not_valid_before(end - timedelta(hours=12)).not_valid_after(end)
        text += builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    path.write_bytes(text)
    path.chmod(0o600)
    return path


def test_a_certificate_beside_a_key_expires(tmp_path: Path) -> None:
    """Its last moment is known, and so is the file to be replaced."""
    span = "20300101Z:20300506070809Z"
    sign(generate(tmp_path / "ca"), generate(tmp_path / "abc"), "-n", "abc", "-V", span)
    found = _one(tmp_path)
    assert (END, str(tmp_path / "abc-cert.pub"), None) == (
        found.expires_at,
        found.path,
        found.problem,
    )
    assert datetime(2030, 1, 1, tzinfo=UTC) == found.valid_from


def test_a_key_alone_never_expires(tmp_path: Path) -> None:
    """There is a mark to tell when it is replaced, and no day."""
    generate(tmp_path / "abc")
    found = _one(tmp_path)
    assert (None, None, mark_of(tmp_path / "abc")) == (found.expires_at, found.problem, found.mark)


def test_a_chain_lasts_as_long_as_the_shortest_of_it(tmp_path: Path) -> None:
    """What stands behind a proxy may end first; what is no proxy is a certificate."""
    _proxy(tmp_path / "abc", END + timedelta(hours=3), END)
    found = _one(tmp_path, TransportKind.GSI)
    assert (END, False, None) == (found.expires_at, found.proxy, found.problem)
    assert END - timedelta(hours=9) == found.valid_from


def test_a_proxy_is_known_as_one(tmp_path: Path) -> None:
    """It is warned of by the hour, and not by the day."""
    holder = Authority.made("ca").person("abc")
    keep(tmp_path / "abc", holder.proxy().pem)
    found = _one(tmp_path, TransportKind.GSI)
    assert (True, str(tmp_path / "abc"), None) == (found.proxy, found.path, found.problem)


@pytest.mark.parametrize("kind", [TransportKind.SSH, TransportKind.GSI])
def test_what_cannot_be_read_is_said(tmp_path: Path, kind: TransportKind) -> None:
    """Nothing there has no mark, rubbish has one: the one changes nothing, the other is news."""
    absent = _one(tmp_path, kind)
    assert (None, f"there is no {tmp_path / 'abc'}") == (absent.mark, absent.problem)
    rubbish, said = {
        TransportKind.GSI: ("abc", "holds no certificate"),
        TransportKind.SSH: ("abc-cert.pub", "cannot be read"),
    }[kind]
    (tmp_path / "abc").write_text("a key")
    (tmp_path / rubbish).write_text("rubbish")
    found = _one(tmp_path, kind)
    assert found.mark is not None
    assert (None, True) == (found.expires_at, said in str(found.problem))


def test_only_logins_that_the_service_may_be_are_read(tmp_path: Path) -> None:
    """Level 0, other sites, retired and local ones have nothing to prove."""
    ours = [_site(tmp_path, name) for name in ("curie", "irene")]
    local = _site(tmp_path, "here", TransportKind.LOCAL)
    found = _credentials(_policy("curie", "irene", "here"), *ours, local).read()
    assert [("curie", "abc"), ("irene", "abc"), ("irene", "xyz")] == [
        (each.site, each.login) for each in found
    ]
    assert [] == list(_credentials(_policy(retired=True), *ours[:1]).read())
    bare = SiteSettings(name="curie")
    (blank,) = _credentials(_policy(), bare).read()
    assert "the site names no credential_file" == blank.problem


def _touched(path: Path) -> None:
    path.touch()


def _replaced(path: Path) -> None:
    path.unlink()
    generate(path)


@pytest.mark.parametrize(("change", "same"), [(_touched, True), (_replaced, False)])
def test_the_content_counts_and_not_the_time(
    tmp_path: Path, change: Callable[[Path], None], *, same: bool
) -> None:
    """Two machines with the same key agree; a new key is seen by the process that runs."""
    generate(tmp_path / "abc")
    credentials = _credentials(_policy(), _site(tmp_path))
    before = credentials.read()
    (tmp_path / "other").mkdir()
    shutil.copyfile(tmp_path / "abc", tmp_path / "other" / "abc")
    assert before[0].mark == _one(tmp_path / "other").mark
    change(tmp_path / "abc")
    assert same is (before[0].mark == credentials.read()[0].mark)


def test_a_pipe_in_a_key_s_place_is_not_waited_for(tmp_path: Path) -> None:
    """It is no credential."""
    os.mkfifo(tmp_path / "abc")
    assert None is _one(tmp_path).mark
