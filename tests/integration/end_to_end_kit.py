"""What the proofs from end to end share: a sandbox centre, the service as processes, what it knows.

The service runs as people run it, `python -m supervision ...`; what became of it is read from its
database, from the centre's own records and from the broker.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

import pika
from pika.exceptions import AMQPError
from sqlalchemy import Table, select

from db.session import Database, create
from db.types_common import Base
from supervision import app, settings, topology
from supervision.adapters.memory import MemoryBroker
from supervision.adapters.rabbitmq import RabbitBroker
from supervision.app import App
from supervision.consumers import base
from supervision.errors import Transient
from supervision.facts import Supervision
from supervision.fsm.engine.reading import Explained, Show, Why
from supervision.sandbox import builder, spool
from supervision.sandbox.centre import Centre, Pace, open_centre
from supervision.sandbox.files import locked

PATIENCE_SECONDS: Final = 90.0
MAILS: Final = Path(__file__).parents[1] / "data" / "mails"
_ROOT: Final = Path(__file__).parents[2]
_STEP_SECONDS: Final = 0.02
_NEVER: Final = Event()

PACE: Final = Pace(
    period_seconds=0.05,
    queue_seconds=0.05,
    echo_seconds=0.1,
    failed_commands=20,
    warning_delay_seconds=600,
    mail_again_seconds=(0.5,) * 60,
)
"""Quick, never late by itself, and patient with a service that cannot take its mail for a while."""

QUICK: Final = {"lease": 4, "deadline": 3, "status_first": 0.5, "status_cap": 2}
"""Leases that a killed process leaves behind, and questions to the agent, in seconds."""


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Ask again and again until it is true; the test fails, saying what was awaited, after a while.

    A server that is away is no answer: it is asked again.
    """
    deadline = time.monotonic() + seconds
    while not _answered(true):
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        _NEVER.wait(_STEP_SECONDS)


def _answered(true: Callable[[], object]) -> object:
    try:
        return true()
    except Transient:
        return False


