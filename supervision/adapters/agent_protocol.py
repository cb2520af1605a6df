"""The agent's protocol, spoken over any line: keys, signatures, requests and whose answers come.

One JSON object a line each way. How a line reaches the centre (a child process, ssh) is the
transports' business; what an answer holds is checked in `agent_answers.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, Protocol

import structlog

from supervision.adapters.agent_answers import (
    Finding,
    Health,
    answer_of,
    findings_of,
    look_of,
    raise_error,
    reply_of,
    rows_of,
)
from supervision.adapters.agent_values import NAME_LENGTH, OUTPUT_LENGTH, text_of, time_of
from supervision.adapters.agent_versions import agreed
from supervision.errors import ProtocolError
from supervision.facts import Answer, AnswerKind, Key, Look, Order, Subject
from supervision.ports import Clock

SKEW_REPORTED: Final = timedelta(minutes=1)
_AT_ONCE: Final = 200  # keys or subjects in one request; the agent refuses many more
_LOG = structlog.get_logger(__name__)


def derive_key(master: bytes, site: str, login: str) -> bytes:
    """Derive the key of one login of one site: 32 bytes. The master never leaves the platform."""
    return hmac.new(master, f"{site}/{login}".encode(), hashlib.sha256).digest()


def sign(request: Mapping[str, object], key: bytes) -> dict[str, object]:
    """Add the HMAC-SHA256 over everything in the request, spelled canonically."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":")).encode("ascii")
    return {**request, "signature": hmac.new(key, text, hashlib.sha256).hexdigest()}


