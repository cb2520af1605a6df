"""Every metric, in one literal table: its name, its kind, its labels, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The kinds of Prometheus that are used here."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Scope(StrEnum):
    """Of what a figure speaks: so that figures of several processes are put together rightly."""

    SERVICE = "service"  # the same from every process: take max
    PROCESS = "process"  # what this process did: take sum


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric. `name` is without `supervision_`, and without the `_total` of a counter."""

    name: str
    says: str
    labels: tuple[str, ...] = ()
    kind: Kind = Kind.GAUGE
    scope: Scope = Scope.SERVICE

    @property
    def full(self) -> str:
        """The name as Prometheus sees it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


PREFIX: Final = "supervision_"

_WORK: Final = Scope.PROCESS
METRICS: Final = (
    Metric(name="database_up", says="Whether the database answered.", scope=_WORK),
    Metric(name="broker_up", says="Whether the broker answered.", scope=_WORK),
    Metric(name="silent_threads", says="Loops of this process that do not come round any more.",
           scope=_WORK),
    Metric(name="settings_refused",
           says="1 while the settings file has a mistake, and the former settings are in force.",
           scope=_WORK),
    Metric(name="rows", says="Supervisions.", labels=("state",)),
    Metric(name="waiting_rows", says="Supervisions that somebody has to come back to.",
           labels=("state",)),
    Metric(name="oldest_row_age_seconds", says="How long the oldest waiting row has been there.",
           labels=("state",)),
    Metric(name="late_alarms", says="Alarms that rang over a minute ago and were not answered."),
    Metric(name="late_alarm_age_seconds", says="How long ago the oldest late alarm rang."),
    Metric(name="holds", says="Holds that people placed and did not release."),
    Metric(name="site_unfinished_rows", says="Supervisions under way.", labels=("site",)),
    Metric(name="site_put_off_rows", says="Supervisions whose site could not be asked.",
           labels=("site",)),
    Metric(name="site_sessions", says="Ssh sessions in use, over all processes.",
           labels=("site",)),
    Metric(name="site_sessions_limit", says="Ssh sessions that the site grants.",
           labels=("site",)),
    Metric(name="site_incident", says="1 while an incident is open.", labels=("site",)),
    Metric(name="credential_expiry_timestamp_seconds",
           says="When the certificate or proxy of a login ends, in Unix time.",
           labels=("site", "login")),
    Metric(name="queue_messages", says="Messages that wait to be taken.", labels=("queue",)),
    Metric(name="dead_letters", says="Messages that no consumer could take.", labels=("queue",)),
    Metric(name="recoveries", says="Failures of the last 7 days that recovered.",
           labels=("restarted_by",)),
    Metric(name="recovery_median_seconds", says="Half of these recovered within so long.",
           labels=("restarted_by",)),
    Metric(name="recovery_ninth_decile_seconds",
           says="Nine tenths of these recovered within so long.", labels=("restarted_by",)),
    Metric(name="verdicts", says="Decisions that were written.", labels=("verdict", "rule"),
           kind=Kind.COUNTER, scope=_WORK),
    Metric(name="transitions", says="Transitions that were confirmed.", labels=("event",),
           kind=Kind.COUNTER, scope=_WORK),
    Metric(name="dispatch_duration_seconds",
           says="From the claim of a row to the receipt of its agent, or to its mail.",
           kind=Kind.HISTOGRAM, scope=_WORK),
    Metric(name="execution_duration_seconds",
           says="From the receipt until the script had acted or failed.",
           kind=Kind.HISTOGRAM, scope=_WORK),
)  # fmt: skip

BY_NAME: Final = {metric.name: metric for metric in METRICS}


def documented() -> str:
    """Write the table of docs/metrics.md."""
    head = "| metric | kind | labels | of | says |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{it.full}` | {it.kind} | {', '.join(it.labels) or '-'} | {it.scope} | {it.says} |\n"
        for it in METRICS
    )
