"""What a rule is given and what it may answer. The only values that all rules share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from supervision.facts import (
    DecisionFacts,
    JobKind,
    Level,
    Place,
    Policy,
    SitePolicy,
    Trigger,
    TriggerKind,
    UserPolicy,
    Verdict,
    VerdictKind,
)
from supervision.rules.place import lesser_level, resolve, site_named, user_of

_KIND_OF_TRIGGER: Final = {
    TriggerKind.FATAL: JobKind.COMPUTE,
    TriggerKind.STALLED: JobKind.COMPUTE,
    TriggerKind.POST_PROCESSING: JobKind.POST_PROCESSING,
}
"""Triggers that only one kind of job can have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One question to the policy: the facts, the settings, the moment, and what follows from them.

    `kind` is the job's, or the only one that can have this trigger; None while nobody knows.
    `level` is the lesser of the site's mode and the user's level, before any cap.
    """

    facts: DecisionFacts
    policy: Policy
    now: datetime
    place: Place
    site: SitePolicy | None
    user: UserPolicy | None
    level: Level
    kind: JobKind | None

    @property
    def is_compute(self) -> bool:
        """Whether this is known to be a compute job."""
        return self.kind is JobKind.COMPUTE

    @property
    def may_ask(self) -> bool:
        """Whether the centre may be asked: where the service acts, or the site allows questions."""
        return self.level is Level.AUTOMATIC or (self.site is not None and self.site.ask)

    @property
    def began_at(self) -> datetime | None:
        """The job's start by its own clock, else its first message."""
        return self.facts.job.started_at or self.facts.job.first_at

    @property
    def age(self) -> timedelta:
        """How long ago the trigger was."""
        return self.now - spoken_at(self.facts.trigger, self.policy)


Rule = Callable[[Case], Verdict | None]
"""A rule speaks (a verdict that bears its name) or is silent (None). Pure."""


def case_of(facts: DecisionFacts, policy: Policy, now: datetime) -> Case:
    """Draw together what every rule needs; `now` is aware UTC."""
    place = resolve(facts.simulation, facts.job, policy)
    site = site_named(policy, place.site)
    user = user_of(policy, place.login, place.site)
    return Case(
        facts=facts,
        policy=policy,
        now=now,
        place=place,
        site=site,
        user=user,
        level=lesser_level(site, user, now),
        kind=facts.job.kind or _KIND_OF_TRIGGER.get(facts.trigger.kind),
    )


def spoken_at(trigger: Trigger, policy: Policy) -> datetime:
    """Tell when a trigger was; a clock far ahead at the centre counts as the trigger's arrival."""
    ahead = trigger.at - trigger.arrived_at
    return trigger.arrived_at if ahead > policy.future_tolerance else trigger.at


def refuse(
    rule: str,
    sentence: str,
    *,
    tell_owner: bool = False,
    tell_operator: bool = False,
    wake_at: datetime | None = None,
) -> Verdict:
    """Answer no: for good, or until `wake_at`."""
    return Verdict(
        kind=VerdictKind.REFUSE,
        rule=rule,
        sentence=sentence,
        wake_at=wake_at,
        tell_owner=tell_owner,
        tell_operator=tell_operator,
    )


def defer(rule: str, sentence: str, *, until: datetime) -> Verdict:
    """Answer not now: the rules are asked again at `until`."""
    return Verdict(kind=VerdictKind.DEFER, rule=rule, sentence=sentence, wake_at=until)


def merge(rule: str, sentence: str, *, until: datetime | None = None) -> Verdict:
    """Answer that something else stands for this trigger; looked at again at `until`, if ever."""
    return Verdict(kind=VerdictKind.MERGE, rule=rule, sentence=sentence, wake_at=until)
