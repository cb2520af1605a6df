"""Where a job lives, whose it is, how far the service may go there. Pure look-ups in a Policy."""

from __future__ import annotations

import re
from datetime import date, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from supervision.facts import (
    JobFacts,
    Level,
    LoginAlias,
    Mode,
    Place,
    Policy,
    SimulationFacts,
    SitePolicy,
    UserPolicy,
)

LEVELS: Final = {
    Mode.OBSERVE: Level.NOTHING,
    Mode.MAIL: Level.MAIL,
    Mode.ACT: Level.AUTOMATIC,
}
"""The most that each mode of a site allows."""

_FIELD: Final = re.compile(r"\{(login|model|name)\}")


def resolve(simulation: SimulationFacts, job: JobFacts, policy: Policy) -> Place:
    """Find site, login and submission directory; a part that is not known is None.

    The first site of the policy whose centres and machine patterns fit. Aliases of the login hold
    on the day (UTC) on which the job started, else was first heard of, else the simulation was
    announced. Directory: what the job's start said, else the simulation's latest, else the site's
    pattern; a value that could lead out of the pattern is not filled in.
    """
    site = _site_of(simulation, policy)
    if site is None:
        directory = job.directory or simulation.directory
        return Place(login=simulation.login or None, directory=directory)
    login = _login_at(site, simulation, job)
    directory = job.directory or simulation.directory or _filled(site, simulation, login)
    return Place(site=site.name, login=login, directory=directory)


def site_named(policy: Policy, name: str | None) -> SitePolicy | None:
    """Find a site by the name that the settings give it; None where there is none."""
    return next((site for site in policy.sites if site.name == name), None)


def site_named_by(policy: Policy, centre: str | None, machine: str | None) -> str | None:
    """Name the site that messages mean by this centre and machine; None where there is none."""
    if not centre or not machine:
        return None
    return next(
        (
            site.name
            for site in policy.sites
            if _fits((site.centres, site.machines), centre, machine)
        ),
        None,
    )


def user_of(policy: Policy, login: str | None, site: str | None) -> UserPolicy | None:
    """Find what the user of a login recorded for a site; an entry that names the site goes first.

    None where nothing is recorded for this login, or only for other sites.
    """
    entries = [user for user in policy.users if user.login == login]
    named = (user for user in entries if site in user.sites)
    return next(named, next((user for user in entries if not user.sites), None))


def level_of(place: Place, policy: Policy, now: datetime) -> Level:
    """Tell how far the service may go: the lesser of the site's mode and the user's level.

    NOTHING where the site is unknown, or the user's consent is none or over at `now`.
    """
    site = site_named(policy, place.site)
    user = user_of(policy, place.login, place.site)
    return lesser_level(site, user, now)


def lesser_level(site: SitePolicy | None, user: UserPolicy | None, now: datetime) -> Level:
    """Do what `level_of` does, for those who have site and user in hand already."""
    if site is None or user is None or expired(user, now):
        return Level.NOTHING
    return min(LEVELS[site.mode], user.level)


def expired(user: UserPolicy, now: datetime) -> bool:
    """Tell whether a user's consent is over; `until` names the last day (UTC) that has it."""
    return user.until is not None and now.date() > user.until


def _site_of(simulation: SimulationFacts, policy: Policy) -> SitePolicy | None:
    return site_named(policy, site_named_by(policy, simulation.centre, simulation.machine))


@lru_cache(maxsize=4096)  # a handful of machines, asked about for every message and decision
def _fits(named: tuple[tuple[str, ...], tuple[str, ...]], centre: str, machine: str) -> bool:
    centres, machines = named
    return any(name.casefold() == centre.casefold() for name in centres) and any(
        fnmatchcase(machine.casefold(), pattern.casefold()) for pattern in machines
    )


def _login_at(site: SitePolicy, simulation: SimulationFacts, job: JobFacts) -> str | None:
    at = job.started_at or job.first_at or simulation.announced_at
    day = at.date() if at else None
    named = (alias for alias in site.logins if alias.announced == simulation.login)
    alias = next((alias for alias in named if _holds_on(alias, day)), None)
    return alias.login if alias else simulation.login or None


def _holds_on(alias: LoginAlias, day: date | None) -> bool:
    """`since` is its first day; `until` is excluded, as the settings' check for overlaps has it."""
    if day is None:
        return alias.since is None and alias.until is None
    return (alias.since or date.min) <= day < (alias.until or date.max)


def _filled(site: SitePolicy, simulation: SimulationFacts, login: str | None) -> str | None:
    if not site.directory_pattern:
        return None
    values = {"login": login, "model": simulation.model, "name": simulation.name}
    needed = {match[1] for match in _FIELD.finditer(site.directory_pattern)}
    if not all(_plain(values[key]) for key in needed):
        return None
    return _FIELD.sub(lambda match: values[match[1]] or "", site.directory_pattern)


def _plain(value: str | None) -> bool:
    """Messages are not signed: a name with a slash, or `..`, would lead into another directory."""
    return bool(value) and value not in {".", ".."} and "/" not in str(value)
