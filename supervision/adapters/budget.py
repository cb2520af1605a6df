"""What a site's login nodes are asked to bear: sessions at once, new ones in time, pauses.

All of it is leased, so that many processes keep one budget. No ssh in here: gsi-ssh shares it.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Protocol

from supervision.errors import SiteUnavailable, Transient
from supervision.ports import Clock, Ids

_SCOPE_LENGTH: Final = 63  # what the column of the leases holds
_WAIT_STEP: Final = timedelta(milliseconds=250)


class Slots(Protocol):
    """Leases that all processes see. Each scope has `slots` places; one owner has at most one."""

    def lease(self, scope: str, owner: str, *, lasting: timedelta, slots: int) -> bool:
        """Lease a place or renew this owner's; False when others have them all.

        A lease ends by itself after `lasting`; one that lasts no time only tells whether a place
        is free. Raises Transient errors when nobody can be asked.
        """

    def free(self, owner: str) -> None:
        """Give back all that this owner leased. Idempotent."""


class MemorySlots:
    """Slots that only this process sees: for tests, and where there is only one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, dict[str, datetime]] = {}
        self._lock = Lock()

    def lease(self, scope: str, owner: str, *, lasting: timedelta, slots: int) -> bool:
        """Lease a place or renew this owner's."""
        with self._lock:
            now = self._clock.now()
            held = {who: end for who, end in self._leases.get(scope, {}).items() if end > now}
            granted = owner in held or len(held) < slots
            self._leases[scope] = held | ({owner: now + lasting} if granted else {})
            return granted

    def free(self, owner: str) -> None:
        """Give back all that this owner leased."""
        with self._lock:
            for held in self._leases.values():
                held.pop(owner, None)

    def held(self, scope: str) -> int:
        """Count the places of a scope that are leased now."""
        with self._lock:
            now = self._clock.now()
            return sum(end > now for end in self._leases.get(scope, {}).values())


class Limits(Protocol):
    """What a site allows; `settings.SiteSettings` is one."""

    @property
    def name(self) -> str:
        """The site."""

    @property
    def max_sessions(self) -> int:
        """Sessions at once, over all logins and processes; at least 1."""

    @property
    def connect_every(self) -> timedelta:
        """At least so long between two new connections."""

    @property
    def idle_close(self) -> timedelta:
        """A session of which nobody made use for so long is closed."""

    @property
    def failure_pause(self) -> timedelta:
        """After a failure nobody connects to that node for so long, and up to half as much more."""


class Wait(Protocol):
    """Lets seconds pass. A test's own moves its clock instead."""

    def __call__(self, seconds: float, /) -> object:
        """Return when they are over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What a budget works with."""

    slots: Slots
    clock: Clock
    ids: Ids
    wait: Wait


class Budget:
    """The budget of one site. Safe for many threads, and for many processes over one `slots`."""

    def __init__(self, limits: Limits, means: Means) -> None:
        self._limits = limits
        self._means = means
        self._failures: dict[str, str] = {}

    def take_session(self, owner: str, *, lasting: timedelta) -> bool:
        """Lease one of the site's sessions, or renew it; False when others have them all."""
        return self._leased(
            self._limits.name, owner, lasting=lasting, slots=self._limits.max_sessions
        )

    def give_back(self, owner: str) -> None:
        """Free this owner's session, now or, if that cannot be said, when its lease ends."""
        with suppress(Transient):
            self._means.slots.free(owner)

    def await_turn(self, patience: timedelta) -> None:
        """Return when a new connection may be made, which is then counted.

        Raises SiteUnavailable when that takes longer than `patience`.
        """
        waited, scope = timedelta(), self._scope("connect")
        while not self._lease_alone(scope, self._limits.connect_every):
            if waited >= patience:
                raise SiteUnavailable(
                    f"{self._limits.name}: others are connecting too, one every "
                    f"{self._limits.connect_every.total_seconds():g} s (connect_every); "
                    "it is tried again"
                )
            self._means.wait(_WAIT_STEP.total_seconds())
            waited += _WAIT_STEP

    def usable(self, host: str) -> bool:
        """Tell whether no failure makes this login node wait, seen here or by another process."""
        return self._lease_alone(self._scope(host), timedelta())

    def failed(self, host: str, reason: str) -> None:
        """Have everybody leave this login node alone for the pause, and jitter."""
        pause = self._limits.failure_pause * (1 + self._means.ids.jitter() / 2)
        self._failures[host] = reason
        with suppress(SiteUnavailable):
            self._lease_alone(self._scope(host), pause)

    def why_paused(self, host: str) -> str:
        """Say what this process saw of the failure that makes a node wait."""
        return self._failures.get(host, "another process could not use it")

    def _lease_alone(self, scope: str, lasting: timedelta) -> bool:
        """Lease a scope that has one place, as an owner that never comes back to renew it."""
        return self._leased(scope, self._means.ids.new(), lasting=lasting, slots=1)

    def _leased(self, scope: str, owner: str, *, lasting: timedelta, slots: int) -> bool:
        try:
            return self._means.slots.lease(scope, owner, lasting=lasting, slots=slots)
        except Transient as error:
            raise SiteUnavailable(
                f"{self._limits.name}: nobody can say what its sessions are used for: {error}"
            ) from error

    def _scope(self, what: str) -> str:
        """Spell a scope beside the site's own: no name of a site holds the mark."""
        scope = f"{self._limits.name}#{what}"
        if len(scope) <= _SCOPE_LENGTH:
            return scope
        return "#" + hashlib.sha256(scope.encode()).hexdigest()[: _SCOPE_LENGTH - 1]
