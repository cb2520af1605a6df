"""Reads what the ledger of value is counted from: every failure of a span, in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.types_common import UtcDateTime
from db.types_decisions import Decision
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Supervision
from supervision.facts import TriggerKind, VerdictKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One failure as the ledger has it. `site` only where it is supervised; else where it ran.

    `period_at`: when the last period that its job told of began. `cores`: of the simulation's
    compute jobs, by its config.card.
    """

    kind: str
    verdict: str | None
    rule: str | None
    first_at: datetime
    restarted_by: str | None
    recovered_at: datetime | None
    site: str | None
    login: str | None
    centre: str | None
    machine: str | None
    cores: int | None
    started_at: datetime | None
    period_at: datetime | None


def failures(session: Session, since: datetime, until: datetime) -> list[Failure]:
    """Read the failures that began in this span, its beginning included and its end not.

    Commands that failed are no failures of jobs, and a merged row is one that is counted already.
    """
    query = (
        select(
            Decision.kind,
            Decision.verdict,
            Decision.rule,
            Decision.first_at,
            Decision.restarted_by,
            Decision.recovered_at,
            Supervision.site,
            func.coalesce(Supervision.login, Simulation.login).label("login"),
            Simulation.centre,
            Simulation.machine,
            Simulation.cores,
            Job.started_at,
            _period_at().label("period_at"),
        )
        .outerjoin(Supervision, Supervision.job_uid == Decision.job_uid)
        .outerjoin(Simulation, Simulation.uid == Decision.simulation_uid)
        .outerjoin(Job, Job.uid == Decision.job_uid)
        .where(
            Decision.first_at >= since,
            Decision.first_at < until,
            Decision.kind != TriggerKind.COMMAND.value,
            Decision.verdict.is_distinct_from(VerdictKind.MERGE.value),
        )
    )
    return [Failure(**row) for row in session.execute(query).mappings()]


def _period_at() -> Any:  # noqa: ANN401
    return (
        select(func.max(JobPeriod.at, type_=UtcDateTime()))
        .where(JobPeriod.job_uid == Decision.job_uid, JobPeriod.at <= Decision.first_at)
        .correlate(Decision)
        .scalar_subquery()
    )
