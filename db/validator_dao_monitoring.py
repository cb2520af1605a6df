"""Checks what dao_monitoring is asked to store, before any statement is sent."""

from __future__ import annotations

from collections.abc import Iterable

from db.dao_common import Row
from db.types_common import NAME_LENGTH, PATH_LENGTH
from db.validator_common import check_text, check_time, check_uid
from supervision.errors import InvalidValue
from supervision.facts import JobKind


def validate_simulations(rows: Iterable[Row]) -> None:
    """Rows of tbl_simulation; raises InvalidValue."""
    for row in rows:
        check_uid("simulation uid", row["uid"])
        _check_columns(row)


def validate_jobs(rows: Iterable[Row]) -> None:
    """Rows of tbl_job; raises InvalidValue."""
    for row in rows:
        check_uid("job uid", row["uid"])
        check_uid("simulation uid", row["simulation_uid"])
        if row["kind"] is not None and row["kind"] not in set(JobKind):
            raise InvalidValue(f"kind: {row['kind']!r} is no kind of job")
        _check_columns(row)


def validate_periods(rows: Iterable[Row]) -> None:
    """Rows of tbl_job_period; raises InvalidValue."""
    for row in rows:
        check_uid("job uid", row["job_uid"])
        if not 0 <= row["number"] < 2**31:
            raise InvalidValue(f"period: {row['number']} is out of range")


def _check_columns(row: Row) -> None:
    for name, value in row.items():
        if name.endswith("_at"):
            check_time(name, value)
        elif name not in {"period", "delay_seconds", "config_card", "cores"}:
            check_text(name, value, PATH_LENGTH if name == "directory" else NAME_LENGTH)
