"""Reads and writes supervisions: claimed, confirmed, woken. The history is in dao_history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Executable,
    FromClause,
    Integer,
    String,
    case,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from db.dao_common import NOW, UNSYNCED, Row, core, insert_new_rows, is_postgresql
from db.dao_decisions import kept_wake
from db.sets import SetStatement, among
from db.types_common import UtcDateTime
from db.types_supervision import Supervision
from db.validator_dao_supervision import validate_changes, validate_new
from db.values_supervision import READ, changes_of, in_states, value_of
from supervision.facts import Supervision as Value
from supervision.facts import Wish
from supervision.fsm.states import UNFINISHED, State

_TABLE: Final = core(Supervision)
_COLUMNS: Final = _TABLE.c


def insert_new(session: Session, rows: Sequence[Row]) -> set[str]:
    """Insert supervisions; returns the ids that came to be.

    A job that has a row already, or a simulation with another open one, gets none: that is no
    error, whoever asked looks again.
    """
    if not rows:
        return set()
    validate_new(rows)
    ordered = sorted(rows, key=lambda row: str(row["job_uid"]))
    return insert_new_rows(session, Supervision, ordered, "id")


def confirm(session: Session, changes: Sequence[tuple[Value, Value]]) -> set[str]:
    """Write what came out of claims: pairs of (as claimed, as it is now); returns ids written.

    The guard: a row is written only where it still has the claimed version, and with it the
    claimed state. claim_count goes to 0. An alarm that a message brought forward during the
    claim stays. Scripts are written where their digest changes.
    """
    if not changes:
        return set()
    validate_changes(changes)
    alike: dict[frozenset[str], list[Row]] = {}
    for old, new in sorted(changes, key=lambda change: change[0].id):
        said = _said(old, new)
        alike.setdefault(frozenset(said), []).append({**said, **_guard(old, new)})
    return {name for names, part in alike.items() for name in _written(session, names, part)}


def _said(old: Value, new: Value) -> Row:
    """Spell what is to be written: other columns keep what came during the claim, like a wish."""
    said = changes_of(old, new)
    if "script_sha256" in said:
        return {**said, "script_content": new.script_content}
    said.pop("script_content", None)
    return said


def _written(session: Session, changed: frozenset[str], rows: Sequence[Row]) -> Iterable[str]:
    if "script_content" in changed and is_postgresql(session):
        session.execute(_ROOM_FOR_SCRIPTS)
    return _confirming(changed).execute(session, rows).scalars()


@cache
def _confirming(changed: frozenset[str]) -> SetStatement:
    def build(given: FromClause) -> Executable:
        woken = _COLUMNS.wake_at < given.c.claimed_wake
        return (
            update(_TABLE)
            .where(_COLUMNS.id == given.c.id, _COLUMNS.version == given.c.version)
            .values(
                **{name: given.c[name] for name in sorted(changed)},
                wake_at=kept_wake(_COLUMNS.wake_at, woken, given.c.wake_at),
                not_before=case((woken, None), else_=given.c.not_before),
                lease_until=None,
                version=_COLUMNS.version + 1,
                claim_count=0,
                rewakes=0,
            )
            .returning(_COLUMNS.id)
        )

    return SetStatement(
        {**{name: _COLUMNS[name].type for name in sorted(changed)}, **_GUARD}, build
    )


_ROOM_FOR_SCRIPTS: Final = text("SET LOCAL work_mem = '64MB'")
"""A set of scripts is some megabytes; in less memory the server would write them to disk twice."""


_GUARD: Final[dict[str, Any]] = {
    "id": String(),
    "version": Integer(),
    "claimed_wake": UtcDateTime(),
    "wake_at": UtcDateTime(),
    "not_before": UtcDateTime(),
}


def _guard(old: Value, new: Value) -> dict[str, Any]:
    return {
        "id": old.id,
        "version": old.version,
        "claimed_wake": old.wake_at,
        "wake_at": new.wake_at,
        "not_before": new.not_before,
    }


def with_scripts(session: Session, rows: Sequence[Value]) -> list[Value]:
    """Read the scripts of these rows, in their order."""
    scripts = session.execute(_SCRIPTS, {"uids": [row.id for row in rows]})
    found = {each.id: each.script_content for each in scripts}
    return [row.changed(script_content=found.get(row.id)) for row in rows]


def raise_tries(session: Session, rows: Sequence[Value], now: datetime) -> dict[str, datetime]:
    """Note that the first byte is about to leave, where the claim still stands; returns ids.

    Guarded by version and lease: a worker that was presumed dead raises nothing.
    """
    if not rows:
        return {}
    claims = [{"id": row.id, "version": row.version} for row in rows]
    found = _RAISE_TRIES.execute(session, claims, {"now": now})
    return {each.id: each.lease_until for each in found}


_RAISE_TRIES: Final = SetStatement(
    {"id": String(), "version": Integer()},
    lambda given: (
        update(_TABLE)
        .where(
            _COLUMNS.id == given.c.id,
            _COLUMNS.version == given.c.version,
            _COLUMNS.lease_until > NOW,
        )
        .values(dispatch_try_count=_COLUMNS.dispatch_try_count + 1, acted_at=NOW)
        .returning(_COLUMNS.id, _COLUMNS.lease_until)
    ),
)


def wake(session: Session, simulation_uids: Iterable[str], now: datetime) -> None:
    """Bring forward the alarms of unfinished and watched supervisions, leased ones too."""
    session.execute(_WAKE, {"uids": list(simulation_uids), "now": now})


def wake_put_off(session: Session, job_uids: Iterable[str], cause: str, now: datetime) -> None:
    """Bring forward the unfinished supervisions of these jobs that this rule put off."""
    put_off = _WAKE_JOBS.where(_COLUMNS.cause == cause)
    session.execute(put_off, {"uids": list(job_uids), "now": now})


_WAKING: Final = update(_TABLE).where(_COLUMNS.wake_at > NOW).values(wake_at=NOW, not_before=None)
_WAKE: Final = _WAKING.where(
    among(_COLUMNS.simulation_uid), in_states((*UNFINISHED, State.EXECUTED))
)
_WAKE_JOBS: Final = _WAKING.where(among(_COLUMNS.job_uid), in_states(UNFINISHED))


def want(session: Session, supervision_id: str, wish: Wish, now: datetime) -> bool:
    """Store a person's wish on an unfinished row and wake it; returns whether there was one."""
    statement = (
        update(Supervision)
        .where(Supervision.id == supervision_id, in_states(UNFINISHED))
        .values(wanted=json.dumps(asdict(wish)), wake_at=now, not_before=None)
        .returning(Supervision.id)
    )
    return bool(session.scalars(statement, execution_options=UNSYNCED).all())


