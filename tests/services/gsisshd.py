"""A private gsi-ssh login node on loopback: a double, for no genuine gsisshd is packaged."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tests.services import kept
from tests.services.sshd import generate, public

_ROOT: Final = Path(__file__).parents[2]


@dataclass(kw_only=True)
class GsiSshd:
    """One login node, called `host`. It listens on `address`:`port` while it runs.

    `mode` makes it err on purpose, from the next connection on: `lax` lets everybody in, `keys`
    takes keys only, `another` chooses another mechanism, `mute` says nothing half-way.
    """

    folder: Path
    host: str
    address: str
    port: int
    gridmap: dict[str, dict[str, str]] = field(default_factory=dict)
    keeper: int | None = None

    @classmethod
    def prepared(
        cls,
        folder: Path,
        *,
        certificates: Path,
        host: str = "localhost",
        address: str = kept.HOST,
        port: int | None = None,
    ) -> Self:
        """Make its key and configuration; `present` is still to be called. Nothing listens yet."""
        folder.mkdir()
        generate(folder / "host_key")
        (folder / "certificates").symlink_to(certificates)
        made = cls(folder=folder, host=host, address=address, port=port or kept.free_port())
        made.behave()
        return made

    @property
    def line(self) -> str:
        """What known_hosts says of it."""
        return f"[{self.host}]:{self.port} {public(self.folder / 'host_key')}\n"

    def present(self, pem: bytes) -> None:
        """Show this host certificate, key included, from the next connection on."""
        (self.folder / "host.pem").write_bytes(pem)

    def map(self, subject: str, login: str, command: str) -> None:
        """Let a person log in as `login`, for this one command; an empty one: for all."""
        self.gridmap[subject] = {"login": login, "command": command}
        self.behave()

    def behave(self, mode: str = "honest") -> None:
        """Set its mode."""
        listens = [self.address, self.port]
        content = {"mode": mode, "listens": listens, "gridmap": self.gridmap}
        (self.folder / "node.json").write_text(json.dumps(content))

    def start(self) -> None:
        """Start it; running already is fine."""
        if self.keeper is None:
            self.keeper = kept.start(
                kept.Session(owner=os.getpid(), folder=self.folder),
                kept.Launch(
                    command=[sys.executable, "-m", "tests.services.gsi_server", str(self.folder)],
                    log=self.folder / "log",
                    ready=lambda: bool(self.said("Server listening")),
                    environment={**os.environ, "PYTHONPATH": str(_ROOT)},
                ),
            )

    def stop(self) -> None:
        """Stop it, with all its connections. Idempotent."""
        if self.keeper is not None:
            kept.stop(self.keeper)
            self.keeper = None
            (self.folder / "log").unlink()

    def said(self, words: str) -> list[str]:
        """Give the lines of its log that begin with these words."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.startswith(words)]

    def accepted(self) -> int:
        """Count the logins that it took."""
        return len(self.said("Accepted"))

    def contacts(self) -> int:
        """Count the connections that came."""
        return len(self.said("Connection from"))
