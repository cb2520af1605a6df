"""The broker of a world: in memory, and what a bad day does to the messages that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Final

from supervision.adapters.memory import MemoryBroker
from supervision.fsm.states import Queue
from supervision.messages import Envelope
from supervision.topology import WORK_QUEUES

POISON: Final = b"poison"
"""What every poisoned body holds, so that it is known again among the dead letters."""

_WAKE_UPS: Final = tuple(queue.value for queue in Queue)


class WatchedBroker(MemoryBroker):
    """Holds messages, shows them, and loses, doubles and shuffles hints. Facts are never lost."""

    def peek(self, queue: str) -> Sequence[Envelope]:
        """Show what waits in a queue, and leave it there."""
        return [envelope for envelope, _ in self._shelves[queue].waiting]

    def put(self, queue: str, envelopes: Sequence[Envelope]) -> None:
        """Have these wait in a queue, and nothing else."""
        self._shelves[queue].waiting.clear()
        self._shelves[queue].waiting.extend((envelope, False) for envelope in envelopes)

    def lose(self, chance: Random) -> bool:
        """Lose one hint; False where none waits."""
        return self._meddle(chance, _WAKE_UPS, 0)

    def double(self, chance: Random) -> bool:
        """Have one message, hint or fact, come twice; False where none waits."""
        return self._meddle(chance, WORK_QUEUES, 2)

    def shuffle(self, chance: Random) -> bool:
        """Put what waits in one queue into another order; False where there is none."""
        queues = [queue for queue in WORK_QUEUES if self.depth(queue) > 1]
        if not queues:
            return False
        queue = chance.choice(queues)
        waiting = list(self.peek(queue))
        chance.shuffle(waiting)
        self.put(queue, waiting)
        return True

    def wipe(self) -> int:
        """Lose every hint, as when the broker's disk is lost; returns how many."""
        lost = sum(self.depth(queue) for queue in _WAKE_UPS)
        for queue in _WAKE_UPS:
            self.put(queue, [])
        return lost

    def poison(self, chance: Random) -> None:
        """Put a message into a queue that nobody can read."""
        bodies = (POISON, b"\xff\x00" + POISON, b'{"supervision_id": "' + POISON + b'"}')
        envelope = Envelope(
            queue=chance.choice(WORK_QUEUES),
            body=chance.choice(bodies),
            message_id="",
            type="",
            app_id="",
            timestamp=datetime(2015, 3, 18, tzinfo=UTC),
        )
        self.publish([envelope])

    def _meddle(self, chance: Random, among: Sequence[str], copies: int) -> bool:
        queues = [queue for queue in among if self.depth(queue)]
        if not queues:
            return False
        queue = chance.choice(queues)
        waiting = list(self.peek(queue))
        picked = waiting.pop(chance.randrange(len(waiting)))
        self.put(queue, [*waiting, *[replace(picked)] * copies])
        return True
