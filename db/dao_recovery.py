"""Writes what became of failures: who restarted the simulation, and when it was past the failure.

Worked out anew from the facts each time, so the order in which messages come does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from sqlalchemy import Update, and_, case, exists, func, or_, select, update
from sqlalchemy.orm import DeclarativeBase, Session

from db.dao_common import UNSYNCED, is_postgresql
from db.sets import among
from db.types_common import UtcDateTime
from db.types_decisions import Decision
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Restart, Supervision
from supervision.facts import JobKind, TriggerKind

_CHAIN: Final = (TriggerKind.FATAL.value, TriggerKind.LATE.value, TriggerKind.STALLED.value)


def lock(session: Session, simulation_uids: Iterable[str]) -> None:
    """Lock the supervisions of these simulations, in the order of their ids, until the end.

    Who writes supervisions and ledger rows in one transaction has the supervisions first: two that
    went in opposite directions would deadlock, and one would lose what it has done.
    """
    uids = list(simulation_uids)
    if uids and is_postgresql(session):
        query = select(Supervision.id).where(among(Supervision.simulation_uid, uids))
        session.execute(query.order_by(Supervision.id).with_for_update())


def note(session: Session, simulation_uids: Iterable[str]) -> None:
    """Fill restarted_at, restarted_by, recovered_at of these simulations' decisions and rows.

    Restarted: the first start of a compute job after the failure; by us when that job carries the
    scheduler id that a script of ours got, or carries none (generation B) and a script of ours
    acted in between; else by hand.
    Recovered: the first 1001 beyond the failed period, the first good end of a job that started
    after the failure, or the 0100 after it. Idempotent.
    """
    uids = list(simulation_uids)
    if uids:
        for statement in _noting():
            session.execute(statement, {"uids": uids}, execution_options=UNSYNCED)


@cache
def _noting() -> tuple[Update, ...]:
    """What fills the columns, in order; rows that say it already are left as they are."""
    open_rows = and_(
        among(Decision.simulation_uid),
        Decision.kind.in_(_CHAIN),
        or_(Decision.recovered_at.is_(None), Decision.restarted_by.is_distinct_from("us")),
    )
    times = {"restarted_at": _restarted_at(), "recovered_at": _recovered_at()}
    restarter = {"restarted_by": case((_by_us(), "us"), else_="hand")}
    recovered = (
        select(func.min(Decision.recovered_at, type_=UtcDateTime()))
        .where(Decision.job_uid == Supervision.job_uid)
        .correlate(Supervision)
        .scalar_subquery()
    )
    acted = and_(among(Supervision.simulation_uid), Supervision.executed_at.is_not(None))
    return (
        _changing(Decision, times).where(open_rows),
        _changing(Decision, restarter).where(open_rows, Decision.restarted_at.is_not(None)),
        _changing(Supervision, {"recovered_at": recovered}).where(acted),
    )


def _changing(table: type[DeclarativeBase], values: dict[str, Any]) -> Update:
    columns = table.__table__.c
    changes = (columns[name].is_distinct_from(value) for name, value in values.items())
    return update(table).where(or_(*changes)).values(values)


def _later_compute() -> Any:  # noqa: ANN401
    return and_(
        Job.simulation_uid == Decision.simulation_uid,
        Job.kind == JobKind.COMPUTE.value,
        Job.uid != Decision.job_uid,
        Job.started_at > Decision.first_at,
    )


def _restarted_at() -> Any:  # noqa: ANN401
    later = select(func.min(Job.started_at, type_=UtcDateTime())).where(_later_compute())
    return later.correlate(Decision).scalar_subquery()


def _recovered_at() -> Any:  # noqa: ANN401
    failed = _failed_period()
    beyond = (
        select(func.min(JobPeriod.at, type_=UtcDateTime()))
        .where(
            JobPeriod.simulation_uid == Decision.simulation_uid,
            JobPeriod.at > Decision.first_at,
            JobPeriod.number > failed,
        )
        .correlate(Decision)
        .scalar_subquery()
    )
    ended = (
        select(func.min(Job.ended_at, type_=UtcDateTime()))
        .where(_later_compute(), Job.ended_at.is_not(None))
        .correlate(Decision)
        .scalar_subquery()
    )
    complete = (
        select(Simulation.complete_at)
        .where(
            Simulation.uid == Decision.simulation_uid,
            Simulation.complete_at > Decision.first_at,
            Simulation.complete_at > _restarted_at(),
        )
        .correlate(Decision)
        .scalar_subquery()
    )
    first = func.coalesce(beyond, ended, complete)
    return case((and_(ended.is_not(None), ended < first), ended), else_=first)


def _failed_period() -> Any:  # noqa: ANN401
    return (
        select(Job.period).where(Job.uid == Decision.job_uid).correlate(Decision).scalar_subquery()
    )


def _by_us() -> Any:  # noqa: ANN401
    starter = (
        select(Job.scheduler_id)
        .where(_later_compute(), Job.started_at == Decision.restarted_at)
        .limit(1)
        .correlate(Decision)
        .scalar_subquery()
    )
    acted = exists().where(
        Restart.simulation_uid == Decision.simulation_uid,
        or_(
            Restart.scheduler_id == starter,  # the centre's clock may be off: no times here
            and_(
                starter.is_(None),
                Restart.at < Decision.restarted_at,
                Restart.at > Decision.first_at,
            ),
        ),
    )
    return acted.correlate(Decision)
