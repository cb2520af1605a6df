"""A TCP proxy on loopback that a test can cut, shut or silence: the network, misbehaving."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from threading import Event
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

_CHUNK: Final = 65536
_HOST: Final = "127.0.0.1"
_LINGER_NOT: Final = struct.pack("ii", 1, 0)  # close sends a reset instead of a farewell
_NEVER: Final = Event()


class _Pipe:
    """One connection through the proxy: two sockets, and how much went each way."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.sent = 0
        self.received = 0
        self.silent = False
        self._rude = False

    def end(self, end: socket.socket) -> None:
        """Close one end, and let the other thread know."""
        if not self._rude:
            self.cut()
        end.close()

    def reset(self) -> None:
        """Have both peers see a reset, as from a machine that has forgotten the connection."""
        self._rude = True
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                end.shutdown(socket.SHUT_RD)  # wakes whoever reads it, and tells the peer nothing

    def cut(self) -> None:
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class TcpProxy:
    """Forwards to one address until told otherwise. Use it as a context manager.

    `silent_up` and `silent_down` swallow what comes from the client, or from the server, and keep
    the connections open, as a network does that vanished without a word. While `refusing`, new
    connections end at once and old ones go on. `limit_up` ends each once its client has sent more.
    While `delay_seconds` is not 0, what comes is handed on that much later.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or _HOST, parts.port or 5672)
        self._listener = socket.create_server((_HOST, 0))
        credentials = parts.netloc.rpartition("@")[0]
        address = f"{credentials}@{_HOST}:{self._listener.getsockname()[1]}"
        self.url: str = urlunsplit(parts._replace(netloc=address))
        self.silent_up = False
        self.silent_down = False
        self.limit_up: int | None = None
        self.pipes: list[_Pipe] = []
        self.refusing = False
        self.delay_seconds = 0.0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def cut(self, number: int | None = None) -> None:
        """End every connection there is, or the one that was made as number `number` (from 0).

        One that comes while this runs is left alone: a peer that is quick comes back at once.
        """
        for pipe in list(self.pipes) if number is None else [self.pipes[number]]:
            pipe.cut()

    def reset(self) -> None:
        """End every connection there is by a reset."""
        for pipe in list(self.pipes):
            pipe.reset()

    def half_open(self, seconds: float) -> None:
        """Swallow what comes over the connections there are, then reset them; blocks so long.

        New ones pass. The reset stands for what the kernels' keepalive would do in the end.
        """
        pipes = list(self.pipes)
        for pipe in pipes:
            pipe.silent = True
        _NEVER.wait(seconds)
        for pipe in pipes:
            pipe.reset()

    def shut(self) -> None:
        """End every connection and refuse new ones."""
        self.refusing = True
        self.cut()

    def open(self) -> None:
        """Let connections through again."""
        self.refusing = False

    def inject(self, number: int, data: bytes) -> None:
        """Send the client of connection `number` what its server never said. It must be idle."""
        self.pipes[number].near.sendall(data)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                near.close()
                continue
            self._join(near)

    def _join(self, near: socket.socket) -> None:
        try:
            pipe = _Pipe(near, socket.create_connection(self._target))
        except OSError:
            near.close()  # nobody is behind us now: the client sees it at once
            return
        self.pipes.append(pipe)
        pair = [
            threading.Thread(target=self._up, args=(pipe,), daemon=True),
            threading.Thread(target=self._down, args=(pipe,), daemon=True),
        ]
        self._threads.extend(pair)
        for thread in pair:
            thread.start()
        if self.refusing:
            pipe.cut()

    def _up(self, pipe: _Pipe) -> None:
        with contextlib.suppress(OSError):
            while data := pipe.near.recv(_CHUNK):
                pipe.sent += len(data)
                if self.limit_up is not None and pipe.sent > self.limit_up:
                    break
                if not (self.silent_up or pipe.silent):
                    self._late()
                    pipe.far.sendall(data)
        pipe.end(pipe.near)

    def _down(self, pipe: _Pipe) -> None:
        with contextlib.suppress(OSError):
            while data := pipe.far.recv(_CHUNK):
                pipe.received += len(data)
                if not (self.silent_down or pipe.silent):
                    self._late()
                    pipe.near.sendall(data)
        pipe.end(pipe.far)

    def _late(self) -> None:
        if self.delay_seconds:
            _NEVER.wait(self.delay_seconds)
