"""known_hosts is read as OpenSSH reads it: names, patterns, ports, hashes, marks, and rubbish."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from supervision.adapters.ssh_hosts import KnownHosts
from supervision.errors import SiteUnavailable

_KEY = base64.b64encode(b"a key").decode()
_PLAIN = ("ssh-ed25519",)


def _hashed(name: str) -> str:
    salt = b"12345678901234567890"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _algorithms(path: Path, text: str, host: str = "login1", port: int = 22) -> tuple[str, ...]:
    file = path / "known_hosts"
    file.write_text(text)
    return KnownHosts.read(file).algorithms(host, port)


@pytest.mark.parametrize(
    ("names", "host", "port"),
    [
        ("login1", "login1", 22),
        ("LOGIN1,other", "Login1", 22),
        ("login?.example.org", "login1.example.org", 22),
        ("*.example.org,!bad.example.org", "login1.example.org", 22),
        ("[login1]:2222", "login1", 2222),
        ("[login*]:2222", "login1", 2222),
        (_hashed("login1"), "login1", 22),
        (_hashed("[login1]:2222"), "login1", 2222),
    ],
)
def test_names_that_fit(tmp_path: Path, names: str, host: str, port: int) -> None:
    """A line counts for the hosts that its names spell."""
    text = f"# a comment\n\n{names} ssh-ed25519 {_KEY} a comment\n"
    assert _algorithms(tmp_path, text, host, port) == _PLAIN


@pytest.mark.parametrize(
    ("names", "host", "port"),
    [
        ("login1", "login10", 22),
        ("login1", "login1", 2222),
        ("[login1]:2222", "login1", 22),
        ("*.example.org,!login1.example.org", "login1.example.org", 22),
        ("login.", "login1", 22),
        (_hashed("login2"), "login1", 22),
        ("|1|rubbish", "login1", 22),
        ("|1|%%|%%", "login1", 22),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, names: str, host: str, port: int) -> None:
    """A host that no line spells is unknown, and the sentence tells how to learn its key."""
    with pytest.raises(SiteUnavailable, match="ssh-keyscan"):
        _algorithms(tmp_path, f"{names} ssh-ed25519 {_KEY}\n", host, port)


@pytest.mark.parametrize(
    "line",
    [
        "login1",
        "login1 ssh-ed25519",
        "login1 ssh-ed25519 no-base64!",
        f"@unknown login1 ssh-ed25519 {_KEY}",
        f"@revoked login1 ssh-ed25519 {_KEY}",
        f"login1 ssh-dss {_KEY}",
    ],
)
def test_lines_that_let_nobody_in(tmp_path: Path, line: str) -> None:
    """Rubbish, marks that are not known, revoked keys and dead kinds of key believe nobody."""
    with pytest.raises(SiteUnavailable, match="is not known"):
        _algorithms(tmp_path, f"{line}\n")


def test_certificates_are_asked_for_first(tmp_path: Path) -> None:
    """With an authority, any kind of certificate will do; then the plain keys that are known."""
    text = f"@cert-authority * ssh-ed25519 {_KEY}\nlogin1 ecdsa-sha2-nistp256 {_KEY}\n"
    found = _algorithms(tmp_path, text)
    assert found[0] == "ssh-ed25519-cert-v01@openssh.com"
    assert found[-1] == "ecdsa-sha2-nistp256"
    assert "ssh-ed25519" not in found


def test_rsa_is_never_signed_with_sha_1(tmp_path: Path) -> None:
    """An RSA host key has to prove itself with SHA-2."""
    assert _algorithms(tmp_path, f"login1 ssh-rsa {_KEY}\n") == ("rsa-sha2-512", "rsa-sha2-256")
