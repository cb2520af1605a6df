"""How much room the caps leave, while restarts of a site are admitted one by one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from supervision.facts import Cap, Policy


class Room:
    """What the caps leave, while restarts are admitted one by one."""

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._caps: tuple[tuple[Cap, Callable[[str, str], str]], ...] = (
            (policy.site_cap, lambda _simulation, _login: ""),
            (policy.simulation_cap, lambda simulation, _login: simulation),
            (policy.user_cap, lambda _simulation, login: login),
        )
        self._now = now
        self._counts: list[dict[str, int]] = [{}, {}, {}]

    def take(self, simulation: str, login: str, at: datetime) -> None:
        """Count a restart."""
        for (cap, key), counts in zip(self._caps, self._counts, strict=True):
            if at > self._now - cap.window:
                name = key(simulation, login)
                counts[name] = counts.get(name, 0) + 1

    def has(self, simulation: str, login: str, at: datetime) -> bool:
        """Whether there is room for one more; it is then taken."""
        free = all(
            counts.get(key(simulation, login), 0) < cap.count
            for (cap, key), counts in zip(self._caps, self._counts, strict=True)
        )
        if free:
            self.take(simulation, login, at)
        return free
