"""The Meter port over prometheus-client: what this process did since it began."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from supervision.facts import Supervision
from supervision.fsm.states import Event, State
from supervision.observing.table import BY_NAME, PREFIX

_DISPATCH_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_EXECUTION_BUCKETS: Final = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 86400)
_ENDS: Final = {Event.EXECUTE, Event.FAIL}


class PrometheusMeter:
    """Counts in a registry of its own. Safe for many threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._verdicts = self._counter("verdicts")
        self._transitions = self._counter("transitions")
        self._dispatches = self._histogram("dispatch_duration_seconds", _DISPATCH_BUCKETS)
        self._executions = self._histogram("execution_duration_seconds", _EXECUTION_BUCKETS)

    def decided(self, verdict: str, rule: str) -> None:
        """Count a verdict by its rule."""
        self._verdicts.labels(verdict, rule).inc()

    def moved(self, row: Supervision, event: Event, *, at: datetime, worked_seconds: float) -> None:
        """Count a transition; dispatches and ends of scripts also by how long they took."""
        self._transitions.labels(event.value).inc()
        if event is Event.DISPATCH:
            self._dispatches.observe(worked_seconds)
        elif row.state is State.DISPATCHED and row.dispatched_at and event in _ENDS:
            self._executions.observe(max((at - row.dispatched_at).total_seconds(), 0.0))

    def _counter(self, name: str) -> Counter:
        it = BY_NAME[name]
        return Counter(PREFIX + name, it.says, it.labels, registry=self.registry)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        says = BY_NAME[name].says
        return Histogram(PREFIX + name, says, buckets=buckets, registry=self.registry)
