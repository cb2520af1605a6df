"""Servers that a fault test may stop, kill and start: each worker has its own, nobody else's."""

from __future__ import annotations

from dataclasses import dataclass

from tests.services import kept
from tests.services.postgres import Postgres
from tests.services.rabbitmq import Rabbit


@dataclass(kw_only=True)
class RabbitHandle:
    """One worker's own broker. `url` is the address of this test's vhost; it outlives a restart."""

    session: kept.Session
    server: Rabbit
    url: str = ""

    def stop(self) -> None:
        """Stop it cleanly: clients are told, about 6 s. Idempotent."""
        kept.stop(self.server.keeper)

    def kill(self) -> None:
        """Kill it, as a crash of the machine would: clients see a reset, at once. Idempotent."""
        kept.stop(self.server.keeper, crash=True)

    def start(self) -> None:
        """Start it again on the same ports and data: about 6 s; running already is fine."""
        if not kept.runs(self.server.keeper):
            self.server = Rabbit.restarted(
                self.session, ports=self.server.ports, epmd_keeper=self.server.epmd_keeper
            )

    def elect(self) -> str:
        """Have queues without a leader elect one, as an operator does; see `Rabbit.elect`."""
        return self.server.elect(self.session.folder)

    def close(self) -> None:
        """End it for good."""
        self.kill()
        kept.stop(self.server.epmd_keeper)


@dataclass(kw_only=True)
class PostgresHandle:
    """One worker's own database server. `url` is this test's database, and outlives a restart."""

    session: kept.Session
    server: Postgres
    url: str = ""

    def stop(self) -> None:
        """Stop it cleanly: transactions roll back, clients are told. Idempotent."""
        kept.stop(self.server.keeper)

    def kill(self) -> None:
        """Kill it, as a crash would; what was committed is there after `start`. Idempotent."""
        kept.stop(self.server.keeper, crash=True)

    def start(self) -> None:
        """Start it again on the same port and data; running already is fine."""
        if not kept.runs(self.server.keeper):
            self.server = Postgres.restarted(self.session, port=self.server.port)

    def close(self) -> None:
        """End it for good."""
        self.kill()
