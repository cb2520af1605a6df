"""May this trigger be considered at all: age, deletion, place, consent (rules 1 to 4)."""

from __future__ import annotations

from dataclasses import replace

from supervision.facts import Level, SimulationFacts, SitePolicy, UserPolicy, Verdict
from supervision.rules.case import Case, defer, refuse
from supervision.rules.place import expired
from supervision.rules.words import span, utc, what_happened


def too_old(case: Case) -> Verdict | None:
    """Refuse what happened longer than `max_age` ago: nobody expects an act any more."""
    if case.age <= case.policy.max_age:
        return None
    what = what_happened(case.facts.job.uid, case.facts.trigger)
    return refuse("too-old", f"{what}: more than {span(case.policy.max_age)} ago.")


def deleted(case: Case) -> Verdict | None:
    """Refuse for a simulation that was deleted after its last start and this job's first sign."""
    simulation, job = case.facts.simulation, case.facts.job
    at = simulation.deleted_at
    if at is None or any(t and t >= at for t in (simulation.last_start_at, job.first_at)):
        return None
    return refuse("deleted", f"simulation {_title(simulation)} was deleted at {utc(at)}.")


def where_and_who(case: Case) -> Verdict | None:
    """Speak while site, login or submission directory are not known, or the site is retired."""
    if case.facts.simulation.announced_at is None:
        return _unannounced(case)
    if case.site is None:
        simulation = case.facts.simulation
        where = f"centre {simulation.centre!r}, machine {simulation.machine!r}"
        return _want(case, f"no site is known for {where}.", tell_owner=True)
    if case.site.retired:
        return _retired(case.site)
    missing = "login" if case.place.login is None else "submission directory"
    if case.place.login is None or case.place.directory is None:
        return _want(case, f"the {missing} of {_who(case)} is not known.", tell_owner=True)
    return None


def consent(case: Case) -> Verdict | None:
    """Refuse what the user did not allow: at all, here, in this space, this simulation, by now."""
    user = case.user
    if user is None or user.level is Level.NOTHING:
        who = f"{case.place.login!r} at {case.place.site}"
        return refuse("consent", f"no consent of {who} to be helped is recorded.")
    if expired(user, case.now):
        return refuse("consent", f"the consent of {user.login!r} ended with {user.until}.")
    return _outside(user, case.facts.simulation)


def _unannounced(case: Case) -> Verdict:
    uid = case.facts.simulation.uid
    tries = case.facts.deferrals.get("where-and-who", 0)
    if tries < case.policy.want_tries:
        until = case.now + case.policy.want_delay
        return defer("where-and-who", f"no 0000 of simulation {uid} has come in yet.", until=until)
    return _want(case, f"no 0000 of simulation {uid} came in: nobody knows where it runs.")


def _want(case: Case, sentence: str, *, tell_owner: bool = False) -> Verdict:
    """Refuse for want: looked at again daily, for as long as the trigger is not too old."""
    again = case.policy.want_again
    wake_at = case.now + again if case.age + again <= case.policy.max_age else None
    verdict = refuse("where-and-who", sentence, tell_owner=tell_owner, wake_at=wake_at)
    return replace(verdict, for_want=True)


def _retired(site: SitePolicy) -> Verdict:
    instead = f"its successor is {site.successor}" if site.successor else "it has no successor"
    return refuse("where-and-who", f"site {site.name} is retired; {instead}.", tell_owner=True)


def _outside(user: UserPolicy, simulation: SimulationFacts) -> Verdict | None:
    spaces = {space.casefold() for space in user.spaces}
    if spaces and (simulation.space or "").casefold() not in spaces:
        return refuse("consent", f"{user.login!r} did not allow the space {simulation.space!r}.")
    if user.simulations and not {simulation.uid, simulation.name} & set(user.simulations):
        which = f"simulation {_title(simulation)}"
        return refuse("consent", f"{user.login!r} allowed other simulations, not {which}.")
    return None


def _who(case: Case) -> str:
    return f"simulation {_title(case.facts.simulation)} at {case.place.site}"


def _title(simulation: SimulationFacts) -> str:
    return f"{simulation.name} ({simulation.uid})" if simulation.name else simulation.uid
