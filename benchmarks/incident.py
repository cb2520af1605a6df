"""Ten thousand simulations of 200 users fail at one site within a minute: what the service does.

Processes of every stage on a PostgreSQL and a RabbitMQ, over a transport that answers at once. The
failures come in as monitoring messages. It is looked at whether one goes first, whether each user
has one mail, whether every verdict is explained and replays, and when the queues are drained. Then
what was let go recovers, the others follow in steps, and nothing is lost. Ends with 1 where
something of this is not so.
"""

from __future__ import annotations

import argparse
import json
import mailbox
import multiprocessing
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any, Final

from sqlalchemy import Engine, create_engine, text

from benchmarks.noop import NoopTransport
from benchmarks.pipeline import machine, settings_of
from supervision import app as composition
from supervision import logs
from supervision.app import App
from supervision.consumers import base
from supervision.facts import Cap, Level, Policy, UserPolicy
from supervision.fsm.engine.reading import Why
from supervision.messages import Envelope
from supervision.settings import MailSettings, Settings
from supervision.topology import DEAD_QUEUES, QUEUES
from supervision.wire import decode_line, monitoring_envelope

_PROCESSES: Final = (
    ("monitoring",),
    ("monitoring", "detect"),
    ("detect", "sweep"),
    ("format", "dispatch", "execute"),
)
_AT_ONCE: Final = 500
_STEP_SECONDS: Final = 0.5
_STARTED_SECONDS: Final = 4.0
_PATIENCE_SECONDS: Final = 900.0
_DRAINED_SECONDS: Final = 60.0
_PERIOD: Final = 3
_SHOWN: Final = 12
_OPERATOR: Final = "operator@example.org"
_NEVER: Final = Event()
_WORK: Final = tuple(name for name in QUEUES if not name.startswith(("dead-", "debug-")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Failing:
    """One simulation, the job that fails, and the one that is submitted in its place."""

    number: int
    login: str
    simulation: str = field(default_factory=lambda: str(uuid.uuid4()))
    job: str = field(default_factory=lambda: str(uuid.uuid4()))
    new_job: str = field(default_factory=lambda: str(uuid.uuid4()))

    def fails(self, now: datetime) -> list[Envelope]:
        """What it says up to its failure."""
        begun = now - timedelta(minutes=40)
        announced = {
            "name": f"EXP{self.number}",
            "login": self.login,
            "centre": "C",
            "machine": "m",
            "model": "M",
            "space": "PROD",
            "jobSubmissionPath": f"/work/{self.login}/EXP{self.number}",
            "jobSchedulerID": "1",
        }
        period = {"CumulPeriod": str(_PERIOD)}
        return [
            self._says("0000", self.job, begun, announced),
            self._says("1001", self.job, begun + timedelta(minutes=1), period),
            self._says("1999", self.job, now, {}),
        ]

    def recovers(self, now: datetime) -> list[Envelope]:
        """What the new job says: that it began, and that it is beyond the failed period."""
        period = {"CumulPeriod": str(_PERIOD + 1)}
        return [
            self._says("1000", self.new_job, now, {"jobSchedulerID": "2"}),
            self._says("1001", self.new_job, now, period),
        ]

    def _says(self, code: str, job: str, at: datetime, fields: dict[str, str]) -> Envelope:
        message = {
            "msgApplication": "monitoring",
            "msgProducer": "libigcm",
            "msgProducerVersion": "2.8.1",
            "msgCode": code,
            "msgUID": str(uuid.uuid4()),
            "msgTimestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%f000+0000"),
            "simuid": self.simulation,
            "jobuid": job,
            **fields,
        }
        return monitoring_envelope(decode_line(json.dumps(message).encode()))


def settings_for(arguments: argparse.Namespace, mails: Path) -> Settings:
    """Everything is allowed at once, but for the incident, whose waits are seconds."""
    wide = settings_of(arguments.database_url, arguments.broker_url)
    return replace(
        wide,
        policy=_policy(wide.policy, arguments.users),
        mail=MailSettings(directory=mails, operator=_OPERATOR),
        engine=replace(wide.engine, rewake_first=timedelta(seconds=10)),
    )


def _policy(wide: Policy, users: int) -> Policy:
    return replace(
        wide,
        grace=timedelta(seconds=10),
        incident=Cap(count=10, window=timedelta(minutes=10)),
        incident_pause=timedelta(seconds=5),
        incident_proof=timedelta(seconds=5),
        users=tuple(
            UserPolicy(
                login=login,
                level=Level.AUTOMATIC,
                mail_to=f"{login}@example.org",
                set_by="benchmark",
                set_on=datetime.now(UTC).date(),
            )
            for login in _logins(users)
        ),
    )


def _logins(users: int) -> list[str]:
    return [f"user{number:03}" for number in range(users)]


def stages(settings: Settings, names: Sequence[str], stop: Flag) -> None:
    """These stages in a process of their own, until `stop`."""
    logs.configure(json=True, level="critical")
    app = composition.build(settings, transport=NoopTransport())
    threads = [
        Thread(target=base.run, args=(consumer, app.broker, stop))
        for consumer in composition.consumers_of(app, names)
    ]
    if "sweep" in names:
        threads.append(Thread(target=_sweep, args=(app, stop)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    app.close()


def _sweep(app: App, stop: Flag) -> None:
    while not stop.wait(_STEP_SECONDS):
        app.engine.sweep(1000)
        app.engine.tend_incidents()


@contextmanager
def at_work(settings: Settings) -> Iterator[App]:
    """Run all stages in processes; gives an app that asks and publishes."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    workers = [context.Process(target=stages, args=(settings, names, stop)) for names in _PROCESSES]
    for worker in workers:
        worker.start()
    app = composition.build(settings, transport=NoopTransport())
    _NEVER.wait(_STARTED_SECONDS)  # the processes have connected
    try:
        yield app
    finally:
        stop.set()
        for worker in workers:
            worker.join(30)
        app.close()


def publish(app: App, envelopes: Sequence[Envelope]) -> None:
    """Hand them over, some hundred at a time."""
    for first in range(0, len(envelopes), _AT_ONCE):
        app.broker.publish(envelopes[first : first + _AT_ONCE])


def count(database: Engine, query: str) -> int:
    """Ask for one number."""
    with database.connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def awaited(what: str, number: int, query: str, database: Engine) -> float:
    """Wait until a query gives a number; gives the seconds it took, and ends the run if never."""
    began = monotonic()
    while (found := count(database, query)) != number:
        if monotonic() - began > _PATIENCE_SECONDS:
            raise SystemExit(f"{what}: {found} of {number} in {_PATIENCE_SECONDS:.0f} s")
        _NEVER.wait(_STEP_SECONDS)
    return monotonic() - began


def waiting(app: App, queues: Sequence[str]) -> int:
    """Count the messages that nobody has in hands."""
    return sum(app.depths.depth(queue) for queue in queues)


_DECIDED: Final = (
    "SELECT count(*) FROM tbl_supervision_decision WHERE kind = 'fatal' AND verdict IS NOT NULL"
)
_BEGUN: Final = "SELECT count(*) FROM tbl_supervision_restart"
_RECOVERED: Final = (
    "SELECT count(*) FROM tbl_simulation_supervision "
    "WHERE execution_status = 'executed' AND recovered_at IS NOT NULL"
)


class Report:
    """Says each finding as it comes, and remembers whether one was not as it should be."""

    def __init__(self) -> None:
        self.good = True

    def say(self, words: str, *, good: bool = True) -> None:
        """Print one finding."""
        self.good = self.good and good
        print(f"{'   ' if good else 'NOT'} {words}", flush=True)


def first_hour(app: App, database: Engine, crowd: Sequence[Failing], report: Report) -> None:
    """All fail; nobody but the first acts; everybody is told once and every row explained."""
    began = monotonic()
    publish(app, [each for one in crowd for each in one.fails(datetime.now(UTC))])
    report.say(f"{len(crowd)} failures published in {monotonic() - began:.0f} s")
    published = monotonic()
    awaited("decided", len(crowd), _DECIDED, database)
    while waiting(app, _WORK):
        _NEVER.wait(_STEP_SECONDS)
    drained = monotonic() - published
    report.say(
        f"all decided, queues drained {drained:.0f} s later", good=drained < _DRAINED_SECONDS
    )
    awaited("the first one acts", 1, _BEGUN, database)
    report.say("one restart was begun, the canary's")


def mails_of(folder: Path) -> Counter[str]:
    """Count the mails about the incident, by reader."""
    box = mailbox.Maildir(folder, create=False)
    return Counter(
        str(mail["To"]) for mail in box if "restarted" not in str(mail["Subject"]).lower()
    )


def told(folder: Path, users: int, report: Report) -> None:
    """Each user and the operator have one mail."""
    deadline = monotonic() + _DRAINED_SECONDS
    while len(mails_of(folder)) <= users and monotonic() < deadline:
        _NEVER.wait(_STEP_SECONDS)
    mails = mails_of(folder)
    good = len(mails) == users + 1 and set(mails.values()) == {1}
    report.say(f"{len(mails) - 1} users and the operator were told, once each", good=good)


def explained(app: App, crowd: Sequence[Failing], report: Report) -> None:
    """Every decision has a sentence and is what its own facts give."""
    began, good = monotonic(), 0
    for one in crowd:
        (each,) = app.engine.read(Why(job_uid=one.job))
        good += each.replays is True and bool(each.sentence)
    seconds = monotonic() - began
    words = f"{good} of {len(crowd)} explained and replayed, in {seconds:.0f} s"
    report.say(words, good=good == len(crowd))


def released(app: App, database: Engine, crowd: Sequence[Failing], report: Report) -> None:
    """Whatever acts recovers; the others follow in steps."""
    by_job = {one.job: one for one in crowd}
    began, steps, heard = monotonic(), list[int](), set[str]()
    while len(heard) < len(crowd):
        if monotonic() - began > _PATIENCE_SECONDS:
            raise SystemExit(f"only {len(heard)} of {len(crowd)} went on")
        with database.connect() as connection:
            acted = set(connection.scalars(text(_ACTED))) - heard
        now = datetime.now(UTC)
        publish(app, [each for job in sorted(acted) for each in by_job[job].recovers(now)])
        heard |= acted
        begun = count(database, _BEGUN)
        if not steps or begun != steps[-1]:
            steps.append(begun)
        _NEVER.wait(_STEP_SECONDS)
    awaited("recovered", len(crowd), _RECOVERED, database)
    seconds = monotonic() - began
    report.say(f"all recovered in {seconds:.0f} s; restarts begun, as seen: {_few(steps)}")
    again = count(database, _BEGUN) - len(crowd)
    report.say(f"{again} restarted twice", good=again == 0)
    dead = waiting(app, DEAD_QUEUES)
    report.say(f"{dead} dead letters", good=dead == 0)


_ACTED: Final = "SELECT job_uid FROM tbl_simulation_supervision WHERE execution_status = 'executed'"


def _few(steps: Sequence[int]) -> str:
    shown = [str(step) for step in steps]
    return ", ".join(shown if len(shown) <= _SHOWN else [*shown[:_SHOWN], "...", shown[-1]])


def main() -> int:
    """Let them fail, look, let them recover, look again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database-url", required=True, help="an empty PostgreSQL database")
    parser.add_argument("--broker-url", required=True, help="an empty vhost of a RabbitMQ")
    parser.add_argument("--failures", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=200)
    arguments: Any = parser.parse_args()
    logs.configure(json=True, level="critical")
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        mails = Path(folder) / "mails"
        settings = settings_for(arguments, mails)
        composition.prepare(settings)
        logins = _logins(arguments.users)
        crowd = [
            Failing(number=number, login=logins[number % len(logins)])
            for number in range(arguments.failures)
        ]
        database = create_engine(settings.database_url)
        print(machine())
        with at_work(settings) as app:
            first_hour(app, database, crowd, report)
            told(mails, arguments.users, report)
            explained(app, crowd, report)
            released(app, database, crowd, report)
        database.dispose()
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
