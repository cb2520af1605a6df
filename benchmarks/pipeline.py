"""How many supervisions a second go through the four stages, beside the same stages in Celery.

Both sides in one run, on the same PostgreSQL and RabbitMQ, the same tables, the same rendered
script, with an executor that does nothing: what is compared is the durable work around it.
Figures are ratios of one run; the absolute ones belong to the machine that is named beside them.
On a machine that others use too, rounds in turns and their median say more than one long run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import monotonic

from sqlalchemy import create_engine, func, insert, select, text

from benchmarks.celery_stages import run_celery
from benchmarks.noop import NoopTransport
from db.types_decisions import Decision
from db.types_monitoring import Job, JobPeriod, Simulation
from db.types_supervision import Supervision
from supervision import app as composition
from supervision import logs
from supervision.consumers import base
from supervision.facts import Cap, Level, Mode, Policy, SitePolicy, UserPolicy
from supervision.fsm.states import Queue
from supervision.messages import WakeUp
from supervision.settings import Settings
from supervision.wire import wakeup_envelope

STAGES = ("detect", "format", "dispatch", "execute")
SIDES = ("supervision", "celery")
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One side's figures: throughput, message-to-dispatched latencies, memory of a process."""

    side: str
    supervisions: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    peak_mib: float


def settings_of(database_url: str, broker_url: str) -> Settings:
    """A site where everything is allowed at once: no grace, caps out of reach."""
    now = datetime.now(UTC).date()
    wide = Cap(count=10**9, window=timedelta(milliseconds=1))
    policy = Policy(
        digest="benchmark",
        grace=timedelta(0),
        site_cap=wide,
        simulation_cap=wide,
        user_cap=wide,
        incident=wide,
        sites=(SitePolicy(name="site", centres=("C",), machines=("m",), mode=Mode.ACT),),
        users=(UserPolicy(login="user", level=Level.AUTOMATIC, set_by="bench", set_on=now),),
    )
    return Settings(
        source=None, text="", database_url=database_url, broker_url=broker_url, policy=policy
    )


def seed(database_url: str, count: int) -> list[tuple[str, str]]:
    """Put `count` failed jobs, each of its own simulation, into the database; returns their ids."""
    now = datetime.now(UTC)
    pairs = [(str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(count)]
    start, failed = now - timedelta(hours=2), now - timedelta(minutes=20)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "TRUNCATE tbl_simulation, tbl_job, tbl_job_period, tbl_supervision_decision, "
                "tbl_simulation_supervision, tbl_supervision_transition, tbl_supervision_restart "
                "CASCADE"
            )
        )
        simulations = [
            {
                "uid": uid, "name": f"EXP{n}", "login": "user", "centre": "C", "machine": "m",
                "model": "M", "space": "PROD", "directory": f"/work/EXP{n}",
                "directory_at": start, "announced_at": start, "last_start_at": start,
            }
            for n, (uid, _) in enumerate(pairs)
        ]  # fmt: skip
        jobs = [
            {
                "uid": job, "simulation_uid": uid, "kind": "compute", "scheduler_id": "1",
                "directory": f"/work/EXP{n}", "first_at": start, "started_at": start,
                "failed_at": failed, "delay_seconds": 86400, "period": 3,
            }
            for n, (uid, job) in enumerate(pairs)
        ]  # fmt: skip
        periods = [
            {"job_uid": job, "number": 3, "simulation_uid": uid, "at": start} for uid, job in pairs
        ]
        decisions = [
            {
                "id": str(uuid.uuid4()), "job_uid": job, "simulation_uid": uid, "kind": "fatal",
                "occurrences": 1, "first_at": failed, "last_at": failed, "arrived_at": failed,
                "wake_at": now,
            }
            for uid, job in pairs
        ]  # fmt: skip
        for table, rows in (
            (Simulation, simulations), (Job, jobs), (JobPeriod, periods), (Decision, decisions),
        ):  # fmt: skip
            for begin in range(0, count, 1000):
                connection.execute(insert(table), rows[begin : begin + 1000])
        connection.execute(text("ANALYZE"))
    engine.dispose()
    return pairs


