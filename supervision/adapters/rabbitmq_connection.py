"""The thread that owns every connection to RabbitMQ, and connections that come back by themselves.

No message is seen here. Everything but `IoThread.post`, `call`, `trouble` and `close` runs in that
thread, which does nothing slow: it is what answers the broker's heartbeats.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Final, Protocol, TypeVar

import structlog
from pika.adapters.select_connection import IOLoop
from pika.connection import Parameters

from supervision.adapters.rabbitmq_socket import Connection
from supervision.errors import BrokerUnavailable, SupervisionError
from supervision.ports import Clock, Ids

SILENCE_SECONDS: Final = 90.0
"""Without a frame, or a round of the loop, for so long, nothing here can be trusted any more."""

_PULSE_SECONDS: Final = 0.25
_BACKOFF_FIRST_SECONDS: Final = 0.25
BACKOFF_CAP_SECONDS: Final = 30.0
_LASTING_SECONDS: Final = 10.0  # a connection that lives so long makes the next failure a first one
_SHAKING_HANDS: Final = {
    Connection.CONNECTION_PROTOCOL,
    Connection.CONNECTION_START,
    Connection.CONNECTION_TUNE,
}
_GOODBYE_SECONDS: Final = 2.0

_LOG = structlog.get_logger()
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why something is not possible now: the error to raise, its sentence, the library's cause."""

    kind: type[SupervisionError]
    text: str
    cause: BaseException | None = None

    def error(self) -> SupervisionError:
        """Make a new error for every caller: threads must not share a traceback."""
        error = self.kind(self.text)
        error.__cause__ = self.cause
        return error


CLOSED: Final = Fault(kind=BrokerUnavailable, text="the broker was closed")


class IoThread:
    """The one thread in which pika runs. Starts at once; ends at `close` or by a bug."""

    def __init__(self, clock: Clock) -> None:
        self.loop = IOLoop()
        self.clock = clock
        self._links: list[Link] = []
        self._round_at = clock.monotonic_seconds()
        self._door = Lock()
        self._closing = False
        self._closed = False
        self._thread = Thread(target=self._run, name="rabbitmq-io", daemon=True)
        self._thread.start()

    def adopt(self, link: Link) -> None:
        """Watch a link, and stop it at `close`."""
        self._links.append(link)

    def post(self, action: Callable[[], object]) -> bool:
        """Have the thread do something soon, in the order of posting; False after `close`."""
        with self._door:
            if not self._closed:
                self.loop.add_callback_threadsafe(action)
            return not self._closed

    def call(self, action: Callable[[], _T], timeout_seconds: float) -> _T:
        """Have the thread do something, and wait for it.

        Raises TimeoutError when it did not come to it, BrokerUnavailable after `close`.
        """
        done: Future[_T] = Future()
        if not self.post(lambda: done.set_result(action())):
            raise CLOSED.error()
        return done.result(timeout_seconds)

    def trouble(self) -> str | None:
        """Say what is stuck, as a sentence, or None. Only a new process can mend it."""
        if self._closing:
            return None
        now = self.clock.monotonic_seconds()
        if not self._thread.is_alive():
            return "the thread that talks to RabbitMQ is dead"
        if now - self._round_at > SILENCE_SECONDS:
            return (
                f"the thread that talks to RabbitMQ has not moved for {now - self._round_at:.0f} s"
            )
        return next((link.trouble(now) for link in self._links if link.trouble(now)), None)

    def close(self) -> None:
        """End every link and the thread, within seconds also when nobody answers. Idempotent."""
        self._closing = True
        self.post(self._stop)
        self._thread.join(3 * _GOODBYE_SECONDS)

    def _run(self) -> None:
        try:
            self._pulse()
            self.loop.start()
        finally:
            with self._door:
                self._closed = True
                self.loop.close()

    def _pulse(self) -> None:
        self._round_at = self.clock.monotonic_seconds()
        for link in self._links:
            link.pulse(self._round_at)
        self.loop.call_later(_PULSE_SECONDS, self._pulse)

    def _stop(self) -> None:
        for link in self._links:
            link.stop()
        self._leave_when_down()
        self.loop.call_later(_GOODBYE_SECONDS, self._abort)

    def _leave_when_down(self) -> None:
        if all(link.is_down for link in self._links):
            self.loop.stop()
        else:
            self.loop.call_later(0.005, self._leave_when_down)

    def _abort(self) -> None:
        for link in self._links:
            link.abort()
        self.loop.call_later(_GOODBYE_SECONDS / 2, self.loop.stop)


