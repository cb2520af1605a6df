"""What each kind of fault does to the world. A fault returns once it is healed; many run at once.

Two faults of one server, link or process wait for each other, so that none heals another's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Event, Lock
from time import monotonic
from typing import Final
from uuid import UUID

import pika
import psycopg2

from hpc_agent import process
from supervision.fsm.states import Queue
from supervision.topology import WORK_QUEUES
from tests.campaign import real_settings
from tests.campaign.real_centre import Campus
from tests.campaign.real_mailbox import POISON, Letter, wakeup
from tests.campaign.real_plan import LINKS, Fault, Kind
from tests.campaign.real_processes import Kept
from tests.campaign.real_world import World, processes_of
from tests.faults.tcp_proxy import TcpProxy
from tests.services import kept

BEYOND_LEASE: Final = 1.25
_DOWN_SECONDS: Final = (0.5, 4.0)
_HALF_OPEN_SECONDS: Final = (2.0, 6.0)
_STEPS_SECONDS: Final = (-7200, -600, -90, 90, 600, 7200)
_BLOCK: Final = b"x" * 65536
_UNWELL: Final = (
    '{"%s"',
    '["%s"]',
    '{"%s": 1, "simuid": "\\u0000", "jobuid": "x"}',
    '{"%s": 1, "simuid": {"a": 1}}',
    '{"%s": 1, "msgTimestamp": "yesterday"}',
    '{"%s": ' + "[" * 400 + "]" * 400 + ', "jobuid": 7}',
)


class Faults:
    """Injects faults into one world; `left_out` says why a kind was not injected."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._locks: dict[str, Lock] = {}
        self._door = Lock()
        self._wait = Event()
        self.left_out: dict[Kind, str] = {}
        self.kills = 0
        self.wiped = 0
        self.again = 0
        self._do: Mapping[Kind, Callable[[Random], object]] = {
            Kind.KILLED: self._kill,
            Kind.STOPPED: self._stop,
            Kind.BROKER_STOPPED: self._stop_broker,
            Kind.BROKER_WIPED: self._wipe_broker,
            Kind.DATABASE_DOWN: self._stop_database,
            Kind.RESET: lambda chance: self._link(chance)[1].reset(),
            Kind.CUT: lambda chance: self._link(chance)[1].cut(),
            Kind.SLOW: self._slow,
            Kind.HALF_OPEN: self._half_open,
            Kind.NODE_DOWN: self._stop_node,
            Kind.AGENT_KILLED: self._kill_agent,
            Kind.RUNNER_KILLED: lambda chance: self._kill_runner(chance, script=False),
            Kind.SCRIPT_KILLED: lambda chance: self._kill_runner(chance, script=True),
            Kind.DISK_FULL: self._fill_disk,
            Kind.CLOCK_STEPPED: self._step_clock,
            Kind.DOUBLED: self._double,
            Kind.POISONED: self._poison,
            Kind.STRAY: self._stray,
        }

    def inject(self, fault: Fault) -> bool:
        """Do it and heal it; False where it cannot be done here, `left_out` then says why.

        What concerns the order of messages is done by who feeds them, and is nothing here.
        """
        if fault.kind is Kind.DISK_FULL and self._world.no_disk:
            self.left_out[fault.kind] = self._world.no_disk
            return False
        if fault.kind in self._do:
            self._do[fault.kind](fault.choices())
        return True

    @contextmanager
    def _alone(self, target: str) -> Iterator[None]:
        with self._door:
            lock = self._locks.setdefault(target, Lock())
        with lock:
            yield

    def _victim(self, chance: Random) -> Kept:
        return chance.choice(self._world.fleet.kept)

    def _kill(self, chance: Random) -> None:
        victim = self._victim(chance)
        with victim.lock:
            victim.signal(signal.SIGKILL)

    def _stop(self, chance: Random) -> None:
        victim = self._victim(chance)
        with victim.lock:
            victim.signal(signal.SIGSTOP)
            self._wait.wait(BEYOND_LEASE * real_settings.lease_seconds())
            victim.signal(signal.SIGCONT)

    def _stop_broker(self, chance: Random) -> None:
        with self._alone("broker"):
            self._world.rabbit.kill()
            self._wait.wait(chance.uniform(*_DOWN_SECONDS))
            self._start_broker()

    def _start_broker(self) -> None:
        """Start it, and do what its operator does where a queue has lost its leader for good."""
        self._world.rabbit.start()
        self._world.rabbit.elect()

    def _wipe_broker(self, _chance: Random) -> None:
        """Lose all that the broker knew; the centres then hand in again what was not recorded."""
        with self._alone("broker"):
            self._world.rabbit.kill()
            published = self._world.mailbox.forget()
            shutil.rmtree(self._world.rabbit.session.folder / "rabbitmq" / "mnesia")
            self._start_broker()
            self.wiped += 1
            self.again += self._world.mailbox.again(self._unrecorded(published))

    def _unrecorded(self, published: list[str]) -> list[str]:
        while True:
            try:
                recorded = {row[0] for row in self._world.ask("SELECT uid FROM tbl_message")}
                return [uid for uid in published if uid not in recorded]
            except psycopg2.Error:
                self._wait.wait(0.5)

    def _stop_database(self, chance: Random) -> None:
        """Stop it in immediate mode: sessions end at once, and it recovers when it starts."""
        with self._alone("database"):
            server = self._world.postgres
            pid = int(
                (server.session.folder / "postgres" / "postmaster.pid").read_text().split()[0]
            )
            os.kill(pid, signal.SIGQUIT)
            kept.stop(server.server.keeper)
            self._wait.wait(chance.uniform(*_DOWN_SECONDS))
            server.start()

    def _link(self, chance: Random) -> tuple[str, TcpProxy]:
        name = chance.choice(LINKS)
        return name, self._world.links[name]

    def _slow(self, chance: Random) -> None:
        name, link = self._link(chance)
        with self._alone(name + " slow"):
            link.delay_seconds = chance.uniform(0.02, 0.4)
            self._wait.wait(chance.uniform(*_DOWN_SECONDS))
            link.delay_seconds = 0.0

    def _half_open(self, chance: Random) -> None:
        self._link(chance)[1].half_open(chance.uniform(*_HALF_OPEN_SECONDS))

    def _stop_node(self, chance: Random) -> None:
        with self._alone("login node"):
            self._world.node.stop()
            self._world.links["login node"].reset()
            self._wait.wait(chance.uniform(*_DOWN_SECONDS))
            self._world.node.start()

    def _campus(self, chance: Random) -> Campus:
        return chance.choice(self._world.campuses)

    def _kill_agent(self, chance: Random) -> None:
        campus = self._campus(chance)
        runners = {who["pid"] for who in _runners(campus)}
        agents = {
            (pid, process.started_at(pid))
            for pid in processes_of(campus)
            if pid not in runners and b"serve" in _command(pid)
        }
        for pid, _ in agents:
            _killed(pid)
        # Since we looked an agent's child may have made its mark, and become a runner.
        marks = {(who["pid"], who["process_start"]) for who in _marks(campus)}
        self.kills += len(agents & marks)

    def _kill_runner(self, chance: Random, *, script: bool) -> None:
        """Kill the runner of something that is under way; waits a while for there to be one."""
        until = monotonic() + 5
        while monotonic() < until:
            alive = [who for campus in self._world.campuses for who in _runners(campus)]
            if alive:
                who = chance.choice(alive)
                self.kills += 1
                _killed(int(who["pid"]))
                for pid in _session(int(who["session"])) if script else ():
                    _killed(pid)
                return
            self._wait.wait(0.02)

    def _fill_disk(self, chance: Random) -> None:
        campus = self._campus(chance)
        with self._alone(campus.site + " disk"):
            filler = campus.home / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as stream:
                while stream.write(_BLOCK):
                    pass
            self._wait.wait(chance.uniform(*_DOWN_SECONDS))
            filler.unlink()

    def _step_clock(self, chance: Random) -> None:
        self._campus(chance).clock.write_text(str(chance.choice((0, *_STEPS_SECONDS))))

    def _double(self, chance: Random) -> None:
        facts = list(self._world.mailbox.facts)
        self._world.mailbox.again(chance.sample(facts, min(len(facts), 8)))

    def _poison(self, chance: Random) -> None:
        queue = chance.choice(WORK_QUEUES)
        mark = f"{POISON} {chance.getrandbits(64):x}"
        text = chance.choice(_UNWELL) % mark
        given = pika.BasicProperties(app_id="monitoring", timestamp=0)
        exchange = "x-" + queue.partition("-")[0]
        self._world.mailbox.post(
            [Letter(exchange=exchange, key=queue, body=text.encode(), properties=given)]
        )

    def _stray(self, chance: Random) -> None:
        """Wake rows that there are in stages that are not theirs, and rows that never were."""
        unknown = str(UUID(int=chance.getrandbits(128)))
        with suppress(psycopg2.Error):
            ids = self._world.ask("SELECT id, job_uid FROM tbl_simulation_supervision")
            for row, job in chance.sample(ids, min(len(ids), 5)):
                letters = [wakeup(queue, supervision_id=row) for queue in _STAGES]
                letters += [wakeup(Queue.DETECT, job_uid=job), wakeup(Queue.LATE_JOBS, job_uid=job)]
                chance.shuffle(letters)
                self._world.mailbox.post(letters)
        self._world.mailbox.post([wakeup(queue, supervision_id=unknown) for queue in _STAGES])
        self._world.mailbox.post([wakeup(Queue.DETECT, job_uid=unknown)])


_STAGES: Final = (Queue.FORMAT, Queue.DISPATCH, Queue.EXECUTION)


def _runners(campus: Campus) -> list[dict[str, int]]:
    """Who runs a script of this site now."""
    return [who for who in _marks(campus) if process.started_at(who["pid"]) == who["process_start"]]


def _marks(campus: Campus) -> list[dict[str, int]]:
    """Every runner that ever began at this site, by the journal's own marks."""
    found = []
    for path in (campus.home / ".supervision-agent" / "journal").glob("*/*.started"):
        with suppress(OSError, ValueError):
            who = json.loads(path.read_text())
            if "pid" in who:
                found.append(who)
    return found


def _session(number: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if path.read_text().rpartition(")")[2].split()[3] == str(number):
                found.append(int(path.parent.name))
    return found


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _killed(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
