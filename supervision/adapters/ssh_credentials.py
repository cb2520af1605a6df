"""What opens a session: a login's private key, its OpenSSH certificate, or the ssh-agent's key.

Everything that can be known of a credential is checked here, before anybody connects: a login
node only ever says "no".
"""

from __future__ import annotations

import base64
import hashlib
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
    load_ssh_public_key,
)
from paramiko.pkey import UnknownKeyType

from supervision.errors import SiteUnavailable

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_PUBLIC: Final = ".pub"
_LAST_MOMENT: Final = 253402300799  # 9999-12-31: what "forever" becomes


@dataclass(frozen=True, kw_only=True, slots=True)
class Validity:
    """From when until when a certificate opens, and for which principals; both ends aware UTC.

    `proxy`: it is one of those that are made anew every day or so, see `gsi_credentials.py`.
    """

    after: datetime
    before: datetime
    principals: tuple[str, ...]
    proxy: bool = False


@contextmanager
def opened(path: Path, login: str, now: datetime) -> Iterator[paramiko.PKey]:
    """Lend what opens a session for `login`, with the certificate beside it where there is one.

    A path that ends with .pub names a key of the ssh-agent; any other one is the private key
    itself, mode 0600 and without passphrase. Raises SiteUnavailable with what is wrong.
    """
    lasting = validity(path)
    if lasting is not None:
        _check(lasting, certificate_of(path), login=login, now=now)
    with ExitStack() as stack:
        if path.suffix == _PUBLIC:
            key: paramiko.PKey = _of_agent(path, stack)
        else:
            key = key_of(path)
        if lasting is not None:
            _join(key, certificate_of(path))
        yield key


def validity(path: Path) -> Validity | None:
    """Read what the certificate beside a key says; None when there is none, so nothing expires.

    Raises SiteUnavailable when there is one that cannot be read, or is no user's.
    """
    file = certificate_of(path)
    if not file.exists():
        return None
    found = _read(file)
    return Validity(
        after=_moment(found.valid_after),
        before=_moment(found.valid_before),
        principals=tuple(name.decode(errors="replace") for name in found.valid_principals),
    )


def certificate_of(path: Path) -> Path:
    """Name the certificate that belongs to a key, as ssh-keygen does: KEY-cert.pub."""
    return path.with_name(f"{path.name.removesuffix(_PUBLIC)}-cert.pub")


def mark_of(path: Path) -> str:
    """Tell two contents of a credential's files apart, on every machine alike; "" for none.

    A digest, so that what every process sees of it in the database tells nothing.
    """
    digest, found = hashlib.sha256(), False
    for file in (path, certificate_of(path)):
        with suppress(OSError):
            if file.is_file():  # a pipe in its place would never end
                digest.update(hashlib.sha256(file.read_bytes()).digest())
                found = True
        digest.update(b"|")
    return digest.hexdigest() if found else ""


def _read(file: Path) -> SSHCertificate:
    try:
        found = load_ssh_public_identity(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise SiteUnavailable(f"{file} cannot be read as a certificate: {error}") from error
    if not isinstance(found, SSHCertificate) or found.type is not SSHCertificateType.USER:
        raise SiteUnavailable(f"{file} is no user's certificate: sign with ssh-keygen -s, -n LOGIN")
    return found


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(min(seconds, _LAST_MOMENT), UTC)


def _check(lasting: Validity, file: Path, *, login: str, now: datetime) -> None:
    if now >= lasting.before:
        raise SiteUnavailable(
            f"the certificate {file} expired at {lasting.before:%Y-%m-%d %H:%M} UTC: "
            "put a new one in its place; the work goes on by itself"
        )
    if now < lasting.after:
        raise SiteUnavailable(
            f"the certificate {file} is not valid before {lasting.after:%Y-%m-%d %H:%M} UTC: "
            "wait, or compare this machine's clock with the authority's"
        )
    if login not in lasting.principals:
        named = ", ".join(lasting.principals) or "nobody"
        raise SiteUnavailable(
            f"the certificate {file} is for {named}, not for {login}: "
            f"have one signed with `ssh-keygen -s CA -n {login}`"
        )


def key_of(path: Path) -> paramiko.PKey:
    """Read a private key; raises SiteUnavailable with what is wrong with its file."""
    try:
        mode = path.stat().st_mode
        if mode & _OTHERS:
            raise SiteUnavailable(f"others may read the key {path}: chmod 600 {path}")
        return paramiko.PKey.from_path(path)
    except TypeError as error:  # what cryptography raises for a passphrase that was not given
        raise SiteUnavailable(
            f"the key {path} has a passphrase: load it into an ssh-agent and name {path}.pub"
        ) from error
    except FileNotFoundError as error:
        raise SiteUnavailable(f"no key {path}: put the login's private key there") from error
    except (OSError, ValueError, UnsupportedAlgorithm, paramiko.SSHException) as error:
        raise SiteUnavailable(f"the key {path} cannot be read: {error}") from error
    except UnknownKeyType as error:
        raise SiteUnavailable(f"the key {path} is of a kind that ssh does not use") from error


def _of_agent(path: Path, stack: ExitStack) -> paramiko.PKey:
    """Find the ssh-agent's key that this public key names; the agent is let go with the stack."""
    try:
        line = load_ssh_public_key(path.read_bytes()).public_bytes(
            Encoding.OpenSSH, PublicFormat.OpenSSH
        )
        agent = paramiko.Agent()
        stack.callback(agent.close)
        keys = agent.get_keys()
    except (OSError, ValueError, UnsupportedAlgorithm, paramiko.SSHException) as error:
        raise SiteUnavailable(f"the ssh-agent's key {path} cannot be used: {error}") from error
    found = [key for key in keys if key.asbytes() == base64.b64decode(line.split()[1])]
    if not found:
        raise SiteUnavailable(f"no ssh-agent here holds the key of {path}: ssh-add it")
    return found[0]


def _join(key: paramiko.PKey, file: Path) -> None:
    """Give the key its certificate, which has to be about this very key."""
    line = _read(file).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    if key.asbytes() != base64.b64decode(line.split()[1]):
        raise SiteUnavailable(f"{file} is about another key than the one beside it: sign this one")
    key.load_certificate(str(file))
