"""Real mails, all the way: the two ways of running it agree, to the row and to the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from supervision import app, settings
from supervision.adapters import mailfiles
from supervision.app import App
from supervision.cli.intake import Tally, committing, take_in
from supervision.facts import EndReason, Look, RunCard, Sight, Subject
from supervision.messages import MonitoringMessage
from supervision.testing import AgentDouble, FrozenClock
from supervision.wire import decode_line
from tests.integration.end_to_end_kit import (
    MAILS,
    columns,
    command,
    dead_letters,
    dump,
    environment,
    work_through,
)

FAILED: Final = "71105649-17e8-491a-8f8f-4ee26a22524d"
NAMESAKE: Final = "6d773248-70eb-4a49-8ede-2590b18b68f3"
"""The earlier of two simulations that have one JobName."""
NAMESAKES_JOB: Final = "b32bb970-c762-4e05-b27a-f0b91222d5b6"
FAILED_JOB: Final = "3195c4c1-2278-4fd3-9c97-19091a26e3b6"
ENDED_JOB: Final = "dae4c24f-1b48-4e06-8752-f5b1dc37cb86"

SETTINGS: Final = """\
[sites.curie]
centres = ["tgcc"]
machines = ["curie"]
mode = "act"
scheduler = "ccc"
transport = "local"
agent_home = "/nowhere/{login}"
master_key_file = "master.key"
directory_pattern = "/ccc/work/{login}/{model}/modipsl/config/{model}/{name}"

[users.p86user1]
level = 2
mail = "p86user1@example.org"
set_by = "test"
set_on = 2015-01-01
"""

COUNTS: Final = {
    "curie-2014-echo-after-end": {"read": 7440, "new": 10, "ignored": 7430},
    "curie-2015-fatal": {"read": 760, "new": 306, "ignored": 454},
    "curie-2015-run-a": {"read": 367, "new": 3, "ignored": 364},
}
"""What is in the mails of each folder; counted without the service."""
NOTHING: Final = {"duplicate": 0, "undecodable": 0, "uncorrelated": 0}
SAME: Final = ("read", "ignored", "undecodable", "uncorrelated")
"""Counts that both ways of running have; what one calls new, the other has published."""

VERDICTS: Final[dict[str, list[tuple[str, ...]]]] = {
    "curie-2014-echo-after-end": [(ENDED_JOB, "command", "refuse", "ended")],
    "curie-2015-fatal": [
        (FAILED_JOB, "command", "merge", "lone-command"),
        (FAILED_JOB, "fatal", "supervise", "supervise"),
    ],
    "curie-2015-run-a": [],
}


class SeeingAgent(AgentDouble):
    """Agents of a centre where the failed job of the mails is seen to have ended in period 7."""

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:
        """Show the same of every job."""
        seen = super().look(site, login, subjects)
        card = RunCard(simulation_uid=FAILED, state="Fatal", period=7)
        return [
            replace(
                each,
                sight=Sight.ENDED,
                reason=EndReason.FAILED,
                scheduler_alive=True,
                others=False,
                run_card=card,
            )
            for each in seen
        ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings under which the service acts for the mails' user."""
    (tmp_path / "master.key").write_bytes(b"k" * 32)
    (tmp_path / "master.key").chmod(0o600)
    path = tmp_path / "supervision.toml"
    path.write_text(SETTINGS)
    return path


def decoded(folder: str) -> list[MonitoringMessage]:
    """The messages of a folder."""
    return [
        decode_line(line.raw, mailed_at=line.mailed_at, config_card=line.config_card)
        for line in mailfiles.read([MAILS / folder])
    ]


