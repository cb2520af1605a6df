"""A world: the whole service on one database in memory, its processes, its centre, its clock.

Everything in it is driven from outside and by seeds; the same drive gives the same world.
"""

from __future__ import annotations

import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import NAMESPACE_OID, uuid5

from db.session import Database, create, upgrade
from supervision import app
from supervision.facts import Cap, EngineSettings, Policy, Silence
from supervision.fsm.engine import commanding
from supervision.fsm.engine.letters import Addresses
from supervision.fsm.engine.tools import Basis, Ports, Tools
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.engine.workers import InlineWorkers
from supervision.messages import MonitoringMessage
from supervision.settings import Settings
from supervision.testing import FrozenClock, RecordingNotifier, SeededIds
from supervision.wire import monitoring_envelope
from tests.factories import NOW, PolicyFactory, SitePolicyFactory, UserPolicyFactory
from tests.unit.engine_kit import HOUR
from tests.virtual.broker import WatchedBroker
from tests.virtual.centre import Centre, Directory
from tests.virtual.process import Mistakes, Process, waiting

LOGINS: Final = ("p86user1", "p86user2", "p86user3")
_WIDE: Final = Cap(count=100_000, window=HOUR)
_HEADER: Final = slice(18, 20)
"""Where a database's file says whether it has a write-ahead log; one in memory has none."""


def permissive() -> Policy:
    """Make a policy that acts wherever no rule of safety forbids it: no cap, no incident."""
    site = SitePolicyFactory.build(absent=Silence.ACT, stalled=Silence.ACT)
    users = tuple(
        UserPolicyFactory.build(login=login, mail_to=f"{login}@example.org") for login in LOGINS
    )
    return PolicyFactory.build(
        sites=(site,),
        users=users,
        incident=_WIDE,
        site_cap=_WIDE,
        simulation_cap=_WIDE,
        user_cap=_WIDE,
    )


@cache
def template() -> bytes:
    """Make an empty migrated database, once a process; as its serialized pages."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        upgrade(f"sqlite:///{path}")
        with sqlite3.connect(path) as connection:
            pages = connection.serialize()
        connection.close()
    return pages


class World:
    """The service and everything around it. Its processes are named by their numbers."""

    def __init__(
        self,
        seed: int = 0,
        *,
        processes: int = 2,
        policy: Policy | None = None,
        duration: timedelta = timedelta(0),
        engine: EngineSettings | None = None,
    ) -> None:
        chosen = policy or permissive()
        self.clock = FrozenClock(NOW)
        self.ids = SeededIds(seed)
        self.broker = WatchedBroker()
        self.notifier = RecordingNotifier()
        self.centre = Centre(self.clock, self.ids.new, duration=duration)
        self.settings = Settings(
            source=None,
            text="",
            database_url="sqlite://",
            broker_url=app.MEMORY_URL.replace("memory", "amqp"),
            policy=chosen,
            engine=engine or EngineSettings(),
        )
        database = Database(create(self.settings.database_url), self.clock)
        self._pin = database.engine.connect()
        driver = self._pin.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._pin.rollback()
        self.connection: sqlite3.Connection = driver
        self.load(template())
        basis = Basis(
            engine=self.settings.engine,
            policy=chosen,
            addresses=Addresses(domain="example.org", operator="operator@example.org"),
        )
        self.tools = Tools(
            database=database,
            ports=Ports(
                broker=self.broker,
                transport=self.centre,
                notifier=self.notifier,
                clock=self.clock,
                ids=self.ids,
            ),
            in_force=lambda: basis,
            workers=InlineWorkers(),
        )
        self.outside = Engine(self.tools)
        # An order that waits for a lease pauses in real time, which does not pass in here.
        self._hasty = patch.object(commanding, "_PAUSE_SECONDS", 0.0)
        self._hasty.start()
        self.mistakes = Mistakes()
        self.processes = [
            Process(self.tools, self.settings, self.mistakes) for _ in range(processes)
        ]

    def close(self) -> None:
        """Let the database go; what stands at a gate dies there."""
        for process in self.processes:
            process.kill()
        self._hasty.stop()
        self._pin.close()
        self.tools.database.close()

    def save(self) -> bytes:
        """Take the rows as they are now; nobody may be inside a transaction."""
        return self.connection.serialize()

    def load(self, pages: bytes) -> None:
        """Put rows back as they were taken."""
        patched = bytearray(pages)
        patched[_HEADER] = b"\x01\x01"
        source = sqlite3.connect(":memory:")
        source.deserialize(bytes(patched))
        source.backup(self.connection)
        source.close()

    def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Ask the rows, beside the service and its session."""
        cursor = self.connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def chain(self, number: int, *, period: int = 7) -> Directory:
        """Put a simulation of some age into the centre, of which a first job has ended."""
        path = f"/ccc/work/{LOGINS[number % len(LOGINS)]}/CPL{number:03d}"
        uid = str(uuid5(NAMESPACE_OID, f"simulation {number}"))
        made = Directory(path=path, simulation=uid, period=period)
        self.centre.directories[path] = made
        return made

    def tell(self, *messages: MonitoringMessage) -> None:
        """Put facts on their queues, as the centre's mails bring them."""
        self.broker.publish([monitoring_envelope(each) for each in messages])

    def busy(self) -> list[str]:
        """List the queues in which something waits for the service."""
        return waiting(self.broker, self.processes[0].queues)

    def next_alarm(self) -> str | None:
        """Tell the earliest alarm or end of a lease that is set, as the database spells it."""
        (found,) = self.sql(_ALARMS)
        return None if found["at"] is None else str(found["at"])

    def to_next_alarm(self) -> None:
        """Let time pass until something is due; none passes where that is so, or never will be."""
        at = self.next_alarm()
        if at is not None:
            ahead = datetime.fromisoformat(at).replace(tzinfo=UTC) - self.clock.now()
            self.clock.advance(max(ahead, timedelta(0)))


_ALARMS: Final = """
SELECT min(at) AS at FROM (
  SELECT max(wake_at, coalesce(not_before, wake_at), coalesce(lease_until, wake_at)) AS at
    FROM tbl_simulation_supervision WHERE wake_at IS NOT NULL
  UNION ALL
  SELECT max(wake_at, coalesce(not_before, wake_at), coalesce(lease_until, wake_at))
    FROM tbl_supervision_decision WHERE wake_at IS NOT NULL
  UNION ALL SELECT late_check_at FROM tbl_job
  UNION ALL SELECT next_start_check_at FROM tbl_simulation)
"""