def environment(**urls: str | None) -> dict[str, str]:
    """Give what a command of the service sees: nothing of the caller's settings, these URLs."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISION_")}
    given = {f"SUPERVISION_{name.upper()}_URL": url for name, url in urls.items() if url}
    return {**own, **given, "PYTHONPATH": str(_ROOT)}


def command(*words: str | Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `supervision WORDS` to its end."""
    line = [sys.executable, "-P", "-m", "supervision", *map(str, words)]
    return subprocess.run(
        line, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


@dataclass(frozen=True, kw_only=True)
class Service:
    """One `supervision run`, and the file of what it said."""

    process: subprocess.Popen[bytes]
    file: Path

    def log(self, event: str) -> list[dict[str, Any]]:
        """Its log lines about one event, so far."""
        lines = (line for line in self.file.read_text().splitlines() if line.startswith("{"))
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def begun(self) -> None:
        """Wait until it serves; fails with its last words when it ended instead."""
        until(lambda: self.process.poll() is not None or self.log("service.started"), "a start")
        assert self.process.poll() is None, self.file.read_text()

    def kill(self) -> None:
        """End it as a crash does: nothing is finished, nothing given back."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float) -> int:
        """Ask it to end; gives its exit code, and fails when it takes longer."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@dataclass(kw_only=True)
class World:
    """A sandbox centre, the settings that use it, and every process that was started on them."""

    centre: Centre
    database: str
    broker: str | None = None
    services: list[Service] = field(default_factory=list)
    _reading: list[App] = field(default_factory=list)

    @property
    def config(self) -> Path:
        """The settings file that `sandbox new` wrote."""
        return self.centre.root / "supervision.toml"

    @property
    def environment(self) -> dict[str, str]:
        """What the commands of this world see."""
        env = environment(database=self.database, broker=self.broker)
        return {**env, "SUPERVISION_CONFIG": str(self.config)}

    @property
    def settings(self) -> settings.Settings:
        """The settings, as a process of this world reads them."""
        return settings.load(self.config, self.environment)

    def run(self, *stages: str) -> Service:
        """Start `supervision run STAGES`; it may not serve yet."""
        file = self.centre.root / f"run-{len(self.services)}.log"
        line = [sys.executable, "-P", "-m", "supervision", "run", *stages]
        with file.open("wb") as said:
            process = subprocess.Popen(
                line, env=self.environment, stdout=said, stderr=said, cwd=self.centre.root
            )
        self.services.append(Service(process=process, file=file))
        return self.services[-1]

    def simulate(self, *faults: str, periods: int = 4) -> str:
        """Start the simulation demo, which suffers these faults; tells its uid."""
        wanted = [word for fault in faults for word in ("--fail", fault)]
        words = ("sandbox", "simulate", self.centre.root, "demo", "--periods", str(periods))
        done = command(*words, *wanted, env=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def reading(self) -> App:
        """The service's own questions, asked from here; it consumes nothing and sends nothing."""
        if not self._reading:
            self._reading.append(app.build(replace(self.settings, broker_url=app.MEMORY_URL)))
        return self._reading[0]

    def rows(self) -> list[Supervision]:
        """Every supervision."""
        return self.reading().engine.read(Show())

    def row(self) -> Supervision | None:
        """The only supervision; None while there is none."""
        rows = self.rows()
        assert len(rows) <= 1, rows
        return rows[0] if rows else None

    def decisions(self, simulation_uid: str) -> list[Explained]:
        """The ledger of a simulation."""
        return self.reading().engine.read(Why(simulation_uid=simulation_uid))

    def jobs(self) -> list[tuple[str, str | None]]:
        """State and reason of demo's compute jobs, in the order in which they were submitted."""
        return [(job.state, job.reason) for job in spool.queue(self.centre) if job.name == "demo"]

    def close(self) -> None:
        """End all that was started, and wait for the last postman."""
        for service in self.services:
            service.kill()
        builder.stop(self.centre)
        self.replaced(mail_again_seconds=())  # postmen who wait for a dead service give up
        with locked(self.centre.root / "mail.lock"):
            pass
        for each in self._reading:
            each.close()

    def replaced(self, **pace: Any) -> None:  # noqa: ANN401
        """Change the centre's pace, for what begins from now on."""
        self.centre = replace(self.centre, pace=replace(self.centre.pace, **pace))
        self.centre.save()

    def by_hand(self) -> None:
        """From now on mail stays where it is sent: nobody hands it to the service."""
        self.centre = replace(self.centre, ingest=("/bin/true",))
        self.centre.save()

    def sent(self) -> list[dict[str, str]]:
        """The messages that left the centre, in their order."""
        lines = (line for mail in sorted(self.centre.sent.iterdir()) for line in _lines(mail))
        return [json.loads(base64.b64decode(line)) for line in lines]


def _lines(mail: Path) -> list[str]:
    return mail.read_text().split()


@contextlib.contextmanager
def a_world(folder: Path, *, database: str, broker: str | None = None) -> Iterator[World]:
    """Make a quick centre by `sandbox new`; nothing of it runs afterwards."""
    root = folder / "a centre's $HOME"
    done = command("sandbox", "new", root, env=environment(database=database, broker=broker))
    assert done.returncode == 0, done.stderr
    config = root / "supervision.toml"
    config.write_text(with_engine(config.read_text(), QUICK))
    world = World(centre=open_centre(root), database=database, broker=broker)
    world.replaced(**{name: getattr(PACE, name) for name in Pace.__dataclass_fields__})
    try:
        yield world
    finally:
        world.close()


def with_engine(text: str, values: Mapping[str, float]) -> str:
    """Set these keys of a settings file's [engine] table."""
    keys = "|".join(values)
    bare = re.sub(rf"(?m)^({keys}) = .*\n", "", text)
    written = "".join(f"{name} = {value}\n" for name, value in values.items())
    return bare.replace("[engine]\n", f"[engine]\n{written}")


def connection(url: str) -> pika.BlockingConnection:
    """Connect as any AMQP client does."""
    return pika.BlockingConnection(pika.URLParameters(url))


def properties(message: Mapping[str, str]) -> pika.BasicProperties:
    """Give a monitoring message the properties that a centre's own client gives it."""
    headers = {
        "producer_id": message["msgProducer"],
        "producer_version": message.get("msgProducerVersion", ""),
        "correlation_id_1": message["simuid"],
        "correlation_id_2": message["jobuid"],
    }
    return pika.BasicProperties(
        message_id=message["msgUID"],
        type=message["msgCode"],
        app_id="monitoring",
        timestamp=int(datetime.fromisoformat(message["msgTimestamp"]).timestamp()),
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2,
        headers=headers,
    )


def body(message: Mapping[str, object]) -> bytes:
    """Spell the fields that do not begin with msg."""
    kept = {name: value for name, value in message.items() if not name.startswith("msg")}
    return json.dumps(kept).encode()


def publish(url: str, messages: Sequence[Mapping[str, str]]) -> None:
    """Publish facts to x-in, each confirmed and routed; raises what pika raises."""
    with connection(url) as opened:
        channel = opened.channel()
        channel.confirm_delivery()
        for message in messages:
            key = f"in-monitoring-{message['msgCode']}"
            channel.basic_publish("x-in", key, body(message), properties(message), mandatory=True)


def topology_is_there(url: str) -> bool:
    """Whether the last of the service's queues has been declared."""
    try:
        with connection(url) as opened:
            opened.channel().queue_declare(list(topology.QUEUES)[-1], passive=True)
    except AMQPError:
        return False
    return True


def dead_letters(url: str) -> list[tuple[str, str, bytes]]:
    """Take every dead letter: its queue, its reason, its body."""
    found = []
    with connection(url) as opened:
        channel = opened.channel()
        for queue in (name for name in topology.QUEUES if name.startswith(topology.DEAD_PREFIX)):
            while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
                reason = (got[1].headers or {})[topology.REASON_HEADER]
                found.append((queue, str(reason), got[2]))
    return found


def work_through(made: App) -> None:
    """Consume every stage in this thread until nothing is left, and sweep until nothing is due."""
    consumers = app.consumers_of(made, app.STAGES)
    while sum(_emptied(made, each) for each in consumers) or _woken(made):
        pass


def _woken(made: App) -> int:
    """Tend what incidents are due, also where nothing else is; then send what is due, and count."""
    made.engine.tend_incidents()
    return made.engine.sweep(1000).total


def _emptied(made: App, consumer: base.Consumer) -> int:
    """Handle what waits in one queue, then let go of it, so that what is left can be counted."""
    broker = made.broker
    assert isinstance(broker, MemoryBroker | RabbitBroker)
    waiting = left = broker.depth(consumer.queue)
    while left:
        took = broker.take(consumer.queue, limit=min(left, 200), timeout_seconds=PATIENCE_SECONDS)
        assert took, f"{left} messages of {consumer.queue} never came"
        base.consume(consumer, broker, took)
        left -= len(took)
    broker.release(consumer.queue)
    return waiting


def dump(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, for comparing a database with itself."""
    database = Database(create(url), None)
    try:
        with database.read() as session:
            return {
                table.name: [tuple(row) for row in session.execute(_ordered(table))]
                for table in Base.metadata.sorted_tables
            }
    finally:
        database.close()


def _ordered(table: Table) -> Any:  # noqa: ANN401
    return select(table).order_by(*table.primary_key.columns)


def columns(url: str, table: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """These columns of a table's rows, in their own order."""
    every = [column.name for column in Base.metadata.tables[table].columns]
    places = [every.index(name) for name in names]
    return sorted(tuple(row[place] for place in places) for row in dump(url)[table])
