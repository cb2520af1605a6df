"""A Line over the pipes of a child process: of an agent, or of what takes an agent in."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, Timer
from typing import Final

from supervision.errors import SiteUnavailable

_END_SECONDS: Final = 5.0
_STDERR_BYTES: Final = 500


class Child:
    """One child, started at once. A watchdog outside of it ends it at `until`.

    `until` is a time of `time.monotonic`, not of the Clock port: a clock that stands still in a
    test must not make a silent child wait for ever. `environment` None: this process's own.
    Raises SiteUnavailable where the program cannot be started.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.until = 0.0
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`, as the child is
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own agent, no shell
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,  # a Ctrl-C is for the service; it then ends us in order
            )
        except OSError as error:
            self._stderr.close()
            raise SiteUnavailable(f"{command[0]} cannot be started: {error}") from error
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def exchange(self, requests: Sequence[bytes]) -> Sequence[bytes]:
        """Send every line, then give the answers in order; see `agent_protocol.Line`."""
        watchdog = Timer(max(self.until - time.monotonic(), 0.0), self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._write(b"".join(requests))
            return [self._next() for _ in requests]
        finally:
            watchdog.cancel()

    def end(self) -> None:
        """End the child, politely by closing its input; nothing of it is left."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._stderr.close()

    def _write(self, content: bytes) -> None:
        if self._process.stdin is None:
            raise SiteUnavailable("the agent has no input")
        try:
            self._process.stdin.write(content)
            self._process.stdin.flush()
        except OSError as error:
            raise SiteUnavailable(f"the agent is gone: {self._last_words()}") from error

    def _next(self) -> bytes:
        line = self._lines.get()
        if not line.endswith(b"\n"):
            raise SiteUnavailable(f"the agent ended or was too slow: {self._last_words()}")
        return line

    def _read(self) -> None:
        """Take every line as it comes, so that the child never waits for us; b"" is the end."""
        stream = self._process.stdout
        if stream is None:
            return
        with stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(b"")

    def _last_words(self) -> str:
        self._stderr.seek(0)
        said = self._stderr.read()[-_STDERR_BYTES:].decode("utf-8", "replace")
        return said.replace("\0", "\ufffd").strip() or "silent"
