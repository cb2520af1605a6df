"""What must hold in every world at every moment, whatever died, was lost or came twice.

Each law reads rows with plain SQL, and the centre's own counts; it returns what breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from supervision import policy as rules
from supervision.facts import ExitCode
from supervision.fsm.machine import TABLE
from supervision.fsm.states import STATES, STATUS_PAIRS, Event, State, state_of
from supervision.replay import UNREPLAYED, load_question
from supervision.topology import DEAD_PREFIX, QUEUES
from tests.virtual.broker import POISON
from tests.virtual.world import World

_EDGES: Final = {(event.value, source.value, target.value) for event, source, target in TABLE}
TROUBLES: Final = (
    ExitCode.NOT_WRITABLE,
    ExitCode.SUBMIT_REFUSED,
    ExitCode.CLEAN_FAILED,
    ExitCode.OTHER_SIMULATION,
)
"""How scripts of these worlds may end otherwise than by acting: not yet, failed, declined."""

_BEGINS: Final = {Event.RETRY.value, Event.FORCE_DETECTED.value}


def broken(world: World, *, replayed: bool = False) -> list[str]:
    """List every law that is broken now, in sentences; `replayed`: decide each verdict again."""
    rows = world.sql("SELECT * FROM tbl_simulation_supervision")
    found = [f"{law.__name__}: {what}" for law in _OF_ROWS for row in rows for what in law(row)]
    found += [f"{law.__name__}: {what}" for law in _OF_WORLDS for what in law(world)]
    found += [f"history: {what}" for what in _history(world, rows)]
    if replayed:
        found += [f"replay: {what}" for what in _replays(world)]
    return found


def _legal(row: dict[str, Any]) -> Iterator[str]:
    pair = (row["dispatch_status"], row["execution_status"])
    if pair not in {(dispatch.value, execution.value) for dispatch, execution in STATUS_PAIRS}:
        yield f"{row['id']} is {pair}"


def _awake(row: dict[str, Any]) -> Iterator[str]:
    """Every row that is not finished has an alarm."""
    if STATES[_state(row)].unfinished and row["wake_at"] is None:
        yield f"{row['id']} is {_state(row)} and has no alarm"


def _at_rest(row: dict[str, Any]) -> Iterator[str]:
    """What is cancelled is left alone: an alarm that nobody serves would ring for ever."""
    if _state(row) is State.CANCELLED and row["wake_at"] is not None:
        yield f"{row['id']} is cancelled and has an alarm"


def _receipts(row: dict[str, Any]) -> Iterator[str]:
    """What was executed at level 2 was sent: counted before the first byte left."""
    acted = _state(row) is State.EXECUTED and row["level"] == 2
    if acted and row["dispatch_try_count"] == 0 and row["dispatched_at"] is not None:
        yield f"{row['id']} is executed and was never sent"


def _one_open(world: World) -> Iterator[str]:
    """At most one unfinished level 2 compute supervision a simulation."""
    query = "SELECT * FROM tbl_simulation_supervision WHERE level = 2 AND kind = 'compute'"
    simulations = [
        row["simulation_uid"] for row in world.sql(query) if STATES[_state(row)].unfinished
    ]
    for uid in set(simulations):
        if simulations.count(uid) > 1:
            yield f"simulation {uid} has {simulations.count(uid)} open ones"


def _one_row_a_job(world: World) -> Iterator[str]:
    query = "SELECT job_uid FROM tbl_simulation_supervision GROUP BY job_uid HAVING count(*) > 1"
    for row in world.sql(query):
        yield f"job {row['job_uid']} has two supervisions"


def _decided(world: World) -> Iterator[str]:
    """A trigger has an alarm until it has a verdict; `supervise` means that there is a row."""
    query = """SELECT d.id, d.job_uid, d.verdict, d.wake_at, s.id AS row
        FROM tbl_supervision_decision d
        LEFT JOIN tbl_simulation_supervision s ON s.job_uid = d.job_uid"""
    for row in world.sql(query):
        if row["verdict"] in {None, "defer"} and row["wake_at"] is None:
            yield f"the trigger {row['id']} has {row['verdict']} and no alarm"
        if row["verdict"] == "supervise" and row["row"] is None:
            yield f"job {row['job_uid']} was to be supervised, and no row says so"


def _once(world: World) -> Iterator[str]:
    """No key is begun twice in one journal, acts twice, or runs beside another attempt."""
    for (journal, key), count in world.centre.begun.items():
        if count > 1:
            yield f"{key} was begun {count} times, by journal {journal}"
    for key, count in world.centre.acts.items():
        if count > 1:
            yield f"{key} acted {count} times"
    for key, other in world.centre.overlaps:
        yield f"{key} was begun while {other} ran"


def _one_chain(world: World) -> Iterator[str]:
    """Never two jobs of one simulation at once."""
    for place in world.centre.directories.values():
        if len(place.alive) > 1:
            yield f"{place.path} has {len(place.alive)} jobs"


def _counted(world: World) -> Iterator[str]:
    """Whatever acted was counted as a restart before its first byte left."""
    query = "SELECT supervision_id, attempt FROM tbl_supervision_restart"
    counted = {(row["supervision_id"], row["attempt"]) for row in world.sql(query)}
    for key in world.centre.acts:
        if (key.supervision_id, key.attempt) not in counted:
            yield f"{key} acted and is not counted"


def _no_mistakes(world: World) -> Iterator[str]:
    """Nothing but the faults that were put in has gone wrong."""
    for error in world.mistakes.seen:
        yield f"{type(error).__name__}: {error}"
    for queue in QUEUES:
        letters = world.broker.peek(queue) if queue.startswith(DEAD_PREFIX) else ()
        for letter in letters:
            if POISON not in letter.body:
                yield f"a message that is sound is in {queue}: {letter.headers['reason']}"


def _history(world: World, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Each step begins where the last one ended, is in the table, and attempts count up by one."""
    steps: dict[str, list[dict[str, Any]]] = {}
    for step in world.sql("SELECT * FROM tbl_supervision_transition ORDER BY id"):
        steps.setdefault(step["supervision_id"], []).append(step)
    for row in rows:
        mine = steps.get(row["id"], [])
        yield from _chained(row, mine)


