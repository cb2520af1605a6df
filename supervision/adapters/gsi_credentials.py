"""A login's X.509 credential in one file: a proxy with its chain, or a certificate with its key.

Everything that can be known of it is checked here, before anybody connects. Dates and name of one
are also read without its private key, see `validity`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from supervision.adapters.gsi_chain import Authorities, Untrusted, check, is_proxy, proxies
from supervision.adapters.gsi_names import oneline
from supervision.adapters.ssh_credentials import Validity
from supervision.errors import SiteUnavailable

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LIMIT_BYTES: Final = 256 * 1024
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class GsiCredential:
    """What opens a session: `pem` is certificate, key and chain; `subject` is the person's name."""

    subject: str
    pem: bytes = field(repr=False)


def opened(path: Path, directory: Path, now: datetime) -> GsiCredential:
    """Read the credential, and check all that a login node would: see `gsi_chain.check`.

    It has to be this account's own file, mode 0600, with the key of its first certificate and
    without a passphrase. Raises SiteUnavailable with what is wrong and what to do.
    """
    content = _content(path, private=True)
    chain, keys = _certificates(path, content), _blocks(content, b"PRIVATE KEY")
    if not keys:
        raise SiteUnavailable(f"{path} holds no private key: put proxy and key in one file")
    key = _key(path, keys[0], chain[0])
    try:
        check(chain, Authorities(directory), now)
    except Untrusted as error:
        raise SiteUnavailable(f"the {_kind(chain)} {path} will not do: {error}") from error
    first, *others = (each.public_bytes(Encoding.PEM) for each in chain)
    return GsiCredential(subject=_person(chain), pem=b"".join([first, key, *others]))


def validity(path: Path) -> Validity:
    """Read from when until when a credential opens: as long as all of its certificates are valid.

    Its one principal is the person's name, as grid-mapfile spells it; nothing else is checked.
    Raises SiteUnavailable when there is none, or none that can be read.
    """
    chain = _certificates(path, _content(path, private=False))
    return Validity(
        after=max(each.not_valid_before_utc for each in chain),
        before=min(each.not_valid_after_utc for each in chain),
        principals=(_person(chain),),
        proxy=is_proxy(chain[0]),
    )


def _kind(chain: Sequence[x509.Certificate]) -> str:
    return "proxy" if is_proxy(chain[0]) else "certificate"


def _person(chain: Sequence[x509.Certificate]) -> str:
    return oneline(chain[min(proxies(chain), len(chain) - 1)].subject)


def _content(path: Path, *, private: bool) -> bytes:
    try:
        # Not blocking, so that a pipe in the file's place is refused and not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_size > _LIMIT_BYTES:
                raise SiteUnavailable(f"{path} is no file that could hold a proxy")
            if private:
                _refuse_shared(path, info)
            return file.read(_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise SiteUnavailable(
            f"no proxy {path}: make one with `grid-proxy-init -out {path}`, or put one there"
        ) from error
    except OSError as error:
        raise SiteUnavailable(f"the proxy {path} cannot be read: {error.strerror}") from error


def _refuse_shared(path: Path, info: os.stat_result) -> None:
    if info.st_mode & _OTHERS:
        raise SiteUnavailable(f"others may read the proxy {path}: chmod 600 {path}")
    if info.st_uid != os.geteuid():
        raise SiteUnavailable(
            f"the proxy {path} belongs to account {info.st_uid}, not to the one that runs the "
            f"service ({os.geteuid()}): chown it"
        )


def _blocks(content: bytes, ending: bytes) -> list[bytes]:
    found = _BLOCK.finditer(content)
    return [each.group() for each in found if each.group(1).endswith(ending)]


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        found = [x509.load_pem_x509_certificate(each) for each in _blocks(content, b"CERTIFICATE")]
        for each in found:
            _ = each.extensions  # read on demand: what is wrong with them shows here
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise SiteUnavailable(f"a certificate in {path} cannot be read: {error}") from error
    if not found:
        raise SiteUnavailable(f"{path} holds no certificate: put a proxy, or certificate and key")
    return found


def _key(path: Path, block: bytes, certificate: x509.Certificate) -> bytes:
    """Give the private key in the form that the library reads, once it is the certificate's."""
    try:
        key = load_pem_private_key(block, None)
    except TypeError as error:  # what cryptography raises for a passphrase that was not given
        raise SiteUnavailable(
            f"the key in {path} has a passphrase: make a proxy with grid-proxy-init"
        ) from error
    except (ValueError, UnsupportedAlgorithm):
        # Without its cause: that one may carry the bytes.
        raise SiteUnavailable(f"the private key in {path} cannot be read") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise SiteUnavailable(
            f"the private key in {path} does not belong to the certificate before it, "
            f"{oneline(certificate.subject)}: put the whole proxy there again"
        )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
