"""Agents on this machine: each one a child process that speaks the real protocol over its pipes.

For the sandbox, for tests, and for a service that runs on the login node itself.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TypeVar

from supervision.adapters.agent_answers import Finding
from supervision.adapters.agent_protocol import Conversation, Login
from supervision.adapters.child import Child
from supervision.errors import SiteUnavailable
from supervision.facts import Answer, Key, Look, Order, Subject
from supervision.ports import Clock

_Said = TypeVar("_Said")


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalAgent:
    """Where an agent lives: its prepared home, the Python that runs it, the key of its login.

    `environment` is what it and its scripts see; None: all that this process does.
    """

    home: Path
    python: str
    key: bytes = field(repr=False)
    environment: Mapping[str, str] | None = field(default=None, repr=False)


class LocalTransport:
    """The port Transport over child processes, one per login, started when first needed.

    Safe for many threads: calls about one login wait for each other, at most the deadline. A
    child that errs or does not answer in time is ended, and the next call starts another.
    """

    def __init__(
        self,
        sites: Mapping[tuple[str, str], LocalAgent],
        *,
        clock: Clock,
        deadline: timedelta = timedelta(seconds=60),
    ) -> None:
        self._sessions = {
            place: _Session(Login(site=place[0], login=place[1], key=agent.key), agent, deadline)
            for place, agent in sites.items()
        }
        self._clock = clock

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Have scripts run; idempotent by key."""
        return self._session(site, login).talk(lambda agent: agent.submit(orders), self._clock)

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are."""
        return self._session(site, login).talk(lambda agent: agent.status(keys), self._clock)

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are; starts nothing."""
        session = self._session(site, login)
        return session.talk(lambda agent: agent.status(keys, start=False), self._clock)

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """See what is true here; changes nothing."""
        return self._session(site, login).talk(lambda agent: agent.look(subjects), self._clock)

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Fence attempts that have not started."""
        return self._session(site, login).talk(lambda agent: agent.cancel(keys), self._clock)

    def output(self, site: str, login: str, key: Key) -> tuple[str, str]:
        """Fetch what was kept of an attempt's stdout and stderr. Beyond the port; for people."""
        return self._session(site, login).talk(lambda agent: agent.output(key), self._clock)

    def doctor(self, site: str, login: str, directory: str | None = None) -> list[Finding]:
        """Have the agent examine itself and its place. Beyond the port; for people."""
        return self._session(site, login).talk(lambda agent: agent.doctor(directory), self._clock)

    def close(self) -> None:
        """End every child. Idempotent; a later call would start them again."""
        for session in self._sessions.values():
            session.close()

    def _session(self, site: str, login: str) -> _Session:
        if (site, login) not in self._sessions:
            raise SiteUnavailable(f"no agent is known here for {login} at {site}")
        return self._sessions[site, login]


class _Session:
    """At most one child for one login, and the lock that lets one thread at a time talk to it."""

    def __init__(self, login: Login, agent: LocalAgent, deadline: timedelta) -> None:
        self._login = login
        self._agent = agent
        self._deadline = deadline
        self._lock = Lock()
        self._child: Child | None = None
        self._conversation: Conversation | None = None

    def talk(self, say: Callable[[Conversation], _Said], clock: Clock) -> _Said:
        """Say something, once it is our turn. One deadline bounds the wait, the start, the talk."""
        until = time.monotonic() + self._deadline.total_seconds()
        if not self._lock.acquire(timeout=self._deadline.total_seconds()):
            raise SiteUnavailable(f"{self._login.site}: others are talking to {self._login.login}")
        whole = False
        try:
            child = self._child = self._child or _child(self._agent)
            child.until = until
            conversation = self._conversation or Conversation(child, self._login, clock)
            said = say(conversation)
            self._conversation = conversation
            whole = True
        finally:
            if not whole:
                self._end()  # an answer may still be under way: it must not meet the next call
            self._lock.release()
        return said

    def close(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        child, self._child, self._conversation = self._child, None, None
        if child is not None:
            child.end()


def _child(agent: LocalAgent) -> Child:
    command = [agent.python, "-m", "hpc_agent", "serve", "--home", str(agent.home)]
    return Child(command, _package_folder(), agent.environment)


def _package_folder() -> Path:
    """Find the folder from which `python -m hpc_agent` finds the agent that came with us."""
    spec = importlib.util.find_spec("hpc_agent")
    if spec is None or spec.origin is None:
        raise SiteUnavailable("the package hpc_agent is not installed here")
    return Path(spec.origin).parent.parent
