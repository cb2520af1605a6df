"""Signatures: HMAC-SHA256 over everything in a request, in one canonical spelling."""

import hashlib
import hmac
import json
from typing import Any, Dict


def canonical(request: Dict[str, Any]) -> bytes:
    """Spell a request in the one way that is signed: sorted keys, no spaces, ASCII, unsigned."""
    unsigned = {name: value for name, value in request.items() if name != "signature"}
    return json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode("ascii")


def signature(request: Dict[str, Any], key: bytes) -> str:
    """Sign a request; hexadecimal."""
    return hmac.new(key, canonical(request), hashlib.sha256).hexdigest()


def signed(request: Dict[str, Any], key: bytes) -> bool:
    """Tell whether the request carries its own signature under this key; in constant time."""
    claimed = request.get("signature")
    if not isinstance(claimed, str):
        return False
    return hmac.compare_digest(claimed.encode("utf-8"), signature(request, key).encode("ascii"))
