"""What people need to bring an agent to a centre and to ask it how it is, from the settings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from supervision.adapters.agent_answers import Finding
from supervision.adapters.agent_install import Installer, command, starter
from supervision.adapters.agent_protocol import Line, Login, derive_key
from supervision.adapters.child import Child
from supervision.adapters.routes import SiteRoutes
from supervision.adapters.system import SystemClock
from supervision.app import App
from supervision.app_gsi import gsi_access
from supervision.errors import Refused, SettingsError
from supervision.settings import SiteSettings, TransportKind, inheritable

DEADLINE: Final = timedelta(minutes=3)
"""How long an installation may take from the first byte to the last."""


@contextmanager
def installer(
    site: SiteSettings, login: str, *, host: str | None, credential: Path | None
) -> Iterator[Installer]:
    """Open a way to a bare Python for `login`, and lend the installer over it.

    `host` None: the site's first login node; `credential` None: the one that the settings name.
    One connection, beside the service's budget: a person does this, and seldom. Raises
    SettingsError, SiteUnavailable and Refused with what to do.
    """
    whose = Login(site=site.name, login=login, key=derive_key(site.master_key(), site.name, login))
    reach = replace(site, credential_file=str(credential)) if credential else site
    with _line(reach, login, host) as line:
        yield Installer(line, whose, site.home_of(login))


def examine(made: App, site: str, login: str, directory: str | None) -> Sequence[Finding]:
    """Have the agent of a login examine itself, over the way and within the budget of the service.

    Raises NotFound for a site that is not set, else as the port Transport does.
    """
    made.settings.site(site)
    if not isinstance(made.transport, SiteRoutes):
        raise Refused("this process was built without a way to the centres")
    return made.transport.doctor(site, login, directory)


def public_key(site: SiteSettings, login: str) -> str | None:
    """Spell the public key that the service shows for this login; None where none is set."""
    from supervision.adapters.ssh_public import public_of  # noqa: PLC0415 - paramiko is slow to load

    path = site.credential_of(login)
    return None if path is None else public_of(path)


@contextmanager
def _line(site: SiteSettings, login: str, host: str | None) -> Iterator[Line]:
    if site.transport is TransportKind.LOCAL:
        child = Child([site.agent_python, "-c", starter()], Path("/"), inheritable())
        child.until = time.monotonic() + DEADLINE.total_seconds()
        try:
            yield child
        finally:
            child.end()
        return
    with _connected(site, login, host) as line:
        yield line


@contextmanager
def _connected(site: SiteSettings, login: str, host: str | None) -> Iterator[Line]:
    # paramiko takes a quarter of a second to load: who only builds an agent does not wait for it
    from supervision.adapters.ssh_access import Access, KeyAccess  # noqa: PLC0415
    from supervision.adapters.ssh_connection import Connection, Program  # noqa: PLC0415

    over_gsi = site.transport is TransportKind.GSI
    clock = SystemClock()
    access: Access = gsi_access(site, clock) if over_gsi else KeyAccess(site, clock)
    if host is None and not site.hosts:
        raise SettingsError(f"sites.{site.name}.hosts: is empty, name a login node with --host")
    program = Program(
        command=command(site.agent_python),
        missing=f"{site.agent_python} cannot be run there; set agent_python",
    )
    with access.opened(login) as target_of:
        until = time.monotonic() + DEADLINE.total_seconds()
        connection = Connection(target_of(host or site.hosts[0]), until, program)
        try:
            yield connection
        finally:
            connection.close()
