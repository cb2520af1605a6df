"""What each event does: build the script, mail it, and hand the rest to those who ask the centre.

Actions work on sets of claimed rows of one site, hold no transaction, and return one outcome a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from supervision import policy, script
from supervision.errors import MailUnavailable, RenderError
from supervision.facts import (
    CancelCause,
    DecisionFacts,
    FailureCause,
    Level,
    ScriptFacts,
    Supervision,
    TriggerKind,
    Verdict,
)
from supervision.fsm.acting import act, stopped
from supervision.fsm.asking import ask
from supervision.fsm.looking import decided
from supervision.fsm.outcomes import (
    UNASKED,
    Desk,
    Notice,
    Outcome,
    Unasked,
    done,
    failed,
    needless,
    not_yet,
    unreached,
    wished,
)
from supervision.fsm.states import Event, State
from supervision.fsm.watching import watch

Action = Callable[[Sequence[Supervision], Desk], list[Outcome]]


def format_scripts(rows: Sequence[Supervision], desk: Desk) -> list[Outcome]:
    """Build each row's script. A row that cannot be rendered fails, and says what is missing."""
    facts = desk.script_facts(rows)
    due = desk.due(rows)
    return [
        _gracious(_formatted(row, facts[row.id], desk), due.get(row.id), desk)
        if row.wanted is None
        else wished(row)
        for row in rows
    ]


def _formatted(row: Supervision, facts: ScriptFacts, desk: Desk) -> Outcome:
    site = policy.site_named(desk.policy, row.site)
    if site is None:
        return failed(row, FailureCause.RENDER, f"site {row.site} is no longer in the settings")
    try:
        built = script.build(facts, site)
    except RenderError as error:
        return failed(row, FailureCause.RENDER, str(error))
    return done(row, Event.FORMAT, script_content=built.content, script_sha256=built.sha256)


def _gracious(outcome: Outcome, due: datetime | None, desk: Desk) -> Outcome:
    """Let an attempt that policy began wait for its grace; a person's begins at once."""
    row = outcome.row
    if outcome.event is not Event.FORMAT:
        return outcome
    if due is None or row.by_person or row.level is Level.NOTHING or due <= desk.now():
        return outcome
    return replace(outcome, until=due)


def dispatch(rows: Sequence[Supervision], desk: Desk) -> list[Outcome]:
    """Send scripts on their way: by the agent (level 2), by mail (1), or not at all (observed)."""
    outcomes = [
        needless(row, CancelCause.OBSERVED, "decided and rendered; the site is only observed")
        for row in rows
        if row.level is Level.NOTHING
    ]
    outcomes += mail([row for row in rows if row.level is Level.MAIL], desk)
    acting = [row for row in rows if row.level is Level.AUTOMATIC]
    due = desk.due(acting) if acting else {}
    early = [row for row in acting if _is_early(row, due, desk)]
    outcomes += [not_yet(row, due[row.id], "the grace after its trigger") for row in early]
    return outcomes + act([row for row in acting if row not in early], desk)


def _is_early(row: Supervision, due: Mapping[str, datetime], desk: Desk) -> bool:
    """News may wake a row before its time: what policy began waits all the same."""
    waits = row.wanted is None and not row.by_person and row.dispatch_try_count == 0
    return waits and row.id in due and due[row.id] > desk.now()


def mail(rows: Sequence[Supervision], desk: Desk) -> list[Outcome]:
    """Mail the scripts of level 1, after asking the rules again, and the centre if they want."""
    if not rows:
        return []
    facts, due = desk.facts(rows), desk.due(rows)
    settled = {row.id: _unmailed(row, facts[row.id], due, desk) for row in rows}
    open_rows = {row.id: row for row in rows if settled[row.id] is None}
    verdicts = decided({name: facts[name] for name in open_rows}, open_rows, desk)
    return [settled[row.id] or _mailed(row, verdicts[row.id], desk) for row in rows]


def _unmailed(
    row: Supervision, facts: DecisionFacts, due: Mapping[str, datetime], desk: Desk
) -> Outcome | None:
    """What settles a row before the rules are asked; None where nothing does."""
    if row.wanted is not None:
        return wished(row)
    if row.trigger is TriggerKind.LATE and _is_heard_again(facts):
        return needless(row, CancelCause.POLICY, "the job has been heard of since it was late")
    if _is_early(row, due, desk):
        return not_yet(row, due[row.id], "a late job may yet be heard of")
    return None


def _mailed(row: Supervision, verdict: Verdict | Unasked, desk: Desk) -> Outcome:
    if isinstance(verdict, UNASKED):
        return unreached(row, desk, str(verdict))
    if policy.before_acting(verdict) == "act":
        return _post(row, verdict.sentence, desk)
    return stopped(row, verdict, desk)


def _is_heard_again(facts: DecisionFacts) -> bool:
    """Most late jobs are: a mail about one waits a day for any newer message."""
    seen = facts.job.last_seen_at
    return seen is not None and seen > facts.trigger.at


def _post(row: Supervision, sentence: str, desk: Desk) -> Outcome:
    try:
        told = desk.tell(Notice.SCRIPT, row, sentence)
    except MailUnavailable as error:
        return unreached(row, desk, str(error))
    if not told:
        reason = "the script cannot be mailed: the user has no address, or wants no mail"
        return needless(row, CancelCause.POLICY, reason)
    return done(row, Event.DISPATCH, dispatch_error=None, backoff=0)


def give_up_crashed(rows: Sequence[Supervision]) -> list[Outcome]:
    """Fail rows whose claims were never confirmed: whoever works on them seems to die of them."""
    return [
        failed(row, FailureCause.CRASH_LOOP, f"claimed {row.claim_count} times, never confirmed")
        for row in rows
    ]


ACTIONS: Final[dict[State, Action]] = {
    State.DETECTED: format_scripts,
    State.FORMATTED: dispatch,
    State.DISPATCHED: ask,
    State.EXECUTED: watch,
}
"""What is done with a claimed row, by the state that it is in."""