class Line(Protocol):
    """A way to one agent that has been opened already."""

    def exchange(self, requests: Sequence[bytes]) -> Sequence[bytes]:
        """Send lines, all before the first answer is awaited; give an answer for each, in order.

        Lines end with a newline, both ways. Blocks up to a deadline of its own. Raises
        SiteUnavailable when an answer is missing; the line is of no use afterwards.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """Whom a conversation is about, and the key that signs it."""

    site: str
    login: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeting:
    """What the agent said of itself. `offset` is its clock minus ours, `version` what is spoken."""

    version: int
    journal_id: str
    host: str
    boot_id: str
    offset: timedelta


class Conversation:
    """The verbs of one login over one line. Not for two threads at a time.

    Opening it says hello. Raises SiteUnavailable and ProtocolError as the port Transport does.
    """

    def __init__(self, line: Line, login: Login, clock: Clock) -> None:
        self._line = line
        self._login = login
        self._count = 0
        self._clock = clock
        self.greeting = self._hello(clock)

    def submit(self, orders: Sequence[Order]) -> list[Answer]:
        """Send scripts, signed, their expiry carried over to the agent's clock.

        Where one has expired before it came, that clock may have been set: the next try knows.
        """
        requests = [sign(self._submit_request(order), self._login.key) for order in orders]
        answers = self._answers(requests, [[order.key] for order in orders])
        if any(answer.kind is AnswerKind.EXPIRED for answer in answers):
            self._set_clock()
        return answers

    def status(self, keys: Sequence[Key], *, start: bool = True) -> list[Answer]:
        """Ask how attempts are; `start` those whose runner never came to be."""
        groups = [keys[first : first + _AT_ONCE] for first in range(0, len(keys), _AT_ONCE)]
        requests = [
            self._request("status", keys=[_named(key) for key in some], start=start)
            for some in groups
        ]
        return self._answers(requests, groups)

    def cancel(self, keys: Sequence[Key]) -> list[Answer]:
        """Fence attempts, signed."""
        journal = {"journal_id": self.greeting.journal_id}
        requests = [
            self._request("cancel", **self._whose(), **_named(key), **journal) for key in keys
        ]
        signed = [sign(request, self._login.key) for request in requests]
        return self._answers(signed, [[key] for key in keys])

    def look(self, subjects: Sequence[Subject]) -> list[Look]:
        """See what is true at the centre; times are carried over to our clock as it is now.

        A clock that was set in mid-session would else make two looks seem far apart.
        """
        self._set_clock()
        starts = range(0, len(subjects), _AT_ONCE)
        groups = [subjects[first : first + _AT_ONCE] for first in starts]
        requests = [
            self._request("look", subjects=[_described(subject) for subject in some])
            for some in groups
        ]
        replies = self._ask(requests)
        looks = [
            rows_of(reply, "looks", len(some)) for reply, some in zip(replies, groups, strict=True)
        ]
        return [look_of(row, self.greeting.offset) for rows in looks for row in rows]

    def output(self, key: Key) -> tuple[str, str]:
        """Fetch what was kept of an attempt's stdout and stderr; empty before its end."""
        reply = self._ask([self._request("output", **_named(key))])[0]
        stdout, stderr = (text_of(reply, name, OUTPUT_LENGTH) for name in ("stdout", "stderr"))
        return stdout, stderr

    def doctor(self, directory: str | None = None) -> list[Finding]:
        """Have the agent examine itself, and a submission directory; changes nothing."""
        reply = self._ask([self._request("doctor", directory=directory)])[0]
        return [_clocks(self.greeting), *findings_of(reply)]

    def _hello(self, clock: Clock) -> Greeting:
        before = clock.now()
        reply = self._ask([self._request("hello")])[0]
        middle = before + (clock.now() - before) / 2
        version = agreed(reply)
        served = {"site": reply.get("site"), "login": reply.get("login")}
        if served != self._whose():
            raise ProtocolError(f"the agent serves {served!s:.200}, not {self._whose()}")
        offset = time_of(reply, "clock") - middle
        if abs(offset) > SKEW_REPORTED:
            seconds = offset.total_seconds()
            _LOG.warning("agent.clock.skewed", **self._whose(), offset_seconds=seconds)
        return Greeting(
            version=version,
            journal_id=text_of(reply, "journal_id", NAME_LENGTH),
            host=text_of(reply, "host"),
            boot_id=text_of(reply, "boot_id"),
            offset=offset,
        )

    def _set_clock(self) -> None:
        """Learn anew how far the agent's clock is ahead; whose journal it is stays as greeted."""
        self.greeting = replace(self.greeting, offset=self._hello(self._clock).offset)

    def _submit_request(self, order: Order) -> dict[str, object]:
        return self._request(
            "submit",
            **self._whose(),
            **_named(order.key),
            journal_id=self.greeting.journal_id,
            directory=order.directory,
            script=order.script.content,
            sha256=order.script.sha256,
            interpreter=order.interpreter,
            timeout_seconds=order.timeout.total_seconds(),
            expires_at=(order.expires_at + self.greeting.offset).timestamp(),
        )

    def _whose(self) -> dict[str, object]:
        return {"site": self._login.site, "login": self._login.login}

    def _request(self, verb: str, **fields: object) -> dict[str, object]:
        self._count += 1
        return {"id": self._count, "verb": verb, **fields}

    def _ask(self, requests: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        lines = [
            json.dumps(request, sort_keys=True).encode("ascii") + b"\n" for request in requests
        ]
        replies = [reply_of(line) for line in self._line.exchange(lines)] if lines else []
        if [reply.get("id") for reply in replies] != [request["id"] for request in requests]:
            raise ProtocolError("the answers are not those to what was asked")
        for reply in replies:
            raise_error(reply)
        return replies

    def _answers(
        self, requests: Sequence[Mapping[str, object]], groups: Sequence[Sequence[Key]]
    ) -> list[Answer]:
        answers: list[Answer] = []
        for reply, keys in zip(self._ask(requests), groups, strict=True):
            journal_id = text_of(reply, "journal_id", NAME_LENGTH)
            rows = rows_of(reply, "answers", len(keys))
            for row, key in zip(rows, keys, strict=True):
                answers.append(self._answer(row, key, journal_id))
        return answers

    def _answer(self, row: Mapping[str, object], key: Key, journal_id: str) -> Answer:
        if (row.get("supervision_id"), row.get("attempt")) != (key.supervision_id, key.attempt):
            raise ProtocolError(f"an answer is about another key than {key}")
        if journal_id != self.greeting.journal_id:
            detail = f"the journal is {journal_id} now, it was {self.greeting.journal_id}"
            kind = AnswerKind.FOREIGN_JOURNAL
            return Answer(key=key, kind=kind, detail=detail, journal_id=journal_id)
        return answer_of(row, key, journal_id)


def _clocks(greeting: Greeting) -> Finding:
    seconds = greeting.offset.total_seconds()
    words = f"{greeting.host} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} us"
    if abs(greeting.offset) <= SKEW_REPORTED:
        return Finding(check="clock", state=Health.GOOD, words=words)
    advice = "; expiries are carried over, yet one of the two clocks is wrong: look which"
    return Finding(check="clock", state=Health.DOUBTFUL, words=words + advice)


def _named(key: Key) -> dict[str, object]:
    return {"supervision_id": key.supervision_id, "attempt": key.attempt}


def _described(subject: Subject) -> dict[str, object]:
    return {
        "ref": subject.ref,
        "name": subject.name,
        "directory": subject.directory,
        "kind": subject.kind.value,
        "scheduler_id": subject.scheduler_id,
    }
