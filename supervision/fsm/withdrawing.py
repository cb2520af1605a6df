"""Leaving a row behind safely: the agent is told first, and what it answers counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervision.facts import Answer, AnswerKind, FailureCause, Supervision
from supervision.fsm.acting import received
from supervision.fsm.outcomes import (
    UNASKED,
    Desk,
    Outcome,
    Unasked,
    by_login,
    not_yet,
    unreached,
)
from supervision.fsm.readings import read_answer
from supervision.fsm.states import Event, State

_FREE = {AnswerKind.FENCED, AnswerKind.NEVER_SEEN, AnswerKind.STALE, AnswerKind.OPTED_OUT}
"""Answers to `cancel` after which nothing of this attempt can ever start."""


def withdraw(outcomes: Sequence[Outcome], desk: Desk) -> list[Outcome]:
    """Tell the agents of attempts that are to be left; returns what may be confirmed.

    Whoever fails or cancels a row whose first byte may have left, and does not know from the
    agent how it ended, first has the key fenced. An attempt that turns out to run is waited for;
    one that has ended is told as it ended.
    """
    leaving = [outcome for outcome in outcomes if _is_open(outcome)]
    answers = _cancel([outcome.row for outcome in leaving], desk)
    return [
        _after(outcome, answers[outcome.row.id], desk) if outcome.row.id in answers else outcome
        for outcome in outcomes
    ]


_ONWARD = {None, Event.FORMAT, Event.DISPATCH, Event.EXECUTE}
"""Not yet, and the events that a receipt or an outcome confirms: they leave nothing behind."""


def _is_open(outcome: Outcome) -> bool:
    return (
        outcome.event not in _ONWARD
        and not outcome.by_agent
        and not outcome.unreached
        and outcome.row.state in {State.FORMATTED, State.DISPATCHED}
        and outcome.row.dispatch_try_count > 0
    )


def _cancel(rows: Sequence[Supervision], desk: Desk) -> dict[str, Answer | Unasked]:
    found: dict[str, Answer | Unasked] = {}
    for (site, login), group in by_login(rows).items():
        try:
            answers = desk.transport.cancel(site, login, [row.key for row in group])
        except UNASKED as error:
            found.update({row.id: error for row in group})
        else:
            found.update({row.id: answer for row, answer in zip(group, answers, strict=True)})
    return found


def _after(outcome: Outcome, answer: Answer | Unasked, desk: Desk) -> Outcome:
    row = outcome.row
    if isinstance(answer, UNASKED):
        return outcome if _is_hopeless(outcome) else unreached(row, desk, str(answer))
    if answer.kind in _FREE:
        return replace(outcome, by_agent=True)
    if answer.kind in {AnswerKind.RUNNING, AnswerKind.BUSY, AnswerKind.ACCEPTED}:
        until = desk.backoff(row.backoff, desk.settings.status_first, desk.settings.status_cap)
        reason = f"{outcome.reason}; it is running at the centre already: {answer.detail}"
        return not_yet(row, until, reason, backoff=row.backoff + 1)
    if row.state is State.FORMATTED:
        return received(row, answer, desk) or outcome
    if answer.kind is AnswerKind.UNKNOWN and _is_hopeless(outcome):
        return outcome
    return read_answer(row, answer, desk) or outcome


def _is_hopeless(outcome: Outcome) -> bool:
    """Two weeks without an answer: the row ends all the same, and a later attempt fences it."""
    return outcome.cause == FailureCause.EXPIRED and outcome.row.state is State.DISPATCHED
