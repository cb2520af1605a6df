"""The way to each site's agents, by the transport that its settings name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from db import session
from supervision.adapters.agent_protocol import derive_key
from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.adapters.routes import SiteRoutes, Way
from supervision.app_credentials import state_of
from supervision.app_gsi import over_gsi
from supervision.app_ssh import over_ssh
from supervision.errors import SettingsError
from supervision.ports import Clock
from supervision.settings import Settings, SiteSettings, TransportKind, inheritable

_LOG = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A site's way, or the problem with it, and all that it was made of: equal ones are one."""

    of: object = field(repr=False)
    way: Way | None = None
    problem: str = ""


class Ways:
    """The ways that the settings name. Those that a reload leaves as they are stay warm."""

    def __init__(self, settings: Settings, clock: Clock, database: session.Database) -> None:
        self._clock = clock
        self._database = database
        self._made: Mapping[str, Made] = {}
        self._made = self.prepared(settings)
        self.routes = SiteRoutes(*_sorted(self._made))

    def prepared(self, settings: Settings) -> Mapping[str, Made]:
        """Make what these settings change, and take along what they do not. Nothing connects.

        Raises SettingsError; nothing is different then.
        """
        return {site.name: self._one(settings, site) for site in settings.sites}

    def renew(self, made: Mapping[str, Made]) -> None:
        """Go these ways from now on; what is not among them is closed when it is idle."""
        self._made = made
        self.routes.renew(*_sorted(made))

    def _one(self, settings: Settings, site: SiteSettings) -> Made:
        agents = _agents(settings, site) if site.transport is TransportKind.LOCAL else {}
        of = (site, state_of(site.master_key_file), agents, settings.engine.deadline)
        former = self._made.get(site.name)
        if former is not None and former.way is not None and former.of == of:
            return former
        if site.transport is TransportKind.LOCAL:
            deadline = settings.engine.deadline
            return Made(of=of, way=LocalTransport(agents, clock=self._clock, deadline=deadline))
        return self._over(settings, site, of)

    def _over(self, settings: Settings, site: SiteSettings, of: object) -> Made:
        over = over_ssh if site.transport is TransportKind.SSH else over_gsi
        deadline = settings.engine.deadline
        try:
            way = over(site, clock=self._clock, database=self._database, deadline=deadline)
        except SettingsError as error:  # what one site lacks keeps no other one from its work
            _LOG.error("site.unreachable", site=site.name, problem=str(error))
            return Made(of=of, problem=f"site {site.name}: {error}")
        return Made(of=of, way=way)


def _sorted(made: Mapping[str, Made]) -> tuple[dict[str, Way], dict[str, str]]:
    """Tell those that there are from those that are missing."""
    found = {name: each.way for name, each in made.items() if each.way is not None}
    return found, {name: each.problem for name, each in made.items() if each.way is None}


def _agents(settings: Settings, site: SiteSettings) -> dict[tuple[str, str], LocalAgent]:
    master = site.master_key()
    agents = {}
    for user in settings.policy.users:
        home = site.home_of(user.login)
        if home is not None and (not user.sites or site.name in user.sites):
            agents[site.name, user.login] = LocalAgent(
                home=Path(home),
                python=site.agent_python,
                key=derive_key(master, site.name, user.login),
                environment=inheritable(),
            )
    return agents
