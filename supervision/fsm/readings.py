"""What an answer of the agent does to a dispatched row; the table of behaviour in code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from supervision.errors import MailUnavailable
from supervision.facts import (
    NOT_YET_CODES,
    Answer,
    AnswerKind,
    CancelCause,
    ExitCode,
    FailureCause,
    Supervision,
)
from supervision.fsm.outcomes import (
    Desk,
    Notice,
    Outcome,
    Report,
    answered,
    done,
    failed,
    needless,
    not_yet,
    unreached,
)
from supervision.fsm.states import Event, ExecutionStatus

GIVEN_UP = {
    AnswerKind.REFUSED: FailureCause.REFUSED,
    AnswerKind.CONFLICT: FailureCause.CONFLICT,
    AnswerKind.FOREIGN_JOURNAL: FailureCause.REFUSED,
    AnswerKind.STALE: FailureCause.CONFLICT,
}
"""Answers after which no repeat can help: somebody has to look."""


def read_answer(row: Supervision, answer: Answer, desk: Desk) -> Outcome | None:
    """Tell what the agent's answer does to a dispatched row.

    None for `never-seen` and `lost`: the centre must be looked at before anybody concludes.
    """
    kind = AnswerKind.FOREIGN_JOURNAL if _is_foreign(row, answer) else answer.kind
    if kind in GIVEN_UP:
        outcome = failed(row, GIVEN_UP[kind], f"the agent says {kind}: {answer.detail}")
        return replace(outcome, by_agent=True)
    read = _READ.get(kind)
    return None if read is None else read(row, answer, desk)


def _is_foreign(row: Supervision, answer: Answer) -> bool:
    """Another journal than the one that took this attempt; one that never saw it may be new."""
    journals = (row.journal_id, answer.journal_id)
    return (
        None not in journals
        and row.journal_id != answer.journal_id
        and (answer.kind is not AnswerKind.NEVER_SEEN)
    )


def _waiting(row: Supervision, answer: Answer, desk: Desk) -> Outcome:
    unsure = answer.kind in {AnswerKind.UNKNOWN, AnswerKind.EXPIRED}
    status = ExecutionStatus.UNKNOWN if unsure else ExecutionStatus.RUNNING
    until = desk.backoff(row.backoff, desk.settings.status_first, desk.settings.status_cap)
    return not_yet(
        row,
        until,
        answer.detail or None,
        execution_status=status,
        journal_id=answer.journal_id or row.journal_id,
        dispatch_error=None,
        backoff=row.backoff + 1,
    )


def executed(row: Supervision, answer: Answer, desk: Desk) -> Outcome:
    """The script acted: the owner is told what was done, then the row says so."""
    sentence = f"the script was executed{_restarted(answer)}."
    outcome = done(row, Event.EXECUTE, sentence, **answered(row, answer), wanted=None)
    return _told(Notice.ACTED, outcome, desk, answer.report)


def declined(row: Supervision, answer: Answer, desk: Desk) -> Outcome:
    """The script, or a file that forbids it, said no: nothing was touched."""
    post = answer.exit_code == ExitCode.STOPPED_BY_POST
    cause = CancelCause.DECLINED_POST if post else CancelCause.DECLINED
    reason = answer.detail or _said(answer, "the script declined")
    changes = answered(row, answer)
    return _told(Notice.DECLINED, needless(row, cause, reason, **changes, wanted=None), desk)


def _fenced(row: Supervision, answer: Answer, _desk: Desk) -> Outcome:
    wish = row.wanted
    reason = wish.reason if wish else f"fenced at the centre: {answer.detail}"
    outcome = needless(row, CancelCause.PERSON, reason, wanted=None)
    actor = wish.actor if wish else "supervision"
    return replace(outcome, by_agent=True, actor=actor, by_person=wish is not None)


def _script_failed(row: Supervision, answer: Answer, _desk: Desk) -> Outcome:
    later = answer.exit_code is not None and answer.exit_code in NOT_YET_CODES
    cause = FailureCause.NOT_YET if later else FailureCause.SCRIPT
    reason = answer.detail or _said(answer, "the script failed")
    return replace(failed(row, cause, reason, **answered(row, answer)), by_agent=True)


def _said(answer: Answer, otherwise: str) -> str:
    """The script's own last sentence, before its line of JSON, and the code that it ended with."""
    lines = [line.strip() for line in answer.output_tail.splitlines() if line.strip()]
    spoken = [line for line in lines if not line.startswith("{")]
    return f"{spoken[-1] if spoken else otherwise} (exit code {answer.exit_code})"


def _told(notice: Notice, outcome: Outcome, desk: Desk, report: Report | None = None) -> Outcome:
    """Write before the row says it: a mail may come twice, but is never forgotten."""
    try:
        desk.tell(notice, outcome.after, outcome.reason or "", report=report)
    except MailUnavailable as error:
        return unreached(outcome.row, desk, str(error))
    return replace(outcome, by_agent=True)


def _restarted(answer: Answer) -> str:
    period = "" if answer.period is None else f", period {answer.period} begins again"
    job = "" if answer.scheduler_id is None else f", as job {answer.scheduler_id}"
    return period + job


_READ: Final[dict[AnswerKind, Callable[[Supervision, Answer, Desk], Outcome]]] = {
    AnswerKind.ACCEPTED: _waiting,
    AnswerKind.RUNNING: _waiting,
    AnswerKind.BUSY: _waiting,
    AnswerKind.UNKNOWN: _waiting,
    AnswerKind.EXPIRED: _waiting,
    AnswerKind.EXECUTED: executed,
    AnswerKind.DECLINED: declined,
    AnswerKind.OPTED_OUT: declined,
    AnswerKind.FAILED: _script_failed,
    AnswerKind.FENCED: _fenced,
}
