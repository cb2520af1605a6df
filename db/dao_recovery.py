"""Writes what became of failures: who restarted the simulation, and when it was past the failure.

Worked out anew from the facts each time, so the order in which messages come does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from sqlalchemy import Table, Update, and_, case, exists, func, or_, select, update
from sqlalchemy.orm import Session

from db.dao_common import core, is_postgresql
from db.sets import among
from db.types_common import UtcDateTime
from db.types_decisions import Decision
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Restart, Supervision
from supervision.facts import JobKind, TriggerKind

_DECISION: Final = core(Decision)
_JOB: Final = core(Job)
_PERIOD: Final = core(JobPeriod)
_RESTART: Final = core(Restart)
_SIMULATION: Final = core(Simulation)
_SUPERVISION: Final = core(Supervision)
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
            session.execute(statement, {"uids": uids})


@cache
def _noting() -> tuple[Update, ...]:
    """What fills the columns, in order; rows that say it already are left as they are."""
    open_rows = and_(
        among(_DECISION.c.simulation_uid),
        _DECISION.c.kind.in_(_CHAIN),
        or_(_DECISION.c.recovered_at.is_(None), _DECISION.c.restarted_by.is_distinct_from("us")),
    )
    times = {"restarted_at": _restarted_at(), "recovered_at": _recovered_at()}
    restarter = {"restarted_by": case((_by_us(), "us"), else_="hand")}
    recovered = (
        select(func.min(_DECISION.c.recovered_at, type_=UtcDateTime()))
        .where(_DECISION.c.job_uid == _SUPERVISION.c.job_uid)
        .correlate(_SUPERVISION)
        .scalar_subquery()
    )
    acted = and_(among(_SUPERVISION.c.simulation_uid), _SUPERVISION.c.executed_at.is_not(None))
    return (
        _changing(_DECISION, times).where(open_rows),
        _changing(_DECISION, restarter).where(open_rows, _DECISION.c.restarted_at.is_not(None)),
        _changing(_SUPERVISION, {"recovered_at": recovered}).where(acted),
    )


def _changing(table: Table, values: dict[str, Any]) -> Update:
    changes = (table.c[name].is_distinct_from(value) for name, value in values.items())
    return update(table).where(or_(*changes)).values(values)


def _later_compute() -> Any:  # noqa: ANN401
    return and_(
        _JOB.c.simulation_uid == _DECISION.c.simulation_uid,
        _JOB.c.kind == JobKind.COMPUTE.value,
        _JOB.c.uid != _DECISION.c.job_uid,
        _JOB.c.started_at > _DECISION.c.first_at,
    )


def _restarted_at() -> Any:  # noqa: ANN401
    later = select(func.min(_JOB.c.started_at, type_=UtcDateTime())).where(_later_compute())
    return later.correlate(_DECISION).scalar_subquery()


def _recovered_at() -> Any:  # noqa: ANN401
    failed = _failed_period()
    beyond = (
        select(func.min(_PERIOD.c.at, type_=UtcDateTime()))
        .where(
            _PERIOD.c.simulation_uid == _DECISION.c.simulation_uid,
            _PERIOD.c.at > _DECISION.c.first_at,
            _PERIOD.c.number > failed,
        )
        .correlate(_DECISION)
        .scalar_subquery()
    )
    ended = (
        select(func.min(_JOB.c.ended_at, type_=UtcDateTime()))
        .where(_later_compute(), _JOB.c.ended_at.is_not(None))
        .correlate(_DECISION)
        .scalar_subquery()
    )
    complete = (
        select(_SIMULATION.c.complete_at)
        .where(
            _SIMULATION.c.uid == _DECISION.c.simulation_uid,
            _SIMULATION.c.complete_at > _DECISION.c.first_at,
            _SIMULATION.c.complete_at > _restarted_at(),
        )
        .correlate(_DECISION)
        .scalar_subquery()
    )
    first = func.coalesce(beyond, ended, complete)
    return case((and_(ended.is_not(None), ended < first), ended), else_=first)


def _failed_period() -> Any:  # noqa: ANN401
    return (
        select(_JOB.c.period)
        .where(_JOB.c.uid == _DECISION.c.job_uid)
        .correlate(_DECISION)
        .scalar_subquery()
    )


def _by_us() -> Any:  # noqa: ANN401
    starter = (
        select(_JOB.c.scheduler_id)
        .where(_later_compute(), _JOB.c.started_at == _DECISION.c.restarted_at)
        .limit(1)
        .correlate(_DECISION)
        .scalar_subquery()
    )
    acted = exists().where(
        _RESTART.c.simulation_uid == _DECISION.c.simulation_uid,
        or_(
            _RESTART.c.scheduler_id == starter,  # the centre's clock may be off: no times here
            and_(
                starter.is_(None),
                _RESTART.c.at < _DECISION.c.restarted_at,
                _RESTART.c.at > _DECISION.c.first_at,
            ),
        ),
    )
    return acted.correlate(_DECISION)
