"""One run of the virtual campaign: a world, a seed, so many faults; then calm, and a reckoning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Final

from db.types_common import to_text
from supervision.facts import EngineSettings, Hold
from supervision.fsm.engine.commanding import Person
from supervision.fsm.states import STATES, Event, state_of
from tests.campaign.virtual_lives import Lives
from tests.unit.engine_kit import DAY, MINUTE, SITE
from tests.virtual import laws
from tests.virtual.gates import FAULTS, INSIDE, Gate
from tests.virtual.process import Process
from tests.virtual.world import World

PROCESSES: Final = 3
SIMULATIONS: Final = 16
FACTOR: Final = 6
"""By so much are the engine's own delays divided: leases, alarms, back-offs."""

_SPANS: Final = {
    name: getattr(EngineSettings(), name) / FACTOR
    for name in EngineSettings.__dataclass_fields__
    if isinstance(getattr(EngineSettings(), name), timedelta)
}
_HASTENED: Final = EngineSettings(**_SPANS)
_PERSON: Final = Person(actor="alice", reason="the campaign wants it")
_ORDERS: Final = (Event.CANCEL, Event.FORCE_DETECTED, Event.FORCE_CANCELLED, Event.FORCE_FAILED)
_LONGEST: Final = 20 * DAY
_LAWS_EVERY: Final = 10


