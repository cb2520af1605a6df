"""The gsi-ssh transport of a site, put together: the ssh one, with another way to prove a login."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from db.session import Database
from supervision.adapters.routes import Way
from supervision.app_ssh import over_ssh
from supervision.errors import SettingsError
from supervision.ports import Clock
from supervision.settings import SiteSettings

if TYPE_CHECKING:
    from supervision.adapters.ssh_access import Access


def over_gsi(site: SiteSettings, *, clock: Clock, database: Database, deadline: timedelta) -> Way:
    """Make the transport of one site; nothing connects before it is used, no credential is read.

    Raises SettingsError as `gsi_access` does.
    """
    access = gsi_access(site, clock)
    return over_ssh(site, clock=clock, database=database, deadline=deadline, access=access)


def gsi_access(site: SiteSettings, clock: Clock) -> Access:
    """Load the Globus library, and make what proves the logins of a site with it.

    Raises SettingsError when it is not installed, or the site names no certificate_directory.
    """
    # The same as with paramiko: who has no such site does not wait for it.
    from supervision.adapters.gsi import GsiAccess  # noqa: PLC0415
    from supervision.adapters.gsi_library import load  # noqa: PLC0415

    if site.certificate_directory is None:
        raise SettingsError(f"sites.{site.name}.certificate_directory: is not set, and is needed")
    return GsiAccess(site, clock, load(site.certificate_directory))
