"""When two moments of the model are one state: what tells them apart must be able to matter.

Ids become the names of what they are about. Times become their order: what is due, what comes
next; ages count by the spans that rules speak of. Counters that only lengthen delays are cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from tests.virtual.world import World

_ROWS: Final = """SELECT id, job_uid, simulation_uid, trigger, attempt, by_person,
    dispatch_status, execution_status, dispatch_try_count, cause, wanted, wake_at, not_before,
    lease_until, claim_count, backoff, rewakes, version, dispatched_at, told_at, scheduler_id,
    executed_at, journal_id
  FROM tbl_simulation_supervision ORDER BY job_uid"""
_LEDGER: Final = """SELECT id, job_uid, kind, verdict, rule, wake_at, not_before, lease_until,
    claim_count, version
  FROM tbl_supervision_decision ORDER BY job_uid, kind"""
_FACTS: Final = """SELECT uid, started_at IS NULL AS unstarted, ended_at IS NULL AS unended,
    failed_at IS NULL AS unfailed, period, late_check_at FROM tbl_job ORDER BY uid"""
_RESTARTS: Final = "SELECT supervision_id, attempt FROM tbl_supervision_restart ORDER BY 1, 2"
_TIMES: Final = ("wake_at", "not_before", "lease_until", "late_check_at")
_AGES: Final = ("dispatched_at", "executed_at", "told_at")
_CUT: Final = {"dispatch_try_count": 2, "backoff": 2, "rewakes": 2}
_SPANS: Final = tuple(timedelta(hours=hours) for hours in (1, 24, 24 * 5, 24 * 14))
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def state_of(world: World, standing: Sequence[object]) -> str:
    """Name the state that the world is in; `standing` are the processes that stand at gates."""
    rows, ledger = world.sql(_ROWS), world.sql(_LEDGER)
    names = {row["id"]: f"S {row['job_uid']}" for row in rows}
    names |= {row["id"]: f"D {row['job_uid']} {row['kind']}" for row in ledger}
    tables = [*rows, *ledger, *world.sql(_FACTS)]
    ranks = _ranks(world, tables)
    plain = [_plain(row, world.clock.now(), ranks) for row in tables]
    known = repr((plain, world.sql(_RESTARTS), _messages(world), _centre(world), standing))
    return sha256(
        _UUID.sub(lambda found: names.get(found[0], found[0]), known).encode()
    ).hexdigest()


def _ranks(world: World, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Order what lies ahead."""
    now = world.clock.now()
    ahead = {row[name] for row in rows for name in _TIMES if row.get(name)}
    return {at: rank for rank, at in enumerate(sorted(at for at in ahead if _moment(at) > now), 1)}


def _plain(row: dict[str, Any], now: datetime, ranks: dict[str, int]) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name != "version"}
    for name in _TIMES:
        if shown.get(name):
            shown[name] = ranks.get(shown[name], 0)
    for name in _AGES:
        if shown.get(name):
            shown[name] = sum(now - _moment(shown[name]) >= span for span in _SPANS)
    for name, most in _CUT.items():
        if name in shown:
            shown[name] = min(shown[name], most)
    return shown


def _messages(world: World) -> list[tuple[str, bytes]]:
    return sorted((name, each.body) for name in world.busy() for each in world.broker.peek(name))


def _centre(world: World) -> object:
    """Journals and directories: what was begun, how it ended, which jobs there are."""
    centre = world.centre
    journals = [
        (
            sorted(
                (key.supervision_id, key.attempt, e.started, e.fenced, e.end and e.end.kind)
                for key, e in journal.entries.items()
            ),
            sorted(journal.cancelled.items()),
        )
        for _, journal in sorted(centre._journals.items())  # noqa: SLF001 - the model's very subject
    ]
    places = [
        (path, place.state, [(job.sight, job.reason) for job in place.jobs])
        for path, place in sorted(centre.directories.items())
    ]
    return journals, places, bool(centre.unreachable)


def versions(world: World) -> dict[str, int]:
    """Tell the versions of all rows: by them a claim stands or has been lost."""
    query = "SELECT id, version FROM {}"
    tables = ("tbl_simulation_supervision", "tbl_supervision_decision")
    return {row["id"]: row["version"] for name in tables for row in world.sql(query.format(name))}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
