"""whatif, put together: old messages live once more, on a scratch database with its own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from db import dao_whatif
from db.dao_whatif import Heard
from db.session import Database, create
from supervision.app import MEMORY_URL, STAGES, App, build, consumers_of, prepare
from supervision.consumers import base
from supervision.errors import DecodeError
from supervision.facts import Answer, AnswerKind, ExitCode, Key, Look, Order, Subject
from supervision.fsm.engine.comparing import Compare, Comparison
from supervision.messages import MonitoringMessage
from supervision.settings import Settings
from supervision.wire import decode_line

_TURN: Final = timedelta(minutes=1)
_AFTER: Final = timedelta(hours=1)
"""How long the scratch clock goes on after the newest message."""
_SET: Final = 500

Progress = Callable[[], object]


class VirtualClock:
    """A Clock that only goes on when it is told to, and never back."""

    def __init__(self, now: datetime) -> None:
        self._start = self._now = now

    def now(self) -> datetime:
        """Aware UTC."""
        return self._now

    def monotonic_seconds(self) -> float:
        """Seconds since the clock was made."""
        return (self._now - self._start).total_seconds()

    def reach(self, moment: datetime) -> None:
        """Let time pass until then."""
        self._now = max(self._now, moment)


class AssumedAgents:
    """A Transport to nobody: scripts are taken and succeed, and a look shows nothing."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Say that each was executed."""
        return self.status(site, login, [order.key for order in orders])

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Say that each was executed."""
        home = f"{site}/{login}"
        return [
            Answer(key=key, kind=AnswerKind.EXECUTED, exit_code=ExitCode.ACTED, journal_id=home)
            for key in keys
        ]

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Say that each was executed."""
        return self.status(site, login, keys)

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:  # noqa: ARG002
        """Show nothing: how the centre was then is not known any more."""
        return [Look(at=self._clock.now()) for _ in subjects]

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Say that each was executed already."""
        return self.status(site, login, keys)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(kw_only=True)
class Rehearsal:
    """What became of the messages that were heard again. `unread`: their text is not kept."""

    messages: int = 0
    unread: int = 0


def compare(
    made: App,
    wanted: Settings,
    *,
    since: datetime | None,
    progress: Progress,
) -> tuple[Comparison, Rehearsal]:
    """Judge what was recorded by the policy of `wanted`, and rehearse what never was judged.

    Reads the database of `made` alone; what is rehearsed lives in a folder that goes away.
    """
    result, rehearsal = Comparison(), Rehearsal()
    made.engine.read(Compare(after=wanted.policy, into=result, since=since, progress=progress))
    with _messages_of(made.settings.database_url, rehearsal, progress) as heard:
        first = next(heard, None)
        if first is not None:
            with _scratch(wanted, first[0]) as (scratch, clock):
                _live(scratch, clock, _chained(first, heard), since)
                scratch.engine.read(
                    Compare(after=wanted.policy, into=result, since=since, recorded=False)
                )
    return result, rehearsal


def size(made: App, since: datetime | None) -> int:
    """Count how often `compare` will tell of progress."""
    with _reading(made.settings.database_url) as database, database.read() as session:
        return dao_whatif.count_decided(session, since) + dao_whatif.count_unjudged(session)


@contextmanager
def _reading(url: str) -> Iterator[Database]:
    database = Database(create(url), None)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _messages_of(
    url: str, rehearsal: Rehearsal, progress: Progress
) -> Iterator[Iterator[tuple[datetime, MonitoringMessage]]]:
    """Lend the messages that were never judged, in the order of time, as they are read."""
    with _reading(url) as database, database.read() as session:
        yield _decoded(dao_whatif.unjudged(session), rehearsal, progress)


def _decoded(
    heard: Iterable[Heard], rehearsal: Rehearsal, progress: Progress
) -> Iterator[tuple[datetime, MonitoringMessage]]:
    for each in heard:
        progress()
        try:
            message = decode_line((each.body or "").encode())
        except DecodeError:
            rehearsal.unread += 1
            continue
        rehearsal.messages += 1
        yield each.at, message


def _chained(
    first: tuple[datetime, MonitoringMessage],
    others: Iterator[tuple[datetime, MonitoringMessage]],
) -> Iterator[tuple[datetime, MonitoringMessage]]:
    yield first
    yield from others


@contextmanager
def _scratch(wanted: Settings, begin: datetime) -> Iterator[tuple[App, VirtualClock]]:
    """Compose a service that harms nobody: own database, own mailbox, agents that are assumed.

    Messages are personal: the folder is the account's alone, and goes away whatever happens.
    """
    clock = VirtualClock(begin)
    with TemporaryDirectory(prefix="supervision-whatif-") as folder:
        settings = replace(
            wanted,
            database_url=f"sqlite:///{Path(folder) / 'scratch.db'}",
            broker_url=MEMORY_URL,
            mail=replace(wanted.mail, host=None, directory=Path(folder) / "mail"),
        )
        prepare(settings)
        made = build(settings, clock=clock, transport=AssumedAgents(clock))
        try:
            yield made, clock
        finally:
            made.close()


def _live(
    made: App,
    clock: VirtualClock,
    heard: Iterator[tuple[datetime, MonitoringMessage]],
    since: datetime | None,
) -> None:
    """Hear messages and alarms in the order of time; what was before `since` triggers nothing."""
    consumers = consumers_of(made, STAGES)
    with _reading(made.settings.database_url) as database:
        for minute, group in groupby(heard, lambda each: each[0].replace(second=0, microsecond=0)):
            end, history = minute + _TURN, since is not None and minute < since
            if not history:
                _wait(made, consumers, (database, clock), end)
            clock.reach(end)
            while batch := [message for _, message in islice(group, _SET)]:
                made.engine.record(batch, history=history)
            # Whatever is to be done has an alarm; most messages ask for nothing.
            if (alarm := _alarm(database)) is not None and alarm <= clock.now():
                _settle(made, consumers)
        _wait(made, consumers, (database, clock), clock.now() + _AFTER)


def _wait(
    made: App,
    consumers: Sequence[base.Consumer],
    time: tuple[Database, VirtualClock],
    until: datetime,
) -> None:
    """Let every alarm ring that is due before then, to the minute."""
    database, clock = time
    while (alarm := _alarm(database)) is not None and alarm < until:
        turn = max(alarm, clock.now() + _TURN)
        if turn >= until:
            return
        clock.reach(turn)
        _settle(made, consumers)


def _alarm(database: Database) -> datetime | None:
    with database.read() as session:
        return dao_whatif.next_alarm(session)


def _settle(made: App, consumers: Sequence[base.Consumer]) -> None:
    """Do all that is due at this moment; what a verdict puts off is not."""
    while sum(_emptied(made, each) for each in consumers) or _woken(made):
        pass


def _woken(made: App) -> int:
    """Tend what incidents are due, also where nothing else is; then send what is due, and count."""
    made.engine.tend_incidents()
    return made.engine.sweep(_SET).total


def _emptied(made: App, consumer: base.Consumer) -> int:
    took = made.broker.take(consumer.queue, limit=consumer.batch, timeout_seconds=0)
    if took:
        base.consume(consumer, made.broker, took)
    return len(took)
