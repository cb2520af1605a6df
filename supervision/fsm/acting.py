"""Level 2, formatted: ask what is known of the key, decide again, count the act, send it.

The order is the safety: what the agent knows comes before the rules, the rules before the caps,
the count before the first byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from supervision import policy
from supervision.facts import (
    Answer,
    AnswerKind,
    CancelCause,
    FailureCause,
    Order,
    Supervision,
    Verdict,
)
from supervision.fsm.looking import decided
from supervision.fsm.outcomes import (
    UNASKED,
    Desk,
    Outcome,
    answered,
    by_login,
    done,
    failed,
    needless,
    not_yet,
    unbraked,
    unreached,
    wished,
)
from supervision.fsm.readings import GIVEN_UP, declined
from supervision.fsm.states import Event, ExecutionStatus

_JOURNALLED = {
    AnswerKind.ACCEPTED: ExecutionStatus.PENDING,
    AnswerKind.RUNNING: ExecutionStatus.RUNNING,
    AnswerKind.EXECUTED: ExecutionStatus.PENDING,
    AnswerKind.DECLINED: ExecutionStatus.PENDING,
    AnswerKind.FAILED: ExecutionStatus.PENDING,
    AnswerKind.UNKNOWN: ExecutionStatus.UNKNOWN,
    AnswerKind.LOST: ExecutionStatus.UNKNOWN,
}
"""Answers that prove that the key is in the agent's journal, however it went on there."""


@dataclass(kw_only=True)
class _Work:
    """What is settled and what is not, while a set of rows goes through the steps."""

    desk: Desk
    outcomes: list[Outcome] = field(default_factory=list)


def act(rows: Sequence[Supervision], desk: Desk) -> list[Outcome]:
    """Take level 2 rows from formatted to dispatched, or say why not; one outcome a row."""
    if not rows:
        return []
    work = _Work(desk=desk)
    free, braked = unbraked(rows, desk, desk.simulations(rows))
    work.outcomes += braked
    wanting = [row for row in free if row.wanted is not None]
    work.outcomes += [wished(row) for row in wanting]
    asked = _asked(work, [row for row in free if row.wanted is None])
    admitted = _allowed(work, asked)
    _send(work, admitted)
    return work.outcomes


def _asked(work: _Work, rows: Sequence[Supervision]) -> list[Supervision]:
    """Rows whose first byte may have left ask for their key before anything else is believed."""
    fresh = [row for row in rows if row.dispatch_try_count == 0]
    tried = [row for row in rows if row.dispatch_try_count > 0]
    for (site, login), group in by_login(tried).items():
        try:
            answers = work.desk.transport.status(site, login, [row.key for row in group])
        except UNASKED as error:
            work.outcomes += [unreached(row, work.desk, str(error)) for row in group]
            continue
        for row, answer in zip(group, answers, strict=True):
            outcome = received(row, answer, work.desk)
            if outcome is None:
                fresh.append(row)
            else:
                work.outcomes.append(outcome)
    return fresh


def _allowed(work: _Work, rows: Sequence[Supervision]) -> list[tuple[Supervision, datetime]]:
    """Ask the rules again, looking at the centre where they want it, then the caps."""
    if not rows:
        return []
    acting = []
    verdicts = decided(work.desk.facts(rows), {row.id: row for row in rows}, work.desk)
    for row in rows:
        verdict = verdicts[row.id]
        if isinstance(verdict, UNASKED):
            work.outcomes.append(unreached(row, work.desk, str(verdict)))
        elif policy.before_acting(verdict) == "act":
            acting.append(row)
        else:
            work.outcomes.append(stopped(row, verdict, work.desk))
    admitted = work.desk.admit(acting) if acting else {}
    for row in acting:
        if row.id not in admitted:
            work.outcomes.append(_full(row, work.desk))
    return [(row, admitted[row.id]) for row in acting if row.id in admitted]


def stopped(row: Supervision, verdict: Verdict, desk: Desk) -> Outcome:
    """What a verdict that does not let the row act does to it: wait, expire, or cancel."""
    match policy.before_acting(verdict):
        case "expire":
            return failed(row, FailureCause.EXPIRED, verdict.sentence)
        case "cancel":
            return needless(row, CancelCause.POLICY, verdict.sentence)
        case _:
            first, cap = desk.settings.rewake_first, desk.settings.rewake_cap
            until = verdict.wake_at or desk.backoff(0, first, cap)
            return not_yet(row, until, verdict.sentence, cause=verdict.rule)


def _full(row: Supervision, desk: Desk) -> Outcome:
    """Others took the last room under the cap, or the claim is over; look again soon."""
    until = desk.backoff(row.backoff, desk.settings.rewake_first, desk.settings.rewake_cap)
    return not_yet(
        row, until, "the caps of the site have no room for it now", backoff=row.backoff + 1
    )


def _send(work: _Work, admitted: Sequence[tuple[Supervision, datetime]]) -> None:
    until = {row.id: lease for row, lease in admitted}
    for (site, login), group in by_login([row for row, _ in admitted]).items():
        whole = work.desk.with_scripts(group)
        orders = [_order(row, until[row.id], work.desk) for row in whole]
        try:
            answers = work.desk.transport.submit(site, login, orders)
        except UNASKED as error:
            work.outcomes += [unreached(row, work.desk, str(error)) for row in group]
            continue
        for row, answer in zip(group, answers, strict=True):
            work.outcomes.append(_receipt(row, answer, work.desk))


def _order(row: Supervision, expires_at: datetime, desk: Desk) -> Order:
    site = policy.site_named(desk.policy, row.site)
    return Order(
        key=row.key,
        directory=row.directory,
        script=row.script,
        interpreter=site.interpreter if site else "ksh",
        expires_at=expires_at,
        timeout=desk.settings.script_timeout,
    )


def _receipt(row: Supervision, answer: Answer, desk: Desk) -> Outcome:
    """A submit is answered: an answer that settles nothing means not yet, with the same key."""
    outcome = received(row, answer, desk)
    return outcome or unreached(row, desk, f"the agent answered a submit with {answer.kind}")


def received(row: Supervision, answer: Answer, desk: Desk) -> Outcome | None:
    """Tell what an answer about the key does to a formatted row; None when nobody has seen it."""
    if answer.kind in _JOURNALLED:
        return done(
            row,
            Event.DISPATCH,
            answer.detail or None,
            execution_status=_JOURNALLED[answer.kind],
            journal_id=answer.journal_id or row.journal_id,
            dispatch_error=None,
            backoff=0,
        )
    if answer.kind is AnswerKind.OPTED_OUT:
        return declined(row, answer, desk)
    if answer.kind in GIVEN_UP:
        return failed(
            row,
            GIVEN_UP[answer.kind],
            f"the agent says {answer.kind}: {answer.detail}",
            **answered(row, answer),
        )
    if answer.kind in {AnswerKind.EXPIRED, AnswerKind.BUSY}:
        return unreached(row, desk, f"the agent says {answer.kind}: {answer.detail}")
    if answer.kind is AnswerKind.FENCED:
        reason = f"fenced at the centre: {answer.detail}"
        return needless(row, CancelCause.PERSON, reason)
    return None
