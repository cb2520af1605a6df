"""The service's processes, two of every consumer; `real_init` keeps them as systemd would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

from supervision.app import STAGES
from tests.campaign.real_centre import ROOT

COPIES: Final = 2
_KILLED: Final = str(-int(signal.SIGKILL))


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One `supervision run STAGE`. Killing it and stopping it exclude each other by its lock."""

    name: str
    folder: Path
    lock: Lock = field(default_factory=Lock)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that is not there just now gets none."""
        pid = known(self.folder)["pids"].get(self.name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


class Fleet:
    """All processes of the service. `close` ends them."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        stages = {f"{stage}-{copy}": stage for stage in STAGES for copy in range(COPIES)}
        self.kept = [Kept(name=name, folder=folder) for name in stages]
        words = [f"{name}={stage}" for name, stage in stages.items()]
        command = [sys.executable, "-m", "tests.campaign.real_init", str(folder), *words]
        with (folder / "init.log").open("wb") as said:
            self._init = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
            )

    def own_ends(self) -> Counter[str]:
        """How often processes ended otherwise than by our kill, by stage and exit code."""
        found: Counter[str] = Counter()
        for text, count in known(self._folder)["ends"].items():
            name, code = text.split()
            if code != _KILLED:
                found[f"{name.rpartition('-')[0]} {code}"] += count
        return found

    def close(self) -> None:
        """End every process."""
        if self._init.stdin is not None:
            self._init.stdin.close()
        self._init.wait()


def known(folder: Path) -> dict[str, dict[str, Any]]:
    """Read which processes run, and how others ended."""
    with suppress(FileNotFoundError):
        found: dict[str, dict[str, Any]] = json.loads((folder / "processes.json").read_text())
        return found
    return {"pids": {}, "ends": {}}


def environment(*, config: Path, database: str, broker: str) -> dict[str, str]:
    """Give what the processes see: nothing of the caller's settings, these instead."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SUPERVISION_")}
    return {
        **own,
        "PYTHONPATH": str(ROOT),
        "SUPERVISION_CONFIG": str(config),
        "SUPERVISION_DATABASE_URL": database,
        "SUPERVISION_BROKER_URL": broker,
    }
