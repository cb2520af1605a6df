"""What is to go wrong, and when: the whole plan of a real campaign follows from its seed.

The same seed gives the same faults in the same order with the same victims and pauses. What the
processes make of them depends on the machine's clock, so a replay is near, not bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class Kind(StrEnum):
    """What a fault is; the text is its line in the table."""

    KILLED = "process killed (-9), started again"
    STOPPED = "process stopped for longer than its lease, then continued"
    BROKER_STOPPED = "broker stopped and started"
    BROKER_WIPED = "broker's data wiped"
    DATABASE_DOWN = "PostgreSQL stopped in immediate mode and started"
    RESET = "connections reset"
    CUT = "connections closed"
    SLOW = "connections slow"
    HALF_OPEN = "connections half open, then reset"
    NODE_DOWN = "login node down and up"
    AGENT_KILLED = "agent killed (-9)"
    RUNNER_KILLED = "runner killed (-9)"
    SCRIPT_KILLED = "script and runner killed (-9)"
    DISK_FULL = "disk full under the journal"
    CLOCK_STEPPED = "centre's clock stepped"
    DOUBLED = "messages doubled"
    SHUFFLED = "messages shuffled"
    HELD_BACK = "mail held back"
    POISONED = "messages poisoned"
    STRAY = "stray, doubled and misdirected wake-ups"


WEIGHTS: Final[Mapping[Kind, int]] = {
    Kind.KILLED: 150,
    Kind.STOPPED: 25,
    Kind.BROKER_STOPPED: 6,
    Kind.BROKER_WIPED: 4,
    Kind.DATABASE_DOWN: 12,
    Kind.RESET: 40,
    Kind.CUT: 40,
    Kind.SLOW: 25,
    Kind.HALF_OPEN: 25,
    Kind.NODE_DOWN: 10,
    Kind.AGENT_KILLED: 60,
    Kind.RUNNER_KILLED: 20,
    Kind.SCRIPT_KILLED: 20,
    Kind.DISK_FULL: 20,
    Kind.CLOCK_STEPPED: 25,
    Kind.DOUBLED: 165,
    Kind.SHUFFLED: 80,
    Kind.HELD_BACK: 30,
    Kind.POISONED: 120,
    Kind.STRAY: 123,
}
"""How many of a thousand faults are of a kind; each kind occurs in every plan that has room."""

_LONGEST_PAUSE_SECONDS: Final = 0.5
_PER_SIMULATION: Final = 8
LINKS: Final = ("database", "broker", "login node")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that goes wrong. `seed` decides what the kind leaves open; `pause` follows it."""

    kind: Kind
    seed: int
    pause_seconds: float
    simulations: int

    def choices(self) -> Random:
        """Give the randomness of this one fault: victims, durations."""
        return Random(self.seed)  # noqa: S311 a plan is to be repeated


def plan(seed: int, faults: int) -> tuple[Fault, ...]:
    """Lay out a campaign; `simulations` of a fault is how many failures are fed before it."""
    chance = Random(seed)  # noqa: S311 a plan is to be repeated
    kinds = list(WEIGHTS)[:faults]
    kinds += chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=faults - len(kinds))
    chance.shuffle(kinds)
    return tuple(
        Fault(
            kind=kind,
            seed=chance.getrandbits(32),
            pause_seconds=chance.uniform(0.0, _LONGEST_PAUSE_SECONDS),
            simulations=int(number % _PER_SIMULATION == 0),
        )
        for number, kind in enumerate(kinds)
    )
