"""When many failures at a site are one incident, and who may go next in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from supervision.facts import Cap, IncidentState, Policy

_LONGEST_WAIT: Final = 6
"""Pauses between two canaries at most: they double while canary after canary fails."""


class Fate(StrEnum):
    """What became of a job that was let go."""

    PENDING = "pending"
    ACTED = "acted"
    RECOVERED = "recovered"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """How an incident stands: `waiting` jobs were not let go yet.

    `fates`: open, of every canary since it opened (again); recovering, of the last step's jobs.
    `stepped_at`: when the last of them were let go. `quiet_since`: when a job joined last.
    """

    state: IncidentState
    fates: Sequence[Fate]
    stepped_at: datetime
    quiet_since: datetime
    waiting: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What is done next: `admit` so many, go into this state, and say why."""

    state: IncidentState
    sentence: str
    admit: int = 0


def many_failed(failures: Iterable[tuple[datetime, str]], limit: Cap) -> int:
    """Tell how many simulations failed within one window; 0 where they are fewer than the limit.

    `failures` are times and simulation uids, in any order. What counts is when they failed, not
    when the news came: a mailbox of a week is no incident.
    """
    most, begin = 0, 0
    inside: dict[str, int] = {}
    ordered = sorted(failures)
    for at, uid in ordered:
        inside[uid] = inside.get(uid, 0) + 1
        while at - ordered[begin][0] > limit.window:
            left = ordered[begin][1]
            inside[left] -= 1
            if not inside[left]:
                del inside[left]
            begin += 1
        most = max(most, len(inside))
    return most if most >= limit.count else 0


def next_step(it: Situation, policy: Policy, now: datetime) -> Step | None:
    """Tell what an open incident does now; None: it waits.

    Open: one canary at a time, with longer and longer pauses, until one recovers. Recovering: each
    step lets twice as many go as the one before; when most of them fail again, back to canaries.
    It ends when nobody waits and nothing has failed for a window.
    """
    if not it.waiting:
        return _end(it, policy, now)
    if it.state is IncidentState.OPEN:
        return _canary(it, policy, now)
    return _more(it, policy, now)


def _end(it: Situation, policy: Policy, now: datetime) -> Step | None:
    if now - max(it.quiet_since, it.stepped_at) < policy.incident.window:
        return None
    return Step(state=IncidentState.CLOSED, sentence="nobody waits, and nothing more has failed")


def _canary(it: Situation, policy: Policy, now: datetime) -> Step | None:
    if Fate.RECOVERED in it.fates:
        sentence = "the one that was tried has recovered: two more may go"
        return Step(state=IncidentState.RECOVERING, sentence=sentence, admit=2)
    if now - it.stepped_at < _between(it.fates, policy):
        return None
    sentence = (
        f"{len(it.fates)} tried, none has recovered yet" if it.fates else "one is tried first"
    )
    return Step(state=IncidentState.OPEN, sentence=sentence, admit=1)


def _between(fates: Sequence[Fate], policy: Policy) -> timedelta:
    """How long one canary keeps the next from being tried."""
    if not fates:
        return timedelta()
    if set(fates) != {Fate.FAILED}:
        return policy.incident_patience
    pause: timedelta = policy.incident_pause * min(2 ** (len(fates) - 1), _LONGEST_WAIT)
    return pause


def _more(it: Situation, policy: Policy, now: datetime) -> Step | None:
    count = len(it.fates)
    if it.fates.count(Fate.FAILED) * 2 > count:
        sentence = f"{it.fates.count(Fate.FAILED)} of the last {count} failed again: one by one"
        return Step(state=IncidentState.OPEN, sentence=sentence)
    if now - it.stepped_at < policy.incident_pause or it.fates.count(Fate.PENDING) * 2 > count:
        return None
    sentence = f"the last {count} went well enough: {2 * count} more may go"
    return Step(state=IncidentState.RECOVERING, sentence=sentence, admit=2 * count)
