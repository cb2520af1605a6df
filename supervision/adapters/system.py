"""The machine's own clock and randomness: the only place where either comes from."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime


class SystemClock:
    """Implements the Clock port with the operating system's clocks. Safe for many threads."""

    def now(self) -> datetime:
        """Aware UTC; follows the system's clock also when that one is set back."""
        return datetime.now(UTC)

    def monotonic_seconds(self) -> float:
        """Seconds since some fixed moment; comparable within this process only."""
        return time.monotonic()


class SystemIds:
    """Implements the Ids port with the operating system's randomness. Safe for many threads."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def new(self) -> str:
        """A random UUID (version 4), from the kernel: a forked child never repeats its parent."""
        return str(uuid.uuid4())

    def jitter(self) -> float:
        """At least 0.0, below 1.0, evenly spread."""
        return self._random.random()
