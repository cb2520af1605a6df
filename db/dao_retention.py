"""Deletes what is past its retention: raw bodies first, the rest later; never what is open."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from db.dao_common import UNSYNCED
from db.types_common import Base
from db.types_decisions import Decision
from db.types_letters import NoticeRow, RefusedMail
from db.types_messages import Message
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Restart, Supervision, Transition
from db.values_supervision import in_states
from supervision.fsm.states import UNFINISHED


def clean(session: Session, bodies_before: datetime, rest_before: datetime) -> dict[str, int]:
    """Forget raw bodies stored before the first time, simulations last seen before the second.

    A simulation with anything unfinished stays whole: an open or watched supervision, an alarm.
    Returns how many rows went, by table. Holds, sites and policies stay.
    """
    open_uids = (
        select(Supervision.simulation_uid)
        .where(or_(in_states(UNFINISHED), Supervision.wake_at.is_not(None)))
        .union(select(Decision.simulation_uid).where(Decision.wake_at.is_not(None)))
    )
    gone = (
        select(Simulation.uid)
        .where(
            Simulation.last_seen_at < rest_before,
            Simulation.next_start_check_at.is_(None),
            Simulation.uid.not_in(open_uids),
            Simulation.uid.not_in(select(Job.simulation_uid).where(Job.late_check_at.is_not(None))),
            ~exists().where(  # a history that was read in late is kept as long as any other
                Message.simulation_uid == Simulation.uid, Message.stored_at >= rest_before
            ),
        )
        .scalar_subquery()
    )
    bodies = (
        update(Message)
        .where(
            Message.stored_at < bodies_before,
            Message.body.is_not(None),
            Message.processing_error.is_(None),
        )
        .values(body=None)
    )
    counts = {"bodies": _count(session, bodies)}
    mine = select(Supervision.id).where(Supervision.simulation_uid.in_(gone)).scalar_subquery()
    parts: tuple[tuple[type[Base], ColumnElement[bool]], ...] = (
        (Transition, Transition.supervision_id.in_(mine)),
        (Restart, Restart.supervision_id.in_(mine)),
        (Supervision, Supervision.simulation_uid.in_(gone)),
        (Decision, Decision.simulation_uid.in_(gone)),
        (JobPeriod, JobPeriod.simulation_uid.in_(gone)),
        (Job, Job.simulation_uid.in_(gone)),
    )
    for table, theirs in parts:
        counts[table.__tablename__] = _count(session, delete(table).where(theirs))
    forgotten = delete(Simulation).where(Simulation.uid.in_(gone))
    counts[Simulation.__tablename__] = _count(session, forgotten)
    messages = delete(Message).where(
        Message.stored_at < rest_before,
        ~exists().where(Simulation.uid == Message.simulation_uid),
    )
    counts[Message.__tablename__] = _count(session, messages)
    told = delete(NoticeRow).where(NoticeRow.lease_until < rest_before)
    counts[NoticeRow.__tablename__] = _count(session, told)
    refused = delete(RefusedMail).where(RefusedMail.at < rest_before)
    counts[RefusedMail.__tablename__] = _count(session, refused)
    return counts


def _count(session: Session, statement: Any) -> int:  # noqa: ANN401
    found: Any = session.execute(statement, execution_options=UNSYNCED)
    return int(found.rowcount)
