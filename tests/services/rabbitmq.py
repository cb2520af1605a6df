"""A private RabbitMQ: own node, cookie, ports and epmd, all on loopback, for any account."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tests.services import kept
from tests.services.programs import program

_NUMBERS: Final = itertools.count(1)
_GUEST: Final = "Basic " + base64.b64encode(b"guest:guest").decode()
_FOREIGN: Final = ("RABBITMQ_", "ERL_", "ERLANG_")
_CONFIGURATION: Final = """\
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
management_agent.disable_metrics_collector = true
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.file.level = warning
"""

_ELECTION: Final = """
  [element(4, amqqueue:get_name(Q)) || Q <- rabbit_amqqueue:list(),
   amqqueue:get_type(Q) =:= rabbit_quorum_queue, P <- [amqqueue:get_pid(Q)],
   (catch element(1, sys:get_state(element(1, P)))) =:= follower, ok =:= ra:trigger_election(P)].
"""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What a node listens on: `amqp` is for clients, `management` for making vhosts."""

    amqp: int
    management: int
    distribution: int
    epmd: int


@dataclass(frozen=True, kw_only=True)
class Rabbit:
    """A running broker; the value travels between the processes of one session."""

    ports: Ports
    keeper: int
    epmd_keeper: int

    def as_dict(self) -> dict[str, object]:
        """Plain values, for the record that other processes read."""
        return asdict(self)

    @classmethod
    def started(cls, session: kept.Session) -> Self:
        """Make a node and start it: a few seconds. Raises NotStarted."""
        ports = Ports(
            amqp=kept.free_port(),
            management=kept.free_port(),
            distribution=kept.free_port(),
            epmd=kept.free_port(),
        )
        _configure(session.folder / "rabbitmq", ports)
        # A node would start epmd as a daemon, which would outlive it: here it finds one.
        epmd = kept.start(session, _epmd(session.folder, ports))
        return cls.restarted(session, ports=ports, epmd_keeper=epmd)

    @classmethod
    def restarted(cls, session: kept.Session, *, ports: Ports, epmd_keeper: int) -> Self:
        """Start the session's node, as it was left, on these ports."""
        try:
            keeper = kept.start(session, _node(session.folder, ports))
        except kept.NotStarted:
            kept.stop(epmd_keeper)
            raise
        return cls(ports=ports, keeper=keeper, epmd_keeper=epmd_keeper)

    def url(self, vhost: str) -> str:
        """AMQP address of a vhost."""
        return f"amqp://guest:guest@{kept.HOST}:{self.ports.amqp}/{vhost}"

    def elect(self, folder: Path) -> str:
        """Have queues that stand without a leader elect one; gives their names, as Erlang text.

        A quorum queue of a node that was killed may wait for a leader for ever after its restart
        (https://github.com/rabbitmq/rabbitmq-server/issues/10070): the runbook tells an operator
        to do this. About 2 s. Raises subprocess.SubprocessError.
        """
        run = subprocess.run(
            [program("rabbitmqctl"), "eval", _ELECTION],
            env=_environment(folder / "rabbitmq", self.ports),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return run.stdout.strip()

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """Address of an empty vhost, deleted afterwards with all that is in it."""
        vhost = f"test-{os.getpid()}-{next(_NUMBERS)}"
        self.manage("PUT", f"/api/vhosts/{vhost}")
        try:
            yield self.url(vhost)
        finally:
            self.manage("DELETE", f"/api/vhosts/{vhost}")

    def manage(self, method: str, path: str) -> object:
        """Ask the management interface; None for an empty answer. Raises OSError."""
        connection = http.client.HTTPConnection(kept.HOST, self.ports.management, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"Authorization": _GUEST})
            answer = connection.getresponse()
            body = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise OSError(f"{method} {path}: {answer.status} {body.decode(errors='replace')}")
        decoded: object = json.loads(body) if body else None
        return decoded


def _configure(folder: Path, ports: Ports) -> None:
    folder.mkdir()
    (folder / "rabbitmq.conf").write_text(_CONFIGURATION.format(management=ports.management))
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (folder / "env.conf").touch()


def _epmd(folder: Path, ports: Ports) -> kept.Launch:
    return kept.Launch(
        command=[program("epmd"), "-port", str(ports.epmd), "-address", kept.HOST],
        log=folder / "epmd.log",
        ready=lambda: kept.listens(ports.epmd),
    )


def _node(folder: Path, ports: Ports) -> kept.Launch:
    return kept.Launch(
        command=[program("rabbitmq-server")],
        log=folder / "rabbitmq.log",
        ready=lambda: kept.listens(ports.amqp, ports.management),
        environment=_environment(folder / "rabbitmq", ports),
    )


def _environment(folder: Path, ports: Ports) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return own | {
        "HOME": str(folder),  # the cookie is made there
        "ERL_EPMD_ADDRESS": kept.HOST,
        "ERL_EPMD_PORT": str(ports.epmd),
        "RABBITMQ_NODENAME": f"supervision-{ports.amqp}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": kept.HOST,
        "RABBITMQ_NODE_PORT": str(ports.amqp),
        "RABBITMQ_DIST_PORT": str(ports.distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RUNNING_UNDER_SYSTEMD": "true",  # no shell around the node: signals reach it
    }
