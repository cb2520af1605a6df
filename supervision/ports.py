"""The ports: what the service needs from the world, as promises.

Each Protocol has at most six methods. An adapter translates its library's errors into ours
(`errors.py`) and keeps the cause; nothing else escapes from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from supervision.facts import Answer, Credential, Key, Look, Mail, Order, Subject, Supervision
from supervision.fsm.states import Event
from supervision.messages import Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A message in our hands: `queue` and `body` as they came, `tag` for the broker alone.

    `epoch` names the channel that it came over: an ack of an old channel is dropped, for its
    message has been given to somebody else by then.
    """

    queue: str
    envelope: Envelope
    epoch: int
    tag: int
    redelivered: bool = False


class Broker(Protocol):
    """Queues. Safe for many threads; the same queue is taken from by one thread only."""

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Hand messages over; returns when the broker holds all of them on disk.

        Blocks. Raises BrokerUnavailable when that is not certain for every one: publishing them
        again is then right, receivers are idempotent.
        """

    def take(self, queue: str, *, limit: int, timeout_seconds: float) -> Sequence[Delivery]:
        """Take up to `limit` messages: waits for the first one at most `timeout_seconds`.

        Empty when none came. Raises BrokerUnavailable while there is no connection; the adapter
        reconnects by itself. What was taken stays ours until it is acked, buried or released.
        """

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settle messages for good. Idempotent; a delivery of an old epoch is dropped silently."""

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move a message to `dead-<queue>` with its reason, then ack it.

        In this order, so that a crash doubles and never loses it. Raises BrokerUnavailable when
        the dead letter was not confirmed: nothing was acked then.
        """

    def release(self, queue: str) -> None:
        """Give back everything unsettled of this queue and stop taking until the next `take`.

        For an outage of the database: the consumer's channel is closed, so that no timeout of
        the broker counts against the messages. Idempotent; never raises.
        """

    def close(self) -> None:
        """End every connection and thread; unsettled messages go back. Idempotent."""


class Depths(Protocol):
    """How long queues are; what has a Broker's queues has these too."""

    def depth(self, queue: str) -> int:
        """Count what waits in a queue, dead letters' queues too, without what is in hands.

        Blocks for one answer of the broker. Raises NotFound for a queue that there is not, and
        BrokerUnavailable.
        """


class Meter(Protocol):
    """Counts what this process does, for whoever measures it. Never blocks, never raises."""

    def decided(self, verdict: str, rule: str) -> None:
        """Note that a verdict was written."""

    def moved(self, row: Supervision, event: Event, *, at: datetime, worked_seconds: float) -> None:
        """Note that a row, as it was before, made a transition after so much work on it."""


class NoMeter:
    """Counts nothing: for processes that nobody measures."""

    def decided(self, verdict: str, rule: str) -> None:
        """Nothing is kept."""

    def moved(self, row: Supervision, event: Event, *, at: datetime, worked_seconds: float) -> None:
        """Nothing is kept."""


class Transport(Protocol):
    """The way to the agents. Every call is about one login of one site and blocks until a deadline.

    Raises SiteUnavailable when the agent could not be asked or did not answer in time: nothing is
    known then, and the same key may be sent again. Raises ProtocolError for a peer that is no
    agent of ours. Answers come in the order of what was asked, one for each.
    """

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Have scripts run. Idempotent by key: a repeat is answered from the journal."""

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are. Starts an accepted one whose runner never came to be."""

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are, and start nothing: for people who only want to know."""

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """See what is true at the centre; changes nothing there. All in one request."""

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Fence attempts that have not started, this and every lower one. Idempotent."""

    def close(self) -> None:
        """End every session and child process. Idempotent."""


class Credentials(Protocol):
    """What proves our logins to the centres. Reads files; nobody is contacted."""

    def read(self) -> Sequence[Credential]:
        """Tell how the credential of every login is that the settings know, one each.

        Blocks for as long as small files take to be read. Never raises: what cannot be read is a
        value with its problem.
        """


class Notifier(Protocol):
    """The way to people."""

    def send(self, mail: Mail) -> None:
        """Hand one mail to the mail server; blocks up to a deadline.

        Raises MailUnavailable (try later) or MailRefused (never will). A repeat carries the same
        Message-ID.
        """


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic_seconds(self) -> float:
        """Seconds that never go back, for deadlines and durations."""


class Ids(Protocol):
    """Randomness."""

    def new(self) -> str:
        """A random UUID as text; never the same twice, also after a restored backup."""

    def jitter(self) -> float:
        """At least 0.0, below 1.0."""
