"""A way to a server on loopback that breaks after so many bytes: the network, at a random point."""

from __future__ import annotations

import contextlib
import socket
from threading import Lock, Thread
from typing import Final, Self

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 65536
UP: Final = "up"
DOWN: Final = "down"


class ByteLimit:
    """Forwards to one port, and counts. Use it as a context manager.

    `break_after` lets so many more bytes through in one direction, then ends every connection
    there is; after that connections work again.
    """

    def __init__(self, port: int) -> None:
        self._target = (_HOST, port)
        self._listener = socket.create_server((_HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.passed = {UP: 0, DOWN: 0}
        self._left: dict[str, int] = {}
        self._ends: list[socket.socket] = []
        self._lock = Lock()
        self._threads = [Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break()
        for thread in self._threads:
            thread.join(5)

    def break_after(self, direction: str, count: int) -> None:
        """Arm it; `direction` is UP, from the client, or DOWN."""
        with self._lock:
            self._left = {direction: count}

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._ends += [near, far]
                for pair in ((UP, near, far), (DOWN, far, near)):
                    thread = Thread(target=self._carry, args=pair, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _carry(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                allowed = self._allowed(direction, data)
                sink.sendall(allowed)
                if len(allowed) < len(data):
                    self._break()
        for end in (source, sink):
            _shut(end)
        source.close()

    def _allowed(self, direction: str, data: bytes) -> bytes:
        with self._lock:
            left = self._left.get(direction)
            allowed = data if left is None else data[:left]
            if left is not None:
                self._left = {direction: left - len(allowed)} if len(allowed) == len(data) else {}
            self.passed[direction] += len(allowed)
            return allowed

    def _break(self) -> None:
        for end in list(self._ends):
            _shut(end)
        self._ends.clear()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
