"""What lines of the engine are about, and the canonical one of a row that was worked on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import structlog
from structlog.typing import FilteringBoundLogger

from supervision.facts import Supervision
from supervision.fsm import machine
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import Outcome
from supervision.fsm.states import STATES, State
from supervision.logs_about import about

_LOG = structlog.get_logger()


def about_rows(rows: Sequence[Supervision]) -> AbstractContextManager[None]:
    """Name these supervisions, and their jobs, on each line of the block."""
    return about(supervision_id=[row.id for row in rows], job_uid=[row.job_uid for row in rows])


@contextmanager
def working(tools: Tools, state: State, rows: Sequence[Supervision]) -> Iterator[None]:
    """Name these supervisions on each line of the block, and trace it as their state's work."""
    ids, jobs = [row.id for row in rows], [row.job_uid for row in rows]
    step = STATES[state].event or state
    with about_rows(rows), tools.tracer.span(step, supervision_id=ids, job_uid=jobs):
        yield


def tell_settled(
    tools: Tools, outcomes: Sequence[Outcome], written: set[str], seconds: float
) -> None:
    """Log what came out for each row, and whether the claim still stood; count what moved."""
    now = tools.ports.clock.now()
    log: FilteringBoundLogger = _LOG.bind()
    with about(supervision_id=None, job_uid=None):  # a line names the one row that it is of
        for outcome in outcomes:
            stood = outcome.row.id in written
            _log(log, outcome, seconds, stood=stood)
            if stood and outcome.event:
                tools.meter.moved(outcome.row, outcome.event, at=now, worked_seconds=seconds)


def _log(log: FilteringBoundLogger, outcome: Outcome, seconds: float, *, stood: bool) -> None:
    row = outcome.row
    target = machine.target(row.state, outcome.event) if outcome.event else row.state
    log.info(
        "supervision.settled" if stood else "supervision.claim_lost",
        supervision_id=row.id,
        job_uid=row.job_uid,
        fired=outcome.event.value if outcome.event else None,
        source=row.state.value,
        target=target.value,
        attempt=row.attempt,
        outcome=outcome.cause or outcome.reason,
        seconds=round(seconds, 4),
    )
