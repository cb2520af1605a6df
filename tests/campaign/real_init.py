"""What systemd is elsewhere: starts the service's processes, and starts each again when it ends.

    python -m tests.campaign.real_init FOLDER NAME=STAGE...

Each is a fork of this process, which has imported the service once: a process that was killed is
back at once also on a slow machine, where importing takes seconds. FOLDER/processes.json always
says which runs under which pid, and how each one ended so far. It ends, and all of them with it,
when its standard input does, and by nothing less: a terminal that hangs up ends the campaign first.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Final, NoReturn

from supervision import app, settings
from supervision.adapters import ssh
from supervision.cli import root, run
from supervision.sandbox.files import write_whole

RESTART_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.05
_WARM: Final = (app, settings, ssh, run)


class Init:
    """The processes by their names, and what became of earlier ones."""

    def __init__(self, folder: Path, stages: dict[str, str]) -> None:
        self._folder = folder
        self._stages = stages
        self._due = dict.fromkeys(stages, 0.0)
        self._pids: dict[str, int] = {}
        self._ends: Counter[str] = Counter()

    def serve(self) -> None:
        """Keep them until the input ends."""
        while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
            ended = [name for name in self._stages if self._ended(name)]
            begun = [name for name in self._stages if self._begun(name)]
            if ended or begun:
                self._tell()
        for pid in self._pids.values():
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)

    def _ended(self, name: str) -> bool:
        if name not in self._pids:
            return False
        pid, status = os.waitpid(self._pids[name], os.WNOHANG)
        if pid:
            del self._pids[name]
            self._ends[f"{name} {os.waitstatus_to_exitcode(status)}"] += 1
            self._due[name] = monotonic() + RESTART_SECONDS
        return bool(pid)

    def _begun(self, name: str) -> bool:
        if name in self._pids or monotonic() < self._due[name]:
            return False
        pid = os.fork()
        if not pid:
            _become(self._folder / f"{name}.log", self._stages[name])
        self._pids[name] = pid
        return True

    def _tell(self) -> None:
        known = {"pids": self._pids, "ends": self._ends}
        write_whole(self._folder / "processes.json", json.dumps(known))


def _become(log: Path, stage: str) -> NoReturn:
    code = 70
    try:
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, target in ((nothing, 0), (said, 1), (said, 2)):
            os.dup2(descriptor, target)
        sys.argv = ["supervision", "run", stage]
        root.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        os._exit(code)


if __name__ == "__main__":
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # its processes set their own
    Init(Path(sys.argv[1]), dict(word.split("=") for word in sys.argv[2:])).serve()
