"""Typed doubles of the ports, for tests here and elsewhere: clock, ids, mail, and the agents.

They keep the promises of `ports.py`; a fault is programmed into the double, never into the
service. The broker's double is `adapters/memory.py`, which also serves without RabbitMQ.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Final, TypedDict, Unpack
from uuid import UUID

from supervision.errors import SiteUnavailable
from supervision.facts import Answer, AnswerKind, Key, Look, Mail, Order, Sight, Subject
from supervision.ports import Clock
from supervision.testing_journal import Entry, Journal, sound

_ENDS: Final = frozenset({AnswerKind.EXECUTED, AnswerKind.DECLINED, AnswerKind.FAILED})
_BEFORE_JOURNAL: Final = frozenset({AnswerKind.REFUSED, AnswerKind.FOREIGN_JOURNAL})


class FrozenClock:
    """A Clock that stands still until it is told. Both of its times move together."""

    def __init__(self, now: datetime = datetime(2015, 3, 18, 9, 0, tzinfo=UTC)) -> None:
        self._now = now.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Aware UTC."""
        return self._now

    def monotonic_seconds(self) -> float:
        """Seconds since the clock was made; `set` to an earlier time does not turn them back."""
        return self._monotonic

    def advance(self, span: timedelta) -> datetime:
        """Let `span` pass; returns the new time."""
        self._now += span
        self._monotonic += max(span.total_seconds(), 0.0)
        return self._now

    def set(self, now: datetime) -> None:
        """Jump to `now` (aware), which may lie in the past."""
        self.advance(now.astimezone(UTC) - self._now)


class SeededIds:
    """Ids that are the same in every run with the same seed, and never twice in one."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._count = 0
        self._lock = RLock()

    def new(self) -> str:
        """Draw a UUID of version 4, as text."""
        return str(UUID(bytes=self._draw()[:16], version=4))

    def jitter(self) -> float:
        """At least 0.0, below 1.0."""
        return int.from_bytes(self._draw()[:4], "big") / 2**32

    def _draw(self) -> bytes:
        with self._lock:
            self._count += 1
            return hashlib.sha256(f"{self._seed}/{self._count}".encode()).digest()


class RecordingNotifier:
    """A Notifier whose mails stay here, in the order in which they were taken."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self._failures: list[Exception] = []

    def fail_with(self, error: Exception, times: int = 1) -> None:
        """Have the next `times` mails refused with `error`; they are not recorded."""
        self._failures.extend([error] * times)

    def send(self, mail: Mail) -> None:
        """Record the mail, or raise what was programmed."""
        if self._failures:
            raise self._failures.pop(0)
        self.mails.append(mail)


class Programmed(TypedDict, total=False):
    """What a test may say of an attempt's outcome. Without a kind it is executed."""

    kind: AnswerKind
    detail: str
    exit_code: int | None
    scheduler_id: str | None
    period: int | None
    report: dict[str, str | int | list[str] | None]
    output_tail: str


