"""The ledger of value: how many failures, what was done about them, and how long they lasted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from statistics import median
from typing import Final

from db import dao_value
from db.dao_value import Failure
from supervision.facts import TriggerKind, VerdictKind
from supervision.fsm.engine.tools import Tools
from supervision.policy import site_named_by

UNKNOWN: Final = "unknown"

_HOUR: Final = timedelta(hours=1)
_FOLLOWED: Final = {TriggerKind.FATAL.value, TriggerKind.LATE.value, TriggerKind.STALLED.value}
"""Triggers of compute jobs: their simulations are seen to go on. Post-processing is not."""


class Became(StrEnum):
    """What became of a failure. A recovery says it, whatever had been decided."""

    BY_US = "by us"
    BY_HAND = "by hand"
    ALONE = "alone"
    REFUSED = "refused"
    OPEN = "open"  # not decided, under way, or given up


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """What became of a group of failures. A time to recover is None where nothing recovered.

    `undecided`: put off, or not decided yet. `alone`: recovered with no restart, as a late job does
    that speaks again. Times count from the first word of the failure to the first sign of progress
    beyond it. `success`: of the failures of compute jobs that are supervised, at whatever level,
    the part that recovered after a restart of ours; None where none is.

    `core_hours_lost`: over the fatal failures whose cores and beginning are known, which are
    `lost_known`: cores x (failure - beginning of the period that failed; of the job where it told
    of no period). `core_hours_saved`: over those recovered by us whose cores are known, which are
    `saved_known`: cores x (median time to recover by hand of the whole report - time to recover).
    None where nothing is known.
    """

    group: str
    name: str
    failures: int
    supervised: int
    refused: int
    undecided: int
    by_us: int
    by_hand: int
    alone: int
    success: float | None
    us_median: timedelta | None
    us_p90: timedelta | None
    hand_median: timedelta | None
    hand_p90: timedelta | None
    lost_known: int
    core_hours_lost: float | None
    saved_known: int
    core_hours_saved: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """One failure: when it began, what became of it, and how long until the simulation went on."""

    at: datetime
    became: Became
    took: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A report: its figures in groups; the failures of compute jobs in it, oldest first."""

    values: tuple[Value, ...]
    fates: tuple[Fate, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """What was it worth? The whole first, then by trigger, rule, site and user; None means any.

    Rules are those that refused.
    """

    since: datetime
    until: datetime
    site: str | None = None
    login: str | None = None

    def answer(self, tools: Tools) -> Told:
        """Count, over one statement's rows; nothing is locked. Empty where nothing failed."""
        named = cache(lambda centre, machine: site_named_by(tools.policy, centre, machine))
        with tools.database.read() as session:
            rows = dao_value.failures(session, self.since, self.until)
        placed = [(row, row.site or named(row.centre, row.machine) or UNKNOWN) for row in rows]
        kept = [
            (row, site)
            for row, site in placed
            if self.site in (None, site) and self.login in (None, row.login)
        ]
        fates = [_fate(row) for row, _ in kept if row.kind in _FOLLOWED]
        ordered = sorted(fates, key=lambda fate: fate.at)
        return Told(values=tuple(_values(kept)), fates=tuple(ordered))


def _values(kept: Sequence[tuple[Failure, str]]) -> list[Value]:
    by_hand = _median(_spans([row for row, _ in kept], Became.BY_HAND))
    refused = [(row, site) for row, site in kept if row.verdict == VerdictKind.REFUSE.value]

    def grouped(
        group: str, rows: Sequence[tuple[Failure, str]], name_of: Callable[[Failure, str], str]
    ) -> list[Value]:
        found = defaultdict(list)
        for row, site in rows:
            found[name_of(row, site)].append(row)
        return [_value((group, name), found[name], by_hand) for name in sorted(found)]

    return [
        *grouped("all", kept, lambda _row, _site: "all"),
        *grouped("trigger", kept, lambda row, _site: row.kind),
        *grouped("rule", refused, lambda row, _site: row.rule or UNKNOWN),
        *grouped("site", kept, lambda _row, site: site),
        *grouped("user", kept, lambda row, _site: row.login or UNKNOWN),
    ]


def _value(named: tuple[str, str], rows: Sequence[Failure], by_hand: timedelta | None) -> Value:
    group, name = named
    became = [_became(row) for row in rows]
    us, hand = _spans(rows, Became.BY_US), _spans(rows, Became.BY_HAND)
    supervised = [row for row in rows if row.verdict == VerdictKind.SUPERVISE.value]
    refused = sum(row.verdict == VerdictKind.REFUSE.value for row in rows)
    lost, saved = _lost(rows), _saved(rows, by_hand)
    return Value(
        group=group,
        name=name,
        failures=len(rows),
        supervised=len(supervised),
        refused=refused,
        undecided=len(rows) - len(supervised) - refused,
        by_us=len(us),
        by_hand=len(hand),
        alone=became.count(Became.ALONE),
        success=_success(supervised),
        us_median=_median(us),
        us_p90=_p90(us),
        hand_median=_median(hand),
        hand_p90=_p90(hand),
        lost_known=len(lost),
        core_hours_lost=sum(lost) if lost else None,
        saved_known=len(saved),
        core_hours_saved=sum(saved) if saved else None,
    )


def _fate(row: Failure) -> Fate:
    took = None if row.recovered_at is None else row.recovered_at - row.first_at
    return Fate(at=row.first_at, became=_became(row), took=took)


def _became(row: Failure) -> Became:
    if row.recovered_at is not None:
        restarted = {"us": Became.BY_US, "hand": Became.BY_HAND}
        return restarted.get(row.restarted_by or "", Became.ALONE)
    return Became.REFUSED if row.verdict == VerdictKind.REFUSE.value else Became.OPEN


def _success(supervised: Sequence[Failure]) -> float | None:
    became = [_became(row) for row in supervised if row.kind in _FOLLOWED]
    return became.count(Became.BY_US) / len(became) if became else None


def _lost(rows: Sequence[Failure]) -> list[float]:
    """Core-hours that were computed in vain. When a silent job ended, nobody knows: only fatals."""
    return [
        row.cores * ((row.first_at - begun) / _HOUR)
        for row in rows
        if row.kind == TriggerKind.FATAL.value
        and row.cores is not None
        and (begun := row.period_at or row.started_at) is not None
        and begun <= row.first_at
    ]


def _saved(rows: Sequence[Failure], by_hand: timedelta | None) -> list[float]:
    """Core-hours that a simulation did not stand still for, had a person taken as long as most."""
    if by_hand is None:
        return []
    return [
        row.cores * ((by_hand - (row.recovered_at - row.first_at)) / _HOUR)
        for row in rows
        if row.cores is not None and row.recovered_at is not None and _became(row) is Became.BY_US
    ]


def _spans(rows: Sequence[Failure], by: Became) -> list[timedelta]:
    return sorted(
        row.recovered_at - row.first_at
        for row in rows
        if row.recovered_at is not None and _became(row) is by
    )


def _median(spans: Sequence[timedelta]) -> timedelta | None:
    seconds = [each.total_seconds() for each in spans]
    return timedelta(seconds=median(seconds)) if seconds else None


def _p90(spans: Sequence[timedelta]) -> timedelta | None:
    """Take the shortest span that nine of ten do not exceed; `spans` are sorted."""
    return spans[math.ceil(0.9 * len(spans)) - 1] if spans else None