@dataclass(kw_only=True)
class Reckoning:
    """What came of one run. Everything but `faults`, `supervisions` and times is to be empty."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    supervisions: int = 0
    executed: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    stepped_on: int = 0
    settled: timedelta = timedelta(0)
    finished: timedelta = timedelta(0)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.twice or self.stuck or self.broken)


class Run:
    """Drives one world: lets processes on from gate to gate, and puts faults in their way."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)  # noqa: S311 - it chooses faults, and must be the same again
        duration = timedelta(minutes=self.chance.choice((0, 1, 10)))
        self.world = World(seed, processes=PROCESSES, duration=duration, engine=_HASTENED)
        self.lives = Lives(self.world, self.chance, count=SIMULATIONS)
        self.result = Reckoning(seed=seed)
        self._asleep: dict[Process, datetime] = {}
        self._away_until = self.world.clock.now()

    def faulty(self, count: int) -> None:
        """Go on until so many faults have been met."""
        checked = 0
        while self.result.faults.total() < count:
            self._step(faulty=True)
            if self.result.faults.total() >= checked + _LAWS_EVERY:
                checked = self.result.faults.total()
                self._hold_to_laws()

    def calm(self) -> None:
        """Let everything come to its end without another fault, and reckon."""
        self.lives.calm = True
        self.world.centre.unreachable.clear()
        self.world.centre.troubles.clear()
        self._release_holds()
        since = self.world.clock.now()
        self._until_settled(since)
        open_rows = {row["id"] for row in self._unfinished()}
        while open_rows and self.world.clock.now() - since < _LONGEST:
            self._step(faulty=False)
            if self._idle():
                left = open_rows & {row["id"] for row in self._unfinished()}
                if left < open_rows:
                    self.result.finished = self.world.clock.now() - since
                open_rows = left
        self._until(since + 3 * DAY)
        self._reckon()

    def _until_settled(self, since: datetime) -> None:
        """Go on until whatever is not finished is parked: no alarm is due, and no lease is open."""
        while not self._idle() or self._leased():
            self._step(faulty=False, at_most=_BLINK)
        self.result.settled = self.world.clock.now() - since

    def _leased(self) -> bool:
        now = to_text(self.world.clock.now())
        return any(self.world.sql(query, now) for query in _LEASES)

    def _until(self, moment: datetime) -> None:
        while self.world.clock.now() < moment or not self._idle():
            self._step(faulty=False)

    def _step(self, *, faulty: bool, at_most: timedelta = DAY) -> None:
        self.lives.live()
        if faulty and self.chance.random() < _METEORITES:
            self._happens()
        self._wake_sleepers()
        free = [process for process in self.world.processes if process not in self._asleep]
        ready = [process for process in free if process.at is not None or self._find_work(process)]
        if not ready:
            self._pass_time(at_most)
            return
        self._go(self.chance.choice(ready), faulty=faulty)
        if faulty and self.chance.random() < _TICK:
            self.world.clock.advance(timedelta(seconds=self.chance.randint(1, 30)))

    def _go(self, process: Process, *, faulty: bool) -> None:
        """Let one process on by a gate, or have it meet something there."""
        chance, gate = self.chance, process.at
        if gate is None:
            return
        met = faulty and chance.random() < (_AT_PORTS if gate in _PORTS else _AT_GATES)
        errors = FAULTS[gate]
        if met and chance.random() < 0.35:
            self._count(f"crash {gate}")
            process.kill()
        elif met and not self._asleep and chance.random() < 0.2:
            self._count("stopped beyond its lease, then going on")
            span = self.world.settings.engine.lease * (1 + chance.random())
            self._asleep[process] = self.world.clock.now() + span
        elif met and errors:
            name, error = chance.choice(errors)
            self._count(name)
            process.go(error())
        else:
            process.go()
        while process.at in INSIDE:
            inside = FAULTS[process.at] if process.at else ()
            if faulty and inside and chance.random() < _AT_GATES:
                self._inside(process)
            else:
                process.go()

    def _inside(self, process: Process) -> None:
        gate = process.at
        assert gate is not None
        if self.chance.random() < 0.5:
            self._count(f"crash {gate}")
            process.kill()
        else:
            name, error = FAULTS[gate][0]
            self._count(name)
            process.go(error())

    def _find_work(self, process: Process) -> bool:
        """Give an idle process something to do; tells whether it stands at a gate now."""
        busy = self.world.busy()
        if busy:
            process.consume(self.chance.choice(busy), limit=self.chance.choice((1, 5, 200)))
        elif self._due():
            process.begin(process.see_to_alarms)
        while process.at in INSIDE:
            process.go()
        return process.at is not None

    def _due(self) -> bool:
        at = self.world.next_alarm()
        return at is not None and _moment(at) <= self.world.clock.now()

    def _idle(self) -> bool:
        return all(process.at is None for process in self.world.processes) and not (
            self.world.busy() or self._due()
        )

    def _pass_time(self, at_most: timedelta) -> None:
        """Nobody has anything to do: go to the next moment at which somebody has."""
        alarm = self.world.next_alarm()
        moments = [self.lives.next_at(), *self._asleep.values()]
        moments += [_moment(alarm)] if alarm else []
        now = self.world.clock.now()
        span = min(max(min(moments) - now, timedelta(seconds=1)), at_most)
        self.world.clock.advance(span)
        if not self.lives.calm:
            self.lives.refill()

    def _wake_sleepers(self) -> None:
        now = self.world.clock.now()
        self._asleep = {process: at for process, at in self._asleep.items() if at > now}
        if self.world.centre.unreachable and now >= self._away_until:
            self.world.centre.unreachable.clear()

    def _happens(self) -> None:
        """Something befalls the world as a whole."""
        deed = self.chance.choice(_DEEDS)
        name = deed(self)
        if name:
            self._count(name)

    def _lose(self) -> str | None:
        return "wake-up lost" if self.world.broker.lose(self.chance) else None

    def _double(self) -> str | None:
        return "message doubled" if self.world.broker.double(self.chance) else None

    def _shuffle(self) -> str | None:
        return "messages shuffled" if self.world.broker.shuffle(self.chance) else None

    def _wipe(self) -> str | None:
        return "broker wiped" if self.world.broker.wipe() else None

    def _poison(self) -> str | None:
        self.world.broker.poison(self.chance)
        return "message poisoned"

    def _away(self) -> str | None:
        self.world.centre.unreachable.add(SITE)
        self._away_until = self.world.clock.now() + self.chance.randint(1, 30) * MINUTE
        return "site away for a while"

    def _kill_runners(self) -> str | None:
        return "runner killed" if self.world.centre.kill_runners() else None

    def _restore(self) -> str | None:
        if self.chance.random() < 0.9:
            return None
        self.world.centre.restore_homes()
        return "home restored"

    def _trouble(self) -> str | None:
        self.world.centre.troubles.append(self.chance.choice(laws.TROUBLES))
        return "script fails"

    def _step_clock(self) -> str | None:
        self.world.clock.advance(timedelta(seconds=self.chance.randint(-300, 300)))
        return "clock stepped"

    def _order(self) -> str | None:
        idle = [process for process in self.world.processes if process.at is None]
        rows = self.world.sql("SELECT id, job_uid FROM tbl_simulation_supervision")
        idle = [process for process in idle if process not in self._asleep]
        if not idle or not rows:
            return None
        process, row = self.chance.choice(idle), self.chance.choice(rows[-2 * SIMULATIONS :])
        if self.chance.random() < 0.5:
            process.begin(partial(process.engine.retry, row["job_uid"], _PERSON))
        else:
            event = self.chance.choice(_ORDERS)
            process.begin(partial(process.engine.order, event, row["id"], _PERSON))
        return "operator's order"

    def _hold(self) -> str | None:
        life = self.chance.choice(self.lives.all)
        scope = f"simulation:{life.place.simulation}"
        hold = Hold(scope=scope, actor="alice", reason="quiet", since=self.world.clock.now())
        engine = self.world.outside
        engine.record_hold(hold) or engine.record_release(scope)
        return "hold placed or released"

    def _release_holds(self) -> None:
        for row in self.world.sql("SELECT scope FROM tbl_hold"):
            self.world.outside.record_release(row["scope"])

    def _count(self, name: str) -> None:
        self.result.faults[name] += 1

    def _hold_to_laws(self) -> None:
        for sentence in laws.broken(self.world):
            kind = self.result.twice if sentence.startswith(_TWICE) else self.result.broken
            if sentence not in kind:
                kind.append(sentence)

    def _unfinished(self) -> list[dict[str, Any]]:
        rows = self.world.sql("SELECT * FROM tbl_simulation_supervision")
        return [
            row
            for row in rows
            if STATES[state_of(row["dispatch_status"], row["execution_status"])].unfinished
        ]

    def _reckon(self) -> None:
        self._hold_to_laws()
        result, world = self.result, self.world
        rows = world.sql("SELECT * FROM tbl_simulation_supervision")
        result.supervisions = len(rows)
        result.executed = sum(row["execution_status"] == "executed" for row in rows)
        result.stepped_on = len(world.centre.stepped_on)
        result.stuck += [
            f"{row['id']} is {row['dispatch_status']}/{row['execution_status']}: {row['reason']}"
            for row in self._unfinished()
        ]
        known = {row["job_uid"] for row in world.sql(_ANSWERED)}
        result.lost += [
            f"job {job} of {life.place.path} failed, and nothing was decided"
            for life in self.lives.all
            for job in life.failed
            if job not in known
        ]
        world.close()


