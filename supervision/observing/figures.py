"""Figures of the whole service, read when Prometheus asks, and kept for some seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from supervision.fsm.engine.reading_now import Picture, Recovery
from supervision.observing.table import METRICS, PREFIX, Kind
from supervision.ports import Clock
from supervision.topology import DEAD_PREFIX

KEPT_SECONDS: Final = 10.0
"""So long a reading answers everybody who asks: many who scrape cost the database nothing more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What was read. None: it could not be. `depths` are empty where no broker is shared."""

    picture: Picture | None
    recoveries: Sequence[Recovery] = ()
    depths: Mapping[str, int] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    expiries: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    silent: Sequence[str] = ()
    refused: bool = False


Sample = tuple[str, tuple[str, ...], float]
"""A metric's name, the values of its labels, and its value."""


class Figures(Collector):
    """Asks `read` at most every KEPT_SECONDS; `read` raises nothing. Safe for many threads."""

    def __init__(self, read: Callable[[], Reading], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = Lock()
        self._kept: Reading | None = None
        self._until = 0.0

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing beforehand: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give every gauge of the table, those without a sample too: what is measured is known."""
        families = {
            it.name: GaugeMetricFamily(PREFIX + it.name, it.says, labels=it.labels)
            for it in METRICS
            if it.kind is Kind.GAUGE
        }
        for name, labels, value in samples(self._current()):
            families[name].add_metric(labels, value)
        yield from families.values()

    def _current(self) -> Reading:
        with self._lock:  # who comes meanwhile waits for the same reading
            if self._kept is None or self._clock.monotonic_seconds() >= self._until:
                self._kept = self._read()
                self._until = self._clock.monotonic_seconds() + KEPT_SECONDS
            return self._kept


def samples(reading: Reading) -> Iterator[Sample]:
    """Spell a reading as samples of the table's gauges. Pure."""
    yield "database_up", (), float(reading.picture is not None)
    yield "broker_up", (), float(reading.depths is not None)
    yield "silent_threads", (), float(len(reading.silent))
    yield "settings_refused", (), float(reading.refused)
    if reading.picture is not None:
        yield from _of_rows(reading.picture)
        yield from _of_sites(reading.picture)
    for site, limit in reading.limits.items():
        yield "site_sessions_limit", (site,), limit
    for whose, end in reading.expiries.items():
        yield "credential_expiry_timestamp_seconds", whose, end.timestamp()
    for queue, count in (reading.depths or {}).items():
        dead = queue.startswith(DEAD_PREFIX)
        name = "dead_letters" if dead else "queue_messages"
        yield name, (queue.removeprefix(DEAD_PREFIX),), count
    yield from _of_recoveries(reading.recoveries)


def _of_rows(picture: Picture) -> Iterator[Sample]:
    for crowd in picture.crowds:
        labels = (crowd.state.value,)
        yield "rows", labels, crowd.count
        yield "waiting_rows", labels, crowd.awake
        yield "oldest_row_age_seconds", labels, _age(crowd.since, picture.at)
    yield "late_alarms", (), picture.late
    yield "late_alarm_age_seconds", (), _age(picture.late_since, picture.at)
    yield "holds", (), len(picture.holds)


def _of_sites(picture: Picture) -> Iterator[Sample]:
    for site in picture.sites:
        labels = (site.name,)
        yield "site_unfinished_rows", labels, site.unfinished
        yield "site_put_off_rows", labels, sum(each.count for each in site.put_off)
        yield "site_sessions", labels, site.sessions
        yield "site_incident", labels, float(site.incident is not None)


def _of_recoveries(recoveries: Sequence[Recovery]) -> Iterator[Sample]:
    for it in recoveries:
        labels = (it.restarted_by,)
        yield "recoveries", labels, it.count
        yield "recovery_median_seconds", labels, it.median.total_seconds()
        yield "recovery_ninth_decile_seconds", labels, it.ninth_decile.total_seconds()


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds since then; 0 where there is nothing."""
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)
