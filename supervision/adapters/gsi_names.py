"""Names of certificates as the grid writes them, and as its certificate directories file them."""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_OID: Final = 0x06
_UTF8: Final = 0x0C
_MARK: Final = 0x80


def oneline(name: x509.Name) -> str:
    """Spell a name as grid-mapfile and signing_policy do: /O=Grid/CN=Rho Spective."""
    return "".join(f"/{each.rfc4514_attribute_name}={each.value!s}" for each in name)


def filed(name: x509.Name) -> str:
    """Give the eight digits under which OpenSSL looks for the certificate of this name.

    SHA-1 over the name in its canonical form (OpenSSL's X509_NAME_hash): UTF-8, lower case,
    single spaces. It files, and proves nothing.
    """
    canonical = b"".join(_canonical(part) for part in name.rdns)
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _canonical(part: x509.RelativeDistinguishedName) -> bytes:
    return _tagged(_SET, b"".join(sorted(map(_attribute, part))))


def _attribute(attribute: x509.NameAttribute[str | bytes]) -> bytes:
    value = b" ".join(str(attribute.value).encode().split()).lower()  # of bytes: ASCII alone
    content = _tagged(_OID, _numbers(attribute.oid.dotted_string))
    return _tagged(_SEQUENCE, content + _tagged(_UTF8, value))


def _numbers(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    return b"".join(_number(each) for each in (40 * first + second, *rest))


def _number(value: int) -> bytes:
    """Seven bits a byte, the highest ones first; all but the last byte are marked."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.insert(0, _MARK | value & 0x7F)
    return bytes(digits)


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < _MARK:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content
