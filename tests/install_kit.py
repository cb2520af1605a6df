"""What the tests of `supervision agent install` share: a site, its settings, and the command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from supervision.adapters.agent_install import FILE, FOLDER
from supervision.adapters.agent_protocol import derive_key
from tests.agent_kit import command
from tests.integration.cli_kit import Said, give
from tests.services.sshd import Sshd, generate, public
from tests.ssh_kit import ME

MASTER: Final = b"m" * 32
_SETTINGS: Final = """\
[sites.curie]
centres = ["tgcc"]
machines = ["curie"]
scheduler = "sandbox"
transport = "{transport}"
hosts = ["{address}"]
port = {port}
{home}
agent_python = "{python}"
credential_file = "service_key"
known_hosts_file = "known_hosts"
master_key_file = "master.key"
connect_every = "0 s"

[users.{login}]
level = 2
mail = "me@example.org"
set_by = "test"
set_on = 2015-01-01
"""


@dataclass(kw_only=True)
class Site:
    """A site of the settings, where the present account is the login."""

    path: Path
    transport: str = "local"
    address: str = "127.0.0.1"
    port: int = 22
    python: str = "python3"
    agent_home: bool = True

    def __post_init__(self) -> None:
        """Write keys and settings, and scheduler's commands that answer."""
        (self.path / "master.key").write_bytes(MASTER)
        (self.path / "master.key").chmod(0o600)
        self.home.mkdir(exist_ok=True)
        command(self.path / "bin", "sbx-queue", "true")
        for name in ("sbx-submit", "sbx-cancel"):
            command(self.path / "bin", name, "exit 0")
        self.configure()

    def configure(self) -> None:
        """Write the settings file as things stand."""
        home = f'agent_home = "{self.home}"' if self.agent_home else ""
        text = _SETTINGS.format(
            transport=self.transport,
            address=self.address,
            port=self.port,
            home=home,
            python=self.python,
            login=ME,
        )
        (self.path / "supervision.toml").write_text(text)

    @property
    def home(self) -> Path:
        """The login's home."""
        return self.path / "home"

    @property
    def file(self) -> Path:
        """Where the agent lies."""
        return self.home / FOLDER / FILE

    @property
    def key(self) -> bytes:
        """The key that the login signs with."""
        return derive_key(MASTER, "curie", ME)

    def agent(self, verb: str, *words: str | Path) -> Said:
        """Give a command of `supervision agent`."""
        return give("agent", verb, *words, env={"SUPERVISION_CONFIG": str(self._config)})

    def install(self, *words: str | Path) -> Said:
        """Install the agent, the scheduler's commands with it."""
        return self.agent("install", "curie", ME, "--bin", str(self.path / "bin"), *words)

    def installed(self, *words: str | Path) -> dict[str, Any]:
        """Install it and give what was said as JSON."""
        said = self.install("--json", *words)
        assert (said.code, said.err) == (0, "")
        found: dict[str, Any] = json.loads(said.out)
        return found

    @property
    def _config(self) -> Path:
        return self.path / "supervision.toml"


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Give every file of a folder: mode and content, to compare before and after."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mode, path.read_bytes()) for path in paths}


@dataclass(kw_only=True)
class Node:
    """A login node whose account lets in the operator's key, and whichever lines were added."""

    sshd: Sshd
    operator: Path
    service: Path

    @classmethod
    def opened(cls, path: Path) -> Node:
        """Start a login node; its account's home is `path`/home, whoever runs the test."""
        sshd = Sshd.prepared(path / "node")
        sshd.configure("PermitUserEnvironment yes")
        operator, service = generate(path / "operator_key"), generate(path / "service_key")
        node = cls(sshd=sshd, operator=operator, service=service)
        node.authorize(f'environment="HOME={path}/home" {public(operator)} operator')
        sshd.start()
        (path / "known_hosts").write_text(f"{sshd.name} {public(sshd.folder / 'host_key')}\n")
        return node

    def authorize(self, line: str) -> None:
        """Add a line to authorized_keys."""
        with (self.sshd.folder / "authorized_keys").open("a") as lines:
            lines.write(f"{line}\n")

    def site(self, path: Path, **changes: Any) -> Site:  # noqa: ANN401
        """Make the site of which this is the login node."""
        port, address = self.sshd.port, self.sshd.address
        return Site(path=path, transport="ssh", address=address, port=port, **changes)

    def logged(self) -> str:
        """Give what the sshd wrote down."""
        return (self.sshd.folder / "log").read_text()
