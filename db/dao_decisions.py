"""Reads and writes the ledger: triggers in, verdicts, and what became of the failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Executable, FromClause, and_, case, func, or_, select, update
from sqlalchemy.orm import Session, undefer

from db.dao_common import (
    EARLIEST,
    FIRST,
    FRESH,
    LATEST,
    NOW,
    UNTIL,
    Row,
    core,
    is_postgresql,
    merged,
    setting,
    upsert,
)
from db.sets import SetStatement, among
from db.types_common import UtcDateTime
from db.types_decisions import Decision
from db.types_supervision import Supervision
from db.validator_dao_decisions import validate_triggers, validate_verdicts
from db.values_decisions import READ, LedgerRow, value_of
from supervision.facts import TriggerKind

TRIGGER_RULES: Final = {
    "first_at": EARLIEST,
    "last_at": LATEST,
    "arrived_at": EARLIEST,
    "failed_not_before": FIRST,
    "failed_not_after": FIRST,
}

VERDICT_COLUMNS: Final = [
    "verdict",
    "rule",
    "sentence",
    "facts",
    "policy_digest",
    "decided_at",
    "for_want",
    "told_at",
    "looks",
    "deferrals",
    "not_before",
    "failed_not_before",
    "failed_not_after",
    "cause",
]


def store_triggers(session: Session, rows: Sequence[Row]) -> None:
    """Open a ledger row for each (job, kind), or count one more occurrence of it.

    A new row is awake at once; one that is known keeps its verdict and its alarm.
    """
    folded = _fold(rows)
    if not folded:
        return
    validate_triggers(folded)
    insert = upsert(session, Decision)
    given = insert.excluded
    changes: dict[str, Any] = merged(Decision, given, TRIGGER_RULES)
    changes["occurrences"] = Decision.occurrences + given.occurrences
    changes["cause"] = case(
        (given.first_at < Decision.first_at, func.coalesce(given.cause, Decision.cause)),
        else_=func.coalesce(Decision.cause, given.cause),
    )
    session.execute(
        insert.on_conflict_do_update(index_elements=["job_uid", "kind"], set_=changes), folded
    )


def _fold(rows: Sequence[Row]) -> list[Row]:
    folded: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row["job_uid"], row["kind"])
        known = folded.get(key)
        if known is None:
            folded[key] = row
            continue
        first, second = sorted((known, row), key=lambda each: each["first_at"])
        folded[key] = {
            **known,
            "occurrences": known["occurrences"] + row["occurrences"],
            "first_at": first["first_at"],
            "last_at": max(known["last_at"], row["last_at"]),
            "cause": first["cause"] or second["cause"],
        }
    return [folded[key] for key in sorted(folded)]


def wake(session: Session, simulation_uids: Iterable[str], now: datetime) -> None:
    """Bring forward the alarms of these simulations' decisions that have one, leased ones too."""
    session.execute(_WAKE, {"uids": list(simulation_uids), "now": now})


def wake_jobs(session: Session, job_uids: Iterable[str], now: datetime) -> None:
    """Bring forward what else waits of these jobs: a stronger trigger of theirs has come."""
    session.execute(_WAKE_JOBS, {"uids": list(job_uids), "now": now})


_LEDGER: Final = core(Decision)
_COLUMNS: Final = _LEDGER.c
_WAKING: Final = update(_LEDGER).where(_COLUMNS.wake_at > NOW).values(wake_at=NOW, not_before=None)
_WAKE: Final = _WAKING.where(among(_COLUMNS.simulation_uid))
_WAKE_JOBS: Final = _WAKING.where(among(_COLUMNS.job_uid))


def claim(
    session: Session, job_uids: Sequence[str], now: datetime, until: datetime
) -> list[LedgerRow]:
    """Claim what is awake of these jobs' ledger rows, and those whose supervision failed.

    One guarded UPDATE: the lease, version + 1, claim_count + 1, and the alarm at the lease's end.
    """
    given = {"uids": list(job_uids), "now": now, "until": until}
    found = session.execute(_claim(locking=is_postgresql(session)), given)
    return [value_of(row) for row in found]


@cache
def _claim(*, locking: bool) -> Any:  # noqa: ANN401
    tried = core(Supervision).c
    retrying = (
        select(tried.decision_id)
        .where(
            among(tried.job_uid),
            tried.wake_at.is_not(None),
            or_(tried.not_before.is_(None), tried.not_before <= NOW),
            or_(tried.dispatch_status == "failed", tried.execution_status == "failed"),
        )
        .scalar_subquery()
    )
    awake = and_(
        _COLUMNS.wake_at.is_not(None),
        or_(_COLUMNS.not_before.is_(None), _COLUMNS.not_before <= NOW),
    )
    picked = (
        select(_COLUMNS.id)
        .where(
            among(_COLUMNS.job_uid),
            or_(awake, _COLUMNS.id.in_(retrying)),
            or_(_COLUMNS.lease_until.is_(None), _COLUMNS.lease_until <= NOW),
        )
        .order_by(_COLUMNS.id)
    )
    if locking:
        picked = picked.with_for_update(skip_locked=True)
    return (
        update(_LEDGER)
        .where(_COLUMNS.id.in_(picked.scalar_subquery()))
        .values(
            lease_until=UNTIL,
            wake_at=UNTIL,
            version=_COLUMNS.version + 1,
            claim_count=_COLUMNS.claim_count + 1,
        )
        .returning(*READ)
    )


