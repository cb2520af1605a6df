"""Checks what dao_messages is asked to store, before any statement is sent."""

from __future__ import annotations

from collections.abc import Iterable

from db.dao_common import Row
from db.types_common import UID_LENGTH
from db.validator_common import check_text, check_time, check_uid


def validate_messages(rows: Iterable[Row]) -> None:
    """Rows of tbl_message; raises InvalidValue."""
    for row in rows:
        check_uid("message uid", row["uid"])
        check_uid("message code", row["code"])
        check_text("emitted_as", row["emitted_as"], UID_LENGTH)
        check_text("body", row["body"])
        for name in ("emitted_at", "mailed_at", "received_at", "stored_at"):
            check_time(name, row[name])
