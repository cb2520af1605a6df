"""Lines to messages, messages on their way in sets, and the count of what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from supervision.adapters.mailfiles import Line
from supervision.errors import DecodeError, InvalidValue
from supervision.messages import MONITORING_CODES, Meaning, MonitoringMessage
from supervision.wire import decode_line, monitoring_envelope

if TYPE_CHECKING:
    from supervision.fsm.engine.verbs import Engine
    from supervision.ports import Broker

SET: Final = 500
"""Messages that are committed or published together."""

_REASON_LENGTH: Final = 300
_EMBEDDED: Final = ("new", "duplicate", "ignored", "undecodable", "uncorrelated")
_QUEUED: Final = ("published", "ignored", "undecodable", "uncorrelated")


@dataclass(frozen=True, kw_only=True, slots=True)
class Became:
    """What became of one message: under which name it counts, and why it is undecodable."""

    name: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A way into the service: the names that it counts under, and how a set goes in.

    `take` returns one answer a message, in their order. It raises what is Transient: the set has
    to be given again then, and everything before it is safe.
    """

    names: tuple[str, ...]
    take: Callable[[Sequence[MonitoringMessage]], Sequence[Became]]


@dataclass(kw_only=True)
class Tally:
    """The count: `read` is the sum of `counts`. `problems` name file, line and reason."""

    read: int = 0
    safe: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, line: Line, became: Became) -> None:
        """Count one line."""
        self.read += 1
        self.counts[became.name] += 1
        if became.name == "undecodable":
            where = f"{line.origin}:{line.number}"
            self.problems.append(f"{where}: {became.problem[:_REASON_LENGTH]}")


def take_in(lines: Iterable[Line], way: Way, tally: Tally) -> None:
    """Decode lines and send them in, in sets; what is no message is counted, and stops nothing."""
    tally.counts = dict.fromkeys(way.names, 0)
    waiting: list[tuple[Line, MonitoringMessage]] = []
    for line in lines:
        try:
            message = decode_line(line.raw, mailed_at=line.mailed_at, config_card=line.config_card)
        except DecodeError as error:
            tally.add(line, Became(name="undecodable", problem=str(error)))
            continue
        waiting.append((line, message))
        if len(waiting) == SET:
            _send(waiting, way, tally)
            waiting = []
    _send(waiting, way, tally)


def _send(waiting: Sequence[tuple[Line, MonitoringMessage]], way: Way, tally: Tally) -> None:
    if not waiting:
        return
    answers = way.take([message for _, message in waiting])
    for (line, _), became in zip(waiting, answers, strict=True):
        tally.add(line, became)
    tally.safe += len(waiting)


def committing(engine: Engine, *, history: bool) -> Way:
    """Store messages at once; with `history` nothing is triggered."""

    def take(messages: Sequence[MonitoringMessage]) -> list[Became]:
        recorded = engine.record(messages, history=history)
        return [
            Became(name=fate.value)
            if fate.value in _EMBEDDED
            else Became(name="undecodable", problem=recorded.errors.get(message.uid, ""))
            for message, fate in zip(messages, recorded.fates, strict=True)
        ]

    return Way(names=_EMBEDDED, take=take)


def publishing(broker: Broker) -> Way:
    """Publish messages to the queues of their codes; what has no queue is only counted."""

    def take(messages: Sequence[MonitoringMessage]) -> list[Became]:
        queued = [message for message in messages if message.code in MONITORING_CODES]
        try:
            broker.publish([monitoring_envelope(message) for message in queued])
        except InvalidValue:
            return [_published_alone(broker, message) for message in messages]
        return [Became(name=_kind(message)) for message in messages]

    return Way(names=_QUEUED, take=take)


def _published_alone(broker: Broker, message: MonitoringMessage) -> Became:
    """Publish one of a set that the broker would not take whole: what it never takes is told."""
    if message.code in MONITORING_CODES:
        try:
            broker.publish([monitoring_envelope(message)])
        except InvalidValue as error:
            return Became(name="undecodable", problem=str(error))
    return Became(name=_kind(message))


def _kind(message: MonitoringMessage) -> str:
    if message.meaning is Meaning.IGNORED:
        return "ignored"
    whose = message.simulation_uid and (message.job_uid or message.meaning is Meaning.DELETED)
    return "published" if whose else "uncorrelated"