def note_triggers(session: Session, noted: Mapping[str, str]) -> None:
    """Keep that a stronger trigger came while a supervision was under way: id -> trigger."""
    for supervision_id, trigger in sorted(noted.items()):
        session.execute(
            update(Supervision)
            .where(Supervision.id == supervision_id)
            .values(noted_trigger=trigger),
            execution_options=UNSYNCED,
        )


def of_jobs(session: Session, job_uids: Iterable[str]) -> dict[str, Value]:
    """Read the supervisions of these jobs, by job uid."""
    found = session.execute(_OF_JOBS, {"uids": list(job_uids)})
    return {row.job_uid: value_of(row) for row in found}


def of_ids(session: Session, ids: Iterable[str]) -> dict[str, Value]:
    """Read supervisions by id."""
    return {row.id: value_of(row) for row in session.execute(_OF_IDS, {"uids": list(ids)})}


def sites_of(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """Tell at which site each of these supervisions is."""
    return {found.id: found.site for found in session.execute(_SITES, {"uids": list(ids)})}


_OF_JOBS: Final = select(*READ).where(among(_COLUMNS.job_uid))
_OF_IDS: Final = select(*READ).where(among(_COLUMNS.id))
_SITES: Final = select(_COLUMNS.id, _COLUMNS.site).where(among(_COLUMNS.id))
_SCRIPTS: Final = select(_COLUMNS.id, _COLUMNS.script_content).where(among(_COLUMNS.id))
