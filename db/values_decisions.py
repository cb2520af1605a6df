"""Between rows of tbl_supervision_decision and their frozen values; no statement stands here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from db.types_decisions import Decision


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerRow:
    """What a decision goes by of its row; see types_decisions. The stored facts are not in it."""

    id: str
    job_uid: str
    simulation_uid: str
    kind: str
    occurrences: int
    first_at: datetime
    last_at: datetime
    arrived_at: datetime
    rule: str | None
    sentence: str | None
    told_at: datetime | None
    looks: str | None
    deferrals: str | None
    wake_at: datetime | None
    not_before: datetime | None
    lease_until: datetime | None
    version: int
    claim_count: int
    failed_not_before: datetime | None
    failed_not_after: datetime | None
    cause: str | None


READ: Final = tuple(Decision.__table__.c[name] for name in LedgerRow.__dataclass_fields__)
"""The columns that a value is made of."""


def value_of(row: Any) -> LedgerRow:  # noqa: ANN401
    """Turn what was read of `READ` into the value that decisions go by."""
    return LedgerRow(**dict(zip(LedgerRow.__dataclass_fields__, row, strict=True)))
