"""Whether a chain of certificates leads from a proxy to an authority that is believed here.

The centre's login node decides in the end, and does not say why: so what it would refuse is found
here first (RFC 5280 and, for proxies, RFC 3820), with a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from supervision.adapters.gsi_names import filed, oneline

_PROXY: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
_INTEGER: Final = 0x02
_SAME_NAME: Final = 10  # so many authorities of one name are looked for: hash.0 to hash.9
_LONGEST: Final = 12


class Untrusted(Exception):
    """The chain will not do; the text says why, without naming the file. Caught next door."""


class Authorities:
    """A directory of authorities: HASH.0 with HASH.signing_policy beside it. Read at each call."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def named(self, name: x509.Name) -> list[x509.Certificate]:
        """Give the certificates of the authority of this name; raises Untrusted for none."""
        stem = self._directory / filed(name)
        files = [stem.with_suffix(f".{number}") for number in range(_SAME_NAME)]
        found = [each for each in map(_certificate, files) if each and each.subject == name]
        if not self._directory.is_dir():
            raise Untrusted(f"certificate_directory {self._directory} is no directory")
        if not found:
            raise Untrusted(
                f"no authority {oneline(name)} is believed here: there is no {stem}.0 for it"
            )
        if not stem.with_suffix(".signing_policy").exists():
            raise Untrusted(f"{stem}.0 counts for nothing without {stem}.signing_policy")
        return found


def is_proxy(certificate: x509.Certificate) -> bool:
    """Whether it is a proxy of RFC 3820."""
    return any(each.oid == _PROXY for each in certificate.extensions)


def proxies(chain: Sequence[x509.Certificate]) -> int:
    """Count the proxies at the chain's beginning; the certificate after them is the person's."""
    return next((at for at, each in enumerate(chain) if not is_proxy(each)), len(chain))


def check(chain: Sequence[x509.Certificate], authorities: Authorities, now: datetime) -> None:
    """Return when each certificate is valid and vouched for by the next one, up to an authority.

    Raises Untrusted. Signing policies are not read, revocations not looked for.
    """
    count = proxies(chain)
    if count == len(chain):
        raise Untrusted("it holds no person's certificate: the one that signed the proxy")
    for at in range(count):
        _check_dates(chain[at], now)
        _check_proxy(chain[at], chain[at + 1], below=at)
    _check_person(chain[count], chain[count + 1 :], authorities=authorities, now=now)


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    whose = oneline(certificate.subject)
    if now >= certificate.not_valid_after_utc:
        raise Untrusted(
            f"{whose} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: "
            "put a new one in its place; the work goes on by itself"
        )
    if now < certificate.not_valid_before_utc:
        raise Untrusted(
            f"{whose} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: "
            "wait, or compare this machine's clock with the authority's"
        )


def _check_proxy(proxy: x509.Certificate, signer: x509.Certificate, *, below: int) -> None:
    """Check one proxy, with `below` others under it, against the certificate that signed it."""
    name = list(proxy.subject.rdns)
    if name[:-1] != list(signer.subject.rdns) or not _is_common(name[-1]):
        raise Untrusted(f"the proxy {oneline(proxy.subject)} is not named after its signer")
    if not _signed(proxy, signer) or not _may_sign(signer):
        raise Untrusted(f"the proxy is not signed by {oneline(signer.subject)}, which follows it")
    limit = _path_length(proxy)
    if limit is not None and below > limit:
        raise Untrusted(f"{oneline(proxy.subject)} allows {limit} proxies below it, not {below}")


def _check_person(
    person: x509.Certificate,
    others: Sequence[x509.Certificate],
    *,
    authorities: Authorities,
    now: datetime,
) -> None:
    """Follow the signers, through the file's own certificates, to an authority of the directory."""
    current = person
    for _ in range(_LONGEST):
        _check_dates(current, now)
        if current.issuer == current.subject:
            if current not in authorities.named(current.subject):
                raise Untrusted(f"{oneline(current.subject)} is not the authority of that name")
            return
        current = _signer(current, others, authorities)
    raise Untrusted("its chain of authorities never ends")


def _signer(
    certificate: x509.Certificate, others: Sequence[x509.Certificate], authorities: Authorities
) -> x509.Certificate:
    candidates = [each for each in others if each.subject == certificate.issuer]
    for each in candidates or authorities.named(certificate.issuer):
        if _signed(certificate, each) and _is_authority(each):
            return each
    raise Untrusted(
        f"{oneline(certificate.subject)} is not signed by the authority that is believed here as "
        f"{oneline(certificate.issuer)}; a proxy of an old kind? make one with grid-proxy-init -rfc"
    )


def _signed(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(signer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    return False


def _may_sign(certificate: x509.Certificate) -> bool:
    with suppress(x509.ExtensionNotFound):
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        return usage.digital_signature
    return True


def _is_common(part: x509.RelativeDistinguishedName) -> bool:
    return [each.oid for each in part] == [NameOID.COMMON_NAME]


def _path_length(proxy: x509.Certificate) -> int | None:
    """Read how many proxies it allows below itself: the optional first number of its mark."""
    value = proxy.extensions.get_extension_for_oid(_PROXY).value
    content = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    if content[2:3] != bytes([_INTEGER]):
        return None
    return int.from_bytes(content[4 : 4 + content[3]], "big")


def _certificate(file: Path) -> x509.Certificate | None:
    """Read one authority; None where there is none to read."""
    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(file.read_bytes())
    return None
