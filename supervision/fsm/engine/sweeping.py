"""sweep: what is due is woken, what is past its retention is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from db import (
    dao_alarms,
    dao_retention,
)
from db.types_decisions import Decision
from db.types_supervision import Supervision as Row
from supervision.facts import RetentionSettings
from supervision.fsm.engine.tools import Tools
from supervision.fsm.states import STATES, Queue, State, state_of
from supervision.messages import WakeUp


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """How many wake-ups were sent, by what they are about."""

    supervisions: int
    decisions: int
    late_jobs: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.supervisions + self.decisions + self.late_jobs


def sweep(tools: Tools, limit: int, late_sent: dict[str, datetime]) -> Swept:
    """Send the wake-ups that are due, at most `limit` of each kind; their alarms back off.

    Two sweepers at once take different rows. The wake-ups leave after the commit. Late jobs keep
    their alarm until it is recorded: `late_sent` remembers, for this process, which were sent
    within the first back-off, so that a slow queue is not filled with repeats.
    """
    with tools.database.write() as session:
        now = tools.database.now(session)
        rows = dao_alarms.take_due(session, Row, now, limit)
        dao_alarms.set_alarms(session, Row, [_next_alarm(tools, row, now) for row in rows])
        decisions = dao_alarms.take_due(session, Decision, now, limit)
        dao_alarms.set_alarms(
            session, Decision, [_next_alarm(tools, row, now) for row in decisions]
        )
        late = _unsent(tools, dao_alarms.due_late_jobs(session, now, limit), late_sent, now)
    wakeups = [wakeup for row in rows for wakeup in _wakeup(row)]
    wakeups += _detect(decisions)
    wakeups += [WakeUp(queue=Queue.LATE_JOBS, job_uid=uid) for uid in late]
    tools.publish(wakeups)
    return Swept(supervisions=len(rows), decisions=len(decisions), late_jobs=len(late))


def _unsent(
    tools: Tools, job_uids: Sequence[str], sent: dict[str, datetime], now: datetime
) -> list[str]:
    since = now - tools.settings.rewake_first
    for uid in [uid for uid, at in sent.items() if at <= since]:
        del sent[uid]
    late = [uid for uid in job_uids if uid not in sent]
    sent.update(dict.fromkeys(late, now))
    return late


def _next_alarm(tools: Tools, row: Any, now: datetime) -> dict[str, Any]:  # noqa: ANN401
    """The alarm rings again later and later, so a long queue is not doubled by its own alarms."""
    first, cap = tools.settings.rewake_first, tools.settings.rewake_cap
    due = tools.backoff(now, row.rewakes, first, cap)
    return {"id": row.id, "wake_at": due, "rewakes": row.rewakes + 1}


def _wakeup(row: Any) -> list[WakeUp]:  # noqa: ANN401
    state = state_of(row.dispatch_status, row.execution_status)
    queue = STATES[state].queue
    if queue is None:
        return []
    if state is State.FAILED:
        return [
            WakeUp(queue=queue, simulation_uid=row.simulation_uid, job_uid=row.job_uid),
        ]
    return [WakeUp(queue=queue, supervision_id=row.id)]


def _detect(decisions: Sequence[Any]) -> list[WakeUp]:
    jobs = {row.job_uid: row.simulation_uid for row in decisions}
    return [
        WakeUp(queue=Queue.DETECT, simulation_uid=jobs[uid], job_uid=uid) for uid in sorted(jobs)
    ]


def clean(tools: Tools, retention: RetentionSettings) -> dict[str, int]:
    """Delete what is past its retention, never what is unfinished; returns counts by table."""
    with tools.database.write() as session:
        now = tools.database.now(session)
        return dao_retention.clean(session, now - retention.raw_bodies, now - retention.rest)
