"""The composition root: settings -> adapters -> engine -> consumers. Only this builds things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from db import session
from supervision.adapters.memory import MemoryBroker
from supervision.adapters.rabbitmq import Bounds, RabbitBroker
from supervision.adapters.smtp import LoggedNotifier, MaildirNotifier, SmtpNotifier
from supervision.adapters.system import SystemClock, SystemIds
from supervision.app_credentials import FileCredentials
from supervision.app_observe import meter_of
from supervision.app_settings import InForce
from supervision.app_ways import Ways
from supervision.consumers import (
    base,
    detection,
    dispatching,
    execution,
    formatting,
    late_jobs,
    monitoring,
)
from supervision.errors import SettingsError
from supervision.facts import EngineSettings, Mail, Policy
from supervision.fsm.engine.letters import Addresses
from supervision.fsm.engine.tools import Basis, Ports, Tools
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.engine.workers import InlineWorkers, Workers
from supervision.ports import Broker, Clock, Depths, Ids, Meter, NoMeter, Notifier, Transport
from supervision.settings import MailSettings, Settings, SiteSettings
from supervision.topology import DEAD_QUEUES
from supervision.tracing import NoTracer, Tracer
from supervision.tracing_transport import TracedTransport

STAGES: Final = ("monitoring", "late-jobs", "detect", "format", "dispatch", "execute", "sweep")
"""What `supervision run` can run, in the order of the work."""

MEMORY_URL: Final = "memory://"


@dataclass(frozen=True, kw_only=True, slots=True)
class App:
    """Everything that one process was composed of. `embedded`: the broker lives in this process.

    `ways` None: the transport is somebody else's, and settings do not change it.
    """

    in_force: InForce
    engine: Engine
    broker: Broker
    depths: Depths
    transport: Transport
    notifier: Notifier
    clock: Clock
    ids: Ids
    meter: Meter = field(default_factory=NoMeter)
    tracer: Tracer = field(default_factory=NoTracer)
    ways: Ways | None = None

    @property
    def settings(self) -> Settings:
        """What is in force at this moment."""
        return self.in_force.settings

    @property
    def embedded(self) -> bool:
        """Whether facts are committed here, and never pass through a broker."""
        return self.settings.broker_url.startswith(MEMORY_URL)

    def close(self) -> None:
        """End what was built, last built first. Idempotent."""
        self.broker.close()
        self.engine.close()
        self.transport.close()
        self.tracer.close()


def build(  # noqa: PLR0913 - each is a port that a process may bring of its own
    settings: Settings,
    *,
    workers: Workers | None = None,
    clock: Clock | None = None,
    transport: Transport | None = None,
    on_stuck: Callable[[str], object] = lambda _reason: None,
    tracer: Tracer | None = None,
) -> App:
    """Compose a process from its settings. Nothing is consumed yet; RabbitMQ connects at once.

    One-shot commands take inline workers. `clock` and `transport` are for tests: with a clock of
    theirs, alarms are compared with it on PostgreSQL too.
    """
    in_force = InForce(settings)
    ids, system = SystemIds(), SystemClock()
    sqlite = session.is_sqlite(settings.database_url)
    database = session.Database(
        session.create(settings.database_url), clock or (system if sqlite else None)
    )
    ticking = clock or system
    broker = _broker(settings, ids, ticking, on_stuck)
    ways = None
    if transport is None:
        ways = Ways(settings, ticking, database)
        transport = ways.routes
    notifier, meter = PresentNotifier(in_force, ticking), meter_of(settings)
    tools = Tools(
        database=database,
        ports=Ports(
            broker=broker,
            transport=transport if tracer is None else TracedTransport(transport, tracer),
            notifier=notifier,
            clock=ticking,
            ids=ids,
            credentials=FileCredentials(lambda: _whose(in_force.settings)),
        ),
        in_force=lambda: _basis(in_force.settings),
        workers=workers or InlineWorkers(),
        dead_letters=lambda: {queue: broker.depth(queue) for queue in DEAD_QUEUES},
        meter=meter,
        tracer=tracer or NoTracer(),
    )
    return App(
        in_force=in_force,
        engine=Engine(tools),
        broker=broker,
        depths=broker,
        transport=transport,
        notifier=notifier,
        clock=ticking,
        ids=ids,
        meter=meter,
        tracer=tools.tracer,
        ways=ways,
    )


def _whose(settings: Settings) -> tuple[Policy, Sequence[SiteSettings]]:
    return settings.policy, settings.sites


def _basis(settings: Settings) -> Basis:
    return Basis(
        engine=settings.engine,
        policy=settings.policy,
        addresses=Addresses(domain=settings.mail.domain, operator=settings.mail.operator),
        settings_text=settings.text,
    )


def prepare(settings: Settings) -> None:
    """Bring the schema up to date, and make a SQLite file with its folder. Idempotent."""
    session.make_file(settings.database_url)
    session.upgrade(settings.database_url)


def _broker(
    settings: Settings, ids: Ids, clock: Clock, on_stuck: Callable[[str], object]
) -> MemoryBroker | RabbitBroker:
    url = settings.broker_url
    if url.startswith(MEMORY_URL):
        return MemoryBroker()
    if url.startswith(("amqp://", "amqps://")):
        bounds = Bounds(longest_wait_seconds=settings.engine.outage_cap.total_seconds() / 2)
        return RabbitBroker(url, ids=ids, clock=clock, bounds=bounds, on_stuck=on_stuck)
    raise SettingsError("broker_url: begins with none of memory://, amqp://, amqps://")


class PresentNotifier:
    """The port Notifier by the mail settings of the moment; it keeps nothing between two mails."""

    def __init__(self, in_force: InForce, clock: Clock) -> None:
        self._in_force = in_force
        self._clock = clock

    def send(self, mail: Mail) -> None:
        """Hand it to whom the settings name; see the port."""
        _notifier(self._in_force.settings.mail, self._clock).send(mail)


def _notifier(mail: MailSettings, clock: Clock) -> Notifier:
    if mail.host is not None:
        return SmtpNotifier(mail, clock=clock)
    if mail.directory is not None:
        return MaildirNotifier(mail.directory, sender=mail.sender, clock=clock)
    return LoggedNotifier()


def consumers_of(app: App, stages: Sequence[str]) -> list[base.Consumer]:
    """Make the consumers of these stages; an embedded process needs none for monitoring."""
    engine, batch = app.engine, app.settings.engine.batch
    made: list[base.Consumer] = []
    if "monitoring" in stages and not app.embedded:
        made += monitoring.consumers(engine, batch)
    for stage, consumer in (
        ("late-jobs", late_jobs.consumer),
        ("detect", detection.consumer),
        ("format", formatting.consumer),
        ("dispatch", dispatching.consumer),
        ("execute", execution.consumer),
    ):
        if stage in stages:
            made.append(consumer(engine, batch))
    return [replace(_patient(each, app.settings.engine), tracer=app.tracer) for each in made]


def _patient(consumer: base.Consumer, settings: EngineSettings) -> base.Consumer:
    return replace(
        consumer,
        first_pause_seconds=settings.outage_first.total_seconds(),
        longest_pause_seconds=settings.outage_cap.total_seconds(),
    )
