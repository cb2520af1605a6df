"""One ssh connection to one login node, and the agent's lines over its one channel.

Every wait has an end from outside: a timer that shuts the socket down, whatever paramiko does.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread, Timer
from typing import Final

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from supervision.adapters.ssh_socket import connected, tune
from supervision.errors import SiteUnavailable

_KEEPALIVE_SECONDS: Final = 15
_STDERR_BYTES: Final = 500
_CHUNK: Final = 65536
_PIECE: Final = 8 * _CHUNK
_HEARD_BYTES: Final = 64 * 1024 * 1024  # between two questions; no honest answers are half as long
_NOT_FOUND: Final = frozenset({126, 127})  # what a shell says of a command that it cannot run
_WORDS_SECONDS: Final = 2.0
_STEP_SECONDS: Final = 0.05


class AuthenticationRefused(SiteUnavailable):
    """The login node does not take this credential; trying it again and again gets us banned."""


class Client(paramiko.Transport):
    """A paramiko transport that asks only for kinds of host key that could be believed."""

    def __init__(self, sock: socket.socket, algorithms: Sequence[str]) -> None:
        super().__init__(sock)
        self._wanted = tuple(algorithms)
        # A problem reaches the caller as one sentence; its traceback in the log helps nobody.
        self.logger = logging.Logger("paramiko", logging.CRITICAL)  # noqa: LOG001 not the shared one
        self.packetizer.set_log(self.logger)

    @property
    def preferred_keys(self) -> Sequence[str]:
        """Kinds of host key, best first."""
        return self._wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What is asked to run over there; `missing` is what to say when it is not."""

    command: str
    missing: str


