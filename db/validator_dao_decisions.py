"""Checks what dao_decisions is asked to store, before any statement is sent."""

from __future__ import annotations

from collections.abc import Iterable

from db.dao_common import Row
from db.types_common import NAME_LENGTH
from db.validator_common import check_filled, check_text, check_time, check_uid
from supervision.errors import InvalidValue
from supervision.facts import TriggerKind, VerdictKind


def validate_triggers(rows: Iterable[Row]) -> None:
    """New rows of the ledger; raises InvalidValue."""
    for row in rows:
        check_uid("decision id", row["id"])
        check_uid("job uid", row["job_uid"])
        check_uid("simulation uid", row["simulation_uid"])
        check_text("cause", row["cause"], NAME_LENGTH)
        if row["kind"] not in set(TriggerKind):
            raise InvalidValue(f"kind: {row['kind']!r} is no kind of trigger")
        if row["occurrences"] < 1:
            raise InvalidValue("occurrences: a trigger has occurred at least once")
        for name in ("first_at", "last_at", "arrived_at", "wake_at"):
            check_time(name, row[name])


def validate_verdicts(rows: Iterable[Row]) -> None:
    """Verdicts to be written; raises InvalidValue."""
    for row in rows:
        check_uid("decision id", row["id"])
        check_filled("rule", row["rule"])
        check_filled("sentence", row["sentence"])
        check_text("facts", row["facts"])
        check_time("wake_at", row["wake_at"])
        if row["verdict"] not in set(VerdictKind):
            raise InvalidValue(f"verdict: {row['verdict']!r} is no verdict")
