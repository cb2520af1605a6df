"""What the agents of `testing.py` remember, one journal a home, and which scripts they take."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from supervision.facts import Answer, Key, Order

_SCRIPT_LIMIT_BYTES: Final = 1024 * 1024


@dataclass(kw_only=True)
class Entry:
    """What the journal holds of one key."""

    sha256: str
    started: bool = False
    fenced: bool = False
    end: Answer | None = None


@dataclass(kw_only=True)
class Journal:
    """What one login's home remembers. `seen` and `cancelled` are the fences, by supervision."""

    id: str
    entries: dict[Key, Entry] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    cancelled: Counter[str] = field(default_factory=Counter)

    def fences(self, key: Key) -> bool:
        """Whether a later attempt was seen, or this one cancelled."""
        later = key.attempt < self.seen[key.supervision_id]
        return later or key.attempt <= self.cancelled[key.supervision_id]

    def running_below(self, key: Key) -> list[Key]:
        """Take the start away from every lower attempt; list those that have had it, unended."""
        lower = {
            other: entry
            for other, entry in self.entries.items()
            if other.supervision_id == key.supervision_id and other.attempt < key.attempt
        }
        for entry in lower.values():
            entry.fenced = entry.fenced or not entry.started
        return [other for other, entry in lower.items() if entry.started and entry.end is None]


def sound(order: Order) -> bool:
    """Tell whether the script is what its hash says, small enough, and has a place to run in."""
    try:
        script = base64.b64decode(order.script.content, validate=True)
    except binascii.Error:
        return False
    altered = hashlib.sha256(script).hexdigest() != order.script.sha256
    return not altered and len(script) <= _SCRIPT_LIMIT_BYTES and order.directory.startswith("/")
