"""What people order: cancel, retry, force. Claimed like any work, told to the agent like any leave.

An order waits for a lease and never breaks one. Where the agent cannot be asked, the wish is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Event as Signal
from time import perf_counter
from typing import Final

from db import dao_claims, dao_decisions, dao_supervision
from supervision import policy as rules
from supervision.errors import IllegalTransition, NotFound, Refused
from supervision.facts import (
    CancelCause,
    FailureCause,
    Handling,
    Supervision,
    VerdictKind,
    Wish,
)
from supervision.fsm import machine
from supervision.fsm.engine.confirming import confirm
from supervision.fsm.engine.desk import EngineDesk
from supervision.fsm.engine.gathering import gather
from supervision.fsm.engine.opening import Case, open_supervisions
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import Outcome, begun_anew
from supervision.fsm.states import STATES, Event, State
from supervision.fsm.withdrawing import withdraw

_PAUSE_SECONDS: Final = 0.2


class Obeyed(StrEnum):
    """How an order ended."""

    DONE = "done"
    WISHED = "wished"  # the agent cannot be asked: the row remembers what was wanted
    OTHERWISE = "otherwise"  # the agent said that the attempt has ended, or runs: that was told


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who orders, and why: in words, for the history. `insists`: also while a script runs."""

    actor: str
    reason: str
    insists: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Obedience:
    """What became of an order, in a sentence for whoever gave it."""

    how: Obeyed
    sentence: str
    supervision_id: str


def order(tools: Tools, event: Event, supervision_id: str, person: Person) -> Obedience:
    """Fire a person's event for one row: cancel, or one of the forced ones.

    Raises Refused with the reason where the state machine or the row's lease does not let it be
    done, and NotFound. The agent is told before a row whose first byte may have left is left; an
    attempt that it says runs is left to itself only where the person insists.
    """
    row = _seized(tools, event, supervision_id)
    desk = EngineDesk(tools)
    wanted = _ordered(row, event, person)
    outcome = withdraw([wanted], desk)[0]
    if outcome.event is None and person.insists and not outcome.unreached:
        outcome = wanted
    if outcome.event is None and row.state in {State.FORMATTED, State.DISPATCHED}:
        return _put_off(tools, desk, row, outcome, (event, person))
    written = confirm(tools, desk, [outcome], perf_counter())
    if not written:
        raise Refused(f"supervision {row.id} changed meanwhile, or another one is open: look again")
    if outcome.event is not event:
        sentence = f"not {event}: the centre says that it ended already: {outcome.reason}"
        return Obedience(how=Obeyed.OTHERWISE, sentence=sentence, supervision_id=row.id)
    target = machine.target(row.state, event)
    sentence = f"supervision {row.id}: {row.state} -> {target}"
    return Obedience(how=Obeyed.DONE, sentence=sentence, supervision_id=row.id)


def _seized(tools: Tools, event: Event, supervision_id: str) -> Supervision:
    """Claim the row, waiting for whoever has it: at most as long as a lease lasts."""
    clock = tools.ports.clock
    deadline = clock.monotonic_seconds() + tools.settings.lease.total_seconds()
    while True:
        with tools.database.write() as session:
            found = dao_supervision.of_ids(session, [supervision_id]).get(supervision_id)
            _refuse_impossible(found, event, supervision_id)
            now = tools.database.now(session)
            until = now + tools.settings.lease
            row = dao_claims.seize(session, supervision_id, lease=(now, until))
        if row is not None:
            return row
        if clock.monotonic_seconds() >= deadline:
            raise Refused(f"supervision {supervision_id} is being worked on; try again in a minute")
        Signal().wait(_PAUSE_SECONDS)


def _refuse_impossible(row: Supervision | None, event: Event, supervision_id: str) -> None:
    if row is None:
        raise NotFound(f"there is no supervision {supervision_id}")
    try:
        machine.target(row.state, event)
    except IllegalTransition as error:
        raise Refused(f"supervision {row.id} is {row.state}: {error}") from error


