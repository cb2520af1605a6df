"""What tests of the engine share: the service on one database and doubles, messages to feed it.

Time stands still until a test lets it pass; consumers run inline, in the order of their stages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import Table, select

from db.session import Database, create
from db.types_common import Base
from supervision import app
from supervision.adapters.memory import MemoryBroker
from supervision.app import App
from supervision.app_settings import InForce
from supervision.consumers import base, monitoring
from supervision.errors import BrokerUnavailable
from supervision.facts import AnswerKind, EngineSettings, Policy, Supervision
from supervision.fsm.engine.commanding import Person
from supervision.fsm.engine.letters import Addresses
from supervision.fsm.engine.reading import Explained, History, Show, Step, Why
from supervision.fsm.engine.recording import Recorded
from supervision.fsm.engine.tools import Basis, Ports, Tools
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.engine.workers import InlineWorkers
from supervision.fsm.states import State
from supervision.messages import Envelope, MonitoringMessage
from supervision.settings import Settings
from supervision.testing import AgentDouble, FrozenClock, RecordingNotifier, SeededIds
from supervision.topology import DEAD_PREFIX, QUEUES
from supervision.wire import decode_monitoring, monitoring_envelope
from tests.factories import DIRECTORY, JOB, NOW, SIMULATION, PolicyFactory

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

SITE: Final = "curie"
LOGIN: Final = "p86user1"
OWNER: Final = "p86user1@example.org"
OPERATOR: Final = "operator@example.org"
NEW_JOB: Final = "0d8a3f8e-6f7c-4c1e-8b8b-6c8c7a7f1f10"
OLD_JOB: Final = "7b0f6a0c-50a5-4a34-9c61-8d3f0c1c2d11"
POST_JOB: Final = "c3b1a7a2-3f0e-4f52-9f43-1f2f6f0b8a12"
ALICE: Final = Person(actor="alice", reason="because I say so")

_LIMIT: Final = 1000
_ROUNDS: Final = 200
_STARTS: Final = frozenset({"0000", "1000", "2000", "3000"})
_ANNOUNCED: Final = {
    "activity": "IPSL",
    "name": "CPL01",
    "experiment": "piControl",
    "space": "PROD",
    "model": "IPSLCM6",
    "startDate": "1850-01-01",
    "endDate": "1859-12-31",
    "login": LOGIN,
    "centre": "TGCC",
    "machine": "curie",
}
TASK: Final = {
    "postProcessingName": "create_ts",
    "postProcessingDate": "18591231",
    "postProcessingDimn": "2D",
    "postProcessingComp": "ATM",
    "postProcessingFile": "histmth",
}


def message(
    code: str,
    *,
    at: datetime,
    job: str | None = JOB,
    simulation: str = SIMULATION,
    **fields: str,
) -> MonitoringMessage:
    """A message as generation C sends it, decoded; the same arguments give the same msgUID."""
    version = {"msgProducerVersion": "2.8.1"}
    return _decoded({**version, **_usual(code), **fields}, (code, at, job, simulation))


def message_b(
    code: str,
    *,
    at: datetime,
    job: str | None = JOB,
    simulation: str = SIMULATION,
    **fields: str,
) -> MonitoringMessage:
    """The same as generation B sends it: no directory, no scheduler id, no periods."""
    announced = _ANNOUNCED if code == "0000" else {}
    return _decoded({"cumulPeriod": "", **announced, **fields}, (code, at, job, simulation))


def _usual(code: str) -> dict[str, str]:
    usual = dict(_ANNOUNCED) if code == "0000" else {}
    if code in _STARTS:
        usual.update(jobWarningDelay="86400", jobSchedulerID="41234", jobSubmissionPath=DIRECTORY)
    if code in {"2000", "3000"}:
        usual.update(TASK)
    if code == "1001":
        usual["CumulPeriod"] = "7"
    if code in {"1900", "4900", "9000"}:
        usual["command"] = "IGCM_sys_Cp"
    return usual


def _decoded(
    fields: Mapping[str, str], what: tuple[str, datetime, str | None, str]
) -> MonitoringMessage:
    code, at, job, simulation = what
    whose = {"simuid": simulation} if job is None else {"simuid": simulation, "jobuid": job}
    text = {"msgApplication": "monitoring", "msgProducer": "libigcm", **whose, **fields}
    text.update(msgCode=code, msgTimestamp=at.isoformat(timespec="microseconds"))
    text["msgUID"] = str(uuid5(NAMESPACE_OID, json.dumps(text, sort_keys=True)))
    return decode_monitoring(json.dumps(text).encode())


def failing_chain(job: str = JOB, *, period: int = 7) -> list[MonitoringMessage]:
    """A simulation ten days old whose present compute job says that it failed, right now."""
    return [
        message("0000", at=NOW - 10 * DAY, job=OLD_JOB),
        message("1100", at=NOW - 4 * HOUR - MINUTE, job=OLD_JOB),
        message("1000", at=NOW - 4 * HOUR, job=job),
        message("1001", at=NOW - 3 * HOUR, job=job, CumulPeriod=str(period)),
        message("1999", at=NOW, job=job),
    ]


def failing_post(job: str = POST_JOB) -> list[MonitoringMessage]:
    """A healthy simulation of which a post-processing job says that it failed, right now."""
    return [
        message("0000", at=NOW - 10 * DAY, job=OLD_JOB),
        message("1000", at=NOW - 2 * HOUR, job=JOB),
        message("2000", at=NOW - HOUR, job=job, jobSchedulerID="555"),
        message("2999", at=NOW, job=job),
    ]


class Died(BaseException):
    """A worker ends here and now, as by a power cut: nothing of ours catches it."""


def die() -> None:
    """End the worker."""
    raise Died


class HookedAgent(AgentDouble):
    """An AgentDouble that lets a test do something just before, or just after, it has acted."""

    def __init__(self, clock: FrozenClock) -> None:
        super().__init__(clock)
        self._hooks: dict[str, list[Callable[[], object]]] = {}

    def once(self, moment: str, what: Callable[[], object]) -> None:
        """Do it once, at a moment such as "before submit" or "after cancel"."""
        self._hooks.setdefault(moment, []).append(what)

    @contextmanager
    def _called(self, verb: str, site: str, login: str) -> Iterator[Any]:
        self._meet(f"before {verb}")
        with super()._called(verb, site, login) as journal:
            yield journal
        self._meet(f"after {verb}")

    def _meet(self, moment: str) -> None:
        if self._hooks.get(moment):
            self._hooks[moment].pop(0)()


class OwnBroker(MemoryBroker):
    """A broker in memory that remembers its dead letters, and can be away for a while."""

    away = False

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Hold messages, or say that it cannot."""
        if self.away:
            raise BrokerUnavailable("the broker is away")
        super().publish(envelopes)

    def dead(self) -> list[tuple[str, str]]:
        """Take every dead letter: its queue and its reason."""
        found = []
        for queue in (name for name in QUEUES if name.startswith(DEAD_PREFIX)):
            letters = self.take(queue, limit=_LIMIT, timeout_seconds=0)
            found += [(queue, letter.envelope.headers["reason"]) for letter in letters]
        return found


