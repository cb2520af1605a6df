"""What is decided about a trigger: the rules in their order, and the first that speaks wins.

Pure: the same facts, policy and moment give the same verdict, for ever. A rule is a small function
in `rules/`, with a name and a sentence; here stands only who speaks when.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from supervision.facts import (
    DecisionFacts,
    Level,
    Place,
    Policy,
    Trigger,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.rules.admission import consent, deleted, too_old, where_and_who
from supervision.rules.asking import ask, lone_command
from supervision.rules.brakes import cap, credential, dead_credential, hold, incident, maintenance
from supervision.rules.case import Rule, case_of, defer, refuse, spoken_at
from supervision.rules.closing import supervise, unknown_kind
from supervision.rules.handled import handled, next_try
from supervision.rules.incidents import Fate, Situation, Step, many_failed, next_step
from supervision.rules.overtaken import busy, complete, ended, replaced, superseded
from supervision.rules.place import level_of, resolve, site_named, site_named_by, user_of
from supervision.rules.repeated import again, first_period, no_progress

__all__ = [
    "RULES",
    "Disposition",
    "Fate",
    "Situation",
    "Step",
    "act_not_before",
    "before_acting",
    "braked",
    "decide",
    "defer",
    "level_of",
    "many_failed",
    "next_step",
    "next_try",
    "overtaken",
    "refuse",
    "resolve",
    "site_named",
    "site_named_by",
    "user_of",
]

Disposition = Literal["act", "wait", "expire", "cancel"]
"""What the verdict before an act does to the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """A rule in its place, and whom it meets.

    `person`: also an attempt that a person began. `acting`: also the row that is about to act.
    """

    speak: Rule
    person: bool = False
    acting: bool = True


RULES: Final[tuple[Ranked, ...]] = (
    Ranked(speak=too_old),
    Ranked(speak=deleted, person=True),
    Ranked(speak=where_and_who, person=True),
    Ranked(speak=consent, person=True),
    Ranked(speak=handled, acting=False),
    Ranked(speak=complete, person=True),
    Ranked(speak=ended),
    Ranked(speak=superseded, person=True),
    Ranked(speak=replaced, person=True),
    Ranked(speak=busy, person=True, acting=False),
    Ranked(speak=again),
    Ranked(speak=no_progress),
    Ranked(speak=first_period),
    Ranked(speak=hold, person=True),
    Ranked(speak=maintenance, person=True),
    Ranked(speak=incident),
    Ranked(speak=cap, person=True),
    Ranked(speak=credential, person=True),
    Ranked(speak=lone_command),
    Ranked(speak=ask),
    Ranked(speak=unknown_kind),
    Ranked(speak=supervise, person=True),
)
"""Every rule, in order. The last one is never silent."""


def decide(facts: DecisionFacts, policy: Policy, now: datetime) -> Verdict:
    """Answer a trigger. `now` is aware UTC; the verdict bears the name of the rule that spoke.

    A verdict with `ask` wants a look at the centre: append it to `facts.looks`, newest last and
    none left out, and decide again. SUPERVISE for a job that has a supervision is its retry.
    """
    case = case_of(facts, policy, now)
    for rule in _MET[facts.by_person, facts.before_acting]:
        verdict = rule(case)
        if verdict is not None:
            return verdict
    return supervise(case)


def before_acting(verdict: Verdict) -> Disposition:
    """Tell what a verdict on `before_acting` facts does to the row: act, wait, expire or cancel."""
    if verdict.kind is VerdictKind.SUPERVISE:
        return "act"
    if verdict.for_want or verdict.kind is not VerdictKind.REFUSE:
        return "wait"
    return "expire" if verdict.rule == "too-old" else "cancel"


def act_not_before(trigger: Trigger, policy: Policy, *, level: Level = Level.AUTOMATIC) -> datetime:
    """Tell the moment before which a supervision of this level is not dispatched.

    Level 2 waits `grace` after the trigger; a mail about a late job waits `mail_late_wait`.
    """
    at = spoken_at(trigger, policy)
    if level is Level.AUTOMATIC:
        return at + policy.grace
    late = trigger.kind is TriggerKind.LATE and level is Level.MAIL
    return at + policy.mail_late_wait if late else at


def _met(*, person: bool, acting: bool) -> tuple[Rule, ...]:
    met = (rule for rule in RULES if (rule.person or not person) and (rule.acting or not acting))
    return tuple(rule.speak for rule in met)


_MET: Final = {
    (person, acting): _met(person=person, acting=acting)
    for person in (False, True)
    for acting in (False, True)
}
"""The rules that are asked, by (begun by a person, right before acting)."""


def overtaken(facts: DecisionFacts, policy: Policy, now: datetime) -> Verdict | None:
    """Tell whether the simulation went on, or came to its end, whoever brought that about.

    Asked about a script that its user has by mail: how old the trigger is by then says nothing.
    """
    case = case_of(facts, policy, now)
    return next((verdict for rule in _OVERTAKING if (verdict := rule(case))), None)


_OVERTAKING: Final[tuple[Rule, ...]] = (complete, superseded)


def braked(
    facts: DecisionFacts, policy: Policy, now: datetime, *, place: Place | None = None
) -> Verdict | None:
    """Tell what forbids any contact with the centre now: a hold, maintenance, a dead credential.

    `place` is where a row lives, frozen on it; without one it is worked out from the facts.

    Whoever would connect asks this first, `status` and `look` included. Caps are not asked: they
    count restarts, and asking restarts nothing. None: nothing stands in the way.
    """
    case = case_of(facts, policy, now)
    if place is not None:
        case = replace(case, place=place, site=site_named(policy, place.site))
    return next((verdict for rule in _BRAKES if (verdict := rule(case))), None)


_BRAKES: Final[tuple[Rule, ...]] = (hold, maintenance, dead_credential)