_LEASES: Final = (
    "SELECT 1 FROM tbl_simulation_supervision WHERE lease_until > ?",
    "SELECT 1 FROM tbl_supervision_decision WHERE lease_until > ?",
)

_ANSWERED: Final = """
SELECT job_uid FROM tbl_supervision_decision WHERE verdict IS NOT NULL
UNION SELECT first.uid FROM tbl_job first JOIN tbl_job later
   ON later.simulation_uid = first.simulation_uid AND later.started_at > first.started_at
UNION SELECT j.uid FROM tbl_job j JOIN tbl_simulation s ON s.uid = j.simulation_uid
   WHERE s.complete_at IS NOT NULL OR s.deleted_at IS NOT NULL OR j.late_check_at IS NOT NULL
"""
"""Jobs that somebody decided about, that the chain has left behind, or whose alarm is set."""

_PORTS: Final = frozenset(Gate) - {
    *(Gate.READ, Gate.BEGIN, Gate.COMMIT, Gate.COMMITTED, Gate.ACK, Gate.ACKED),
}
"""Gates around what reaches beyond the database: rarer, so faults there are made likelier."""

_BLINK: Final = timedelta(seconds=5)
_TWICE: Final = ("_once", "_one_chain", "_one_open", "_one_row_a_job")
_METEORITES: Final = 0.2
_AT_GATES: Final = 0.09
_AT_PORTS: Final = 0.3
_TICK: Final = 0.05

_DEEDS: Final[tuple[Callable[[Run], str | None], ...]] = (
    *(Run._lose, Run._double, Run._shuffle) * 8,  # noqa: SLF001 - its own table
    *(Run._poison, Run._kill_runners, Run._step_clock) * 3,  # noqa: SLF001
    *(Run._wipe, Run._trouble) * 2,  # noqa: SLF001
    *(Run._away, Run._restore, Run._order, Run._hold),  # noqa: SLF001
)
"""What befalls a world, each as often as it stands here."""


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def run(seed: int, faults: int) -> Reckoning:
    """Run one world with this seed until so many faults were met, then let it come to rest."""
    made = Run(seed)
    made.faulty(faults)
    made.calm()
    return made.result
