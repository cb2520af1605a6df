"""What stops every act for a while: holds, maintenance, incidents, caps, credentials (rule 12).

They come before any contact with the centre, so an action that would connect asks them first.
"""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from operator import itemgetter

from supervision.facts import Cap, Hold, Level, Verdict, Window
from supervision.rules.case import Case, defer
from supervision.rules.words import span, utc


def hold(case: Case) -> Verdict | None:
    """Wait while somebody said stop to the site, the login or the simulation."""
    if not case.facts.holds:
        return None
    scopes = _scopes(case)
    stop = next((hold for hold in case.facts.holds if hold.scope.casefold() in scopes), None)
    if stop is None:
        return None
    return defer("hold", _held(stop), until=case.now + case.policy.hold_again)


def maintenance(case: Case) -> Verdict | None:
    """Wait until a maintenance of the site is over, and the centre has come to rest after it."""
    windows = case.site.maintenance if case.site else ()
    ends = [window.end for window in windows if _closed(window, case)]
    if not ends:
        return None
    until = max(ends) + case.policy.maintenance_margin
    return defer(
        "maintenance", f"{case.place.site} is in maintenance until {utc(max(ends))}.", until=until
    )


def incident(case: Case) -> Verdict | None:
    """Wait while many simulations of the site fail together, until this job's turn comes."""
    open_one = case.facts.incident
    if open_one is None or open_one.admitted:
        return None
    sentence = (
        f"{open_one.simulations} simulations failed at {case.place.site} within "
        f"{span(open_one.window)}, an incident since {utc(open_one.opened_at)}: one of them is "
        "tried first, the others follow in steps when it has recovered."
    )
    return defer("incident", sentence, until=case.now + case.policy.incident_again)


def cap(case: Case) -> Verdict | None:
    """Wait while a cap on restarts is full; what does not restart by itself has no cap."""
    if case.level is not Level.AUTOMATIC:
        return None
    policy, begun = case.policy, case.facts.restarts
    caps = (
        (f"site {case.place.site}", policy.site_cap, begun.site),
        (f"simulation {case.facts.simulation.uid}", policy.simulation_cap, begun.simulation),
        (f"the user {case.place.login}", policy.user_cap, begun.user),
    )
    ways = ((_free_at(limit, at, case.now), who, limit) for who, limit, at in caps)
    full = [(free, who, limit) for free, who, limit in ways if free]
    if not full:
        return None
    until, who, limit = max(full, key=itemgetter(0))
    sentence = f"{who} had {limit.count} restarts within {span(limit.window)}."
    return defer("cap", sentence, until=until)


def credential(case: Case) -> Verdict | None:
    """Wait for a new credential, where a decision could lead to contact and it has expired."""
    return dead_credential(case) if case.may_ask else None


def dead_credential(case: Case) -> Verdict | None:
    """Wait for a new credential, for whoever is about to connect: an old row may still have to."""
    expires_at = case.facts.credential_expires_at
    if expires_at is None or expires_at > case.now:
        return None
    whose = f"the credential of {case.place.login!r} at {case.place.site}"
    until = case.now + case.policy.credential_again
    return defer("credential", f"{whose} expired at {utc(expires_at)}.", until=until)


def _scopes(case: Case) -> set[str]:
    site, simulation = case.place.site, case.facts.simulation
    logins = (f"login:{site}/{login}" for login in (case.place.login, simulation.login))
    credential = f"credential:{site}/{case.place.login}"
    scopes = chain(logins, (credential,), (f"site:{site}", f"simulation:{simulation.uid}"))
    return {scope.casefold() for scope in scopes}


def _held(stop: Hold) -> str:
    if stop.scope.startswith("credential:"):
        return f"{stop.scope} is parked since {utc(stop.since)}: {stop.reason}."
    return f"{stop.scope} is on hold since {utc(stop.since)} by {stop.actor}: {stop.reason}."


def _closed(window: Window, case: Case) -> bool:
    return window.start <= case.now < window.end + case.policy.maintenance_margin


def _free_at(limit: Cap, begun: tuple[datetime, ...], now: datetime) -> datetime | None:
    """When so many restarts have left the window that one place is free; None: one is now."""
    inside = sorted(at for at in begun if now - at < limit.window)
    if len(inside) < limit.count:
        return None
    return inside[len(inside) - limit.count] + limit.window