class AgentDouble:
    """A Transport over agents in memory, one for each (site, login), with the journal's real rules.

    A submit is accepted; the next status starts the script, which ends at once as `outcome` says
    (default: executed, exit code 0). An outcome of running, unknown or lost lasts until it is
    programmed anew; refused and foreign-journal are said to the submit, before the journal.
    `executions` counts how often the script of a key was begun. Safe for many threads.
    """

    def __init__(self, clock: Clock) -> None:
        self.executions: Counter[Key] = Counter()
        self.calls: list[tuple[str, str, str]] = []
        self.orders: list[Order] = []
        self.unreachable: set[str] = set()
        self.opted_out_directories: set[str] = set()
        self.opted_out_logins: set[tuple[str, str]] = set()
        self.closed = False
        self._clock = clock
        self._outcomes: dict[tuple[str, int | None], Programmed] = {}
        self._looks: defaultdict[str, list[Look]] = defaultdict(list)
        self._journals: dict[tuple[str, str], Journal] = {}
        self._answers_to_lose: Counter[str] = Counter()
        self._restored = 0
        self._lock = RLock()

    def outcome(
        self, supervision_id: str, attempt: int | None = None, **programmed: Unpack[Programmed]
    ) -> None:
        """Say how the scripts of a supervision end; for one attempt, or for all others of it."""
        self._outcomes[supervision_id, attempt] = programmed

    def see(self, ref: str, *looks: Look) -> None:
        """Say what the next looks at a subject show; the last one stays. `at` becomes now."""
        self._looks[ref] = list(looks)

    def lose_answer(self, verb: str = "submit", times: int = 1) -> None:
        """Have the next calls of a verb act, and then raise SiteUnavailable."""
        self._answers_to_lose[verb] += times

    def forget(self, site: str, login: str) -> None:
        """Restore the home from nothing: an empty journal with another id."""
        self._restored += 1
        self._journals[site, login] = Journal(id=f"{site}/{login}/{self._restored}")

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Journal each order that its rules admit; nothing runs before the next status."""
        with self._called("submit", site, login) as journal:
            self.orders.extend(orders)
            home_out = (site, login) in self.opted_out_logins
            return [self._submit(journal, order, home_out=home_out) for order in orders]

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Tell how attempts are, and start those that were accepted."""
        with self._called("status", site, login) as journal:
            return [self._status(journal, key, start=True) for key in keys]

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Tell how attempts are."""
        with self._called("peek", site, login) as journal:
            return [self._status(journal, key, start=False) for key in keys]

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """Show what was programmed; the scheduler's word is unknown where nothing was."""
        with self._called("look", site, login):
            return [self._look(subject) for subject in subjects]

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Fence what has not started; tell what has."""
        with self._called("cancel", site, login) as journal:
            return [self._cancel(journal, key) for key in keys]

    def close(self) -> None:
        """Remember that it was called."""
        self.closed = True

    @contextmanager
    def _called(self, verb: str, site: str, login: str) -> Iterator[Journal]:
        with self._lock:
            self.calls.append((verb, site, login))
            if site in self.unreachable:
                raise SiteUnavailable(f"{site}: no route to host")
            yield self._journals.setdefault((site, login), Journal(id=f"{site}/{login}/0"))
            if self._answers_to_lose[verb] > 0:
                self._answers_to_lose[verb] -= 1
                raise SiteUnavailable(f"{site}: the connection broke before the answer came")

    def _submit(self, journal: Journal, order: Order, *, home_out: bool) -> Answer:
        kind = self._veto(journal, order, home_out=home_out)
        if kind is not None:
            return Answer(key=order.key, kind=kind, journal_id=journal.id, detail=f"{kind} at once")
        journal.entries.setdefault(order.key, Entry(sha256=order.script.sha256))
        return self._status(journal, order.key, start=False)

    def _veto(self, journal: Journal, order: Order, *, home_out: bool) -> AnswerKind | None:
        key, programmed = order.key, self._programmed(order.key).get("kind")
        if programmed in _BEFORE_JOURNAL or not sound(order):
            return programmed if programmed in _BEFORE_JOURNAL else AnswerKind.REFUSED
        if key in journal.entries:
            same = journal.entries[key].sha256 == order.script.sha256
            return None if same else AnswerKind.CONFLICT
        if journal.fences(key):
            return AnswerKind.STALE
        if self._clock.now() > order.expires_at:
            return AnswerKind.EXPIRED
        if home_out or order.directory in self.opted_out_directories:
            return AnswerKind.OPTED_OUT
        journal.seen[key.supervision_id] = key.attempt
        running = journal.running_below(key)
        lost = {other for other in running if self._outcome_of(other).kind is AnswerKind.LOST}
        return AnswerKind.BUSY if set(running) - lost else None

    def _status(self, journal: Journal, key: Key, *, start: bool) -> Answer:
        entry = journal.entries.get(key)
        if entry is None or (entry.fenced and not entry.started):
            kind = AnswerKind.STALE if entry or journal.fences(key) else AnswerKind.NEVER_SEEN
            return Answer(key=key, kind=kind, journal_id=journal.id)
        if start:
            self._run(entry, key)
        if not entry.started:
            return Answer(key=key, kind=AnswerKind.ACCEPTED, journal_id=journal.id)
        return replace(entry.end or self._outcome_of(key), journal_id=journal.id)

    def _run(self, entry: Entry, key: Key) -> None:
        if self._programmed(key).get("kind") is AnswerKind.ACCEPTED:
            return
        self.executions[key] += 0 if entry.started else 1
        entry.started = True
        outcome = self._outcome_of(key)
        if entry.end is None and outcome.kind in _ENDS:
            entry.end = outcome

    def _cancel(self, journal: Journal, key: Key) -> Answer:
        cancelled, supervision_id = journal.cancelled, key.supervision_id
        cancelled[supervision_id] = max(cancelled[supervision_id], key.attempt)
        journal.running_below(replace(key, attempt=key.attempt + 1))  # this one is fenced too
        entry = journal.entries.get(key)
        if entry is None or not entry.started:
            return Answer(key=key, kind=AnswerKind.FENCED, journal_id=journal.id)
        answer = entry.end or self._outcome_of(key)
        if answer.kind is AnswerKind.RUNNING:
            answer = replace(answer, kind=AnswerKind.BUSY, detail="to stop it: kill -TERM -- -4711")
        return replace(answer, journal_id=journal.id)

    def _programmed(self, key: Key) -> Programmed:
        every = self._outcomes.get((key.supervision_id, None), Programmed())
        return self._outcomes.get((key.supervision_id, key.attempt), every)

    def _outcome_of(self, key: Key) -> Answer:
        answer = replace(Answer(key=key, kind=AnswerKind.EXECUTED), **self._programmed(key))
        unsaid = answer.kind is AnswerKind.EXECUTED and answer.exit_code is None
        return replace(answer, exit_code=0) if unsaid else answer

    def _look(self, subject: Subject) -> Look:
        looks = self._looks[subject.ref] or [Look(at=self._clock.now(), sight=Sight.UNKNOWN)]
        return replace(looks.pop(0) if len(looks) > 1 else looks[0], at=self._clock.now())