@dataclass(kw_only=True, repr=False)
class Bench:
    """The service on one database, and everything that a test turns, feeds and reads."""

    app: App
    tools: Tools
    clock: FrozenClock
    agent: HookedAgent
    broker: OwnBroker
    notifier: RecordingNotifier

    @property
    def engine(self) -> Engine:
        """The engine under test."""
        return self.app.engine

    def feed(self, *messages: MonitoringMessage, history: bool = False) -> Recorded:
        """Record messages in one set, as `ingest` does."""
        return self.engine.record(messages, history=history)

    def publish(self, *messages: MonitoringMessage) -> None:
        """Put messages on their queues, for the consumers."""
        self.broker.publish([monitoring_envelope(each) for each in messages])

    def drain(self) -> int:
        """Run every consumer in this thread until nothing waits; returns how much was taken."""
        batch = self.app.settings.engine.batch
        consumers = monitoring.consumers(self.engine, batch)
        consumers += app.consumers_of(self.app, app.STAGES)
        total = 0
        for _ in range(_ROUNDS):
            taken = sum(self._consume(consumer) for consumer in consumers)
            total += taken
            if not taken:
                return total
        raise AssertionError("the consumers keep each other busy for ever")

    def _consume(self, consumer: base.Consumer) -> int:
        deliveries = self.broker.take(consumer.queue, limit=consumer.batch, timeout_seconds=0)
        if deliveries:
            base.consume(consumer, self.broker, deliveries)
        return len(deliveries)

    def settle(self) -> None:
        """Consume and sweep until nothing is waiting and nothing is due at this moment."""
        for _ in range(_ROUNDS):
            self.drain()
            self.engine.tend_incidents()
            if not self.engine.sweep(_LIMIT).total:
                return
        raise AssertionError("something is due for ever")

    def wait(self, span: timedelta) -> None:
        """Let a span of time pass at once, then do what is due."""
        self.clock.advance(span)
        self.settle()

    def live(self, span: timedelta, *, step: timedelta = MINUTE) -> None:
        """Let a span of time pass in steps, doing what is due after each."""
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.wait(min(step, end - self.clock.now()))

    def rows(self, *states: State) -> list[Supervision]:
        """Every supervision, newest first; in these states, where some are named."""
        return self.engine.read(Show(states=states))

    def row(self, job: str = JOB) -> Supervision:
        """The supervision of this job; the test fails without one."""
        return next(row for row in self.rows() if row.job_uid == job)

    def ledger(self, job: str = JOB) -> dict[str, Explained]:
        """What was decided about a job, by kind of trigger."""
        return {each.kind: each for each in self.engine.read(Why(job_uid=job))}

    def history(self, job: str = JOB) -> list[Step]:
        """What happened to the supervision of a job."""
        return self.engine.read(History(supervision_id=self.row(job).id))

    def events(self, job: str = JOB) -> list[str]:
        """The events of that history."""
        return [step.event for step in self.history(job)]

    def table(self, name: str) -> list[dict[str, Any]]:
        """Every row of a table, by primary key."""
        return rows_of(self.tools.database, Base.metadata.tables[name])

    def mails(self) -> list[tuple[str, str]]:
        """Whom mails went to and about what, in their order."""
        return [(mail.to, mail.message_id[1:].partition(".")[0]) for mail in self.notifier.mails]

    def calls(self, verb: str) -> int:
        """How often the agents were asked for something."""
        return sum(1 for called, _, _ in self.agent.calls if called == verb)

    def to_formatted(self) -> Supervision:
        """Bring the failing chain so far that its script waits for the grace to be over."""
        self.feed(*failing_chain())
        self.settle()
        return self.row()

    def to_dispatched(self) -> Supervision:
        """Bring it into the agent's journal, where its script goes on running for now."""
        row = self.to_formatted()
        self.agent.outcome(row.id, kind=AnswerKind.RUNNING)
        self.wait(10 * MINUTE)
        return self.row()

    def to_executed(self, **outcome: Any) -> Supervision:  # noqa: ANN401
        """Bring it to its end: the script acted, and the new job is awaited."""
        row = self.to_formatted()
        self.agent.outcome(row.id, scheduler_id="41300", period=7, **outcome)
        self.wait(10 * MINUTE)
        return self.row()


