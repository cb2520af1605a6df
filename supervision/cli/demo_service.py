"""The demonstration's own `supervision run`: kept alive while it lasts, and ended with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event as Signal
from typing import Final

from supervision.errors import Refused
from supervision.sandbox import mail
from supervision.sandbox.centre import Centre
from supervision.sandbox.files import write_whole
from supervision.sandbox.processes import start_time

_NOTE: Final = "service.json"
_LOG: Final = "service.log"
_END_SECONDS: Final = 20.0
_STEP_SECONDS: Final = 0.1
_DEATHS: Final = 6


class ChildService:
    """`supervision run` as a child process in a session of its own.

    Its number is noted in the centre's directory: a demonstration that was killed ends the
    service of the one before it.
    """

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._note = centre.root / _NOTE
        self._child: subprocess.Popen[bytes] | None = None
        self._deaths = 0

    def begin(self) -> int:
        """End the service of an earlier demonstration here, and start one; tells its number."""
        self._end_former()
        return self._start()

    def check(self) -> str | None:
        """Start it again where it has died: says so then. Refused when it dies again and again."""
        if self._child is None or self._child.poll() is None:
            return None
        code, self._deaths = self._child.returncode, self._deaths + 1
        if self._deaths >= _DEATHS:
            log = self._centre.root / _LOG
            raise Refused(f"the service ends again and again, with {code}; see {log}")
        how = f"killed by signal {-code}" if code < 0 else f"ended with {code}"
        return f"the service was {how}; started again as process {self._start()}"

    def end(self) -> None:
        """End it in order, by force after a while. Idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._note.unlink(missing_ok=True)

    def _start(self) -> int:
        with (self._centre.root / _LOG).open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervision", "run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._centre.root,
                env=mail.environment(self._centre),
                start_new_session=True,
            )
        pid = self._child.pid
        write_whole(self._note, json.dumps({"pid": pid, "started": start_time(pid)}))
        return pid

    def _end_former(self) -> None:
        pid, started = _noted(self._note)
        if pid == 0 or start_time(pid) != started:
            return
        _kill(pid, signal.SIGTERM)
        for _ in range(int(_END_SECONDS / _STEP_SECONDS)):
            if start_time(pid) != started:
                return
            Signal().wait(_STEP_SECONDS)
        _kill(pid, signal.SIGKILL)


def _noted(path: Path) -> tuple[int, int | None]:
    """Read the number and start time of a service; 0 where there is none."""
    try:
        values = json.loads(path.read_text())
        return int(values["pid"]), values["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, None


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
