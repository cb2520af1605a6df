"""The engine: five verbs over sets of rows. The only thing that consumers and commands call."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from db import dao_holds
from supervision.facts import Hold, RetentionSettings
from supervision.fsm.engine import (
    commanding,
    daily,
    deciding,
    firing,
    holding,
    horizon,
    incidents,
    recording,
    reopening,
    sweeping,
)
from supervision.fsm.engine.commanding import Obedience, Person
from supervision.fsm.engine.recording import Recorded
from supervision.fsm.engine.sweeping import Swept
from supervision.fsm.engine.tools import Tools
from supervision.fsm.states import Event
from supervision.logs_about import about
from supervision.messages import LateCheck, MonitoringMessage

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Query(Protocol[T_co]):
    """A question; see reading.py for those that there are."""

    def answer(self, tools: Tools) -> T_co:
        """Read what is needed, in a short transaction that only reads."""


class Engine:
    """Moves supervisions. Each verb is its own short transactions; all may be called by threads.

    A verb takes the settings once, when it is called: it never sees half of a reload. What it is
    given is named on each line that it logs. Every verb raises DatabaseUnavailable when it could
    not begin; what it had not committed then is as it was. Wake-ups that follow are published after
    the commit, and are never owed.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._late_sent: dict[str, datetime] = {}

    @property
    def _now(self) -> Tools:
        return self._tools.as_set()

    def record(self, messages: Sequence[MonitoringMessage], *, history: bool = False) -> Recorded:
        """Facts in: store messages once, with everything that follows. `history`: no triggers."""
        with about(message_id=[message.uid for message in messages]):
            return recording.record(self._now, messages, history=history)

    def record_late(self, checks: Sequence[LateCheck]) -> None:
        """Facts of the clock in: alarms of jobs and next starts that are due become triggers."""
        with about(job_uid=[check.job_uid for check in checks]):
            recording.record_late(self._now, checks)

    def record_hold(self, hold: Hold) -> bool:
        """A person says stop; returns whether it is new. In force from the commit on."""
        with self._tools.database.write() as session:
            return dao_holds.place(session, hold)

    def record_release(self, scope: str) -> bool:
        """A person takes a hold back; what it held is decided again at once."""
        with self._tools.database.write() as session:
            return holding.release(self._now, session, scope)

    def record_policy(self) -> int:
        """Keep the policy of this moment; what another one stopped, and this one might not, wakes.

        Returns how many decisions woke. Idempotent: what was decided by this policy stays.
        """
        return reopening.record_policy(self._now)

    def decide(self, job_uids: Sequence[str]) -> None:
        """Ledger rows to verdicts, and verdicts to supervisions."""
        with about(job_uid=job_uids), self._tools.tracer.span("decide", job_uid=job_uids):
            deciding.decide(self._now, job_uids)

    def fire(self, event: Event, ids: Sequence[str]) -> None:
        """Fire an event for these rows: claim, act, confirm. Rows elsewhere are left alone."""
        with about(supervision_id=ids):
            firing.fire(self._now, event, ids)

    def order(self, event: Event, supervision_id: str, person: Person) -> Obedience:
        """Fire a person's event for one row; raises Refused or NotFound with the reason."""
        with about(supervision_id=supervision_id):
            return commanding.order(self._now, event, supervision_id, person)

    def retry(self, job_uid: str, person: Person) -> Obedience:
        """Begin an attempt by a person's word; raises Refused or NotFound with the reason."""
        with about(job_uid=job_uid):
            return commanding.retry(self._now, job_uid, person)

    def sweep(self, limit: int) -> Swept:
        """Send the wake-ups that are due."""
        return sweeping.sweep(self._now, limit, self._late_sent)

    def tend_incidents(self) -> None:
        """Take the incidents that are due a step further, and tell whom they concern.

        Mails may take long, so whoever sweeps leaves it to another. Any number of processes may do
        it at once.
        """
        incidents.tend(self._now)

    def clean(self, retention: RetentionSettings) -> dict[str, int]:
        """Delete what is past its retention."""
        return sweeping.clean(self._now, retention)

    def close_incident(self, incident_id: str, person: Person) -> bool:
        """A person ends an incident: who waits is decided again at once; False where it is over."""
        return incidents.close(self._now, incident_id, person.actor, person.reason)

    def watch_credentials(self) -> int:
        """See how credentials are: wake what waited for new ones, warn of those that expire.

        Returns how many had changed. Idempotent; any number of processes may do it.
        """
        return horizon.watch(self._now)

    def tell_daily(self) -> bool:
        """Send the operator's list when it is due; returns whether this call did. Once a day."""
        return daily.tell(self._now)

    def read(self, query: Query[T]) -> T:
        """Answer a question."""
        return query.answer(self._now)

    def close(self) -> None:
        """Wait for the sites' workers and let the database go."""
        self._tools.workers.close()
        self._tools.database.close()