def _ordered(row: Supervision, event: Event, person: Person) -> Outcome:
    cause = {
        Event.CANCEL: CancelCause.PERSON.value,
        Event.FORCE_CANCELLED: CancelCause.PERSON.value,
        Event.FORCE_FAILED: FailureCause.FORCED.value,
    }.get(event)
    if event is Event.FORCE_DETECTED:
        return begun_anew(row, actor=person.actor, reason=person.reason)
    after = row.changed(wanted=None, cause=cause, reason=person.reason)
    return Outcome(
        row=row,
        after=after,
        event=event,
        reason=person.reason,
        cause=cause,
        actor=person.actor,
        by_person=True,
    )


_WISHES: Final = {
    Event.CANCEL: Event.CANCEL,
    Event.FORCE_CANCELLED: Event.CANCEL,
    Event.FORCE_DETECTED: Event.RETRY,
}
"""Orders that a row remembers while its agent cannot be asked, and as what."""


def _put_off(
    tools: Tools,
    desk: EngineDesk,
    row: Supervision,
    outcome: Outcome,
    ordered: tuple[Event, Person],
) -> Obedience:
    """The agent could not be asked, or the script runs: nothing is forced over its head."""
    event, person = ordered
    if outcome.unreached and event in _WISHES:
        wish = Wish(event=_WISHES[event].value, actor=person.actor, reason=person.reason)
        kept = replace(outcome, after=outcome.after.changed(wanted=wish))
        confirm(tools, desk, [kept], perf_counter())
        sentence = f"the centre cannot be asked ({outcome.reason}); it is done once it can"
        return Obedience(how=Obeyed.WISHED, sentence=sentence, supervision_id=row.id)
    confirm(tools, desk, [outcome], perf_counter())
    raise Refused(f"supervision {row.id} is left as it is: {outcome.reason}")


def _refuse_begun(handling: Handling | None) -> None:
    if handling is not None and (
        STATES[handling.state].unfinished or handling.state is State.EXECUTED
    ):
        raise Refused(f"supervision {handling.id} is {handling.state}: it cannot be retried")


def retry(tools: Tools, job_uid: str, person: Person) -> Obedience:
    """Begin an attempt by a person's word: of a failed or cancelled row, or of a refused decision.

    The rules that protect the simulation are asked all the same; what they say is the refusal.
    """
    desk = EngineDesk(tools)
    with tools.database.write() as session:
        now = tools.database.now(session)
        decisions = dao_decisions.rows_of_jobs(session, [job_uid])
        if not decisions:
            raise NotFound(f"nothing is in the ledger about job {job_uid}")
        handled = dao_supervision.of_jobs(session, [job_uid]).get(job_uid)
        row = next((each for each in decisions if handled and each.id == handled.decision_id), None)
        row = row or max(decisions, key=lambda each: each.last_at)
        facts = replace(gather(session, [row], desk.policy, now)[row.id], by_person=True)
        _refuse_begun(facts.handling)  # by what the rules see: another retry may just have ended
        verdict = rules.decide(facts, desk.policy, now)
        if verdict.kind is not VerdictKind.SUPERVISE:
            raise Refused(f"not retried, by rule {verdict.rule}: {verdict.sentence}")
        opened = open_supervisions(
            tools, session, [Case(row=row, facts=facts, verdict=verdict, at=now)], desk.policy, now
        )
        if opened.raced:
            raise Refused("something else happened to it at the same moment: look, and try again")
        for step in opened.history:
            step.update(actor=person.actor, reason=person.reason, by_person=True)
        opened.finish(session)
        made = dao_supervision.of_jobs(session, [job_uid])[job_uid]
    tools.publish(opened.wakeups)
    sentence = f"attempt {made.attempt} of supervision {made.id} has begun"
    return Obedience(how=Obeyed.DONE, sentence=sentence, supervision_id=made.id)
