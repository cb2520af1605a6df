"""What one test run shares: each thing is made by whoever asks first, and ended by the controller.

With pytest-xdist the workers are processes of their own. They meet in the run's folder: a file
lock for each thing, and a JSON record of what was made.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.services import kept


@dataclass(frozen=True, kw_only=True)
class Run:
    """One test run: `session` names the controller and the folder that all its processes see."""

    session: kept.Session

    @classmethod
    def begun(cls) -> Self:
        """Begin a run that this process controls.

        The folder's path is short and open to look through: PostgreSQL runs as another account.
        """
        folder = Path(tempfile.mkdtemp(prefix="supervision-", dir="/tmp"))
        folder.chmod(0o711)
        return cls(session=kept.Session(owner=os.getpid(), folder=folder))

    @classmethod
    def joined(cls, *, owner: int, folder: str) -> Self:
        """Take part in the run of another process."""
        return cls(session=kept.Session(owner=owner, folder=Path(folder)))

    @contextmanager
    def own_session(self, name: str) -> Iterator[kept.Session]:
        """Give this process a folder for servers that no other process may see stop and start."""
        folder = self.session.folder / f"{name}-{os.getpid()}"
        folder.mkdir(mode=0o711)
        yield kept.Session(owner=os.getpid(), folder=folder)
        shutil.rmtree(folder, ignore_errors=True)

    def once(self, name: str, make: Callable[[], Mapping[str, object]]) -> Mapping[str, object]:
        """Answer with what `make` gave to the first process that asked; the others wait for it.

        When `make` raises, nothing is recorded, and the next one who asks tries again.
        """
        record = self.session.folder / f"{name}.json"
        with (self.session.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not record.exists():
                record.write_text(json.dumps(make()))
            made: Mapping[str, object] = json.loads(record.read_text())
        return made

    def end(self) -> None:
        """Stop every server on record and remove the folder. For the controller alone.

        They are killed: what they hold goes with them.
        """
        for record in self.session.folder.glob("*.json"):
            made = json.loads(record.read_text())
            for key in ("keeper", "epmd_keeper"):
                if key in made:
                    kept.stop(made[key], crash=True)
        shutil.rmtree(self.session.folder, ignore_errors=True)
