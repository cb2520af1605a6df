"""A process of the service that is let on from gate to gate: others run while it stands.

It is the real engine with the real consumers, in a greenlet: what it does between two gates is
one step, and the same steps in the same order give the same rows, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from greenlet import getcurrent, greenlet

from supervision import app
from supervision.adapters.memory import MemoryBroker
from supervision.app import App
from supervision.app_settings import InForce
from supervision.consumers import base, monitoring
from supervision.errors import SupervisionError, Transient
from supervision.fsm.engine.tools import Tools
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.engine.workers import Work
from supervision.settings import Settings
from tests.virtual.gates import (
    Died,
    Gate,
    GatedBroker,
    GatedDatabase,
    GatedNotifier,
    GatedTransport,
)


@dataclass(kw_only=True)
class Mistakes:
    """What no fault explains: errors of the service's own. There are to be none."""

    seen: list[BaseException] = field(default_factory=list)


class OwnThread:
    """Workers as in production, but at once: what fails there is logged and reaches nobody."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes

    def run(self, site: str, work: Work) -> None:  # noqa: ARG002
        """Do it now. A fault is what it is; anything else is a mistake of the service."""
        try:
            work()
        except Transient:
            return
        except Exception as error:  # noqa: BLE001 - it stands for the thread's last line of defence
            self._mistakes.seen.append(error)

    def close(self) -> None:
        """Nothing is running."""


class Process:
    """One process: idle, or at a gate with work in hand. `at` is the gate, None while idle.

    `answer` is what its last work returned, or the refusal that it ended with.
    """

    def __init__(self, tools: Tools, settings: Settings, mistakes: Mistakes) -> None:
        self.at: Gate | None = None
        self.answer: object = None
        self._shared = tools
        self._settings = settings
        self._mistakes = mistakes
        self._body: greenlet | None = None
        self._begin()

    def _begin(self) -> None:
        """Start anew: nothing of a former life is remembered."""
        shared, ports = self._shared, self._shared.ports
        self.broker = GatedBroker(ports.broker, self._stand)
        database = GatedDatabase(shared.database.engine, ports.clock, self._stand)
        own = replace(
            ports,
            broker=self.broker,
            transport=GatedTransport(ports.transport, self._stand),
            notifier=GatedNotifier(ports.notifier, self._stand),
        )
        workers = OwnThread(self._mistakes)
        self.engine = Engine(replace(shared, database=database, ports=own, workers=workers))
        made = App(
            in_force=InForce(self._settings),
            engine=self.engine,
            broker=self.broker,
            depths=MemoryBroker(),  # nobody asks here how long a queue is
            transport=own.transport,
            notifier=own.notifier,
            clock=ports.clock,
            ids=ports.ids,
        )
        batch = self._settings.engine.batch
        consumers = [*monitoring.consumers(self.engine, batch), *app.consumers_of(made, app.STAGES)]
        self._consumers = {str(consumer.queue): consumer for consumer in consumers}

    @property
    def queues(self) -> Sequence[str]:
        """The queues that it reads."""
        return tuple(self._consumers)

    def begin(self, work: Callable[[], object]) -> None:
        """Begin some work, and stand at its first gate."""
        assert self.at is None, f"it stands at {self.at}"
        self._body = greenlet(lambda _: self._do(work))
        self.at = self._body.switch(None)

    def see_to_alarms(self) -> None:
        """Send wake-ups for what is due, and take incidents a step further."""
        self.engine.sweep(1000)
        self.engine.tend_incidents()

    def consume(self, queue: str, limit: int = 200) -> None:
        """Begin to work on what waits in a queue, as its consumer does."""
        consumer = self._consumers[queue]
        self.begin(lambda: self._take(consumer, limit))

    def _take(self, consumer: base.Consumer, limit: int) -> None:
        taken = self.broker.take(consumer.queue, limit=limit, timeout_seconds=0)
        try:
            if taken:
                base.consume(consumer, self.broker, taken)
        except Transient:
            self.broker.release(consumer.queue)
            raise

    def go(self, fault: BaseException | None = None) -> None:
        """Go on to the next gate, or meet this fault where it stands."""
        assert self._body is not None, "it is idle"
        self.at = self._body.switch(fault)

    def finish(self) -> None:
        """Go on until it is idle."""
        while self.at is not None:
            self.go()

    def kill(self) -> None:
        """End it where it stands; another one starts in its place."""
        if self.at is not None:
            self.go(Died())
        self.broker.close()
        self._begin()

    def _do(self, work: Callable[[], object]) -> None:
        try:
            self.answer = work()
        except (Died, SupervisionError) as error:
            self.answer = error
        except Exception as error:  # noqa: BLE001 - whoever reads the mistakes fails by it
            self._mistakes.seen.append(error)

    def _stand(self, gate: Gate) -> None:
        """Stand here until told to go on. Whoever only asks from outside passes freely."""
        if self._body is None or getcurrent() is not self._body:
            return
        outside = self._body.parent
        assert outside is not None, "a greenlet that runs has been switched to from somewhere"
        fault = outside.switch(gate)
        if fault is not None:
            raise fault


def waiting(broker: MemoryBroker, queues: Sequence[str]) -> list[str]:
    """List the queues in which something waits, in the order given."""
    return [queue for queue in queues if broker.depth(queue)]
