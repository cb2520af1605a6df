"""What Prometheus is told: names by its conventions, and figures that are those that were read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from db.dao_figures import Crowd, PutOff
from supervision.fsm.engine.reading_now import Picture, Recovery, SiteNow
from supervision.fsm.states import State
from supervision.observing.figures import KEPT_SECONDS, Figures, Reading
from supervision.observing.meter import PrometheusMeter
from supervision.observing.table import METRICS, Kind, documented
from supervision.testing import FrozenClock
from tests.factories import NOW

_DOCS: Final = Path(__file__).parents[2] / "docs" / "metrics.md"
_NAME: Final = re.compile(r"supervision_[a-z]+(_[a-z]+)*")
_UNITS: Final = ("_minutes", "_hours", "_days", "_milliseconds", "_ms", "_kilobytes", "_percent")
_RESERVED: Final = ("_count", "_sum", "_bucket", "_info")
_EMPTY: Final = Picture(
    at=NOW, crowds=(), late=0, late_since=None, verdicts=(), sites=(), holds=(), acts=()
)


def exposed(reading: Reading) -> dict[str, Family]:
    """What a scrape gives, read by Prometheus' own parser."""
    registry = CollectorRegistry()
    registry.register(Figures(lambda: reading, FrozenClock()))
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(families: dict[str, Family], name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric by the values of their labels."""
    return {tuple(it.labels.values()): it.value for it in families[name].samples}


@pytest.mark.parametrize("metric", METRICS, ids=lambda it: it.name)
def test_names_are_by_the_conventions(metric: object) -> None:
    """As promtool's linter asks: base units, no reserved endings, _total for counters alone."""
    (it,) = [each for each in METRICS if each is metric]
    assert _NAME.fullmatch(it.full)
    assert not it.full.endswith((*_UNITS, *_RESERVED))
    assert it.full.endswith("_total") == (it.kind is Kind.COUNTER)
    assert not {"le", "quantile", "job", "instance"} & set(it.labels)
    assert it.says.endswith(".")
    assert it.kind is not Kind.HISTOGRAM or it.full.endswith("_seconds")


def test_no_name_is_there_twice() -> None:
    """Two metrics of one name would be added up."""
    assert len(METRICS) == len({it.full for it in METRICS})


def test_the_documentation_has_every_metric() -> None:
    """The table of the page is the table of the code."""
    assert documented() in _DOCS.read_text()


def _of_kind(*kinds: Kind) -> Iterator[str]:
    return (it.full.removesuffix("_total") for it in METRICS if it.kind in kinds)


def test_every_metric_is_exposed_with_its_words() -> None:
    """Gauges by the collector, the others by the meter: all of the table, and nothing else."""
    gauges = exposed(Reading(picture=_EMPTY))
    text = generate_latest(PrometheusMeter().registry).decode()
    others = {
        it.name: it
        for it in text_string_to_metric_families(text)
        if not it.name.endswith("_created")
    }
    assert sorted(_of_kind(Kind.GAUGE)) == sorted(gauges)
    assert sorted(_of_kind(Kind.COUNTER, Kind.HISTOGRAM)) == sorted(others)
    said = {name: family.documentation for name, family in (gauges | others).items()}
    assert {it.full.removesuffix("_total"): it.says for it in METRICS} == said


def test_rows_are_told_by_state() -> None:
    """How many, how many wait, and for how long the oldest of these has been there."""
    since = NOW - timedelta(minutes=5)
    crowd = Crowd(state=State.FORMATTED, count=7, awake=3, since=since)
    picture = Picture(
        at=NOW, crowds=(crowd,), late=2, late_since=since, verdicts=(), sites=(), holds=(), acts=()
    )
    found = exposed(Reading(picture=picture))
    assert {("formatted",): 7.0} == values(found, "supervision_rows")
    assert {("formatted",): 3.0} == values(found, "supervision_waiting_rows")
    assert {("formatted",): 300.0} == values(found, "supervision_oldest_row_age_seconds")
    assert {(): 2.0} == values(found, "supervision_late_alarms")
    assert {(): 300.0} == values(found, "supervision_late_alarm_age_seconds")


def test_sites_are_told_with_what_they_grant() -> None:
    """Sessions in use beside their limit, an incident, rows put off, ends of certificates."""
    off = PutOff(site="curie", login="p86user1", count=4, problem="parked")
    site = SiteNow(name="curie", unfinished=9, sessions=2, incident="open", put_off=(off,))
    picture = Picture(
        at=NOW, crowds=(), late=0, late_since=None, verdicts=(), sites=(site,), holds=(), acts=()
    )
    found = exposed(
        Reading(picture=picture, limits={"curie": 4}, expiries={("curie", "p86user1"): NOW})
    )
    told = {
        name: values(found, f"supervision_{name}")[("curie",)]
        for name in ("site_unfinished_rows", "site_put_off_rows", "site_sessions",
                     "site_sessions_limit", "site_incident")
    }  # fmt: skip
    assert [9.0, 4.0, 2.0, 4.0, 1.0] == list(told.values())
    ends = values(found, "supervision_credential_expiry_timestamp_seconds")
    assert {("p86user1", "curie"): NOW.timestamp()} == ends  # labels in the order of their names


def test_queues_and_dead_letters_are_told_apart() -> None:
    """Both by the name of the working queue, so that they can be put side by side."""
    depths = {"internal-supervision-format": 3, "dead-internal-supervision-format": 1}
    found = exposed(Reading(picture=None, depths=depths))
    assert {("internal-supervision-format",): 3.0} == values(found, "supervision_queue_messages")
    assert {("internal-supervision-format",): 1.0} == values(found, "supervision_dead_letters")


def test_what_is_away_is_said_and_nothing_is_made_up() -> None:
    """Without a database there are no figures of rows, not even zeros."""
    found = exposed(Reading(picture=None, depths=None, silent=["sweep"]))
    assert {(): 0.0} == values(found, "supervision_database_up")
    assert {(): 0.0} == values(found, "supervision_broker_up")
    assert {(): 1.0} == values(found, "supervision_silent_threads")
    assert {} == values(found, "supervision_rows")
    assert {} == values(found, "supervision_late_alarms")


def test_recoveries_are_told_by_who_restarted() -> None:
    """Count, half of them, nine tenths of them."""
    it = Recovery(
        restarted_by="us",
        count=5,
        median=timedelta(minutes=20),
        ninth_decile=timedelta(hours=2),
    )
    found = exposed(Reading(picture=_EMPTY, recoveries=[it]))
    assert {("us",): 5.0} == values(found, "supervision_recoveries")
    assert {("us",): 1200.0} == values(found, "supervision_recovery_median_seconds")
    assert {("us",): 7200.0} == values(found, "supervision_recovery_ninth_decile_seconds")


def test_many_who_scrape_cost_one_reading() -> None:
    """A reading answers everybody for some seconds, then it is read anew."""
    clock, read = FrozenClock(), []

    def reading() -> Reading:
        read.append(clock.now())
        return Reading(picture=None)

    figures = Figures(reading, clock)
    for _ in range(3):
        list(figures.collect())
    assert 1 == len(read)
    clock.advance(timedelta(seconds=KEPT_SECONDS))
    list(figures.collect())
    assert 2 == len(read)