def stage(settings: Settings, name: str, stop: Event, peaks: SimpleQueue[float]) -> None:
    """One consumer in a process of its own, until `stop`; leaves its peak memory in `peaks`."""
    logs.configure(json=True, level="error")
    app = composition.build(settings, transport=NoopTransport())
    threads = [
        Thread(target=base.run, args=(consumer, app.broker, stop))
        for consumer in composition.consumers_of(app, [name])
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()
    app.close()
    peaks.put(peak_mib())


def peak_mib(process: int | str = "self") -> float:
    """The most memory that a process had resident; rusage would count its parent's too."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def run_ours(settings: Settings, count: int) -> Result:
    """Publish the detect wake-ups of `count` failures and wait until all are executed."""
    context = multiprocessing.get_context("spawn")
    stop, peaks = context.Event(), context.SimpleQueue()
    workers = [context.Process(target=stage, args=(settings, name, stop, peaks)) for name in STAGES]
    for worker in workers:
        worker.start()
    app = composition.build(settings, transport=NoopTransport())
    pairs = seed(settings.database_url, count)
    Event().wait(3.0)  # the four processes have connected
    at = datetime.now(UTC)
    for begin in range(0, count, 500):
        app.broker.publish(
            [
                wakeup_envelope(
                    WakeUp(queue=Queue.DETECT, simulation_uid=uid, job_uid=job),
                    message_id=app.ids.new(),
                    now=at,
                )
                for uid, job in pairs[begin : begin + 500]
            ]
        )
    seconds = wait_until_executed(settings.database_url, count, at)
    stop.set()
    peak = max(peaks.get() for _ in workers)
    for worker in workers:
        worker.join(30)
    app.close()
    return result(SIDES[0], settings.database_url, (count, seconds, at), peak)


def wait_until_executed(database_url: str, count: int, at: datetime) -> float:
    """Wait until `count` rows are executed; returns the seconds from `at` to the last of them.

    The rows tell when that was, so they are asked once a second and take little of the machine.
    """
    engine = create_engine(database_url)
    executed = Supervision.execution_status == "executed"
    query = select(func.count(), func.max(Supervision.executed_at)).where(executed)
    deadline = monotonic() + PATIENCE_SECONDS
    done: int = 0
    last: datetime | None = None
    while done < count and monotonic() < deadline:
        Event().wait(1.0)
        with engine.connect() as connection:
            done, last = connection.execute(query).one()
    engine.dispose()
    if last is None or done < count:
        raise SystemExit(f"only {done} of {count} were executed in {PATIENCE_SECONDS:.0f} s")
    return (last - at).total_seconds()


def result(side: str, database_url: str, run: tuple[int, float, datetime], peak: float) -> Result:
    """Work out the figures of a run that has ended."""
    count, seconds, at = run
    engine = create_engine(database_url)
    with engine.connect() as connection:
        latencies = sorted(
            ((dispatched or at) - at).total_seconds() * 1000
            for (dispatched,) in connection.execute(select(Supervision.dispatched_at))
        )
    engine.dispose()
    return Result(
        side=side,
        supervisions=count,
        seconds=round(seconds, 2),
        per_second=round(count / seconds, 1),
        p50_ms=round(latencies[len(latencies) // 2], 1),
        p99_ms=round(latencies[int(len(latencies) * 0.99)], 1),
        peak_mib=round(peak, 1),
    )


def machine() -> str:
    """Say on what the figures were measured."""
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {python}"


def medians(rounds: Sequence[Sequence[Result]]) -> dict[str, float]:
    """What the rounds come to: throughput of each side, and the ratio within a round."""
    sides = {
        name: [each.per_second for each in side]
        for name, side in zip(SIDES, zip(*rounds, strict=True), strict=False)
    }
    found = {f"{name}_per_second": median(values) for name, values in sides.items()}
    if len(sides) == len(SIDES):
        ratios = sorted(ours / theirs for ours, theirs in zip(*sides.values(), strict=True))
        found |= {"ratio": median(ratios), "ratio_least": ratios[0], "ratio_most": ratios[-1]}
    return {name: round(value, 1) for name, value in found.items()}


def main() -> int:
    """Measure both sides in turns and print what came out, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", required=True, help="an empty PostgreSQL database")
    parser.add_argument("--broker-url", required=True, help="an empty vhost of a RabbitMQ")
    parser.add_argument("--supervisions", type=int, default=5000)
    parser.add_argument("--celery-supervisions", type=int, default=1000, help="0: leave it out")
    parser.add_argument("--rounds", type=int, default=1, help="both sides, so often in turns")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    logs.configure(json=True, level="error")
    settings = settings_of(arguments.database_url, arguments.broker_url)
    composition.prepare(settings)
    print(machine())
    rounds = []
    for _ in range(arguments.rounds):
        results = [run_ours(settings, arguments.supervisions)]
        if arguments.celery_supervisions:
            pairs = seed(settings.database_url, arguments.celery_supervisions)
            seconds, at, peak = run_celery(settings, pairs, wait_until_executed, peak_mib)
            run = (len(pairs), seconds, at)
            results.append(result(SIDES[1], settings.database_url, run, peak))
        for each in results:
            print(each, flush=True)
        rounds.append(results)
    middle = medians(rounds)
    print(middle)
    if arguments.json:
        figures = {"machine": machine(), "medians": middle}
        rows = [[asdict(each) for each in results] for results in rounds]
        arguments.json.write_text(json.dumps({**figures, "rounds": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
