"""Dead letters, for people: what was buried, sent again or dropped. Over any Broker.

While they are looked at they are in our hands; when the process ends or `close` is called, what was
not settled is back in its queue. Only the first MOST_SEEN of a queue can be in hands at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from supervision import topology
from supervision.errors import InvalidValue
from supervision.messages import Envelope
from supervision.ports import Broker, Delivery, Depths

MOST_SEEN: Final = 1000
_FIRST_SECONDS: Final = 2.0
_NEXT_SECONDS: Final = 0.3
_KEY_LENGTH: Final = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One dead letter. `key` names it as long as it lies there: equal letters have the same.

    `queue` is where it died; `sent_at` is when it was first sent, in whole seconds.
    """

    key: str
    queue: str
    reason: str
    sent_at: datetime
    envelope: Envelope


Chosen = Callable[[Letter], bool]
"""Whether a letter is meant."""


class DeadLetters:
    """The graveyards of the working queues. For one thread; raises BrokerUnavailable."""

    def __init__(self, broker: Broker, depths: Depths) -> None:
        self._broker = broker
        self._depths = depths

    def counts(self) -> dict[str, int]:
        """Count the letters of each working queue that has some."""
        found = {
            queue: self._depths.depth(topology.dead_queue(queue)) for queue in topology.WORK_QUEUES
        }
        return {queue: count for queue, count in found.items() if count}

    def read(self, queue: str, limit: int = MOST_SEEN) -> list[Letter]:
        """Read the letters of a working queue, in order; they stay where they are."""
        try:
            return [letter for letter, _ in self._taken(queue, limit)]
        finally:
            self._broker.release(topology.dead_queue(queue))

    def replay(self, queue: str, chosen: Chosen) -> tuple[int, int]:
        """Send letters to the queue where they died, then settle them: (sent, unsendable).

        In this order, so that a crash doubles and never loses one; whoever gets it twice knows it.
        One that no broker would take as it is stays where it is.
        """
        return self._settled(queue, chosen, self._sent)

    def drop(self, queue: str, chosen: Chosen) -> int:
        """Forget letters for good; returns how many."""
        return self._settled(queue, chosen, lambda _: True)[0]

    def _settled(
        self, queue: str, chosen: Chosen, done: Callable[[Letter], bool]
    ) -> tuple[int, int]:
        counts = {True: 0, False: 0}
        try:
            for letter, delivery in self._taken(queue, MOST_SEEN):
                if chosen(letter):
                    well = done(letter)
                    counts[well] += 1
                    self._broker.ack([delivery] if well else [])
        finally:
            self._broker.release(topology.dead_queue(queue))
        return counts[True], counts[False]

    def _sent(self, letter: Letter) -> bool:
        headers = dict(letter.envelope.headers)
        headers.pop(topology.REASON_HEADER, None)
        try:
            again = replace(letter.envelope, queue=letter.queue, headers=headers)
            self._broker.publish([again])
        except InvalidValue:
            return False
        return True

    def _taken(self, queue: str, limit: int) -> list[tuple[Letter, Delivery]]:
        """Take what lies there, all before any is settled: what is sent again may die meanwhile.

        What was in our hands a moment ago comes back in its own time: it is waited for.
        """
        dead, left, patience = topology.dead_queue(queue), min(limit, MOST_SEEN), _FIRST_SECONDS
        found: list[tuple[Letter, Delivery]] = []
        while left > 0:
            more = self._broker.take(dead, limit=left, timeout_seconds=patience)
            if not more:
                break
            found += [(_letter(queue, each), each) for each in more]
            left, patience = left - len(more), _NEXT_SECONDS
        return found


def _letter(queue: str, delivery: Delivery) -> Letter:
    envelope = delivery.envelope
    named = envelope.message_id.encode(errors="replace") + b"\0" + envelope.body
    return Letter(
        key=hashlib.sha256(named).hexdigest()[:_KEY_LENGTH],
        queue=queue,
        reason=envelope.headers.get(topology.REASON_HEADER, "the broker gave up delivering it"),
        sent_at=envelope.timestamp,
        envelope=envelope,
    )


def among(keys: Sequence[str]) -> Chosen:
    """Mean the letters whose keys begin with one of these; without any, mean all."""
    return lambda letter: not keys or letter.key.startswith(tuple(keys))
