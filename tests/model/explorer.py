"""Explores every state of a small world, breadth first: the real engine, with so many faults.

A node is a moment of the world, the processes that stand at gates in it, and the faults so far.
Work is done once, from gate to gate; at each gate the process may die, meet an error, or be stopped
while others go on. A stopped process is brought back by doing its steps again on the same moments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from supervision.fsm.engine.commanding import Person
from supervision.fsm.states import Event
from tests.model.states import state_of, versions
from tests.virtual import laws
from tests.virtual.gates import FAULTS, INSIDE, Gate
from tests.virtual.moments import Moment, put_back, taken
from tests.virtual.process import Process
from tests.virtual.story import announced, began, fatal
from tests.virtual.world import World

_PERSON: Final = Person(actor="alice", reason="the model wants it")
_SETTLED: Final = 60  # alarms after which every state must have come to rest
_STOPS: Final = frozenset(Gate) - INSIDE - {Gate.READ, Gate.ACK, Gate.ACKED}
"""Where a process is stopped: before and after whatever others can see."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a process can be given: a queue's message by its number, a sweep, an order."""

    kind: str
    subject: str = ""
    number: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A process at a gate: the work, the moments its steps began at, and the states of those."""

    work: Work
    steps: tuple[Moment, ...]
    names: tuple[str, ...]
    seen: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A state of the world, and how it was reached."""

    moment: Moment
    faults: int
    stopped: Standing | None = None
    path: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Explored:
    """What was found. `finished`: states in which nothing is left to do."""

    states: int = 0
    steps: int = 0
    finished: int = 0
    unexplored: int = 0
    recovered: int = 0
    broken: list[str] = field(default_factory=list)
    trapped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Say it in one line, for people."""
        return (
            f"{self.states} states, {self.steps} steps, {self.finished} finished, "
            f"{self.unexplored} not expanded, {self.recovered} recoveries tried, "
            f"{len(self.broken)} laws broken, {len(self.trapped)} traps"
        )


class Explorer:
    """Explores one small world with at most `faults` faults on any path, and `limit` states."""

    def __init__(self, world: World, *, faults: int, limit: int, recover_every: int = 1) -> None:
        self._world = world
        self._faults = faults
        self._limit = limit
        self._recover_every = recover_every
        self._known: dict[str, int] = {}
        self._edges: dict[int, set[int]] = {}
        self._done: set[int] = set()
        self._nodes: deque[tuple[int, Node]] = deque()
        self._safe: set[str] = set()
        self.found = Explored()

    def explore(self) -> Explored:
        """Visit every state, then ask of each whether a finished one can be reached from it."""
        self._visit(Node(moment=taken(self._world), faults=0))
        while self._nodes and self.found.states < self._limit:
            number, node = self._nodes.popleft()
            for child in self._children(node):
                self.found.steps += 1
                self._edges.setdefault(self._visit(child), set()).add(number)
        self.found.unexplored = len(self._nodes)
        self._ask_for_traps()
        return self.found

    def _visit(self, node: Node) -> int:
        """Give the state its number; a new one is held to the laws, and waits to be expanded."""
        world = self._world
        put_back(world, node.moment)
        standing = (node.faults, self._standing(node.stopped))
        name = state_of(world, standing)
        if name in self._known:
            return self._known[name]
        number = self._known[name] = len(self._known)
        self.found.states += 1
        problems = laws.broken(world)
        self.found.broken += [f"{what}, by {' / '.join(node.path)}" for what in problems]
        world.mistakes.seen.clear()
        if node.stopped is None and self._is_finished():
            self.found.finished += 1
            self._done.add(number)
        elif number % self._recover_every == 0:
            self._recover(node)
        self._nodes.append((number, node))
        return number

    def _standing(self, stopped: Standing | None) -> object:
        """What can still matter of a stopped process: its steps, and whether its claims stand."""
        if stopped is None:
            return None
        now = versions(self._world)
        lost = sorted(name for name, version in stopped.seen if now.get(name) != version)
        return stopped.work, stopped.names, lost

    def _is_finished(self) -> bool:
        """Nothing waits, and no failure or row is open; a watch, and a no for today, are."""
        undecided = "SELECT 1 FROM tbl_supervision_decision WHERE verdict IS NULL"
        unfinished = (
            "SELECT 1 FROM tbl_simulation_supervision WHERE dispatch_status IN ('detected',"
            " 'formatted') OR (dispatch_status = 'dispatched' AND execution_status IN ('pending',"
            " 'running', 'unknown')) OR (wake_at IS NOT NULL AND execution_status = 'failed')"
        )
        return not (self._world.sql(undecided) or self._world.sql(unfinished))

    def _children(self, node: Node) -> Iterator[Node]:
        put_back(self._world, node.moment)
        works = list(self._works(node))
        resting = node.stopped is None and self._is_finished() and not self._world.busy()
        if node.stopped is not None:
            yield from self._resumed(node, node.stopped)
        for work in works:
            yield from self._worked(node, work)
        if not resting:  # only people and the centre disturb what has come to rest
            yield from self._time_passes(node)
        yield from self._befallen(node)

    def _works(self, node: Node) -> Iterator[Work]:
        """List everything that an idle process may be given now."""
        world = self._world
        for queue in world.busy():
            bodies: set[bytes] = set()
            for number, envelope in enumerate(world.broker.peek(queue)):
                if envelope.body not in bodies:
                    bodies.add(envelope.body)
                    yield Work(kind="consume", subject=queue, number=number)
        if self._due():
            yield Work(kind="sweep")
        if node.faults < self._faults and node.stopped is None:
            for row in world.sql("SELECT id, job_uid FROM tbl_simulation_supervision"):
                yield Work(kind="cancel", subject=row["id"])
                yield Work(kind="force", subject=row["id"])
                yield Work(kind="retry", subject=row["job_uid"])

    def _due(self) -> bool:
        at = self._world.next_alarm()
        return at is not None and _moment(at) <= self._world.clock.now()

    def _begin(self, process: Process, work: Work) -> None:
        engine, broker = process.engine, self._world.broker
        deeds: dict[str, Callable[[], object]] = {
            "sweep": process.see_to_alarms,
            "cancel": lambda: engine.order(Event.CANCEL, work.subject, _PERSON),
            "force": lambda: engine.order(Event.FORCE_DETECTED, work.subject, _PERSON),
            "retry": lambda: engine.retry(work.subject, _PERSON),
        }
        if work.kind == "consume":
            waiting = list(broker.peek(work.subject))
            broker.put(work.subject, [waiting.pop(work.number), *waiting])
            process.consume(work.subject, limit=1)
        else:
            process.begin(deeds[work.kind])

    def _worked(self, node: Node, work: Work) -> Iterator[Node]:
        """Do some work; an order costs a fault, and so does whatever happens at its gates."""
        process = self._world.processes[0]
        cost = node.faults + (work.kind in {"cancel", "force", "retry"})
        process.kill()
        put_back(self._world, node.moment)
        self._begin(process, work)
        named = replace(node, faults=cost, path=(*node.path, f"{work.kind} {work.subject[-9:]}"))
        first = Standing(
            work=work, steps=(node.moment,), names=(str(node.faults),), seen=self._seen()
        )
        yield from self._from_gate(named, process, first)

    def _from_gate(self, node: Node, process: Process, standing: Standing) -> Iterator[Node]:
        """Let it on to its end; at each gate also let it die, fail, or stand while others go on."""
        failing: list[tuple[Standing, BaseException, str]] = []
        waits = 0
        while (gate := process.at) is not None:
            if gate not in INSIDE:
                moment = taken(self._world)
                waits += gate is Gate.BEGIN
                if waits > _MOST_WAITS:  # an order waits for a lease: nothing new comes of it
                    return
                if node.faults < self._faults:
                    yield from self._stopped(node, process, standing, moment)
                    failing += [(standing, make(), name) for name, make in FAULTS[gate]]
                standing = self._further(standing, moment)
            process.go()
        yield replace(node, moment=taken(self._world), stopped=self._other(node, standing))
        for before, error, name in failing:
            self._again(process, before)
            process.go(error)
            while process.at is not None:
                process.go()
            yield self._faulted(node, name)

    def _other(self, node: Node, standing: Standing) -> Standing | None:
        """Give the process that stands beside this one, if there is one."""
        same = node.stopped is not None and node.stopped.work is standing.work
        return None if same else node.stopped

    def _further(self, standing: Standing, moment: Moment) -> Standing:
        name = state_of(self._world, ())
        return replace(
            standing,
            steps=(*standing.steps, moment),
            names=(*standing.names, name),
            seen=self._seen(),
        )

    def _seen(self) -> tuple[tuple[str, int], ...]:
        return tuple(sorted(versions(self._world).items()))

    def _stopped(
        self, node: Node, process: Process, standing: Standing, moment: Moment
    ) -> Iterator[Node]:
        """Two fates at a gate that need nothing done again: death, and standing still."""
        held = list(process.broker._held.values())  # noqa: SLF001 - what goes back when it dies
        gate = process.at
        if gate in _STOPS and node.stopped is None:
            yield replace(self._faulted(node, f"stopped {gate}"), moment=moment, stopped=standing)
        self._world.broker.publish([each.envelope for each in held])
        yield self._faulted(node, f"died {gate}")
        put_back(self._world, moment)

    def _faulted(self, node: Node, name: str) -> Node:
        path = (*node.path, name)
        return replace(node, moment=taken(self._world), faults=node.faults + 1, path=path)

    def _again(self, process: Process, standing: Standing) -> None:
        """Bring a process back to the gate at which it stood."""
        process.kill()
        put_back(self._world, standing.steps[0])
        self._begin(process, standing.work)
        for moment in standing.steps[1:]:
            self._to_gate(process)
            put_back(self._world, moment)
            process.go()
        self._to_gate(process)

    def _to_gate(self, process: Process) -> None:
        while process.at in INSIDE:
            process.go()

    def _resumed(self, node: Node, stopped: Standing) -> Iterator[Node]:
        """Let the stopped one on, in the world as it is now."""
        process = self._world.processes[1]
        self._again(process, stopped)
        put_back(self._world, node.moment)
        whole = replace(node, stopped=None, path=(*node.path, "went on"))
        process.go()
        yield from self._from_gate(whole, process, stopped)
        process.kill()

    def _time_passes(self, node: Node) -> Iterator[Node]:
        """Go to the next alarm that is ahead, with whatever is under way left as it is."""
        put_back(self._world, node.moment)
        at = self._world.next_alarm()
        if at is None:
            return
        ahead = _moment(at) - self._world.clock.now()
        if ahead.total_seconds() > 0:
            self._world.clock.advance(ahead)
            yield replace(node, moment=taken(self._world), path=(*node.path, "time"))

    def _befallen(self, node: Node) -> Iterator[Node]:
        """Messages are lost or doubled, runners die; the job that we began starts, and fails."""
        for queue in list(self._world.busy()) if node.faults < self._faults else ():
            put_back(self._world, node.moment)
            waiting = self._world.broker.peek(queue)
            self._world.broker.put(queue, waiting[1:])
            yield self._faulted(node, f"lost {queue}")
            self._world.broker.put(queue, [*waiting, waiting[0]])
            yield self._faulted(node, f"doubled {queue}")
        yield from self._next_job_fails(node)

    def _next_job_fails(self, node: Node) -> Iterator[Node]:
        """The second job of a simulation: the one that was begun by us, of the first one only."""
        put_back(self._world, node.moment)
        place = next(iter(self._world.centre.directories.values()))
        if len(place.alive) == 1 and place.alive[0].ours and len(place.jobs) == _FIRST_OURS:
            job, now = place.alive[0], self._world.clock.now()
            place.period += 1
            self._world.outside.record([began(place, job, now), *fatal(place, job, now)])
            path = (*node.path, "next job fails")
            yield replace(node, moment=taken(self._world), path=path)

    def _recover(self, node: Node) -> None:
        """Everything dies and every hint is lost: the rows alone must bring it to its end."""
        world, process = self._world, self._world.processes[0]
        process.kill()
        put_back(world, node.moment)
        world.broker.wipe()
        seen: list[str] = []
        self.found.recovered += 1
        for _ in range(_SETTLED):
            if self._is_finished():
                self._safe.update(seen)
                return
            name = state_of(world, ())
            if name in self._safe:
                self._safe.update(seen)
                return
            seen.append(name)
            self._turn(process)
        self.found.trapped.append(" / ".join(node.path))

    def _turn(self, process: Process) -> None:
        """Let time pass to the next alarm, and do all that it brings."""
        world = self._world
        at = world.next_alarm()
        if at is not None and _moment(at) > world.clock.now():
            world.clock.advance(_moment(at) - world.clock.now())
        process.begin(process.see_to_alarms)
        process.finish()
        while queues := world.busy():
            process.consume(queues[0])
            process.finish()

    def _ask_for_traps(self) -> None:
        """Go back from finished states; whatever is not met, and was expanded, is a trap."""
        met, waiting = set(self._done), list(self._done | {number for number, _ in self._nodes})
        met.update(waiting)
        while waiting:
            for number in self._edges.get(waiting.pop(), ()):
                if number not in met:
                    met.add(number)
                    waiting.append(number)
        for number in set(range(self.found.states)) - met:
            self.found.trapped.append(f"state {number} leads to no finished one")


_MOST_WAITS: Final = 40
_FIRST_OURS: Final = 3  # the chain's first job, the one that failed, and ours


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def small_world(simulations: int) -> World:
    """Make a world of so many simulations, each with a job that has just failed and said so."""
    world = World(7)
    for number in range(simulations):
        place = world.chain(number)
        world.outside.record(announced(world, place, number))
        world.outside.record(fatal(place, place.jobs[-1], world.clock.now()))
    return world