def _chained(row: dict[str, Any], steps: list[dict[str, Any]]) -> Iterator[str]:
    state: str | None = None
    attempt = 0
    for step in steps:
        if step["source"] != state:
            yield f"{row['id']} was {state}, and {step['event']} left from {step['source']}"
        begun = state is None or step["event"] in _BEGINS
        if step["attempt"] != attempt + begun:
            yield f"{row['id']}: {step['event']} of attempt {step['attempt']} after {attempt}"
        if state is not None and (step["event"], state, step["target"]) not in _EDGES:
            yield f"{row['id']}: {step['event']} leads from {state} to {step['target']}"
        state, attempt = step["target"], step["attempt"]
    if (state, attempt) != (_state(row).value, row["attempt"]):
        yield f"{row['id']} is {_state(row)}, attempt {row['attempt']}; history says {state}"


def _replays(world: World) -> Iterator[str]:
    """A verdict and what it rested on agree, bit for bit, for as long as both are kept."""
    query = "SELECT * FROM tbl_supervision_decision WHERE facts IS NOT NULL"
    for row in world.sql(query):
        asked = load_question(row["facts"])
        verdict = rules.decide(asked.facts, world.settings.policy, asked.now)
        said = (row["verdict"], row["rule"], row["sentence"])
        again = (verdict.kind.value, verdict.rule, verdict.sentence)
        if row["rule"] not in UNREPLAYED and said[:2] != again[:2]:
            yield f"{row['job_uid']} ({row['kind']}): {said} is decided as {again}"


def _state(row: dict[str, Any]) -> State:
    return state_of(row["dispatch_status"], row["execution_status"])


_OF_ROWS: Final[tuple[Callable[[dict[str, Any]], Iterator[str]], ...]] = (
    _legal,
    _awake,
    _at_rest,
    _receipts,
)
_OF_WORLDS: Final[tuple[Callable[[World], Iterator[str]], ...]] = (
    _one_open,
    _one_row_a_job,
    _decided,
    _once,
    _one_chain,
    _counted,
    _no_mistakes,
)
