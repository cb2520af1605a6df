"""gsi-ssh: sessions as over ssh, opened with an X.509 proxy by gssapi-with-mic.

What a session is: `ssh_session.py`. What a credential must be: `gsi_credentials.py`; how it is
shown: `gsi_authentication.py`; the Globus library: `gsi_library.py`, `gsi_context.py`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import paramiko

from supervision.adapters.agent_install import FILE, FOLDER
from supervision.adapters.gsi_authentication import GsiProof
from supervision.adapters.gsi_context import Context
from supervision.adapters.gsi_credentials import GsiCredential, opened
from supervision.adapters.gsi_library import GsiError, Library
from supervision.adapters.ssh_access import FileAccess, Proof, ProofAt, SshSite
from supervision.adapters.ssh_connection import Program
from supervision.errors import SiteUnavailable
from supervision.ports import Clock


class GsiSite(SshSite, Protocol):
    """How a site is reached by gsi-ssh; `settings.SiteSettings` is one."""

    @property
    def certificate_directory(self) -> Path | None:
        """The authorities that are believed; the one that the library was loaded with."""

    @property
    def delegate(self) -> bool:
        """Whether the login nodes get a proxy of ours, to act in our name elsewhere."""

    @property
    def agent_python(self) -> str:
        """The Python that runs the agent there."""

    def home_of(self, login: str) -> str | None:
        """Where the agent lives; None for the login's own home."""


class GsiAccess(FileAccess):
    """Access with a proxy, or a certificate with its key, to hosts that prove their own names.

    A host is believed twice: by its key in known_hosts, before anything is shown to it, and by its
    host certificate, which must carry the name that `hosts` gives it.
    """

    on_refusal = "grid-mapfile there maps the credential's name to this login"

    def __init__(self, site: GsiSite, clock: Clock, library: Library) -> None:
        super().__init__(site, clock)
        self._gsi = site
        self._library = library

    def program(self, login: str) -> Program:
        """Name the agent where it was installed: gsi-ssh knows no forced command."""
        home = self._gsi.home_of(login)
        where = "~" if home is None else shlex.quote(home)  # the login's shell knows its home
        python, file = shlex.quote(self._gsi.agent_python), f"{where}/{FOLDER}/{FILE}"
        return Program(
            command=f"exec {python} {file} serve --home {where}",
            missing=f"{self._gsi.agent_python} cannot be run there; set agent_python",
        )

    @contextmanager
    def lent(self, path: Path, login: str) -> Iterator[ProofAt]:
        """Lend the credential, checked as far as it can be here; nobody has connected yet."""
        directory = self._gsi.certificate_directory
        if directory is None:
            raise SiteUnavailable(f"no certificate_directory is set: {login} cannot be proven")
        credential = opened(path, directory, self._clock.now())
        yield lambda host: self._proof(host, credential)

    def _proof(self, host: str, credential: GsiCredential) -> Proof:
        def prove(client: paramiko.Transport, user: str) -> None:
            try:
                context = Context(
                    self._library, pem=credential.pem, host=host, delegate=self._gsi.delegate
                )
            except GsiError as error:
                raise SiteUnavailable(
                    f"the library does not take the credential of {credential.subject}: {error}"
                ) from error
            with context:
                GsiProof(client, context).prove(user)

        return prove
