"""The centres' mailbox: publishes facts until the broker has confirmed and routed each one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic, time
from typing import Final

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from tests.campaign.real_stories import Message
from tests.integration.end_to_end_kit import body, connection, properties

_AGAIN_SECONDS: Final = 0.3
_LOOK_SECONDS: Final = 0.2
POISON: Final = "poison"


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One publication. `uid` names a fact, others have none; `due` is a monotonic time."""

    exchange: str
    key: str
    body: bytes
    properties: pika.BasicProperties
    uid: str | None = None
    due: float = 0.0


def letter(message: Message, *, due: float = 0.0) -> Letter:
    """Give a fact the properties that a centre's own client gives it."""
    given = properties(message)
    given.headers = {**(given.headers or {}), "emitted_as": message["msgTimestamp"]}
    return Letter(
        exchange="x-in",
        key=f"in-monitoring-{message['msgCode']}",
        body=body(message),
        properties=given,
        uid=message["msgUID"],
        due=due,
    )


def wakeup(queue: str, **ids: str) -> Letter:
    """Spell a hint, as anybody may who can publish; `ids` may name nothing that there is."""
    given = pika.BasicProperties(
        message_id=f"stray-{monotonic()}", app_id="supervision", timestamp=int(time())
    )
    exchange = "x-" + queue.partition("-")[0]
    return Letter(exchange=exchange, key=queue, body=json.dumps(ids).encode(), properties=given)


class Mailbox:
    """Publishes in the order of posting, but for what is held back. Use `close` at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._posted: SimpleQueue[Letter] = SimpleQueue()
        self._held: list[Letter] = []
        self._done = Event()
        self._lock = Lock()
        self._sending = Lock()
        self._open = 0
        self.facts: dict[str, Letter] = {}
        self.confirmed: dict[str, float] = {}
        self.poison: set[str] = set()
        self._thread = Thread(target=self._run, name="mailbox")
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many letters the broker has not confirmed yet."""
        return self._open

    def post(self, letters: Iterable[Letter]) -> None:
        """Have letters published; returns at once."""
        for each in letters:
            with self._lock:
                self._open += 1
            if each.uid is not None:
                self.facts.setdefault(each.uid, each)
            self._posted.put(each)

    def again(self, uids: Iterable[str]) -> int:
        """Publish facts once more, as a mailbox is ingested again; tells how many."""
        letters = [self.facts[uid] for uid in uids]
        self.post(letters)
        return len(letters)

    def forget(self) -> list[str]:
        """A killed broker has lost what it had: forget its poison, tell which facts it confirmed.

        Waits for the publication under way, so that none is confirmed and not noted yet.
        """
        with self._sending:
            self.poison.clear()
            return list(self.confirmed)

    def close(self) -> None:
        """End without waiting for what is not confirmed."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                with connection(self._url) as opened:
                    channel = opened.channel()
                    channel.confirm_delivery()
                    while not self._done.is_set():
                        self._step(opened, channel)
            except AMQPError:
                self._done.wait(_AGAIN_SECONDS)

    def _step(self, opened: pika.BlockingConnection, channel: BlockingChannel) -> None:
        try:
            each = self._posted.get(timeout=_LOOK_SECONDS)
        except Empty:
            opened.process_data_events(0)
        else:
            self._held.append(each)
        now = monotonic()
        for due in [each for each in self._held if each.due <= now]:
            with self._sending:
                channel.basic_publish(
                    due.exchange, due.key, due.body, due.properties, mandatory=True
                )
                self._noted(due)
            self._held.remove(due)

    def _noted(self, sent: Letter) -> None:
        with self._lock:
            self._open -= 1
        if sent.uid is not None:
            self.confirmed.setdefault(sent.uid, time())
        elif POISON.encode() in sent.body:
            self.poison.add(sent.body.decode())
