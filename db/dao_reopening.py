"""Finds and wakes what was decided by another policy than the present one."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from db.dao_common import UNSYNCED
from db.types_decisions import Decision
from db.types_supervision import Supervision
from db.values_supervision import in_states
from supervision.fsm.states import UNFINISHED, State

_WANT: Final = "where-and-who"
_BRAKES: Final = ("maintenance", "cap")
"""The brakes that settings set; a row remembers the rule that put it off."""


def wake_put_off(session: Session, digest: str, now: datetime) -> int:
    """Bring forward what settings put off: decisions by another policy, and rows by any.

    That is what was refused for want, and what such a brake made wait. Returns how many decisions
    these were; what the present policy puts off as well waits again.
    """
    statement = (
        update(Decision)
        .where(
            or_(Decision.for_want.is_(True), Decision.rule.in_(_BRAKES)),
            Decision.wake_at > now,
            Decision.policy_digest != digest,
        )
        .values(wake_at=now, not_before=None)
        .returning(Decision.id)
    )
    woken = session.scalars(statement, execution_options=UNSYNCED).all()
    session.execute(
        update(Supervision)
        .where(
            in_states((*UNFINISHED, State.EXECUTED)),
            Supervision.not_before > now,
            Supervision.cause.in_((_WANT, *_BRAKES)),
        )
        .values(wake_at=now, not_before=None),
        execution_options=UNSYNCED,
    )
    return len(woken)
