"""Whether the threads of a process still come round: asked by the watchdog and by /healthz."""

from __future__ import annotations

from datetime import timedelta

from supervision.ports import Clock


class Pulse:
    """Remembers when each loop last came round. Safe for many threads.

    A loop beats once a turn, also while it waits for a database or a broker that is away: what
    is silent is stuck, and only a new process mends it.
    """

    def __init__(self, clock: Clock, limit: timedelta) -> None:
        """Nothing beats yet; who is quiet for longer than `limit` is silent."""
        self._clock = clock
        self._limit = limit.total_seconds()
        self._last: dict[str, float] = {}

    def beat(self, name: str) -> None:
        """Note that this loop came round just now."""
        self._last[name] = self._clock.monotonic_seconds()

    def silent(self) -> list[str]:
        """Name the loops that have not come round within the limit, in order of their names."""
        since = self._clock.monotonic_seconds() - self._limit
        return sorted(name for name, at in list(self._last.items()) if at < since)
