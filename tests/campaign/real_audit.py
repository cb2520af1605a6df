"""What a campaign is judged by: lost, twice, stuck. Pure: facts in, findings out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

MAY_GIVE_UP: Final = ("lost", "script", "crash-loop")
"""Causes for which a restart may end with a person: a killed runner, a script killed again, six
faults in a row that each broke off the work on one row."""

UNFINISHED: Final = ("detected", "formatted", "dispatched")
OVERDUE_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """One simulation: how many restarts the centre is to see, and whether a fatal was confirmed."""

    name: str
    job_uid: str
    restarts: int
    triggered: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A supervision as its table has it. `alarm_seconds` None: no alarm; negative: overdue.

    `history` says how it came there, for whoever reads a finding.
    """

    id: str
    job_uid: str
    state: str
    attempt: int
    alarm_seconds: float | None
    cause: str | None
    told: bool
    history: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """A decision as its table has it."""

    job_uid: str
    kind: str
    verdict: str | None
    alarm_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known at one moment.

    `restarts` counts by simulation what the scheduler got from scripts, `executions` by key what
    the agents began. `unrecorded` are confirmed facts that no table has, `buried` dead letters
    that are not the campaign's poison, `spared` its poison that nobody buried. `kills` is how often
    a runner was killed: no more restarts than that may be left to a person.
    """

    expected: tuple[Expected, ...]
    rows: tuple[Row, ...]
    ledger: tuple[Ledger, ...]
    restarts: Mapping[str, int]
    executions: Mapping[str, int]
    unrecorded: tuple[str, ...] = ()
    buried: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    kills: int = 0


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is wrong, a sentence each; all empty when nothing is. `given_up` counts by cause.

    `parked` are those of the lost whose alarm will ring: a row that is watched, or a decision that
    comes up again. Not lost until it has.
    """

    lost: tuple[str, ...] = ()
    parked: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    given_up: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether there is nothing to complain of."""
        return not (self.lost or self.twice or self.stuck)

    @property
    def at_rest(self) -> bool:
        """Whether everything is finished, or parked with an alarm."""
        return not (set(self.lost) - set(self.parked) or self.twice or self.stuck)


def judge(evidence: Evidence) -> Findings:
    """Hold what happened against what had to happen."""
    return Findings(
        lost=tuple(_lost(evidence)),
        parked=tuple(_parked(evidence)),
        twice=tuple(_twice(evidence)),
        stuck=tuple(_stuck(evidence)),
        given_up=Counter(row.cause or "?" for row in evidence.rows if _gave_up(row)),
    )


def _lost(evidence: Evidence) -> Iterator[str]:
    yield from (f"fact {uid} was confirmed and is in no table" for uid in evidence.unrecorded)
    yield from (f"buried, and no poison: {text}" for text in evidence.buried)
    yield from (f"poison that was confirmed and is in no grave: {text}" for text in evidence.spared)
    given_up = sum(map(_gave_up, evidence.rows))
    if given_up > evidence.kills:
        yield f"{given_up} restarts were given up, and only {evidence.kills} runners killed"
    decided = {each.job_uid for each in evidence.ledger}
    for each in evidence.expected:
        if each.triggered and each.job_uid not in decided:
            yield f"{each.name}: its failure is not in the ledger"
    yield from (text for text, *_ in _missing(evidence))


def _parked(evidence: Evidence) -> Iterator[str]:
    waiting = {each.job_uid for each in evidence.ledger if each.alarm_seconds is not None}
    for text, job_uid, row in _missing(evidence):
        rings = job_uid in waiting if row is None else _is_watched(row)
        if rings:
            yield text


def _missing(evidence: Evidence) -> Iterator[tuple[str, str, Row | None]]:
    """Restarts that the centres have not seen, of which nobody was told."""
    rows = {row.job_uid: row for row in evidence.rows}
    for each in evidence.expected:
        seen = evidence.restarts.get(each.name, 0)
        row = rows.get(each.job_uid)
        if seen < each.restarts and not (_told_of(row) or _is_stuck(row)):
            yield f"{each.name}: not restarted, and nobody was told: {row}", each.job_uid, row


def _told_of(row: Row | None) -> bool:
    """Whether a person was told to go on where nobody else may: the other way to end well."""
    return row is not None and _gave_up(row) and row.told and row.cause in MAY_GIVE_UP


def _is_watched(row: Row) -> bool:
    return row.state == "executed" and row.alarm_seconds is not None


def _is_stuck(row: Row | None) -> bool:
    return row is not None and row.state in UNFINISHED


def _gave_up(row: Row) -> bool:
    return row.state == "failed" and row.alarm_seconds is None


def _twice(evidence: Evidence) -> Iterator[str]:
    for each in evidence.expected:
        seen = evidence.restarts.get(each.name, 0)
        if seen > each.restarts:
            yield f"{each.name}: {seen} restarts where {each.restarts} had to be"
    for key, count in evidence.executions.items():
        if count > 1:
            yield f"{key}: begun {count} times"
    for job, count in Counter(row.job_uid for row in evidence.rows).items():
        if count > 1:
            yield f"job {job}: {count} supervisions"


def _stuck(evidence: Evidence) -> Iterator[str]:
    for row in evidence.rows:
        if row.state in UNFINISHED or (row.state == "failed" and row.alarm_seconds is not None):
            yield f"not finished: {row}"
        elif _overdue(row.alarm_seconds):
            yield f"nobody came for its alarm: {row}"
    for each in evidence.ledger:
        if each.verdict is None or _overdue(each.alarm_seconds):
            yield f"nobody came for its alarm: {each}"


def _overdue(alarm_seconds: float | None) -> bool:
    return alarm_seconds is not None and alarm_seconds < -OVERDUE_SECONDS
