"""Reads what was, in the order of time, for the question what another policy would have done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.types_decisions import Decision
from db.types_incidents import Incident
from db.types_messages import Message
from db.types_monitoring import Job, Simulation
from db.types_supervision import Supervision

_PAGE: Final = 200
_HEARD: Final = func.coalesce(Message.mailed_at, Message.emitted_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """A stored message: its text (None: past its retention), and when it could be heard."""

    body: str | None
    at: datetime


def count_decided(session: Session, since: datetime | None) -> int:
    """Count the ledger rows that were decided since then; None: ever."""
    return session.scalar(select(func.count()).select_from(_decided(since).subquery())) or 0


def decided(session: Session, since: datetime | None) -> Iterator[Decision]:
    """Stream those rows with their facts, in the order of their verdicts; a page is in memory."""
    columns = (
        *(Decision.id, Decision.job_uid, Decision.simulation_uid, Decision.kind),
        *(Decision.rule, Decision.facts, Decision.policy_digest, Decision.decided_at),
    )
    query = _decided(since).with_only_columns(*columns)
    ordered = query.order_by(Decision.decided_at, Decision.id)
    yield from session.execute(ordered, execution_options={"yield_per": _PAGE})  # type: ignore[misc]


def digests(session: Session, since: datetime | None) -> set[str]:
    """Name the policies that those rows were decided by."""
    query: Select[Any] = _decided(since).with_only_columns(Decision.policy_digest).distinct()
    return {digest for digest in session.scalars(query) if digest}


def _decided(since: datetime | None) -> Select[Any]:
    query = select(Decision.id).where(Decision.decided_at.is_not(None))
    return query if since is None else query.where(Decision.decided_at >= since)


def count_unjudged(session: Session) -> int:
    """Count the messages of simulations that the ledger does not know."""
    return session.scalar(select(func.count()).select_from(_unjudged().subquery())) or 0


def unjudged(session: Session) -> Iterator[Heard]:
    """Stream those messages in the order in which they could be heard; a page is in memory.

    That is when they were mailed, where a mail brought them, else when they were sent.
    """
    query = _unjudged().with_only_columns(Message.body, _HEARD.label("at"))
    ordered = query.order_by(_HEARD, Message.uid)
    for row in session.execute(ordered, execution_options={"yield_per": _PAGE}):
        yield Heard(body=row.body, at=row.at)


def _unjudged() -> Select[Any]:
    known = select(Decision.id).where(Decision.simulation_uid == Message.simulation_uid)
    return select(Message.uid).where(Message.simulation_uid.is_not(None), ~known.exists())


def next_alarm(session: Session) -> datetime | None:
    """Tell when the first alarm of all rings; None: nothing waits for the clock."""
    alarms = (
        session.scalar(select(func.min(column)))
        for column in (
            Decision.wake_at,
            Supervision.wake_at,
            Job.late_check_at,
            Simulation.next_start_check_at,
            Incident.wake_at,
        )
    )
    return min((at for at in alarms if at is not None), default=None)
