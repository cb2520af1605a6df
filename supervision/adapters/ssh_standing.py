"""Whether a login is welcome: a credential that was refused twice is not shown a third time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Protocol

import structlog

from supervision.adapters.agent_protocol import Login
from supervision.adapters.budget import Means
from supervision.errors import SiteUnavailable, Transient

REFUSALS: Final = 2
_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """The last refusal of a login's credential: of which content, why, how many in a row.

    Nobody shows it again before `not_before`.
    """

    mark: str
    reason: str
    not_before: datetime
    count: int = 1


class Refusals(Protocol):
    """What login nodes said of our credentials; every process sees the same.

    Each call may raise Transient errors when nobody can be asked.
    """

    def last(self, site: str, login: str) -> Refusal | None:
        """Tell the last refusal that nothing has made good since."""

    def note(self, site: str, login: str, refusal: Refusal) -> int:
        """Keep a refusal; returns how often in a row this content has been refused."""

    def forget(self, site: str, login: str) -> None:
        """Take it that the login is welcome again. Idempotent."""


class MemoryRefusals:
    """Refusals that only this process sees: for tests."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Refusal] = {}
        self._lock = Lock()

    def last(self, site: str, login: str) -> Refusal | None:
        """Tell the last refusal."""
        return self._found.get((site, login))

    def note(self, site: str, login: str, refusal: Refusal) -> int:
        """Keep a refusal."""
        with self._lock:
            before = self._found.get((site, login))
            count = before.count + 1 if before and before.mark == refusal.mark else 1
            self._found[site, login] = Refusal(
                mark=refusal.mark,
                reason=refusal.reason,
                not_before=refusal.not_before,
                count=count,
            )
        return count

    def forget(self, site: str, login: str) -> None:
        """Take it that the login is welcome again."""
        self._found.pop((site, login), None)


class Standing:
    """What the login nodes of a site think of one login's credential.

    After a refusal the login waits for the pause and jitter; after the second one it is parked,
    until `mark` tells that the credential's content has changed, or somebody releases it.
    """

    def __init__(
        self,
        login: Login,
        refusals: Refusals,
        *,
        mark: Callable[[], str],
        pause: timedelta,
        means: Means,
    ) -> None:
        self._login = login
        self._whose = (login.site, login.login)
        self._refusals = refusals
        self._mark = mark
        self._pause = pause
        self._means = means

    @property
    def parked(self) -> str | None:
        """Why nobody tries any more; None for a login that may be tried, now or soon."""
        last = self._refusals.last(*self._whose)
        if last is None or last.count < REFUSALS or last.mark != self._mark():
            return None
        return last.reason

    def check(self) -> None:
        """Return when the credential may be shown; raises SiteUnavailable."""
        try:
            last = self._refusals.last(*self._whose)
        except Transient as error:
            raise SiteUnavailable(f"nobody knows whether it was refused before: {error}") from error
        if last is None or last.mark != self._mark():
            return
        if last.count >= REFUSALS:
            raise SiteUnavailable(
                f"{self._login.login} at {self._login.site} is parked: its credential was refused "
                f"{last.count} times. Put a new one in its place, or release it; the last "
                f"refusal was: {last.reason}"
            )
        if self._means.clock.now() < last.not_before:
            raise SiteUnavailable(f"a short pause after a refusal: {last.reason}")

    def refused(self, reason: str) -> None:
        """Remember a refusal."""
        pause = self._pause * (1 + self._means.ids.jitter() / 2)
        not_before = self._means.clock.now() + pause
        refusal = Refusal(mark=self._mark(), reason=reason, not_before=not_before)
        whose = {"site": self._login.site, "login": self._login.login}
        try:
            count = self._refusals.note(*self._whose, refusal)
        except Transient as error:
            _LOG.warning("ssh.refusal.unrecorded", **whose, reason=reason, problem=str(error))
            return
        if count == REFUSALS:
            _LOG.error("ssh.login.parked", **whose, reason=reason)

    def accepted(self) -> None:
        """Forget earlier refusals: they were the login node's own trouble."""
        try:
            if self._refusals.last(*self._whose) is not None:
                self.release()
        except Transient as error:
            _LOG.warning("ssh.acceptance.unrecorded", problem=str(error))

    def release(self) -> None:
        """Let the same credential be tried again. Idempotent."""
        self._refusals.forget(*self._whose)
