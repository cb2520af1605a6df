"""What the looks at the centre amount to: one word for each, and whether they agree over time.

Nothing is decided here. Silence is never read as an end: what is not seen is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Final

from supervision.facts import EndReason, JobKind, Look, RunCard, Sight, TriggerKind
from supervision.rules.case import Case

ALIVE: Final = frozenset({Sight.QUEUED, Sight.RUNNING, Sight.HELD})
_BAD_ENDS: Final = frozenset(
    {EndReason.FAILED, EndReason.TIMEOUT, EndReason.NODE_FAIL, EndReason.OUT_OF_MEMORY}
)
_COMPLETED: Final = "completed"
_ON_QUEUE: Final = "onqueue"


class Seen(StrEnum):
    """What one look amounts to."""

    UNKNOWN = "unknown"  # not reachable, or what was seen does not suffice
    FOREIGN = "foreign"  # run.card belongs to another simulation
    ALIVE = "alive"  # the job is queued, running or held
    OTHER_ALIVE = "other-alive"  # another job of the same name and directory is
    CANCELLED = "cancelled"  # somebody stopped it
    COMPLETE = "complete"  # it ended well; the message is on its way
    BAD_END = "bad-end"  # failure, time limit, node, memory
    IDLE = "idle"  # OnQueue and no job: broken between two jobs, once two looks agree
    GONE = "gone"  # the scheduler knows it no more: absent, once two looks agree


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What the newest look amounts to. `since` is the oldest of the looks that agree with it.

    Looks that saw nothing do not interrupt an agreement; any other one does.
    """

    seen: Seen
    look: Look
    since: datetime

    def agreed_over(self, apart: timedelta) -> bool:
        """Whether two looks at least `apart` from each other agree."""
        return self.look.at - self.since >= apart


def find(case: Case) -> Finding | None:
    """Read the looks of a case, newest last; None where there has been none."""
    looks = case.facts.looks
    if not looks:
        return None
    newest = looks[-1]
    seen = seen_in(newest, case)
    agreeing = list(_agreeing(case, seen))
    return Finding(seen=seen, look=newest, since=agreeing[-1].at)


def found_failed(case: Case) -> bool:
    """Tell whether the looks prove that the job ended badly, or is absent."""
    finding = find(case)
    if finding is None:
        return False
    gone = finding.seen is Seen.GONE and finding.agreed_over(case.policy.look_apart)
    return gone or finding.seen is Seen.BAD_END


def seen_in(look: Look, case: Case) -> Seen:
    """Say what one look amounts to, for this job and this trigger."""
    if not look.reachable:
        return Seen.UNKNOWN
    if case.is_compute and _is_foreign(look.run_card, case):
        return Seen.FOREIGN
    if look.sight in ALIVE:
        return Seen.ALIVE
    if look.sight is Sight.ENDED and look.reason is EndReason.CANCELLED:
        return Seen.CANCELLED
    return _post_processing(look) if case.kind is JobKind.POST_PROCESSING else _compute(look, case)


def period_of(case: Case) -> int | None:
    """Tell the period that the job worked on: its last 1001's, else the run.card last seen."""
    if case.facts.job.period is not None:
        return case.facts.job.period
    cards = (look.run_card for look in reversed(case.facts.looks) if look.run_card)
    ours = (card for card in cards if not _is_foreign(card, case))
    return next((card.period for card in ours if card.period is not None), None)


def unknown_since(case: Case) -> tuple[Look, ...]:
    """List the looks, newest first, that saw nothing since the last one that saw something."""
    newest_first = reversed(case.facts.looks)
    return tuple(takewhile(lambda look: seen_in(look, case) is Seen.UNKNOWN, newest_first))


def _agreeing(case: Case, seen: Seen) -> Iterator[Look]:
    for look in reversed(case.facts.looks):
        was = seen_in(look, case)
        if was is seen:
            yield look
        elif was is not Seen.UNKNOWN:
            return


def _is_foreign(card: RunCard | None, case: Case) -> bool:
    uid = card.simulation_uid if card else None
    return bool(uid) and str(uid).casefold() != case.facts.simulation.uid.casefold()


def _post_processing(look: Look) -> Seen:
    """Only the scheduler's word counts: run.card speaks of the compute job."""
    if look.sight is Sight.ENDED and look.reason is EndReason.COMPLETED:
        return Seen.COMPLETE
    return _by_scheduler(look)


def _compute(look: Look, case: Case) -> Seen:
    state = (look.run_card.state or "").strip().casefold() if look.run_card else ""
    if state == _COMPLETED:
        return Seen.COMPLETE
    if state == _ON_QUEUE:
        return _on_queue(look)
    if look.others:
        return Seen.OTHER_ALIVE
    return _silent(look, case, state)


def _silent(look: Look, case: Case, state: str) -> Seen:
    """Nothing of that name lives, and run.card stands in a period: say how it ended."""
    if look.newest is EndReason.CANCELLED:
        return Seen.CANCELLED  # the job's successor was stopped by its owner, before it was heard
    if case.facts.trigger.kind is TriggerKind.STALLED:
        return _silent_successor(look)
    if look.sight is Sight.ENDED and look.reason is EndReason.COMPLETED:
        return _mid_period(look, case) if state else Seen.UNKNOWN
    return _by_scheduler(look)


def _mid_period(look: Look, case: Case) -> Seen:
    """The job ended with 0, and run.card stands in the midst of a period.

    In the period that the job itself began: its script did not do its work. In any other, or
    where nobody told: it ended well, its successor changed run.card, and died unheard.
    """
    own = case.facts.job.period
    card = look.run_card
    return Seen.BAD_END if card and own is not None and card.period == own else Seen.GONE


def _on_queue(look: Look) -> Seen:
    if look.others:
        return Seen.COMPLETE
    if look.newest is EndReason.CANCELLED:
        return Seen.CANCELLED  # the next job was there, and its owner stopped it while it waited
    return Seen.IDLE if look.others is False and look.scheduler_alive else Seen.UNKNOWN


def _silent_successor(look: Look) -> Seen:
    """Neither OnQueue nor any job: the next job began, changed run.card, and died unheard.

    What the scheduler says of the job that ended well before tells nothing about that one.
    """
    told = look.run_card is not None and bool(look.run_card.state)
    sure = told and look.others is False and look.scheduler_alive
    return Seen.GONE if sure else Seen.UNKNOWN


def _by_scheduler(look: Look) -> Seen:
    if look.sight is Sight.ENDED:
        return Seen.BAD_END if look.reason in _BAD_ENDS else Seen.GONE
    if look.sight is Sight.ABSENT and look.scheduler_alive:
        return Seen.GONE
    return Seen.UNKNOWN