class Backoff:
    """How long to wait before the next try: doubling to a cap, spread so that no herd forms."""

    def __init__(self, ids: Ids, cap_seconds: float = BACKOFF_CAP_SECONDS) -> None:
        self._ids = ids
        self._cap_seconds = cap_seconds
        self._failures = 0

    def next_seconds(self) -> float:
        """Count a failure; between one half and the whole of what is due after so many."""
        due = min(self._cap_seconds, _BACKOFF_FIRST_SECONDS * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return due * (0.5 + self._ids.jitter() / 2)

    def reset(self) -> None:
        """Begin anew after a success."""
        self._failures = 0


class Listener(Protocol):
    """Who is told how a link is."""

    def up(self, connection: Connection) -> None:
        """Begin to use this connection; every earlier one is gone."""

    def down(self, fault: Fault) -> None:
        """Learn that there is no connection. Told again after every failed try."""


class Link:
    """One connection that is made anew, with back-off, until it is stopped."""

    def __init__(
        self, io: IoThread, parameters: Parameters, *, backoff: Backoff, listener: Listener
    ) -> None:
        self._io = io
        self._parameters = parameters
        self._backoff = backoff
        self._listener = listener
        self._connection: Connection | None = None
        self._started = False
        self._stopped = False
        self._frames = 0
        self._frame_at = 0.0
        self._opened_at = 0.0
        io.adopt(self)

    @property
    def is_down(self) -> bool:
        """Whether no socket of ours is left."""
        return self._connection is None

    def start(self) -> None:
        """Begin to connect. Idempotent."""
        if not self._started:
            self._started = True
            self._connect()

    def drop(self) -> None:
        """Give up a connection that does not serve; the next one is made after the back-off."""
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def stop(self) -> None:
        """Close for good. Idempotent."""
        self._started = self._stopped = True
        connection = self._connection
        if connection is None or connection.is_closing or connection.is_closed:
            return
        # In the handshake a close makes pika fail an assertion of its own, which would kill the
        # thread: `_opened` closes then, and `abort` where the handshake has no end.
        if connection.connection_state not in _SHAKING_HANDS:
            connection.close()

    def abort(self) -> None:
        """Close without the peer's consent."""
        if self._connection is not None:
            self._connection.abort()

    def pulse(self, now: float) -> None:
        """Note whether frames came in since the last pulse, and whether the connection lasts."""
        if self._connection is None or not self._connection.is_open:
            return
        if self._connection.frames_received != self._frames:
            self._frames = self._connection.frames_received
            self._frame_at = now
        if now - self._opened_at > _LASTING_SECONDS:
            self._backoff.reset()

    def trouble(self, now: float) -> str | None:
        """Say that an open connection is silent where heartbeats should come in; else None."""
        connection = self._connection
        if connection is None or not connection.is_open or not self._parameters.heartbeat:
            return None
        silence = now - self._frame_at
        return (
            f"RabbitMQ has been silent for {silence:.0f} s" if silence > SILENCE_SECONDS else None
        )

    def _connect(self) -> None:
        if not self._stopped:
            self._connection = Connection(
                self._parameters,
                on_open_callback=self._opened,
                on_open_error_callback=self._lost,
                on_close_callback=self._lost,
                custom_ioloop=self._io.loop,
            )

    def _opened(self, connection: Connection) -> None:
        if self._stopped:
            connection.close()
            return
        self._frames, self._opened_at = 0, self._io.clock.monotonic_seconds()
        self._frame_at = self._opened_at
        _LOG.info("broker.connected", host=self._parameters.host, port=self._parameters.port)
        self._listener.up(connection)

    def _lost(self, _connection: Connection, error: BaseException) -> None:
        self._connection = None
        self._listener.down(self._fault(error))
        if not self._stopped:
            seconds = self._backoff.next_seconds()
            _LOG.warning("broker.lost", reason=_said(error), retry_seconds=round(seconds, 2))
            self._io.loop.call_later(seconds, self._connect)

    def _fault(self, error: BaseException) -> Fault:
        if self._stopped:
            return CLOSED
        place = f"{self._parameters.host}:{self._parameters.port}"
        text = f"no connection to RabbitMQ at {place}: {_said(error)}"
        return Fault(kind=BrokerUnavailable, text=text, cause=error)


def _said(error: BaseException) -> str:
    """Find the words of the innermost cause: pika wraps a refused connection three times."""
    inner = getattr(error, "exceptions", None) or getattr(error, "exception", None)
    if isinstance(inner, (list, tuple)):
        return _said(inner[-1])
    return _said(inner) if isinstance(inner, BaseException) else (str(error) or repr(error))
