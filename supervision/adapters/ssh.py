"""Agents at a centre, over ssh: one warm session per login, within the site's budget.

What a session is: `ssh_session.py`; one connection: `ssh_connection.py`; keys, certificates and
known hosts: `ssh_access.py`; what the login nodes are asked to bear: `budget.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Final

from supervision.adapters.agent_answers import Finding
from supervision.adapters.agent_protocol import Login
from supervision.adapters.budget import Budget, Means, Slots, Wait
from supervision.adapters.ssh_access import Access, KeyAccess, SshSite
from supervision.adapters.ssh_session import Session, Ways
from supervision.adapters.ssh_standing import MemoryRefusals, Refusals, Standing
from supervision.errors import SiteUnavailable
from supervision.facts import Answer, Key, Look, Order, Subject
from supervision.ports import Clock, Ids

_LOOKS_AT_IDLE: Final = 4  # how often within `idle_close` idle sessions are looked for
_SHORTEST_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class SshTools:
    """What a transport works with. `wait` lets seconds pass; tests move their clock instead.

    `deadline` bounds every call from outside, in real time. `access` None: keys and known hosts.
    """

    slots: Slots
    clock: Clock
    ids: Ids
    deadline: timedelta = timedelta(seconds=60)
    wait: Wait | None = None
    access: Access | None = None
    refusals: Refusals = field(default_factory=MemoryRefusals)


class SshTransport:
    """The port Transport for the logins of one site. Safe for many threads.

    Calls about one login wait for each other, at most the deadline; every request of a call is
    under way at once. `keys` derives the key of a login. After an error the session is closed, and
    the next call opens another one, on another login node where there is one.
    """

    def __init__(self, site: SshSite, keys: Callable[[str], bytes], *, tools: SshTools) -> None:
        means = Means(
            slots=tools.slots, clock=tools.clock, ids=tools.ids, wait=tools.wait or _let_pass
        )
        self._site = site
        self._keys = keys
        self._means = means
        self._refusals = tools.refusals
        self._ways = Ways(
            hosts=site.hosts,
            access=tools.access or KeyAccess(site, tools.clock),
            budget=Budget(site, means),
            means=means,
            deadline=tools.deadline,
            idle_close=site.idle_close,
            make_room=self._make_room,
        )
        self._sessions: dict[str, Session] = {}
        self._lock = Lock()
        self._stop = Event()
        self._janitor: Thread | None = None

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Have scripts run; idempotent by key."""
        return self._session(site, login).talk(lambda agent: agent.submit(orders))

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are."""
        return self._session(site, login).talk(lambda agent: agent.status(keys))

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are; starts nothing."""
        return self._session(site, login).talk(lambda agent: agent.status(keys, start=False))

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """See what is true there; changes nothing."""
        return self._session(site, login).talk(lambda agent: agent.look(subjects))

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Fence attempts that have not started."""
        return self._session(site, login).talk(lambda agent: agent.cancel(keys))

    def output(self, site: str, login: str, key: Key) -> tuple[str, str]:
        """Fetch what was kept of an attempt's stdout and stderr. Beyond the port; for people."""
        return self._session(site, login).talk(lambda agent: agent.output(key))

    def doctor(self, site: str, login: str, directory: str | None = None) -> list[Finding]:
        """Have the agent examine itself and its place. Beyond the port; for people."""
        return self._session(site, login).talk(lambda agent: agent.doctor(directory))

    def close(self) -> None:
        """End every session and the thread. Idempotent; a later call would open them again."""
        with self._lock:
            janitor, self._janitor = self._janitor, None
            self._stop.set()
            sessions = list(self._sessions.values())
        if janitor is not None:
            janitor.join()
        for session in sessions:
            session.close()

    def close_idle(self) -> int:
        """Close the sessions that nobody used for `idle_close`; returns how many these were."""
        since = self._means.clock.monotonic_seconds() - self._site.idle_close.total_seconds()
        return sum(session.close_if_idle(since) for session in self._by_use())

    def parked(self) -> Mapping[str, str]:
        """Tell the logins of this process that nobody tries any more, and why."""
        with self._lock:
            sessions = dict(self._sessions)
        found = {login: session.standing.parked for login, session in sessions.items()}
        return {login: reason for login, reason in found.items() if reason is not None}

    def release(self, login: str) -> None:
        """Try a parked login again with the credential that it has. Idempotent."""
        self._session(self._site.name, login).standing.release()

    def _session(self, site: str, login: str) -> Session:
        if site != self._site.name:
            raise SiteUnavailable(f"{site} is not reached from here, only {self._site.name}")
        with self._lock:
            if self._janitor is None:
                self._begin_janitor()
            if login not in self._sessions:
                self._sessions[login] = self._new_session(login)
            return self._sessions[login]

    def _new_session(self, login: str) -> Session:
        whose = Login(site=self._site.name, login=login, key=self._keys(login))
        standing = Standing(
            whose,
            self._refusals,
            mark=lambda: self._ways.access.mark(login),
            pause=self._site.failure_pause,
            means=self._means,
        )
        return Session(whose, self._ways, standing)

    def _make_room(self) -> bool:
        """Close the idle session that was used least recently; False when none is idle."""
        now = self._means.clock.monotonic_seconds()
        return any(session.close_if_idle(now) for session in self._by_use())

    def _by_use(self) -> list[Session]:
        with self._lock:
            return sorted(self._sessions.values(), key=lambda session: session.used)

    def _begin_janitor(self) -> None:
        self._stop = stop = Event()
        pause = max(self._site.idle_close.total_seconds() / _LOOKS_AT_IDLE, _SHORTEST_LOOK_SECONDS)

        def tidy() -> None:
            while not stop.wait(pause):
                self.close_idle()

        self._janitor = Thread(target=tidy, daemon=True, name=f"ssh-idle-{self._site.name}")
        self._janitor.start()


def _let_pass(seconds: float) -> None:
    Event().wait(seconds)