def ingest(config: Path, folder: str, *, database: str, broker: str | None = None) -> Any:  # noqa: ANN401
    """Run `supervision ingest` on a folder; gives its counts."""
    env = environment(database=database, broker=broker)
    done = command("--config", config, "ingest", "--json", MAILS / folder, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def frozen(config: Path, folder: str, *, database: str, broker: str = "memory://") -> Iterator[App]:
    """Compose the service an hour after the newest message of a folder."""
    now = max(message.emitted_at for message in decoded(folder)) + timedelta(hours=1)
    urls = {"SUPERVISION_DATABASE_URL": database, "SUPERVISION_BROKER_URL": broker}
    clock = FrozenClock(now)
    made = app.build(settings.load(config, urls), clock=clock, transport=SeeingAgent(clock))
    try:
        yield made
    finally:
        made.close()


def decide(config: Path, folder: str, *, database: str, broker: str = "memory://") -> None:
    """Have everything decided and done that is due by then."""
    with frozen(config, folder, database=database, broker=broker) as made:
        work_through(made)


def take_all_in(config: Path, folder: str, *, database: str) -> SeeingAgent:
    """Do what `ingest` does without a broker, at the frozen time; then decide. Gives the agents."""
    with frozen(config, folder, database=database) as made:
        way = committing(made.engine, history=False)
        take_in(mailfiles.read([MAILS / folder]), way, Tally())
        work_through(made)
        assert isinstance(made.transport, SeeingAgent)
        return made.transport


def ledger(database: str) -> list[tuple[Any, ...]]:
    """Which failures are known: job, kind, occurrences, first and last time."""
    names = ("job_uid", "kind", "occurrences", "first_at", "last_at")
    return columns(database, "tbl_supervision_decision", names)


def verdicts(database: str) -> list[tuple[Any, ...]]:
    """What was answered to each."""
    names = ("job_uid", "kind", "verdict", "rule", "sentence")
    return columns(database, "tbl_supervision_decision", names)


def supervisions(database: str) -> list[tuple[Any, ...]]:
    """What came of it."""
    whose = ("simulation_uid", "job_uid", "trigger", "attempt")
    state = ("dispatch_status", "execution_status", "directory", "dispatch_try_count")
    return columns(database, "tbl_simulation_supervision", whose + state)


def counted(database: str) -> list[tuple[Any, ...]]:
    """How often each job sent what is not of use."""
    return columns(database, "tbl_job", ("uid", "counts", "first_at", "last_seen_at"))


@pytest.mark.parametrize("folder", sorted(COUNTS))
def test_both_ways_of_running_know_and_decide_the_same(
    folder: str, config: Path, sqlite_url: str, postgres_url: str, amqp_url: str
) -> None:
    """SQLite and memory, PostgreSQL and RabbitMQ: one ledger, one set of verdicts and restarts."""
    fresh = f"sqlite:///{config.with_name('fresh.db')}"
    embedded = ingest(config, folder, database=fresh)
    queued = ingest(config, folder, database=postgres_url, broker=amqp_url)
    assert COUNTS[folder] | NOTHING == embedded
    assert COUNTS[folder]["new"] == queued["published"]
    assert {name: embedded[name] for name in SAME} == {name: queued[name] for name in SAME}
    decide(config, folder, database=postgres_url, broker=amqp_url)
    take_all_in(config, folder, database=sqlite_url)
    assert VERDICTS[folder] == [row[:4] for row in verdicts(sqlite_url)]
    for known in (ledger, counted):
        assert known(fresh) == known(sqlite_url) == known(postgres_url)
    for decided in (verdicts, supervisions):
        assert decided(sqlite_url) == decided(postgres_url)


@pytest.mark.parametrize("folder", sorted(COUNTS))
def test_a_second_ingest_changes_nothing(folder: str, config: Path, sqlite_url: str) -> None:
    """Every row of every table is what it was, down to the versions; all of it is known already."""
    take_all_in(config, folder, database=sqlite_url)
    before = dump(sqlite_url)
    again = ingest(config, folder, database=sqlite_url)
    assert (0, COUNTS[folder]["new"]) == (again["new"], again["duplicate"])
    decide(config, folder, database=sqlite_url)
    assert before == dump(sqlite_url)


def test_a_second_ingest_through_the_broker_changes_nothing(
    config: Path, postgres_url: str, amqp_url: str
) -> None:
    """The same with queues between: duplicates are acknowledged, and buried nowhere."""
    folder, urls = "curie-2015-fatal", {"database": postgres_url, "broker": amqp_url}
    ingest(config, folder, **urls)
    decide(config, folder, **urls)
    before = dump(postgres_url)
    ingest(config, folder, **urls)
    decide(config, folder, **urls)
    assert before == dump(postgres_url)
    assert [] == dead_letters(amqp_url)


def test_302_failed_commands_and_a_fatal_are_one_failure(config: Path, sqlite_url: str) -> None:
    """One verdict about the fatal, the commands merge into it, and one restart is ordered once."""
    agent = take_all_in(config, "curie-2015-fatal", database=sqlite_url)
    assert [("command", 302), ("fatal", 1)] == [row[1:3] for row in ledger(sqlite_url)]
    assert ["merge", "supervise"] == [row[2] for row in verdicts(sqlite_url)]
    assert [(FAILED, "dispatched", "executed")] == [
        (row[0], *row[4:6]) for row in supervisions(sqlite_url)
    ]
    assert [1] == list(agent.executions.values())


def test_namesakes_never_act_on_each_other(config: Path, sqlite_url: str) -> None:
    """The earlier one of a JobName fails: it was replaced, and the later one is left alone."""
    folder = "curie-2015-fatal"
    take_all_in(config, folder, database=sqlite_url)
    before = supervisions(sqlite_url)
    with frozen(config, folder, database=sqlite_url) as made:
        made.engine.record([_of_the_namesake(folder)])
        work_through(made)
        agent = made.transport
    (answered,) = [row for row in verdicts(sqlite_url) if row[0] == NAMESAKES_JOB]
    assert ("fatal", "refuse", "replaced") == answered[1:4]
    assert FAILED in answered[4]
    assert before == supervisions(sqlite_url)
    assert isinstance(agent, SeeingAgent)
    assert [] == agent.calls


def _of_the_namesake(folder: str) -> MonitoringMessage:
    """The fatal message of the mails, as the namesake would have sent it."""
    (fatal,) = (json.loads(each.body) for each in decoded(folder) if each.code == "9999")
    whose = {"simuid": NAMESAKE, "jobuid": NAMESAKES_JOB, "msgUID": NAMESAKES_JOB}
    return decode_line(json.dumps(fatal | whose).encode())
