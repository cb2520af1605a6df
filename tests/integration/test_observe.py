"""What a process shows of itself over http: its figures, whether it works, whether it is ready."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from db.types_decisions import Decision
from supervision import settings
from supervision.adapters.memory import MemoryBroker
from supervision.app_observe import meter_of, observed
from supervision.errors import BrokerUnavailable, SettingsError
from supervision.fsm.engine.reading_now import Recoveries, Recovery
from supervision.observing.server import Observatory, Page, sentence
from supervision.pulse import Pulse
from supervision.settings_values import ObserveSettings
from supervision.testing import FrozenClock
from tests.factories import NOW
from tests.integration.cli_kit import a_desk, failure
from tests.integration.tables_kit import opened, put, trigger, uid

LOOPBACK = "127.0.0.1"


def asked(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Ask over http: status and body."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def serving(**pages: Callable[[], Page]) -> Iterator[int]:
    """A server of these pages."""
    made = Observatory((LOOPBACK, 0), {f"/{name}": page for name, page in pages.items()})
    try:
        yield made.port
    finally:
        made.close()


@contextmanager
def shown(
    folder: Path, url: str, depths: MemoryBroker | None = None
) -> Iterator[tuple[int, FrozenClock, Pulse]]:
    """A service that did some work and is observed, and the pulse of its loops."""
    clock = FrozenClock()
    pulse = Pulse(clock, limit=timedelta(minutes=2))
    with a_desk(folder, url, observe=f"{LOOPBACK}:0") as desk:
        desk.hear(failure())
        desk.work()
        app = replace(desk.made, depths=depths or desk.made.depths)
        with observed(app, pulse) as port:
            assert port is not None
            yield port, clock, pulse


class Away(MemoryBroker):
    """A broker that does not answer."""

    def depth(self, queue: str) -> int:
        """Fail."""
        raise BrokerUnavailable(f"nobody counts {queue}")


def test_the_figures_are_those_of_the_work_that_was_done(tmp_path: Path, sqlite_url: str) -> None:
    """One failure: a verdict, three transitions, a dispatch and an execution, one row."""
    with shown(tmp_path, sqlite_url) as (port, _, _):
        status, text = asked(port, "/metrics")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    expected = {
        ("supervision_rows", "executed"): 1.0,
        ("supervision_database_up",): 1.0,
        ("supervision_verdicts_total", "supervise", "supervise"): 1.0,
        ("supervision_transitions_total", "format"): 1.0,
        ("supervision_transitions_total", "execute"): 1.0,
        ("supervision_dispatch_duration_seconds_count",): 1.0,
        ("supervision_execution_duration_seconds_count",): 1.0,
        ("supervision_site_sessions_limit", "curie"): 4.0,
    }
    assert (200, expected) == (status, {key: samples.get(key) for key in expected})


def test_health_is_that_the_loops_come_round(tmp_path: Path, sqlite_url: str) -> None:
    """A silent one is named with 503; when it comes round again all is well again."""
    with shown(tmp_path, sqlite_url) as (port, clock, pulse):
        pulse.beat("sweep")
        assert (200, "the work goes on\n") == asked(port, "/healthz")
        clock.advance(timedelta(minutes=3))
        assert (503, "silent: sweep\n") == asked(port, "/healthz")
        pulse.beat("sweep")
        assert (200, "the work goes on\n") == asked(port, "/healthz")


def test_a_refused_file_is_told_and_is_no_illness(tmp_path: Path, sqlite_url: str) -> None:
    """A new process would not even start with it: this one is well, says so, and is counted."""
    clock = FrozenClock()
    with a_desk(tmp_path, sqlite_url, observe=f"{LOOPBACK}:0") as desk:
        pulse = Pulse(clock, limit=timedelta(minutes=2))
        desk.made.in_force.refused = "supervision.toml: is not TOML"
        with observed(desk.made, pulse) as port:
            assert port is not None
            status, text = asked(port, "/healthz")
            assert (200, "the work goes on") == (status, text.splitlines()[0])
            assert "the former settings are in force" in text
            assert "supervision_settings_refused 1.0" in asked(port, "/metrics")[1]


def test_ready_is_that_database_and_broker_answer(tmp_path: Path, sqlite_url: str) -> None:
    """The process is healthy all the same: a new one would help nobody."""
    with shown(tmp_path, sqlite_url) as (port, _, _):
        assert (200, "ready\n") == asked(port, "/readyz")
    with shown(tmp_path, sqlite_url, Away()) as (port, _, _):
        assert (503, "nobody counts internal-supervision-detect\n") == asked(port, "/readyz")
        assert 200 == asked(port, "/healthz")[0]


def test_tables_of_another_version_are_not_ready(tmp_path: Path, sqlite_url: str) -> None:
    """The sentence names both revisions."""
    with shown(tmp_path, sqlite_url) as (port, _, _):
        with opened(sqlite_url) as database, database.write() as session:
            session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9'")
        status, text = asked(port, "/readyz")
    assert (503, True) == (status, text.startswith("the database is at revision 9, this version"))


def test_nothing_listens_where_nothing_is_set(tmp_path: Path, sqlite_url: str) -> None:
    """No address, no port."""
    clock = FrozenClock()
    with a_desk(tmp_path, sqlite_url) as desk:
        with observed(desk.made, Pulse(clock, limit=timedelta(minutes=2))) as port:
            assert port is None
        assert "NoMeter" == type(meter_of(desk.made.settings)).__name__


def test_an_address_in_use_is_a_mistake_of_the_settings() -> None:
    """It is said, and nothing is half open."""
    with serving() as port, pytest.raises(SettingsError, match=r"observe\.address: 127\.0\.0\.1"):
        Observatory((LOOPBACK, port), {})


def test_other_paths_and_methods_are_told_so() -> None:
    """404 names the pages that there are; a method that changes things is none of ours."""
    with serving(healthz=lambda: sentence("well", well=True)) as port:
        assert (404, "there is only /healthz\n") == asked(port, "/")
        assert (200, "well\n") == asked(port, "/healthz?verbose=1")
        assert (200, "") == asked(port, "/healthz", "HEAD")
        assert 501 == asked(port, "/healthz", "POST")[0]


def test_silent_peers_keep_nobody_else_waiting() -> None:
    """Some connect and say nothing: others are answered meanwhile."""
    with serving(healthz=lambda: sentence("well", well=True)) as port:
        silent = [socket.create_connection((LOOPBACK, port)) for _ in range(7)]
        try:
            assert (200, "well\n") == asked(port, "/healthz")
        finally:
            for each in silent:
                each.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", ":9180", "::1:9180", "a b:1"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    """With what is allowed."""
    file = tmp_path / "supervision.toml"
    file.write_text(f'[observe]\naddress = "{address}"\n')
    with pytest.raises(SettingsError, match=r"observe\.address: .* allowed: HOST:PORT"):
        settings.load(file, {})


def test_an_address_is_split() -> None:
    """IPv6 stands in brackets."""
    assert ("::1", 9180) == ObserveSettings(address="[::1]:9180").endpoint()
    assert ("localhost", 9180) == ObserveSettings(address="localhost:9180").endpoint()


def test_recoveries_have_a_median_and_a_ninth_decile(tmp_path: Path, sqlite_url: str) -> None:
    """Of those that failed in the last seven days; echoes and older ones do not count."""
    with a_desk(tmp_path, sqlite_url) as desk, opened(sqlite_url) as database:
        now = desk.made.clock.now()
        began = now - timedelta(hours=20)
        for number in range(10):
            row = trigger(f"job-{number}", first_at=began, last_at=began, arrived_at=began)
            row |= {"id": uid(f"decision-{number}"), "restarted_by": "us"}
            put(database, Decision, row | {"recovered_at": began + timedelta(hours=number + 1)})
        old = trigger("old", first_at=NOW, last_at=NOW, arrived_at=NOW) | {"recovered_at": now}
        put(database, Decision, old)
        found = desk.made.engine.read(Recoveries())
    expected = Recovery(
        restarted_by="us",
        count=10,
        median=timedelta(hours=5),
        ninth_decile=timedelta(hours=9),
    )
    assert [expected] == found
