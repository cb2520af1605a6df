"""A Transport that notes each request to a centre, whichever way it goes."""

from __future__ import annotations

from collections.abc import Sequence

from supervision.facts import Answer, Key, Look, Order, Subject
from supervision.ports import Transport
from supervision.tracing import Tracer


class TracedTransport:
    """Passes every call on, and notes verb, site, login, and whom it is about."""

    def __init__(self, transport: Transport, tracer: Tracer) -> None:
        self._transport = transport
        self._tracer = tracer

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:
        """Have scripts run; idempotent by key."""
        ids = [order.key.supervision_id for order in orders]
        with self._tracer.request("submit", site=site, login=login, supervision_id=ids):
            return self._transport.submit(site, login, orders)

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are."""
        ids = [key.supervision_id for key in keys]
        with self._tracer.request("status", site=site, login=login, supervision_id=ids):
            return self._transport.status(site, login, keys)

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Ask how attempts are; starts nothing."""
        ids = [key.supervision_id for key in keys]
        with self._tracer.request("peek", site=site, login=login, supervision_id=ids):
            return self._transport.peek(site, login, keys)

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """See what is true at the centre; changes nothing there."""
        ids = [subject.scheduler_id for subject in subjects]
        with self._tracer.request("look", site=site, login=login, scheduler_id=ids):
            return self._transport.look(site, login, subjects)

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Fence attempts that have not started."""
        ids = [key.supervision_id for key in keys]
        with self._tracer.request("cancel", site=site, login=login, supervision_id=ids):
            return self._transport.cancel(site, login, keys)

    def close(self) -> None:
        """End every session and child process. Idempotent."""
        self._transport.close()
