"""What systemd is told of a process that it started with Type=notify. Elsewhere: nothing."""

from __future__ import annotations

import socket
import time
from contextlib import suppress


class ServiceManager:
    """The socket that NOTIFY_SOCKET names, see sd_notify(3); None: nobody listens.

    Nothing raises and nothing waits: a manager that is gone must not stop the work.
    """

    def __init__(self, address: str | None) -> None:
        """Keep the address; a leading @ is how systemd spells the abstract namespace."""
        self._address = address.replace("@", "\0", 1) if address else None

    def ready(self, status: str) -> None:
        """Everything is up; `status` is what `systemctl status` shows."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Settings are read anew; `ready` says that it is over, however it went."""
        microseconds = time.monotonic_ns() // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}", "STATUS=reading the settings")

    def status(self, status: str) -> None:
        """Nothing but another sentence for `systemctl status`."""
        self._tell(f"STATUS={status}")

    def alive(self) -> None:
        """Work goes on: the watchdog begins to count anew."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun; what is under way is finished first."""
        self._tell("STOPPING=1", "STATUS=finishing what is under way")

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode(), self._address)