def rows_of(database: Database, table: Table) -> list[dict[str, Any]]:
    """Every row of a table as a dict, by primary key."""
    with database.read() as session:
        found = session.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row) for row in found.mappings()]


@contextmanager
def bench(
    url: str, *, policy: Policy | None = None, operator: str | None = OPERATOR, **engine: object
) -> Iterator[Bench]:
    """Compose the service on a migrated database; `engine` are fields of EngineSettings."""
    clock = FrozenClock(NOW)
    chosen = policy or PolicyFactory.build()
    settings = Settings(
        source=None,
        text="",
        database_url=url,
        broker_url=app.MEMORY_URL,
        policy=chosen,
        engine=EngineSettings(**engine),  # type: ignore[arg-type]
    )
    made = _composed(settings, clock, Addresses(domain="example.org", operator=operator))
    try:
        yield made
    finally:
        made.app.close()


def _composed(settings: Settings, clock: FrozenClock, addresses: Addresses) -> Bench:
    agent, broker, notifier, ids = HookedAgent(clock), OwnBroker(), RecordingNotifier(), SeededIds()
    basis = Basis(engine=settings.engine, policy=settings.policy, addresses=addresses)
    tools = Tools(
        database=Database(create(settings.database_url), clock),
        ports=Ports(broker=broker, transport=agent, notifier=notifier, clock=clock, ids=ids),
        in_force=lambda: basis,
        workers=InlineWorkers(),
    )
    made = App(
        in_force=InForce(settings),
        engine=Engine(tools),
        broker=broker,
        depths=broker,
        transport=agent,
        notifier=notifier,
        clock=clock,
        ids=ids,
    )
    return Bench(app=made, tools=tools, clock=clock, agent=agent, broker=broker, notifier=notifier)
