"""What tests of whole flows share beyond the engine's bench: chains, policies, faults in the ports.

A fault comes through a port that is put in another one's place, never through the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from db.session import Database, create
from supervision.adapters.memory import MemoryBroker
from supervision.errors import BrokerUnavailable
from supervision.facts import (
    Answer,
    Hold,
    Key,
    Level,
    Look,
    Mode,
    Order,
    Policy,
    Subject,
)
from supervision.fsm.engine.tools import Tools
from supervision.fsm.engine.verbs import Engine
from supervision.messages import Envelope, MonitoringMessage
from supervision.ports import Transport
from supervision.testing import AgentDouble
from tests.factories import NOW, PolicyFactory, SitePolicyFactory, UserPolicyFactory
from tests.unit.engine_kit import DAY, HOUR, MINUTE, NEW_JOB, OLD_JOB, Bench, message

GRACE: Final = 10 * MINUTE
RESTART: Final = "41300"
"""The scheduler id of the job that the scripts of these tests submit."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The ids of one simulation among many: its first job, the one that fails, what follows it."""

    number: int

    @property
    def simulation(self) -> str:
        """The simulation's uid."""
        return self._uid("simulation")

    @property
    def first(self) -> str:
        """The job that began the chain, and ended well."""
        return self._uid("first")

    @property
    def job(self) -> str:
        """The job that fails."""
        return self._uid("job")

    def failing(self, at: datetime = NOW, **announced: str) -> list[MonitoringMessage]:
        """Everything that a chain of ten days sends until its present job fails at `at`."""
        name = {"name": f"CPL{self.number:02d}", **announced}
        path = {"jobSubmissionPath": f"/ccc/work/p86user1/CPL{self.number:02d}"}
        return [
            self.says("0000", at - 10 * DAY, self.first, **name, **path),
            self.says("1100", at - 4 * HOUR - MINUTE, self.first),
            self.says("1000", at - 4 * HOUR, self.job, **path),
            self.says("1001", at - 3 * HOUR, self.job, CumulPeriod="7"),
            self.says("1999", at, self.job),
        ]

    def says(self, code: str, at: datetime, job: str | None, **fields: str) -> MonitoringMessage:
        """One message of this simulation."""
        return message(code, at=at, job=job, simulation=self.simulation, **fields)

    def _uid(self, what: str) -> str:
        return str(uuid5(NAMESPACE_OID, f"{what} {self.number}"))


def next_start(at: datetime, scheduler_id: str = RESTART) -> MonitoringMessage:
    """The first message of the job that a restart submitted."""
    return message("1000", at=at, job=NEW_JOB, jobSchedulerID=scheduler_id)


def young_chain() -> list[MonitoringMessage]:
    """A simulation of which one compute job runs, heard of a minute ago; nothing has failed."""
    return [
        message("0000", at=NOW - 10 * DAY, job=OLD_JOB),
        message("1100", at=NOW - HOUR, job=OLD_JOB),
        message("1000", at=NOW - HOUR + MINUTE),
        message("1001", at=NOW - MINUTE, CumulPeriod="7"),
    ]


def policy(*, site: dict[str, object] | None = None, **user: object) -> Policy:
    """Make a policy with one site and one user, who wants everything done unless told else."""
    return PolicyFactory.build(
        sites=(SitePolicyFactory.build(**(site or {})),),
        users=(UserPolicyFactory.build(**user),),
    )


BY_MAIL: Final = policy(level=Level.MAIL)
OBSERVED: Final = policy(site={"mode": Mode.OBSERVE})


def hold(scope: str = "site:curie") -> Hold:
    """Make a hold that alice placed."""
    return Hold(scope=scope, actor="alice", reason="quiet please", since=NOW)


def rewire(made: Bench, **ports: object) -> None:
    """Put other adapters into the ports, as a new process would have them."""
    tools = replace(made.tools, ports=replace(made.tools.ports, **ports))  # type: ignore[arg-type]
    _compose(made, tools)


def reload(made: Bench, chosen: Policy) -> None:
    """Give the service other settings to decide by, and let it keep them."""
    basis = replace(made.tools.basis, policy=chosen)
    _compose(made, replace(made.tools, in_force=lambda: basis))
    made.engine.record_policy()


def _compose(made: Bench, tools: Tools) -> None:
    made.tools = tools
    made.app = replace(made.app, engine=Engine(tools), transport=tools.ports.transport)


@contextmanager
def another_worker(made: Bench, **ports: object) -> Iterator[Engine]:
    """Another process on the same database and clock: its engine."""
    url = made.app.settings.database_url
    database = Database(create(url), made.clock)
    wired = replace(made.tools.ports, **ports)  # type: ignore[arg-type]
    engine = Engine(replace(made.tools, database=database, ports=wired))
    try:
        yield engine
    finally:
        database.close()


class DeafBroker(MemoryBroker):
    """A broker that confirms nothing: every publish fails, as while RabbitMQ is away."""

    def publish(self, envelopes: Sequence[Envelope]) -> None:
        """Refuse them all."""
        raise BrokerUnavailable(f"{len(envelopes)} messages were not confirmed")


class Meanwhile:
    """A Transport in front of another one: when `verb` has been called, something else happens.

    `happens` is called once, after the agent acted and before its answer is handed over: the
    worker that asked is as if it had been away for as long.
    """

    def __init__(self, agent: Transport, verb: str, happens: Callable[[], object]) -> None:
        self._agent = agent
        self._verb = verb
        self._happens: Callable[[], object] | None = happens

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Pass on."""
        return self._after("submit", self._agent.submit(site, login, orders))

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Pass on."""
        return self._after("status", self._agent.status(site, login, keys))

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Pass on."""
        return self._after("peek", self._agent.peek(site, login, keys))

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Pass on."""
        return self._after("cancel", self._agent.cancel(site, login, keys))

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """Pass on."""
        looks = self._agent.look(site, login, subjects)
        self._come("look")
        return looks

    def close(self) -> None:
        """Pass on."""
        self._agent.close()

    def _after(self, verb: str, answers: Sequence[Answer]) -> Sequence[Answer]:
        self._come(verb)
        return answers

    def _come(self, verb: str) -> None:
        happens = self._happens if verb == self._verb else None
        if happens is not None:
            self._happens = None
            happens()


class Died(Exception):
    """A worker's process ended here: nothing after this line was done."""


class Dying:
    """What ends a worker in the midst of its work, so many times; afterwards it does nothing."""

    def __init__(self, times: int = 1) -> None:
        self.left = times

    def __call__(self) -> None:
        """Die, while there are deaths left."""
        if self.left > 0:
            self.left -= 1
            raise Died


def executions(agent: AgentDouble) -> list[int]:
    """How often the script of each key was begun; anything above 1 is a second copy."""
    return sorted(agent.executions.values())
