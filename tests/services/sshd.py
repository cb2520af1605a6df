"""A private OpenSSH server on loopback, run as the present account, with its keys and authority."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Final, Self

from tests.services import kept
from tests.services.programs import program

_PRIVILEGE_SEPARATION: Final = Path("/run/sshd")
_CONFIGURATION: Final = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
{extra}
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
TrustedUserCAKeys {folder}/user_ca.pub
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxSessions 10
UseDNS no
LogLevel VERBOSE
"""


def generate(path: Path, *options: str) -> Path:
    """Make a key pair without passphrase; options of ssh-keygen win."""
    subprocess.run(
        [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path), *options],
        check=True,
    )
    return path


def sign(authority: Path, key: Path, *options: str) -> Path:
    """Have an authority sign a public key, as `options` say; gives KEY-cert.pub, replaced."""
    command = [program("ssh-keygen"), "-q", "-s", str(authority), "-I", key.name, *options]
    subprocess.run([*command, f"{key}.pub"], check=True, capture_output=True)
    return key.with_name(f"{key.name}-cert.pub")


def public(key: Path) -> str:
    """Give a public key without its comment, as known_hosts and authorized_keys want it."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


@dataclass(kw_only=True)
class Sshd:
    """One login node. It listens on `address`:`port` while it runs; everything is in `folder`."""

    folder: Path
    address: str
    port: int
    keeper: int | None = None

    @classmethod
    def prepared(cls, folder: Path, *, address: str = kept.HOST, port: int | None = None) -> Self:
        """Make host key, users' authority and configuration; nothing listens yet."""
        folder.mkdir()
        generate(folder / "host_key")
        generate(folder / "user_ca")
        (folder / "authorized_keys").touch()
        made = cls(folder=folder, address=address, port=port or kept.free_port())
        made.configure()
        return made

    @property
    def name(self) -> str:
        """How known_hosts calls it."""
        return f"[{self.address}]:{self.port}"

    def configure(self, *extra: str) -> None:
        """Write its configuration, with further lines. It holds from the next start on."""
        text = _CONFIGURATION.format(
            port=self.port, address=self.address, folder=self.folder, extra="\n".join(extra)
        )
        (self.folder / "sshd_config").write_text(text)

    def authorize(self, key: Path, command: str) -> None:
        """Let a key run this one command, and nothing else."""
        with (self.folder / "authorized_keys").open("a") as lines:
            lines.write(f'restrict,command="{command}" {public(key)}\n')

    def certify(self, key: Path, command: str, *options: str) -> Path:
        """Have the users' authority sign a key for this account and this one command."""
        fixed = ["-O", "clear", "-O", f"force-command={command}"]
        names = [] if "-n" in options else ["-n", getuser()]
        return sign(self.folder / "user_ca", key, *names, *fixed, *options)

    def start(self) -> None:
        """Start it, where it listened before; running already is fine."""
        if self.keeper is not None:
            return
        if os.geteuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)  # sshd insists on it
        self.keeper = kept.start(
            kept.Session(owner=os.getpid(), folder=self.folder),
            kept.Launch(command=self._command(), log=self.folder / "log", ready=self._listens),
        )

    def stop(self) -> None:
        """Stop listening; sessions that are open go on, as with any restart of sshd. Idempotent."""
        if self.keeper is not None:
            kept.stop(self.keeper)
            self.keeper = None

    def accepted(self) -> int:
        """Count the connections whose credential it has taken."""
        return (self.folder / "log").read_text().count("Accepted publickey")

    def contacts(self) -> int:
        """Count the connections that came; asking whether it listens counts as one too."""
        return (self.folder / "log").read_text().count("Connection from")

    def _command(self) -> Sequence[str]:
        return [program("sshd"), "-D", "-e", "-f", str(self.folder / "sshd_config")]

    def _listens(self) -> bool:
        log = self.folder / "log"
        return log.exists() and f"Server listening on {self.address}" in self._since_start(log)

    def _since_start(self, log: Path) -> str:
        return log.read_text().rpartition("Received signal")[2]
