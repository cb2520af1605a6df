"""What every verb of the engine works with: database, ports, and the settings of the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from db.session import Database
from supervision.errors import BrokerUnavailable, Permanent
from supervision.facts import Credential, EngineSettings, Policy
from supervision.fsm.engine.letters import Addresses
from supervision.fsm.engine.workers import Workers
from supervision.logs_about import about
from supervision.messages import WakeUp
from supervision.ports import (
    Broker,
    Clock,
    Credentials,
    Ids,
    Meter,
    NoMeter,
    Notifier,
    Transport,
)
from supervision.replay import dump_policy
from supervision.tracing import NoTracer, Tracer
from supervision.wire import wakeup_envelope

_LOG = structlog.get_logger()

_SUBJECTS: Final = ("job_uid", "supervision_id")


class NoCredentials:
    """A service all of whose agents are on its own machine: nothing to prove, nothing expires."""

    def read(self) -> Sequence[Credential]:
        """Tell of none."""
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """The adapters that this process was composed of."""

    broker: Broker
    transport: Transport
    notifier: Notifier
    clock: Clock
    ids: Ids
    credentials: Credentials = field(default_factory=NoCredentials)


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """What is set, as far as the engine depends on it: one value, whose parts fit together.

    `settings_text` is the file's text for the table of policies, passwords masked.
    """

    engine: EngineSettings
    policy: Policy
    addresses: Addresses
    settings_text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """Everything that the verbs share. `in_force` is asked at the moment of use: settings reload.

    `kept` is what a piece of work goes by until it is done; see `as_set`. `dead_letters` counts
    them by queue; raises BrokerUnavailable.
    """

    database: Database
    ports: Ports
    in_force: Callable[[], Basis]
    workers: Workers
    dead_letters: Callable[[], Mapping[str, int]] = dict
    meter: Meter = field(default_factory=NoMeter)
    tracer: Tracer = field(default_factory=NoTracer)
    kept: Basis | None = None

    def as_set(self) -> Tools:
        """These tools with what is set now, whatever is reloaded before the work is done."""
        return replace(self, kept=self.in_force())

    @property
    def basis(self) -> Basis:
        """What is set."""
        return self.kept or self.in_force()

    @property
    def settings(self) -> EngineSettings:
        """Leases, deadlines, alarms, sizes of sets."""
        return self.basis.engine

    @property
    def policy(self) -> Policy:
        """What is decided by."""
        return self.basis.policy

    @property
    def policy_texts(self) -> dict[str, str]:
        """What tbl_policy keeps of the policy: its values, and the text that it came from."""
        basis = self.basis
        return {"text": dump_policy(basis.policy), "settings_text": basis.settings_text}

    @property
    def addresses(self) -> Addresses:
        """Where mails come from, and where the operator reads."""
        return self.basis.addresses

    def backoff(self, now: datetime, count: int, first: timedelta, cap: timedelta) -> datetime:
        """The moment to come back at: `first` doubled `count` times, at most `cap`, jittered.

        Jitter takes off up to a quarter, so that rows put off together do not come back together.
        """
        span: timedelta = min(first * 2 ** min(count, 16), cap)
        return now + span * (1 - 0.25 * self.ports.ids.jitter())

    def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Send hints, after the commit that they are about. None is owed: alarms repeat them."""
        if not wakeups:
            return
        ids, now, traced = self.ports.ids, self.ports.clock.now(), self.tracer.headers()
        envelopes = [
            wakeup_envelope(wakeup, message_id=ids.new(), now=now, traced=traced)
            for wakeup in wakeups
        ]
        try:
            self.ports.broker.publish(envelopes)
        except (BrokerUnavailable, Permanent) as error:
            jobs, rows = ([getattr(it, name) for it in wakeups] for name in _SUBJECTS)
            with about(job_uid=jobs, supervision_id=rows):
                _LOG.warning("wakeups.unsent", count=len(envelopes), problem=str(error))
