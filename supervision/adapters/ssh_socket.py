"""A TCP connection to a login node: made within a hard limit, and tuned for short lines."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from supervision.errors import SiteUnavailable


def tune(found: socket.socket) -> None:
    """Send at once what is written, and notice a peer that vanished within half a minute."""
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else 40 ms at every turn
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def connected(host: str, port: int, until: float) -> socket.socket:
    """Connect before `until`, a time of `time.monotonic`; raises SiteUnavailable.

    In a thread of its own, for looking up a name has no timeout anywhere.
    """
    seconds = max(until - time.monotonic(), 0.001)
    answers: SimpleQueue[socket.socket | OSError] = SimpleQueue()
    late: list[bool] = []

    def connect() -> None:
        try:
            answers.put(socket.create_connection((host, port), timeout=seconds))
        except OSError as error:
            answers.put(error)
        if late:
            _drop(answers)

    Thread(target=connect, daemon=True, name=f"connect-{host}").start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty as error:
        late.append(True)
        _drop(answers)
        raise SiteUnavailable(
            f"{host}:{port}: the login node is out of reach: no answer"
        ) from error
    if isinstance(answer, OSError):
        raise SiteUnavailable(
            f"{host}:{port}: the login node is out of reach: {answer}"
        ) from answer
    return answer


def _drop(answers: SimpleQueue[socket.socket | OSError]) -> None:
    """Close a connection that came too late, whoever of the two sees it."""
    with suppress(Empty):
        answer = answers.get_nowait()
        if not isinstance(answer, OSError):
            answer.close()
