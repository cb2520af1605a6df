"""How a login of a site is proven to a login node, and the login node to us: keys, known hosts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Protocol

import paramiko

from supervision.adapters.budget import Limits
from supervision.adapters.ssh_connection import AGENT, Program, Target
from supervision.adapters.ssh_credentials import mark_of, opened
from supervision.adapters.ssh_hosts import KnownHosts
from supervision.errors import InvalidValue, SiteUnavailable
from supervision.ports import Clock

TargetOf = Callable[[str], Target]
Proof = Callable[[paramiko.Transport, str], object]
"""Logs in as a user over a connection."""
ProofAt = Callable[[str], Proof]
"""The proof for one host."""


class SshSite(Limits, Protocol):
    """How a site is reached by ssh; `settings.SiteSettings` is one."""

    @property
    def hosts(self) -> Sequence[str]:
        """Its login nodes, the best one first."""

    @property
    def port(self) -> int:
        """The port of their sshd."""

    @property
    def known_hosts_file(self) -> Path | None:
        """The host keys that are believed."""

    def credential_of(self, login: str) -> Path | None:
        """Name a login's private key, KEY.pub for the one that the ssh-agent holds, or proxy."""


class Access(Protocol):
    """What differs between ways to prove who one is. Nothing in it connects."""

    def mark(self, login: str) -> str:
        """Tell two contents of a login's credential apart; never raises SiteUnavailable."""

    def opened(self, login: str) -> AbstractContextManager[TargetOf]:
        """Lend the credential: inside, each login node can be made a Target.

        Raises SiteUnavailable for a credential that will not do. A host of which nothing is known
        raises it when its Target is made.
        """


class FileAccess(ABC):
    """Access with a credential in a file of each login, to hosts that known_hosts names.

    Every file is read anew for each connection: a new credential or host key needs no restart.
    """

    on_refusal: ClassVar[str]

    def __init__(self, site: SshSite, clock: Clock) -> None:
        self._site = site
        self._clock = clock

    @abstractmethod
    def lent(self, path: Path, login: str) -> AbstractContextManager[ProofAt]:
        """Lend what proves the login to a host; raises SiteUnavailable when it will not do."""

    def program(self, _login: str) -> Program:
        """What is asked to run there: the agent, which a forced command stands for."""
        return AGENT

    def mark(self, login: str) -> str:
        """Tell by a digest of the files."""
        path = self._credential(login)
        return "" if path is None else mark_of(path)

    @contextmanager
    def opened(self, login: str) -> Iterator[TargetOf]:
        """Lend the credential; see Access."""
        path = self._credential(login)
        if path is None:
            raise SiteUnavailable(f"{self._site.name}: no credential_file is set for {login!r}")
        known = KnownHosts.read(self._site.known_hosts_file)
        with self.lent(path, login) as proof_at:
            yield lambda host: self._target(host, login, known=known, prove=proof_at(host))

    def _credential(self, login: str) -> Path | None:
        with suppress(InvalidValue):  # a name that no file may have
            return self._site.credential_of(login)
        return None

    def _target(self, host: str, login: str, *, known: KnownHosts, prove: Proof) -> Target:
        port, now = self._site.port, self._clock.now()
        return Target(
            host=host,
            port=port,
            user=login,
            algorithms=known.algorithms(host, port),
            check=lambda shown: known.check(host, port, key=shown, now=now),
            authenticate=prove,
            on_other_key=known.changed(host, port),
            on_refusal=self.on_refusal,
            program=self.program(login),
        )


class KeyAccess(FileAccess):
    """Access with a private key or an ssh-agent's key, with its OpenSSH certificate if any."""

    on_refusal = "its public key or authority is in authorized_keys there"

    @contextmanager
    def lent(self, path: Path, login: str) -> Iterator[ProofAt]:
        """Lend the key; it is the same for every host."""
        with opened(path, login, self._clock.now()) as key:
            yield lambda _host: lambda client, user: client.auth_publickey(user, key)
