"""One Transport over all sites: each call goes to the way that its site's settings name.

Whatever is logged on the way names site and login.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from supervision.adapters.agent_answers import Finding
from supervision.errors import SiteUnavailable
from supervision.facts import Answer, Key, Look, Order, Subject
from supervision.logs_about import about
from supervision.ports import Transport


class Way(Transport, Protocol):
    """A transport whose agents can also be examined, for people."""

    def doctor(self, site: str, login: str, directory: str | None = None) -> Sequence[Finding]:
        """Have the agent examine itself and its place; raises as the port Transport does."""


class SiteRoutes:
    """Sends each call to the transport of its site. `missing` says why a site has none.

    Safe for many threads. A way that `renew` left out ends once the last call over it is over.
    """

    def __init__(self, routes: Mapping[str, Way], missing: Mapping[str, str]) -> None:
        self._routes = dict(routes)
        self._missing = dict(missing)
        self._lock = Lock()
        self._calls: Counter[int] = Counter()

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Have scripts run; idempotent by key."""
        with self._used(site, login) as way:
            return way.submit(site, login, orders)

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are."""
        with self._used(site, login) as way:
            return way.status(site, login, keys)

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are; starts nothing."""
        with self._used(site, login) as way:
            return way.peek(site, login, keys)

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """See what is true there; changes nothing."""
        with self._used(site, login) as way:
            return way.look(site, login, subjects)

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Fence attempts that have not started."""
        with self._used(site, login) as way:
            return way.cancel(site, login, keys)

    def doctor(self, site: str, login: str, directory: str | None = None) -> Sequence[Finding]:
        """Have the agent examine itself and its place. Beyond the port; for people."""
        with self._used(site, login) as way:
            return way.doctor(site, login, directory)

    def renew(self, routes: Mapping[str, Way], missing: Mapping[str, str]) -> None:
        """Go other ways from now on. What is left out is closed, now or when its calls are over."""
        with self._lock:
            left = [way for way in _once(self._routes) if not _is_among(way, routes)]
            self._routes, self._missing = dict(routes), dict(missing)
            idle = [way for way in left if not self._calls[id(way)]]
        for way in idle:
            way.close()

    def close(self) -> None:
        """Close every way. Idempotent."""
        for way in _once(self._routes):
            way.close()

    @contextmanager
    def _used(self, site: str, login: str) -> Iterator[Way]:
        with self._lock:
            if site not in self._routes:
                unknown = f"site {site} is not in the settings"
                raise SiteUnavailable(self._missing.get(site, unknown))
            way = self._routes[site]
            self._calls[id(way)] += 1
        try:
            with about(site=site, login=login):
                yield way
        finally:
            with self._lock:
                self._calls[id(way)] -= 1
                over = not self._calls[id(way)] and not _is_among(way, self._routes)
                self._calls += Counter()  # what counts nothing is forgotten
            if over:
                way.close()


def _once(routes: Mapping[str, Way]) -> list[Way]:
    return list({id(way): way for way in routes.values()}.values())


def _is_among(way: Way, routes: Mapping[str, Way]) -> bool:
    return any(way is each for each in routes.values())
