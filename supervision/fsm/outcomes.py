"""What an action returns for each row, and the desk at which it works.

An action never commits: it says what came out, and the engine confirms it where the claim stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from supervision.errors import ProtocolError, SiteUnavailable
from supervision.facts import (
    Answer,
    CancelCause,
    DecisionFacts,
    EngineSettings,
    FailureCause,
    Policy,
    ScriptFacts,
    SimulationFacts,
    Supervision,
    Verdict,
)
from supervision.fsm.states import Event
from supervision.ports import Transport

UNASKED = (SiteUnavailable, ProtocolError)
"""The centre could not be asked: nobody is there, or somebody who is no agent of ours. The row
waits with the problem on it; nothing is known, and the same key may be sent again."""

Report = Mapping[str, str | int | list[str] | None]
"""The JSON object of a script's last line."""

Unasked = SiteUnavailable | ProtocolError


class Notice(StrEnum):
    """What people are told about a supervision. One incident, one mail."""

    SCRIPT = "script"  # level 1: the script, to run by hand
    ACTED = "acted"
    DECLINED = "declined"
    GAVE_UP = "gave-up"
    NEW_JOB_CANCELLED = "new-job-cancelled"
    NO_ANSWER = "no-answer"
    WATCH_OVER = "watch-over"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came out for one row: the event to fire, or None for not yet.

    `row` is as it was claimed, `after` as it is to be, but for state, alarm and version, which the
    engine writes. `until`: not before then is anything to be done (of `not yet`, always set).
    `by_agent`: the agent itself said how it ended, so there is nothing left to withdraw there.
    `unreached`: the centre or the mail server could not be reached this time, or must not be now:
    nothing more is asked of it, whatever comes out.
    """

    row: Supervision
    after: Supervision
    event: Event | None
    reason: str | None = None
    cause: str | None = None
    until: datetime | None = None
    actor: str = "supervision"
    by_person: bool = False
    by_agent: bool = False
    unreached: bool = False


class Desk(Protocol):
    """Where actions get what they need beyond their rows. The engine provides it."""

    @property
    def policy(self) -> Policy:
        """The policy of this moment; one action sees one policy."""

    @property
    def transport(self) -> Transport:
        """The way to the centres."""

    @property
    def settings(self) -> EngineSettings:
        """Leases, deadlines and back-offs."""

    def now(self) -> datetime:
        """The time that alarms and leases are compared with."""

    def backoff(self, count: int, first: timedelta, cap: timedelta) -> datetime:
        """The moment to come back at: doubling from `first` to `cap`, with jitter."""

    def facts(self, rows: Sequence[Supervision]) -> dict[str, DecisionFacts]:
        """Read what is known now about these rows, by supervision id, to decide again by."""

    def simulations(self, rows: Sequence[Supervision]) -> dict[str, SimulationFacts]:
        """Read what is known now of these rows' simulations, by simulation uid."""

    def brakes(
        self, rows: Sequence[Supervision], simulations: Mapping[str, SimulationFacts]
    ) -> dict[str, Verdict]:
        """Tell which rows nothing may be asked about at their centre now, and why."""

    def due(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """Tell before which moment each row must not be dispatched."""

    def with_scripts(self, rows: Sequence[Supervision]) -> list[Supervision]:
        """Read the scripts of these rows, which claims leave out."""

    def script_facts(self, rows: Sequence[Supervision]) -> dict[str, ScriptFacts]:
        """Read what their scripts are built from, by supervision id."""

    def admit(self, rows: Sequence[Supervision]) -> dict[str, datetime]:
        """Raise dispatch_try_count of the rows that the caps of their site have room for.

        Under the site's lock, oldest first, in a transaction of its own, guarded by claim and
        lease. Returns, for those admitted, until when the claim holds.
        """

    def keep_looks(self, facts: dict[str, DecisionFacts]) -> None:
        """Store the looks of these facts with their decisions, by supervision id."""

    def tell(
        self, notice: Notice, row: Supervision, sentence: str, *, report: Report | None = None
    ) -> bool:
        """Write to the owner (and for GAVE_UP, NO_ANSWER, WATCH_OVER to the operator).

        `report` is what the script said last: what it deleted, what it submitted. Returns False
        where there is nobody to write to. Raises MailUnavailable; a mail that the server will
        never take is kept for the operator's list and counts as told.
        """


def done(row: Supervision, event: Event, reason: str | None = None, **changes: Any) -> Outcome:  # noqa: ANN401
    """The event's own work is done; `changes` are fields of the row."""
    return Outcome(row=row, after=row.changed(**changes), event=event, reason=reason)


def failed(row: Supervision, cause: FailureCause, reason: str, **changes: Any) -> Outcome:  # noqa: ANN401
    """The attempt is over without success."""
    after = row.changed(cause=cause.value, reason=reason, **changes)
    return Outcome(row=row, after=after, event=Event.FAIL, reason=reason, cause=cause.value)


def needless(row: Supervision, cause: CancelCause, reason: str, **changes: Any) -> Outcome:  # noqa: ANN401
    """There is nothing to be done, or nobody wants it; the reason says why."""
    after = row.changed(cause=cause.value, reason=reason, **changes)
    return Outcome(row=row, after=after, event=Event.CANCEL, reason=reason, cause=cause.value)


def wished(row: Supervision) -> Outcome:
    """Do what a person wanted while the agent could not be asked: cancel, or the next attempt."""
    wish = row.wanted
    if wish is None:
        raise ValueError(f"nobody wanted anything of supervision {row.id}")
    if wish.event == Event.RETRY:
        return begun_anew(row, actor=wish.actor, reason=wish.reason)
    outcome = needless(row, CancelCause.PERSON, wish.reason, wanted=None)
    return replace(outcome, actor=wish.actor, by_person=True)


def begun_anew(row: Supervision, *, actor: str, reason: str) -> Outcome:
    """A person has the next attempt begin, wherever the row is; lower ones are fenced by it."""
    after = row.changed(**BLANK, attempt=row.attempt + 1, by_person=True)
    return Outcome(
        row=row,
        after=after,
        event=Event.FORCE_DETECTED,
        reason=reason,
        actor=actor,
        by_person=True,
    )


BLANK: Final[dict[str, Any]] = {
    "noted_trigger": None,
    "script_content": None,
    "script_sha256": None,
    "dispatch_try_count": 0,
    "dispatch_error": None,
    "scheduler_id": None,
    "exit_code": None,
    "period": None,
    "output_tail": None,
    "looked": None,
    "cause": None,
    "reason": None,
    "wanted": None,
    "backoff": 0,
    "acted_at": None,
    "dispatched_at": None,
    "executed_at": None,
    "ended_at": None,
    "told_at": None,
}
"""What belongs to one attempt and not to the next."""


def not_yet(
    row: Supervision,
    until: datetime,
    reason: str | None = None,
    **changes: Any,  # noqa: ANN401
) -> Outcome:
    """The row stays where it is; somebody looks again at `until`. `cause`: the brake's rule."""
    after = row.changed(**{"cause": None, **changes})
    return Outcome(row=row, after=after, event=None, until=until, reason=reason)


def unreached(row: Supervision, desk: Desk, problem: str) -> Outcome:
    """The centre, or the mail server, could not be reached: no attempt, the same key comes back."""
    settings = desk.settings
    until = desk.backoff(
        row.backoff, settings.transport_backoff_first, settings.transport_backoff_cap
    )
    waiting = not_yet(row, until, problem, backoff=row.backoff + 1, dispatch_error=problem)
    return replace(waiting, unreached=True)


def unbraked(
    rows: Sequence[Supervision], desk: Desk, simulations: Mapping[str, SimulationFacts]
) -> tuple[list[Supervision], list[Outcome]]:
    """Part the rows whose centre may be asked now from those that a brake puts off."""
    stops = desk.brakes(rows, simulations)
    free = [row for row in rows if row.id not in stops]
    return free, [
        not_yet(
            row,
            stops[row.id].wake_at or desk.now(),
            stops[row.id].sentence,
            cause=stops[row.id].rule,
        )
        for row in rows
        if row.id in stops
    ]


def by_login(rows: Sequence[Supervision]) -> dict[tuple[str, str], list[Supervision]]:
    """Group rows by (site, login): each group is one session's work."""
    groups: dict[tuple[str, str], list[Supervision]] = {}
    for row in rows:
        groups.setdefault((row.site, row.login), []).append(row)
    return groups


def answered(row: Supervision, answer: Answer) -> dict[str, Any]:
    """The columns that an answer of the agent fills."""
    return {
        "journal_id": answer.journal_id or row.journal_id,
        "scheduler_id": answer.scheduler_id or row.scheduler_id,
        "exit_code": answer.exit_code,
        "period": answer.period if answer.period is not None else row.period,
        "output_tail": answer.output_tail or row.output_tail,
        "dispatch_error": None,
        "backoff": 0,
    }
