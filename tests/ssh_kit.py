"""What the tests of the ssh transport share: a centre with real login nodes and real agents."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from getpass import getuser
from pathlib import Path
from typing import Final

from hpc_agent.home import Home, prepare
from supervision.adapters.agent_protocol import derive_key
from supervision.adapters.budget import MemorySlots, Slots, Wait
from supervision.adapters.ssh import SshTools, SshTransport
from supervision.adapters.ssh_access import Access
from supervision.adapters.ssh_standing import MemoryRefusals, Refusals
from supervision.facts import Answer, AnswerKind, Key, Order
from supervision.settings import SiteSettings
from supervision.testing import FrozenClock, SeededIds
from tests.agent_kit import MASTER, SITE, make_order, settle, until
from tests.services.sshd import Sshd, generate, public

ME: Final = getuser()
"""The account that runs the tests is the only one that an sshd of its own lets in."""

FIRST: Final = Key(supervision_id="s-1", attempt=1)
ONCE: Final = "echo once >> trace"
_UNENDED: Final = {AnswerKind.ACCEPTED, AnswerKind.RUNNING}
_ROOT: Final = Path(__file__).parents[1]


def agent_command(home: Path) -> str:
    """Spell the forced command that serves a home."""
    return f"cd {_ROOT} && exec {sys.executable} -m hpc_agent serve --home {home}"


def make_agent_home(path: Path, login: str = ME) -> Home:
    """Prepare a login's home, and a submission directory `run` in it."""
    (path / "run").mkdir(parents=True, exist_ok=True)
    settings: dict[str, object] = {"site": SITE, "login": login, "scheduler": "sandbox"}
    settings |= {"bin": str(path / "bin"), "query_interval_seconds": 0.0}
    return prepare(str(path), settings, derive_key(MASTER, SITE, login))


@dataclass(kw_only=True)
class Centre:
    """A site with login nodes and one home. Transports to it are closed with `close`.

    The clock stands still: waiting for a turn moves it. Its transports are as many processes.
    """

    path: Path
    clock: FrozenClock
    home: Home
    nodes: list[Sshd]
    site: SiteSettings
    slots: Slots
    wait: Wait
    refusals: Refusals = field(default_factory=MemoryRefusals)
    transports: list[SshTransport] = field(default_factory=list)

    @classmethod
    def opened(cls, path: Path, *, nodes: int = 1) -> Centre:
        """Make a centre whose nodes run, on addresses of their own and one port."""
        home = make_agent_home(path / "home")
        key = generate(path / "key")
        found: list[Sshd] = []
        for number in range(1, nodes + 1):
            port = found[0].port if found else None
            node = Sshd.prepared(path / f"node{number}", address=f"127.0.0.{number}", port=port)
            node.authorize(key, agent_command(Path(home.path)))
            node.start()
            found.append(node)
        clock = FrozenClock()
        site = SiteSettings(
            name=SITE,
            hosts=tuple(node.address for node in found),
            port=found[0].port,
            credential_file=str(key),
            known_hosts_file=path / "known_hosts",
            connect_every=timedelta(),
        )
        lines = [f"{node.name} {public(node.folder / 'host_key')}\n" for node in found]
        (path / "known_hosts").write_text("".join(lines))

        def wait(seconds: float) -> object:
            return clock.advance(timedelta(seconds=seconds))

        slots = MemorySlots(clock)
        return cls(
            path=path, clock=clock, home=home, nodes=found, site=site, slots=slots, wait=wait
        )

    @property
    def key(self) -> Path:
        """The private key that every node takes."""
        return self.path / "key"

    @property
    def node(self) -> Sshd:
        """The first login node."""
        return self.nodes[0]

    @property
    def run(self) -> Path:
        """The submission directory."""
        return Path(self.home.path) / "run"

    def connect(
        self, *, seconds: float = 20.0, access: Access | None = None, **changes: object
    ) -> SshTransport:
        """Make another transport to the site; `changes` are of the site's settings."""
        tools = SshTools(
            slots=self.slots,
            clock=self.clock,
            ids=SeededIds(len(self.transports)),
            deadline=timedelta(seconds=seconds),
            wait=self.wait,
            access=access,
            refusals=self.refusals,
        )
        site = replace(self.site, **changes)  # type: ignore[arg-type]
        keys: Callable[[str], bytes] = lambda login: derive_key(MASTER, SITE, login)  # noqa: E731
        transport = SshTransport(site, keys, tools=tools)
        self.transports.append(transport)
        return transport

    def order(self, key: Key = FIRST, text: str = ONCE) -> Order:
        """Build an order for the submission directory."""
        return make_order(key, self.run, clock=self.clock, text=text)

    def submit(self, transport: SshTransport, key: Key = FIRST, text: str = ONCE) -> AnswerKind:
        """Submit one script."""
        return transport.submit(SITE, ME, [self.order(key, text)])[0].kind

    def status(self, transport: SshTransport, key: Key = FIRST) -> Answer:
        """Ask about one key."""
        return transport.status(SITE, ME, [key])[0]

    def ended(self, transport: SshTransport, key: Key = FIRST) -> AnswerKind:
        """Wait for the end of an attempt."""
        until(lambda: self.status(transport, key).kind not in _UNENDED)
        return self.status(transport, key).kind

    def executions(self) -> int:
        """Count how often a script ran."""
        trace = self.run / "trace"
        return len(trace.read_text().split()) if trace.exists() else 0

    def close(self) -> None:
        """End transports, scripts and nodes."""
        for transport in self.transports:
            transport.close()
        settle(self.home)
        for node in self.nodes:
            node.stop()
