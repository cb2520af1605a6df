"""The public half of a login's key, as authorized_keys wants it."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

from supervision.adapters.ssh_credentials import key_of
from supervision.errors import SiteUnavailable


def public_of(path: Path) -> str:
    """Spell the public key of a private one, or of KEY.pub: kind and base64, no comment.

    Raises SiteUnavailable with what is wrong with the file.
    """
    if path.suffix != ".pub":
        key = key_of(path)
        return f"{key.get_name()} {key.get_base64()}"
    try:
        found = load_ssh_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise SiteUnavailable(f"{path} cannot be read as a public key: {error}") from error
    return found.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
