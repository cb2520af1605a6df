"""One script, run: its process group, its deadline, the last of what it said. No journal here."""

import os
import signal
import subprocess
import threading
import time
from typing import IO, Callable, Dict, List, NamedTuple

from hpc_agent.commands import end_group

KEPT_BYTES = 64 * 1024
TIMED_OUT = 124
_BEAT_SECONDS = 1.0
_GRACE_SECONDS = 10.0  # between the polite signal and the other one
_DRAIN_SECONDS = 2.0  # a background process may hold the pipe open for ever
_SIGNALLED = 128
_CHUNK_BYTES = 16 * 1024


class Result(NamedTuple):
    """How a script ended. The outputs are the last KEPT_BYTES of each."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    detail: str


class Tail(threading.Thread):
    """Reads a stream to its end and keeps the last of it, so that nothing ever blocks or fills."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Begin to read at once."""
        super().__init__(daemon=True)
        self._stream = stream
        self._kept = b""
        self.start()

    def run(self) -> None:
        """Read until every writer has closed."""
        descriptor = self._stream.fileno()
        chunk = os.read(descriptor, _CHUNK_BYTES)
        while chunk:
            self._kept = (self._kept + chunk)[-KEPT_BYTES:]
            chunk = os.read(descriptor, _CHUNK_BYTES)

    def content(self) -> bytes:
        """Give what was kept, after waiting a moment for the end of the stream."""
        self.join(_DRAIN_SECONDS)
        if not self.is_alive():
            self._stream.close()
        return self._kept


def run(argv: List[str], directory: str, environment: Dict[str, str], clock: "Deadline") -> Result:
    """Run a program to its end, or to its deadline, when its whole process group is ended."""
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=directory,
        env=environment,
        preexec_fn=os.setpgrp,  # noqa: PLW1509 - no thread runs yet; a new session would hide it
    )
    streams = [Tail(stream) for stream in (child.stdout, child.stderr) if stream is not None]
    in_time = _wait(child, clock)
    exit_code = child.returncode if in_time else TIMED_OUT
    detail = "" if in_time else "ended after %d s" % clock.seconds
    if exit_code < 0:
        detail = "ended by signal %d" % -exit_code
        exit_code = _SIGNALLED - exit_code
    stdout, stderr = [stream.content() for stream in streams]
    return Result(exit_code, stdout, stderr, detail)


class Deadline:
    """How long a script may take, and what is to be done every second while it does."""

    def __init__(self, seconds: float, beat: Callable[[], None]) -> None:
        """Begin to count now."""
        self.seconds = seconds
        self.beat = beat
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Tell how many seconds are left; negative when it is over."""
        return self._end - time.monotonic()


def _wait(child: "subprocess.Popen[bytes]", clock: Deadline) -> bool:
    """Wait for a child; tells whether it ended by itself."""
    while clock.left() > 0:
        clock.beat()
        try:
            child.wait(min(_BEAT_SECONDS, max(clock.left(), 0.0)))
        except subprocess.TimeoutExpired:
            continue
        return True
    _end(child)
    return False


def _end(child: "subprocess.Popen[bytes]") -> None:
    end_group(child.pid, signal.SIGTERM)
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # it ignores us: the next signal cannot be
    finally:
        end_group(child.pid, signal.SIGKILL)
    child.wait()
