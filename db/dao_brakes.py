"""Wakes what a brake has put off, once its reason may be gone."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from db.dao_common import UNSYNCED
from db.types_decisions import Decision
from db.types_supervision import Supervision
from db.values_supervision import in_states
from supervision.fsm.states import UNFINISHED, State

RULES: Final = ("hold", "credential")
"""The brakes that are over when somebody says so, or puts a new file in place."""


def wake(session: Session, now: datetime) -> None:
    """Bring forward decisions and supervisions, watched ones too, that such a brake has put off.

    They are decided again: what another brake still stops is put off again.
    """
    for table, put_off in _put_off(now):
        session.execute(
            update(table).where(*put_off).values(wake_at=now, not_before=None),
            execution_options=UNSYNCED,
        )


def waiting(session: Session, now: datetime) -> tuple[int, int]:
    """Count the decisions, and the supervisions, that `wake` would bring forward."""
    decisions, supervisions = (
        session.scalar(select(func.count()).select_from(table).where(*put_off)) or 0
        for table, put_off in _put_off(now)
    )
    return decisions, supervisions


def _put_off(
    now: datetime,
) -> tuple[tuple[type[Decision | Supervision], tuple[ColumnElement[bool], ...]], ...]:
    braked = (Supervision.not_before > now, Supervision.cause.in_(RULES))
    return (
        (Decision, (Decision.rule.in_(RULES), Decision.wake_at > now)),
        (Supervision, (in_states((*UNFINISHED, State.EXECUTED)), *braked)),
    )
