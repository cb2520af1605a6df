"""Reads what the operator's list is made of: sets of rows of one span of time, end included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from db.types_credentials import CredentialRow
from db.types_decisions import Decision
from db.types_letters import RefusedMail
from db.types_messages import Message
from db.types_monitoring import Simulation
from db.types_supervision import Supervision
from db.values_supervision import in_states
from supervision.facts import CancelCause, FailureCause
from supervision.fsm.states import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusals:
    """Jobs of one simulation of which one rule said no: how many, and what it said."""

    simulation_uid: str
    name: str | None
    login: str | None
    centre: str | None
    machine: str | None
    jobs: int
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A supervision that is over."""

    id: str
    simulation_uid: str
    name: str | None
    site: str
    login: str
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """From when (excluded) until when (included)."""

    since: datetime
    until: datetime

    def holds(self, column: Any) -> ColumnElement[bool]:  # noqa: ANN401
        """Whether a time lies in it, in SQL."""
        return and_(column > self.since, column <= self.until)


def wants(session: Session, span: Span) -> list[Refusals]:
    """Read what is refused for want of something that may still come."""
    return _refused(session, span, Decision.for_want.is_(True))


def ruled(session: Session, span: Span, rule: str) -> list[Refusals]:
    """Read what this rule refused for good."""
    return _refused(session, span, and_(Decision.rule == rule, Decision.for_want.is_(False)))


def _refused(session: Session, span: Span, which: ColumnElement[bool]) -> list[Refusals]:
    query = (
        select(
            Decision.simulation_uid,
            Simulation.name,
            Simulation.login,
            Simulation.centre,
            Simulation.machine,
            func.count(Decision.job_uid.distinct()).label("jobs"),
            func.max(Decision.sentence).label("sentence"),
        )
        .outerjoin(Simulation, Simulation.uid == Decision.simulation_uid)
        .where(Decision.verdict == "refuse", span.holds(Decision.decided_at), which)
        .group_by(
            Decision.simulation_uid,
            Simulation.name,
            Simulation.login,
            Simulation.centre,
            Simulation.machine,
        )
        .order_by(Simulation.login, Simulation.name, Decision.simulation_uid)
    )
    return [Refusals(**row) for row in session.execute(query).mappings()]


def expired(session: Session, span: Span) -> list[Ended]:
    """Read the supervisions that ran out of time."""
    causes = (FailureCause.EXPIRED.value,)
    return _ended(session, span, and_(in_states((State.FAILED,)), Supervision.cause.in_(causes)))


def declined(session: Session, span: Span) -> list[Ended]:
    """Read the supervisions whose script, or whose owner's file, said no."""
    causes = (CancelCause.DECLINED.value, CancelCause.DECLINED_POST.value)
    return _ended(session, span, and_(in_states((State.CANCELLED,)), Supervision.cause.in_(causes)))


def _ended(session: Session, span: Span, which: ColumnElement[bool]) -> list[Ended]:
    query = (
        select(
            Supervision.id,
            Supervision.simulation_uid,
            Simulation.name,
            Supervision.site,
            Supervision.login,
            Supervision.reason,
        )
        .outerjoin(Simulation, Simulation.uid == Supervision.simulation_uid)
        .where(span.holds(Supervision.ended_at), which)
        .order_by(Supervision.ended_at, Supervision.id)
    )
    return [Ended(**row) for row in session.execute(query).mappings()]


def refused_mails(session: Session, span: Span) -> Sequence[RefusedMail]:
    """Read the mails that the mail server will never take."""
    query = select(RefusedMail).where(span.holds(RefusedMail.at)).order_by(RefusedMail.at)
    return session.scalars(query).all()


def broken_messages(session: Session, span: Span) -> Sequence[tuple[str, str, str]]:
    """Read the messages that were put aside with an error: uid, code, error."""
    query = (
        select(Message.uid, Message.code, Message.processing_error)
        .where(span.holds(Message.stored_at), Message.processing_error.is_not(None))
        .order_by(Message.stored_at, Message.uid)
    )
    return [(row.uid, row.code, row.processing_error or "") for row in session.execute(query)]


def expired_credentials(session: Session, now: datetime) -> Sequence[CredentialRow]:
    """Read the credentials that have expired by now."""
    query = (
        select(CredentialRow)
        .where(CredentialRow.expires_at <= now)
        .order_by(CredentialRow.site, CredentialRow.login)
    )
    return session.scalars(query).all()
