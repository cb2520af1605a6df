"""Deciding with open eyes: where the rules want a look at the centre, look, and decide again.

Used before a verdict (the engine's `decide`) and before an act (the dispatch action). What a look
shows of an act is read here too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from supervision import policy
from supervision.facts import (
    DecisionFacts,
    JobKind,
    Look,
    Place,
    Policy,
    Sight,
    SimulationFacts,
    Subject,
    Supervision,
    TriggerKind,
    Verdict,
)
from supervision.fsm.outcomes import (
    UNASKED,
    Desk,
    Unasked,
)
from supervision.ports import Transport

_POST = {TriggerKind.POST_PROCESSING}
_ALIVE = {Sight.QUEUED, Sight.RUNNING, Sight.HELD}


class Placed(Protocol):
    """Anything that says where the looking is to be done: a Place, or a supervision's row."""

    @property
    def site(self) -> str | None:
        """The site's name in the settings."""

    @property
    def login(self) -> str | None:
        """The login there."""

    @property
    def directory(self) -> str | None:
        """The submission directory; generations A and B tell none, so it may be the site's."""


def decided(
    facts: Mapping[str, DecisionFacts], places: Mapping[str, Placed], desk: Desk
) -> dict[str, Verdict | Unasked]:
    """Decide each set of facts, looking at the centre where the rules ask for it.

    A look that cannot be made comes out as the error it raised. Looks that were made are
    stored with their decisions, so that the next decision has them too.
    """
    now = desk.now()
    found: dict[str, Verdict | Unasked] = {}
    asking: dict[str, DecisionFacts] = {}
    for name, each in facts.items():
        verdict = policy.decide(each, desk.policy, now)
        found[name] = verdict
        if verdict.ask:
            asking[name] = each
    if not asking:
        return found
    seen, problems = look(asking, places, desk.transport)
    looked = {name: with_look(asking[name], sight) for name, sight in seen.items()}
    desk.keep_looks(looked)
    for name, each in looked.items():
        found[name] = policy.decide(each, desk.policy, desk.now())
    return {**found, **problems}


def with_look(facts: DecisionFacts, seen: Look) -> DecisionFacts:
    """Append a look; the newest is last."""
    return replace(facts, looks=(*facts.looks, seen))


def look(
    facts: Mapping[str, DecisionFacts], places: Mapping[str, Placed], transport: Transport
) -> tuple[dict[str, Look], dict[str, Unasked]]:
    """Look at the centre for many at once: one request for each site and login."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in facts:
        place = places[name]
        groups.setdefault((place.site or "", place.login or ""), []).append(name)
    seen: dict[str, Look] = {}
    problems: dict[str, Unasked] = {}
    for (site, login), names in groups.items():
        try:
            looks = transport.look(
                site, login, [subject_of(name, facts[name], places[name]) for name in names]
            )
        except UNASKED as error:
            problems.update(dict.fromkeys(names, error))
        else:
            seen.update(zip(names, looks, strict=True))
    return seen, problems


def subject_of(ref: str, facts: DecisionFacts, place: Placed) -> Subject:
    """Say what to look at: the job by scheduler id, else by its simulation's name and directory."""
    kind = facts.job.kind or (
        JobKind.POST_PROCESSING if facts.trigger.kind in _POST else JobKind.COMPUTE
    )
    return Subject(
        ref=ref,
        name=facts.simulation.name or "",
        directory=place.directory or "",
        kind=kind,
        scheduler_id=facts.job.scheduler_id,
    )


def place_of(facts: DecisionFacts, current: Policy) -> Place:
    """Where the job lives, by this policy."""
    return policy.resolve(facts.simulation, facts.job, current)


def subject_by_name(
    row: Supervision, simulations: Mapping[str, SimulationFacts], scheduler_id: str | None
) -> Subject:
    """What to look at: one job, or without an id any job of that name and directory."""
    return Subject(
        ref=row.id,
        name=simulations[row.simulation_uid].name or "",
        directory=row.directory,
        kind=row.kind,
        scheduler_id=scheduler_id,
    )


def a_job_lives(seen: Look) -> bool:
    """Whether the job, or another one of its name and directory, is queued or running."""
    return bool(seen.others) or seen.sight in _ALIVE


def is_cleaned(seen: Look) -> bool:
    """Whether run.card is as clean leaves it, and waits for its next job."""
    return seen.run_card is not None and seen.run_card.on_queue


def kept(seen: Look) -> str:
    """What the row keeps of a look; JSON."""
    card = seen.run_card
    return json.dumps(
        {
            "at": seen.at.isoformat(),
            "sight": seen.sight.value if seen.reachable else "unreachable",
            "reason": seen.reason.value if seen.reason else None,
            "others": seen.others,
            "period_state": card.state if card else None,
            "period": card.period if card else None,
            "problem": seen.problem,
        }
    )
