"""One login's warm session: opened when needed, within the budget, on a login node that is well.

The conversation over it is the agent's protocol; what proves who we are is `ssh_access.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Final, TypeVar

import structlog

from supervision.adapters.agent_protocol import Conversation, Login
from supervision.adapters.budget import Budget, Means
from supervision.adapters.ssh_access import Access, TargetOf
from supervision.adapters.ssh_connection import AuthenticationRefused, Connection, Target
from supervision.adapters.ssh_standing import Standing
from supervision.errors import ProtocolError, SiteUnavailable

_STEP: Final = timedelta(milliseconds=250)
_LEASED_DEADLINES: Final = 3  # a lease outlives a talk that begins just before it is renewed
_LOG = structlog.get_logger(__name__)
_Said = TypeVar("_Said")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ways:
    """What the sessions of one site share. `make_room` closes an idle one; False if none is."""

    hosts: Sequence[str]
    access: Access
    budget: Budget
    means: Means
    deadline: timedelta
    idle_close: timedelta
    make_room: Callable[[], bool]


class Session:
    """At most one connection for one login, and the lock that lets one thread at a time talk."""

    def __init__(self, login: Login, ways: Ways, standing: Standing) -> None:
        self.standing = standing
        self.used = 0.0
        self._login = login
        self._ways = ways
        self._lock = Lock()
        self._owner = ways.means.ids.new()
        self._leased = 0.0
        self._connection: Connection | None = None
        self._conversation: Conversation | None = None

    def talk(self, say: Callable[[Conversation], _Said]) -> _Said:
        """Say something, once it is our turn. One deadline bounds the wait, the way, the talk."""
        seconds = self._ways.deadline.total_seconds()
        until = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            raise SiteUnavailable(f"{self._login.site}: others are talking to {self._login.login}")
        try:
            return self._spoken(say, self._ready(until))
        finally:
            self.used = self._ways.means.clock.monotonic_seconds()
            self._lock.release()

    def close(self) -> None:
        """End the connection, once nobody talks any more. Idempotent."""
        with self._lock:
            self._end()

    def close_if_idle(self, since: float) -> bool:
        """End it when nobody talks, and nobody did after `since`; tells whether it was open."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            idle = self._connection is not None and self.used <= since
            if idle:
                self._end()
            return idle
        finally:
            self._lock.release()

    def _spoken(self, say: Callable[[Conversation], _Said], conversation: Conversation) -> _Said:
        whole = False
        try:
            said = say(conversation)
            whole = True
        except SiteUnavailable as error:
            if self._connection is not None and self._connection.broken:
                self._ways.budget.failed(self._connection.host, str(error))
            raise
        finally:
            if not whole:
                self._end()  # an answer may still be under way: it must not meet the next call
        return said

    def _ready(self, until: float) -> Conversation:
        """Give the conversation over the warm connection, or over a new one."""
        if self._connection is not None and not (self._connection.alive and self._renewed()):
            self._end()  # it was cut while nobody used it: nothing was said over it
        conversation = self._conversation or self._open(until)
        if self._connection is not None:
            self._connection.until = until
        return conversation

    def _end(self) -> None:
        if self._connection is not None:
            try:
                self._drop()
            finally:
                self._ways.budget.give_back(self._owner)

    def _drop(self) -> None:
        """Close what there is of a connection, and keep the lease."""
        connection, self._connection, self._conversation = self._connection, None, None
        if connection is not None:
            connection.close()

    def _open(self, until: float) -> Conversation:
        """Open a session on a login node that is well, once the budget has one to give."""
        self.standing.check()
        whole = False
        with self._ways.access.opened(self._login.login) as target_of:
            hosts = self._well()
            self._take_slot(until)
            try:
                conversation = self._on_one_of(hosts, target_of, until)
                whole = True
            finally:
                if not whole:
                    self._end()
                    self._ways.budget.give_back(self._owner)
        return conversation

    def _on_one_of(self, hosts: Sequence[str], target_of: TargetOf, until: float) -> Conversation:
        """Try the nodes in turn, each within its share of the time: nothing has been said yet."""
        for left, host in zip(range(len(hosts), 1, -1), hosts, strict=False):
            share = (until - time.monotonic()) / left
            try:
                return self._attempt(target_of(host), time.monotonic() + share)
            except AuthenticationRefused:
                raise  # another node would refuse as well: refusals are what gets one banned
            except SiteUnavailable as error:
                _LOG.warning(
                    "ssh.host.failed", site=self._login.site, host=host, problem=str(error)
                )
                self._drop()
        return self._attempt(target_of(hosts[-1]), until)

    def _attempt(self, target: Target, until: float) -> Conversation:
        """Open a session on this node; a failure of it makes everybody leave the node alone."""
        self._ways.budget.await_turn(_left(until))
        try:
            conversation = self._greeted(target, until)
        except AuthenticationRefused as error:
            self.standing.refused(str(error))
            raise
        except (SiteUnavailable, ProtocolError) as error:
            self._ways.budget.failed(target.host, str(error))
            raise
        self.standing.accepted()
        return conversation

    def _greeted(self, target: Target, until: float) -> Conversation:
        """Connect, and hear the agent's greeting."""
        self._connection = Connection(target, until)
        clock = self._ways.means.clock
        try:
            self._conversation = Conversation(self._connection, self._login, clock)
        except ProtocolError as error:
            raise ProtocolError(
                f"{self._login.login} at {target.host}: {error}; `supervision agent install "
                f"{self._login.site} {self._login.login}` puts the agent of this service there"
            ) from error
        return self._conversation

    def _well(self) -> list[str]:
        """List the login nodes that need not be left alone; raises SiteUnavailable for none."""
        hosts, budget = self._ways.hosts, self._ways.budget
        well = [host for host in hosts if budget.usable(host)]
        if not well:
            reasons = "; ".join(f"{host}: {budget.why_paused(host)}" for host in hosts)
            raise SiteUnavailable(
                f"{self._login.site}: every login node is left alone for a while after a failure "
                f"({reasons or 'no hosts are set'}); it is tried again"
            )
        return well

    def _take_slot(self, until: float) -> None:
        """Lease one of the site's sessions; an idle one of another login makes room."""
        waited = timedelta()
        while not self._lease():
            if self._ways.make_room():
                continue
            if waited >= _left(until) / 2:
                raise SiteUnavailable(
                    f"{self._login.site}: all its sessions are in use (max_sessions); "
                    "it is tried again"
                )
            self._ways.means.wait(_STEP.total_seconds())
            waited += _STEP

    def _renewed(self) -> bool:
        """Keep the lease while the session is used; not with every talk, for it is a write."""
        now = self._ways.means.clock.monotonic_seconds()
        return now - self._leased < self._ways.deadline.total_seconds() or self._lease()

    def _lease(self) -> bool:
        lasting = self._ways.idle_close + _LEASED_DEADLINES * self._ways.deadline
        leased = self._ways.budget.take_session(self._owner, lasting=lasting)
        if leased:
            self._leased = self._ways.means.clock.monotonic_seconds()
        return leased


def _left(until: float) -> timedelta:
    return timedelta(seconds=max(until - time.monotonic(), 0.0))
