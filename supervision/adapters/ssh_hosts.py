"""Whom we believe to be a login node: known_hosts, read as OpenSSH reads it, and nothing else.

Plain keys, host certificates of an `@cert-authority`, `@revoked`, hashed names, patterns and
`[host]:port`. Nothing is ever added to the file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import paramiko
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from supervision.errors import SiteUnavailable

_SSH_PORT: Final = 22
_MARKS: Final = ("@cert-authority", "@revoked")
_FIELDS: Final = 3
_CERTIFICATE: Final = "-cert-v01@openssh.com"
_RSA: Final = ("rsa-sha2-512", "rsa-sha2-256")  # never ssh-rsa, which signs with SHA-1
_ALGORITHMS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    *_RSA,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLine:
    """One line of known_hosts. `mark` is "" for a plain key; `blob` is the key on the wire."""

    mark: str
    names: str
    kind: str
    blob: bytes


class KnownHosts:
    """What one file says. `path` is only named in sentences; `lines` is what it holds."""

    def __init__(self, path: Path, lines: Sequence[HostLine]) -> None:
        self._path = path
        self._lines = tuple(lines)

    @classmethod
    def read(cls, path: Path | None) -> KnownHosts:
        """Read the file as it is now; raises SiteUnavailable when there is none to read."""
        if path is None:
            raise SiteUnavailable("no known_hosts_file is set: no login node can be believed")
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise SiteUnavailable(f"known_hosts_file cannot be read: {error}") from error
        return cls(path, [line for line in map(_parsed, text.splitlines()) if line is not None])

    def algorithms(self, host: str, port: int) -> tuple[str, ...]:
        """Name the kinds of host key that could be believed, certificates first.

        Raises SiteUnavailable when the file says nothing of this host: then nobody connects.
        """
        lines = [line for line in self._of(host, port) if line.mark != "@revoked"]
        signed = any(line.mark for line in lines)
        kinds = {kind for line in lines if not line.mark for kind in _kinds(line.kind)}
        found = [name + _CERTIFICATE for name in _ALGORITHMS if signed]
        found += [name for name in _ALGORITHMS if name in kinds]
        if not found:
            raise SiteUnavailable(
                f"the host key of {_target(host, port)} is not known: ask the centre for it, "
                f"compare with `ssh-keyscan -p {port} {host}`, and add it to {self._path}"
            )
        return tuple(found)

    def check(self, host: str, port: int, *, key: paramiko.PKey, now: datetime) -> None:
        """Return when this key, which the host has proven to hold, is believed.

        Raises SiteUnavailable otherwise, saying what differs and what to do.
        """
        certificate = _certificate(key)
        lines = list(self._of(host, port))
        plain = key.asbytes()
        signer = None if certificate is None else _wire(certificate.signature_key())
        if any(line.mark == "@revoked" and line.blob in {plain, signer} for line in lines):
            raise SiteUnavailable(f"{_target(host, port)} showed a key that {self._path} revokes")
        if any(not line.mark and line.blob == plain for line in lines):
            return
        if certificate is None or not any(line.mark and line.blob == signer for line in lines):
            raise SiteUnavailable(self._changed(_target(host, port), key))
        _check_certificate(certificate, host, now)

    def changed(self, host: str, port: int) -> str:
        """Say that the host has no key of a kind that is known here."""
        return self._changed(_target(host, port), None)

    def _changed(self, target: str, key: paramiko.PKey | None) -> str:
        shown = "of another kind" if key is None else f"{key.get_name()} {_fingerprint(key)}"
        return (
            f"{target} showed a host key ({shown}) that is not the one in {self._path}: "
            "it was reinstalled, or somebody else answers; ask the centre before changing the file"
        )

    def _of(self, host: str, port: int) -> Iterator[HostLine]:
        target = _target(host, port)
        return (line for line in self._lines if _matches(line.names, target))


def _parsed(text: str) -> HostLine | None:
    """Read one line; None for a comment, and for what is no line of known_hosts."""
    fields = text.split()
    if not fields or fields[0].startswith("#"):
        return None
    mark = fields.pop(0) if fields[0].startswith("@") else ""
    if len(fields) < _FIELDS or mark not in ("", *_MARKS):
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except binascii.Error:
        return None
    return HostLine(mark=mark, names=fields[0], kind=fields[1], blob=blob)


def _target(host: str, port: int) -> str:
    return host if port == _SSH_PORT else f"[{host}]:{port}"


def _kinds(kind: str) -> tuple[str, ...]:
    return _RSA if kind == "ssh-rsa" else (kind,)


def _matches(names: str, target: str) -> bool:
    """Match a line's names: one negated pattern that fits rules the whole line out."""
    if names.startswith("|1|"):
        return _hashed(names, target)
    patterns = names.split(",")
    if any(_fits(pattern[1:], target) for pattern in patterns if pattern.startswith("!")):
        return False
    return any(_fits(pattern, target) for pattern in patterns)


def _fits(pattern: str, target: str) -> bool:
    """Match with `*` and `?`; a bracket is a letter here, as in `[host]:port`."""
    spelled = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(spelled, target.lower()) is not None


def _hashed(name: str, target: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in name.split("|")[2:4])
    except ValueError:
        return False
    # SHA-1 is the format's own; it hides names here and proves nothing
    return hmac.compare_digest(digest, hmac.new(salt, target.encode(), hashlib.sha1).digest())


def _certificate(key: paramiko.PKey) -> SSHCertificate | None:
    """Read the certificate that came with a host key; None where it came without one."""
    public = key.public_blob
    if public is None:
        return None
    line = f"{public.key_type} {base64.b64encode(public.key_blob).decode()}".encode()
    try:
        found = load_ssh_public_identity(line)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SiteUnavailable(f"the host certificate cannot be read: {error}") from error
    return found if isinstance(found, SSHCertificate) else None


def _check_certificate(certificate: SSHCertificate, host: str, now: datetime) -> None:
    problem = _problem(certificate, host, now)
    if problem is not None:
        raise SiteUnavailable(f"the host certificate of {host} {problem}: tell the centre")


def _problem(certificate: SSHCertificate, host: str, now: datetime) -> str | None:
    if certificate.type is not SSHCertificateType.HOST:
        return "is a user's"
    if certificate.critical_options:
        return "carries conditions that are not known here"
    if not certificate.valid_after <= now.timestamp() < certificate.valid_before:
        return "is not valid today"
    if host.encode() not in certificate.valid_principals:
        return f"is for {[name.decode(errors='replace') for name in certificate.valid_principals]}"
    try:
        certificate.verify_cert_signature()
    except (InvalidSignature, UnsupportedAlgorithm):
        return "is not signed by whom it names"
    return None


def _wire(key: object) -> bytes:
    """Spell a key as it stands in known_hosts."""
    if not hasattr(key, "public_bytes"):
        return b""
    line: bytes = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def _fingerprint(key: paramiko.PKey) -> str:
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
