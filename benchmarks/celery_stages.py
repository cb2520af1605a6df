"""The same four durable stages as Celery tasks: acks_late, one row a task, the next stage by name.

Written as a Celery user would: one transaction a stage, guarded by state and version, with the
ledger, the history and the rendered script; the engine of this project is not involved.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

from celery import Celery
from sqlalchemy import Engine, create_engine, insert, select, update

from db.types_decisions import Decision
from db.types_monitoring import Job, Simulation
from db.types_supervision import Supervision, Transition
from supervision import script
from supervision.facts import JobKind, ScriptFacts, SitePolicy, TriggerKind
from supervision.settings import Settings

BROKER = os.environ.get("BENCH_CELERY_BROKER", "memory://")
DATABASE = os.environ.get("BENCH_CELERY_DATABASE", "")

app = Celery("stages", broker=BROKER)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=50,
    task_default_queue="celery-stages",
    broker_connection_retry_on_startup=True,
)


@cache
def _engine() -> Engine:
    return create_engine(DATABASE, pool_size=2)


@app.task(name="detect")  # type: ignore[untyped-decorator]
def detect(simulation_uid: str, job_uid: str) -> None:
    """Decide, write the ledger, open the supervision."""
    now = datetime.now(UTC)
    with _engine().begin() as connection:
        row = connection.execute(
            select(Decision.id, Decision.version)
            .where(Decision.job_uid == job_uid)
            .with_for_update()
        ).one()
        simulation = connection.execute(
            select(Simulation).where(Simulation.uid == simulation_uid)
        ).one()
        connection.execute(select(Job).where(Job.uid == job_uid)).one()
        connection.execute(
            select(Supervision.id).where(Supervision.simulation_uid == simulation_uid)
        ).all()
        connection.execute(
            update(Decision)
            .where(Decision.id == row.id, Decision.version == row.version)
            .values(verdict="supervise", rule="supervise", sentence="-", facts="{}",
                    wake_at=None, version=row.version + 1)
        )  # fmt: skip
        supervision_id = str(uuid.uuid4())
        connection.execute(
            insert(Supervision).values(
                id=supervision_id, simulation_uid=simulation_uid, job_uid=job_uid,
                decision_id=row.id, site="site", login=simulation.login,
                directory=simulation.directory, kind="compute", trigger="fatal", level=2,
                created_at=now, wake_at=now + timedelta(seconds=60),
            )
        )  # fmt: skip
        _history(connection, supervision_id, "detect", (None, "detected"))
    format_script.delay(supervision_id)


def _history(connection: Any, row: str, event: str, edge: tuple[str | None, str]) -> None:  # noqa: ANN401
    connection.execute(
        insert(Transition).values(
            supervision_id=row, source=edge[0], target=edge[1], event=event, attempt=1,
            at=datetime.now(UTC), actor="celery", by_person=False,
        )
    )  # fmt: skip


def _advance(
    supervision_id: str, event: str, edge: tuple[str, str], values: dict[str, Any]
) -> None:
    with _engine().begin() as connection:
        version = connection.execute(
            select(Supervision.version).where(Supervision.id == supervision_id).with_for_update()
        ).scalar_one()
        connection.execute(
            update(Supervision)
            .where(Supervision.id == supervision_id, Supervision.version == version)
            .values(version=version + 1, **values)
        )
        _history(connection, supervision_id, event, edge)


@app.task(name="format")  # type: ignore[untyped-decorator]
def format_script(supervision_id: str) -> None:
    """Render the script and store it."""
    with _engine().connect() as connection:
        row = connection.execute(
            select(Supervision, Simulation.name)
            .join(Simulation, Simulation.uid == Supervision.simulation_uid)
            .where(Supervision.id == supervision_id)
        ).one()
    facts = ScriptFacts(
        supervision_id=supervision_id, attempt=1, kind=JobKind.COMPUTE, trigger=TriggerKind.FATAL,
        simulation_uid=row.simulation_uid, job_uid=row.job_uid, job_name=row.name,
        login=row.login, directory=row.directory, scheduler_id="1",
    )  # fmt: skip
    built = script.build(facts, SitePolicy(name="site", centres=("C",), machines=("m",)))
    values = {
        "dispatch_status": "formatted",
        "script_content": built.content,
        "script_sha256": built.sha256,
    }
    _advance(supervision_id, "format", ("detected", "formatted"), values)
    dispatch.delay(supervision_id)


@app.task(name="dispatch")  # type: ignore[untyped-decorator]
def dispatch(supervision_id: str) -> None:
    """Send it nowhere, and say that it was sent."""
    values = {"dispatch_status": "dispatched", "dispatched_at": datetime.now(UTC)}
    _advance(supervision_id, "dispatch", ("formatted", "dispatched"), values)
    execute.delay(supervision_id)


@app.task(name="execute")  # type: ignore[untyped-decorator]
def execute(supervision_id: str) -> None:
    """Say that it was executed."""
    values = {"execution_status": "executed", "executed_at": datetime.now(UTC), "wake_at": None}
    _advance(supervision_id, "execute", ("dispatched", "executed"), values)


def run_celery(
    settings: Settings,
    pairs: Sequence[tuple[str, str]],
    wait: Callable[[str, int, datetime], float],
    peak_mib: Callable[[int], float],
) -> tuple[float, datetime, float]:
    """Run the stages with two workers; returns seconds, the moment of publishing, peak MiB."""
    environment = {
        **os.environ,
        "BENCH_CELERY_BROKER": settings.broker_url,
        "BENCH_CELERY_DATABASE": settings.database_url,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.celery_stages", "worker"]
    command += ["--concurrency=2", "--loglevel=ERROR", "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen(command, env=environment)
    try:
        Event().wait(6.0)  # the workers have connected
        publisher = Celery("stages", broker=settings.broker_url)
        publisher.conf.task_default_queue = "celery-stages"
        at = datetime.now(UTC)
        for simulation_uid, job_uid in pairs:
            publisher.send_task("detect", (simulation_uid, job_uid))
        seconds = wait(settings.database_url, len(pairs), at)
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        peak = max(peak_mib(pid) for pid in (worker.pid, *map(int, children)))
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    return seconds, at, peak