AGENT: Final = Program(
    command="supervision-agent serve",  # what a forced command replaces
    missing="no agent can be run there; install it",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a connection goes and as whom. `check` raises for a host key that is not believed.

    `authenticate` proves who we are, given the user; `on_other_key` is what to say when the host
    has no key of the wanted `algorithms`, `on_refusal` where to look when it lets nobody in.
    `program` is what serves there, `client` the class that speaks to it.
    """

    host: str
    port: int
    user: str
    algorithms: Sequence[str]
    check: Callable[[paramiko.PKey], None]
    authenticate: Callable[[paramiko.Transport, str], object]
    on_other_key: str
    on_refusal: str
    program: Program = AGENT
    client: Callable[[socket.socket, Sequence[str]], Client] = Client


class Connection:
    """A Line over a warm session with one program, the target's own unless another one is named.

    For one thread at a time.
    `until` is a time of `time.monotonic`, set before each exchange: then the socket is shut down,
    and whoever waits gets SiteUnavailable. `broken` tells that an exchange has failed.
    """

    def __init__(self, target: Target, until: float, program: Program | None = None) -> None:
        self.host = target.host
        self._program = program or target.program
        self.until = until
        self.broken = False
        self._late = False
        self._heard = 0
        self._user = target.user
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        with ExitStack() as stack:
            self._socket = connected(target.host, target.port, until)
            stack.callback(self._socket.close)
            tune(self._socket)
            with self._watched():
                self._open(target, stack)
            self._reader = Thread(target=self._read, daemon=True, name=f"ssh-{target.host}")
            self._reader.start()
            stack.pop_all()

    @property
    def alive(self) -> bool:
        """Whether an exchange could work: neither end has closed it, as far as is known here."""
        connected = self._client.is_active() and not self._channel.closed
        return connected and self._reader.is_alive() and not self.broken

    def exchange(self, requests: Sequence[bytes]) -> Sequence[bytes]:
        """Send every line, then give the answers in order; see `agent_protocol.Line`.

        What ended before it had heard everything may have said why: that is the answer then.
        """
        self._heard = 0
        with self._watched():
            with suppress(OSError, EOFError, paramiko.SSHException):  # the reader is told as well
                for piece in _pieces(b"".join(requests)):
                    self._channel.sendall(piece)
            return [self._next() for _ in requests]

    def close(self) -> None:
        """End channel, connection, socket and thread. Idempotent; returns within seconds."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()
        self._shut()  # first: paramiko waits for its own thread, which waits for the socket
        _ended(self._client)
        self._socket.close()
        self._reader.join(_WORDS_SECONDS)

    def _open(self, target: Target, stack: ExitStack) -> None:
        """Set client and channel; what was begun is ended with the stack."""
        try:
            self._client = client = target.client(self._socket, target.algorithms)
            stack.callback(_ended, client)
            stack.callback(self._shut)
            seconds = max(self.until - time.monotonic(), 0.0)
            client.banner_timeout = client.handshake_timeout = seconds
            client.auth_timeout = math.inf  # else paramiko calls a slow node's silence a refusal
            client.start_client(timeout=seconds)
            target.check(client.get_remote_server_key())
            self._authenticate(target)
            client.set_keepalive(_KEEPALIVE_SECONDS)
            self._channel = client.open_session(timeout=seconds)
            self._channel.exec_command(self._program.command)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._told(target, error) from error

    def _authenticate(self, target: Target) -> None:
        """Prove who we are; raises AuthenticationRefused only when the node itself said no."""
        problem: Exception | None = None
        try:
            target.authenticate(self._client, target.user)
        except paramiko.AuthenticationException as error:
            if not self._client.is_active():
                raise  # the line broke meanwhile, and paramiko calls that by the same name
            problem = error
        if not self._client.is_authenticated():
            raise AuthenticationRefused(
                f"{target.user} at {target.host}:{target.port}: the login node refuses the "
                f"credential, or wants a second one: look whether {target.on_refusal}, and the "
                f"account is open ({problem or 'half done'})"
            ) from problem

    def _told(self, target: Target, error: Exception) -> SiteUnavailable:
        """Say what an error of the library means for whoever looks after the service."""
        whose = f"{target.user} at {target.host}:{target.port}"
        if self._late or time.monotonic() >= self.until:  # paramiko's own limits may come first
            return SiteUnavailable(f"{whose}: the login node did not finish its greeting in time")
        if isinstance(error, IncompatiblePeer) and "host key" in str(error):
            return SiteUnavailable(target.on_other_key)
        if isinstance(error, paramiko.ChannelException):
            return SiteUnavailable(f"{whose}: no further session is allowed there now ({error})")
        return SiteUnavailable(f"{whose}: the ssh connection failed: {error!r}")

    @contextmanager
    def _watched(self) -> Iterator[None]:
        timer = Timer(max(self.until - time.monotonic(), 0.0), self._stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _stop(self) -> None:
        self._late = True
        self._shut()
        self._lines.put(b"")

    def _shut(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _next(self) -> bytes:
        line = self._lines.get()
        if not line.endswith(b"\n"):
            self._lines.put(b"")  # whoever asks again is told the same
            raise SiteUnavailable(self._gone())
        return line

    def _read(self) -> None:
        """Take every line as it comes, so that the agent never waits for us; b"" is the end.

        One that never stops would fill our memory, asked or not: it is cut off.
        """
        rest = bytearray()
        with suppress(OSError, EOFError, paramiko.SSHException):
            while self._heard <= _HEARD_BYTES and (chunk := self._channel.recv(_CHUNK)):
                self._heard += len(chunk)
                rest += chunk
                if b"\n" in chunk:
                    *whole, last = bytes(rest).split(b"\n")
                    rest = bytearray(last)
                    for line in whole:
                        self._lines.put(line + b"\n")
        if self._heard > _HEARD_BYTES:
            self._shut()
        self._lines.put(b"")

    def _gone(self) -> str:
        """Say why no more answers come, as exactly as it can be known."""
        self.broken = True
        whose = f"{self._user} at {self.host}"
        if self._late:
            return f"{whose}: the agent did not answer in time; what it did is not known"
        if self._heard > _HEARD_BYTES:
            return f"{whose}: what answers there never stops talking; it was cut off"
        self._await_status()
        words = self._last_words()
        if self._channel.exit_status in _NOT_FOUND:
            return f"{whose}: {self._program.missing}: {words}"
        if self._channel.exit_status >= 0:
            return f"{whose}: the agent ended with {self._channel.exit_status}: {words}"
        return f"{whose}: the connection broke before the answer came; what was done is not known"

    def _await_status(self) -> None:
        """Give the exit code, which comes after the output's end, time to arrive."""
        end = time.monotonic() + _WORDS_SECONDS
        while self._client.is_active() and time.monotonic() < end:
            if self._channel.status_event.wait(_STEP_SECONDS):
                return

    def _last_words(self) -> str:
        said = b""
        if self._channel.recv_stderr_ready():
            with suppress(OSError):
                said = self._channel.recv_stderr(_CHUNK)
        words = said[-_STDERR_BYTES:].decode("utf-8", "replace").replace("\0", "\ufffd")
        return words.strip() or "silent"


def _pieces(content: bytes) -> Iterator[bytes]:
    """Cut what is sent: behind every packet paramiko copies all that it has still to send."""
    return (content[first : first + _PIECE] for first in range(0, len(content), _PIECE))


def _ended(client: Client) -> None:
    """Close, and wait for the thread: paramiko does not where the socket was closed first."""
    client.close()
    if client.is_alive():
        client.join(_WORDS_SECONDS)
