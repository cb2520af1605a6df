"""The ssh transport of a site, put together: its keys, and its budget kept in the database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from db import dao_credentials, dao_holds
from db.session import Database
from supervision.adapters.agent_protocol import derive_key
from supervision.adapters.routes import Way
from supervision.adapters.ssh_standing import REFUSALS, Refusal
from supervision.adapters.system import SystemIds
from supervision.errors import SettingsError, SiteUnavailable
from supervision.facts import Hold
from supervision.fsm.engine.holding import parked_scope
from supervision.ports import Clock
from supervision.settings import SiteSettings

if TYPE_CHECKING:
    from supervision.adapters.ssh_access import Access


class DatabaseSlots:
    """Leases that every process of the service sees, on the database's clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(self, scope: str, owner: str, *, lasting: timedelta, slots: int) -> bool:
        """Lease a place or renew this owner's; raises DatabaseUnavailable."""
        with self._database.write() as session:
            now = self._database.now(session)
            lease = (now, now + lasting)
            return dao_holds.lease_slot(session, scope, owner, lease=lease, slots=slots)

    def free(self, owner: str) -> None:
        """Give back all that this owner leased; raises DatabaseUnavailable."""
        with self._database.write() as session:
            dao_holds.free_slots(session, owner)


class DatabaseRefusals:
    """Refusals that every process of the service sees; a login that is parked is held."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, site: str, login: str) -> Refusal | None:
        """Tell the last refusal; raises DatabaseUnavailable."""
        with self._database.read() as session:
            row = dao_credentials.one(session, (site, login))
            if row is None or not row.refusals or row.not_before is None:
                return None
            return Refusal(
                mark=row.refused_mark or "",
                reason=row.refused_for or "",
                not_before=row.not_before,
                count=row.refusals,
            )

    def note(self, site: str, login: str, refusal: Refusal) -> int:
        """Keep a refusal, and park the login by a hold of its own; raises DatabaseUnavailable."""
        row = {
            "site": site,
            "login": login,
            "refused_mark": refusal.mark,
            "refused_for": refusal.reason,
            "not_before": refusal.not_before,
        }
        with self._database.write() as session:
            count = dao_credentials.refuse(session, row)
            if count >= REFUSALS:
                now = self._database.now(session)
                reason = f"refused {count} times: {refusal.reason}"
                scope = parked_scope(site, login)
                dao_holds.place(
                    session, Hold(scope=scope, actor="service", reason=reason, since=now)
                )
        return count

    def forget(self, site: str, login: str) -> None:
        """Take it that the login is welcome again; raises DatabaseUnavailable."""
        with self._database.write() as session:
            dao_credentials.forgive(session, (site, login))
            dao_holds.release(session, parked_scope(site, login))


def over_ssh(
    site: SiteSettings,
    *,
    clock: Clock,
    database: Database,
    deadline: timedelta,
    access: Access | None = None,
) -> Way:
    """Make the transport of one site; nothing connects, and no file is read, before it is used.

    `access` None: by keys.
    """
    # paramiko takes a quarter of a second to load: who has no such site does not wait for it
    from supervision.adapters.ssh import SshTools, SshTransport  # noqa: PLC0415

    def key_of(login: str) -> bytes:
        try:
            return derive_key(site.master_key(), site.name, login)
        except SettingsError as error:
            raise SiteUnavailable(str(error)) from error

    tools = SshTools(
        slots=DatabaseSlots(database),
        refusals=DatabaseRefusals(database),
        clock=clock,
        ids=SystemIds(),
        deadline=deadline,
        access=access,
    )
    return SshTransport(site, key_of, tools=tools)