def confirm(session: Session, rows: Sequence[Row]) -> set[str]:
    """Write verdicts where the claim still stands; returns the ids that were written.

    Rows carry id, version, claimed_wake (the alarm that the claim set), wake_at and every column
    of VERDICT_COLUMNS. A message that came in the meantime has brought the alarm forward: the
    earlier one stays.
    """
    if not rows:
        return set()
    validate_verdicts(rows)
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    return set(_CONFIRM.execute(session, ordered).scalars())


def _confirming(given: FromClause) -> Executable:
    woken = _COLUMNS.wake_at < given.c.claimed_wake
    values: dict[str, Any] = {name: given.c[name] for name in VERDICT_COLUMNS}
    values["not_before"] = case((woken, None), else_=given.c.not_before)
    return (
        update(_LEDGER)
        .where(_COLUMNS.id == given.c.id, _COLUMNS.version == given.c.version)
        .values(
            **values,
            wake_at=kept_wake(_COLUMNS.wake_at, woken, given.c.wake_at),
            lease_until=None,
            version=_COLUMNS.version + 1,
            claim_count=0,
            rewakes=0,
        )
        .returning(_COLUMNS.id)
    )


_CONFIRM: Final = SetStatement(
    {
        **{name: _COLUMNS[name].type for name in ("id", "version", "wake_at", *VERDICT_COLUMNS)},
        "claimed_wake": UtcDateTime(),
    },
    _confirming,
)


def kept_wake(
    current: Any,  # noqa: ANN401
    woken: ColumnElement[bool],
    given: ColumnElement[Any],
) -> ColumnElement[Any]:
    """Keep an alarm that a message brought forward during the claim; none where none is wanted."""
    return case((given.is_(None), None), (and_(woken, current < given), current), else_=given)


def store_looks(session: Session, looks: Mapping[str, str]) -> None:
    """Keep what was seen at the centre, by decision id; JSON."""
    if looks:
        setting(Decision, "id", "looks").execute(
            session, [{"id": name, "looks": looks[name]} for name in sorted(looks)]
        )


def of_jobs(session: Session, job_uids: Iterable[str]) -> Sequence[Decision]:
    """Read the ledger rows of these jobs, facts and all, by job and first time."""
    query = (
        select(Decision)
        .options(undefer(Decision.facts))
        .where(among(Decision.job_uid, job_uids))
        .order_by(Decision.job_uid, Decision.first_at, Decision.kind)
    )
    return session.scalars(query, execution_options=FRESH).all()


def fatal_jobs(session: Session, job_uids: Iterable[str]) -> frozenset[str]:
    """Tell which of these jobs sent a fatal message."""
    return frozenset(session.scalars(_FATAL_JOBS, {"uids": list(job_uids)}))


def of_ids(session: Session, ids: Iterable[str]) -> dict[str, LedgerRow]:
    """Read ledger rows by id, without their facts."""
    found = session.execute(_OF_IDS, {"uids": list(ids)})
    return {row.id: value_of(row) for row in found}


def rows_of_jobs(session: Session, job_uids: Iterable[str]) -> list[LedgerRow]:
    """Read ledger rows of these jobs, by job and first time, without their facts."""
    return [value_of(row) for row in session.execute(_ROWS_OF_JOBS, {"uids": list(job_uids)})]


_FATAL_JOBS: Final = select(_COLUMNS.job_uid).where(
    among(_COLUMNS.job_uid), _COLUMNS.kind == TriggerKind.FATAL.value
)
_OF_IDS: Final = select(*READ).where(among(_COLUMNS.id))
_ROWS_OF_JOBS: Final = (
    select(*READ)
    .where(among(_COLUMNS.job_uid))
    .order_by(_COLUMNS.job_uid, _COLUMNS.first_at, _COLUMNS.kind)
)


def of_simulation(session: Session, simulation_uid: str) -> Sequence[Decision]:
    """Read the ledger rows of a simulation, facts and all, in the order of their first times."""
    query = (
        select(Decision)
        .options(undefer(Decision.facts))
        .where(Decision.simulation_uid == simulation_uid)
        .order_by(Decision.first_at, Decision.kind)
    )
    return session.scalars(query, execution_options=FRESH).all()


def failures_of(session: Session, simulation_uids: Iterable[str]) -> Sequence[Decision]:
    """Read the ledger rows of these simulations but for the echoes of failing commands."""
    query = select(Decision).where(
        among(Decision.simulation_uid, simulation_uids),
        Decision.kind != TriggerKind.COMMAND.value,
    )
    return session.scalars(query, execution_options=FRESH).all()
