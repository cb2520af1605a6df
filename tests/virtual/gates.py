"""Gates: the points where a process may be stopped, killed or failed, and ports that pass them.

Every transaction and every call of a port has one before and one after it. The service knows
nothing of them: they are in the doubles that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from db.session import Database, HasNow
from supervision.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    MailRefused,
    MailUnavailable,
    ProtocolError,
    SiteUnavailable,
)
from supervision.facts import Answer, Key, Look, Mail, Order, Subject
from supervision.messages import Envelope
from supervision.ports import Broker, Delivery, Notifier, Transport


class Died(BaseException):
    """The process ends here and now, as by kill -9: nothing of ours catches it."""


class Gate(StrEnum):
    """A point where a process stands before it goes on."""

    READ = "before a read"
    BEGIN = "before a transaction"
    COMMIT = "before a commit"
    COMMITTED = "after a commit"
    PUBLISH = "before a publish"
    PUBLISHED = "after a publish"
    ACK = "before an ack"
    ACKED = "after an ack"
    SUBMIT = "before a submit"
    SUBMITTED = "after a submit"
    STATUS = "before a status"
    STATED = "after a status"
    LOOK = "before a look"
    LOOKED = "after a look"
    CANCEL = "before a cancel"
    CANCELLED = "after a cancel"
    MAIL = "before a mail"
    MAILED = "after a mail"


INSIDE: Final = frozenset({Gate.COMMIT})
"""Gates inside a transaction: nobody else may be let on while a process stands there."""

_AWAY: Final = (
    ("site unavailable", lambda: SiteUnavailable("no route to host")),
    ("peer is no agent", lambda: ProtocolError("a login shell's greeting")),
)
_CUT: Final = (("answer lost", lambda: SiteUnavailable("the connection broke")),)
_DATABASE: Final = (("database gone", lambda: DatabaseUnavailable("server closed the connection")),)

FAULTS: Final[dict[Gate, tuple[tuple[str, Callable[[], BaseException]], ...]]] = {
    Gate.READ: _DATABASE,
    Gate.BEGIN: _DATABASE,
    Gate.COMMIT: (
        ("serialization failure", lambda: DatabaseUnavailable("could not serialize access")),
    ),
    Gate.COMMITTED: (
        ("commit unanswered", lambda: DatabaseUnavailable("gone before COMMIT was answered")),
    ),
    Gate.PUBLISH: (("broker away", lambda: BrokerUnavailable("no connection")),),
    Gate.PUBLISHED: (("publish unconfirmed", lambda: BrokerUnavailable("not confirmed")),),
    Gate.ACK: (),
    Gate.ACKED: (),
    Gate.SUBMIT: _AWAY,
    Gate.SUBMITTED: _CUT,
    Gate.STATUS: _AWAY,
    Gate.STATED: _CUT,
    Gate.LOOK: _AWAY,
    Gate.LOOKED: _CUT,
    Gate.CANCEL: _AWAY,
    Gate.CANCELLED: _CUT,
    Gate.MAIL: (
        ("mail server away", lambda: MailUnavailable("421 come back later")),
        ("mail refused", lambda: MailRefused("550 no such user")),
    ),
    Gate.MAILED: (("mail unanswered", lambda: MailUnavailable("cut after DATA")),),
}
"""What may be raised at a gate, beside death: the name in the tables, and the error."""

Pass = Callable[[Gate], None]
"""Stand at a gate until told to go on; raises what the process is to meet there."""


class GatedDatabase(Database):
    """The database of one process. The gate after the commit may say that it is not known."""

    def __init__(self, engine: Engine, clock: HasNow, stand: Pass) -> None:
        super().__init__(engine, clock)
        self._stand = stand

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction between three gates."""
        self._stand(Gate.BEGIN)
        with super().write() as session:
            yield session
            self._stand(Gate.COMMIT)
        self._stand(Gate.COMMITTED)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One transaction that only reads, behind a gate."""
        self._stand(Gate.READ)
        with super().read() as session:
            yield session


class GatedBroker:
    """A process's connection to the broker that all share; what it holds goes back when it dies."""

    def __init__(self, broker: Broker, stand: Pass) -> None:
        self._broker = broker
        self._stand = stand
        self._held: dict[tuple[str, int, int], Delivery] = {}

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Pass on, between two gates."""
        self._stand(Gate.PUBLISH)
        self._broker.publish(envelopes)
        self._stand(Gate.PUBLISHED)

    def take(self, queue: str, *, limit: int, timeout_seconds: float) -> Sequence[Delivery]:
        """Pass on, and remember what is in this process's hands."""
        taken = self._broker.take(queue, limit=limit, timeout_seconds=timeout_seconds)
        self._held.update({(d.queue, d.epoch, d.tag): d for d in taken})
        return taken

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Pass on, between two gates."""
        self._stand(Gate.ACK)
        self._settle(deliveries)
        self._stand(Gate.ACKED)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Pass on."""
        self._broker.bury(delivery, reason)
        self._held.pop((delivery.queue, delivery.epoch, delivery.tag), None)

    def release(self, queue: str) -> None:
        """Give back what this process, and no other, holds of a queue."""
        mine = [each for each in self._held.values() if each.queue == queue]
        self._broker.publish([each.envelope for each in mine])
        self._settle(mine)

    def close(self) -> None:
        """The connection is gone: everything goes back."""
        for queue in {each.queue for each in self._held.values()}:
            self.release(queue)

    def _settle(self, deliveries: Sequence[Delivery]) -> None:
        self._broker.ack(deliveries)
        for each in deliveries:
            self._held.pop((each.queue, each.epoch, each.tag), None)


class GatedTransport:
    """A process's way to the agents, with a gate before each call and one before its answer."""

    def __init__(self, agents: Transport, stand: Pass) -> None:
        self._agents = agents
        self._stand = stand

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Pass on, between two gates."""
        self._stand(Gate.SUBMIT)
        answers = self._agents.submit(site, login, orders)
        self._stand(Gate.SUBMITTED)
        return answers

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Pass on, between two gates."""
        self._stand(Gate.STATUS)
        answers = self._agents.status(site, login, keys)
        self._stand(Gate.STATED)
        return answers

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Pass on: no worker asks so."""
        return self._agents.peek(site, login, keys)

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """Pass on, between two gates."""
        self._stand(Gate.LOOK)
        looks = self._agents.look(site, login, subjects)
        self._stand(Gate.LOOKED)
        return looks

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Pass on, between two gates."""
        self._stand(Gate.CANCEL)
        answers = self._agents.cancel(site, login, keys)
        self._stand(Gate.CANCELLED)
        return answers

    def close(self) -> None:
        """Others go on using the agents."""


class GatedNotifier:
    """A process's way to the mail server."""

    def __init__(self, notifier: Notifier, stand: Pass) -> None:
        self._notifier = notifier
        self._stand = stand

    def send(self, mail: Mail) -> None:
        """Pass on, between two gates."""
        self._stand(Gate.MAIL)
        self._notifier.send(mail)
        self._stand(Gate.MAILED)
