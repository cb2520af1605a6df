"""Poison on both ways in: it is named and kept, nothing else is lost, the next message counts."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pika
import pytest

from supervision import app, settings
from supervision.app import App
from supervision.facts import FailureCause
from supervision.fsm.engine.reading import Show, Why
from supervision.fsm.states import State
from supervision.testing import AgentDouble, FrozenClock
from supervision.wire import decode_monitoring
from tests.integration.end_to_end_kit import (
    body,
    columns,
    command,
    connection,
    dead_letters,
    environment,
    properties,
    work_through,
)

SIMULATION: Final = "6513270e-269e-4d37-b2a7-4de452e6b438"
JOB: Final = "d23f0824-128b-4f33-8c5c-7fd0a6a3a450"
NOW: Final = datetime(2016, 2, 19, 11, 10, tzinfo=UTC)
HUGE: Final = 10 * 1024 * 1024

SETTINGS: Final = """\
[sites.curie]
centres = ["tgcc"]
machines = ["curie"]
mode = "act"
scheduler = "slurm"
transport = "local"
agent_home = "/nowhere"
master_key_file = "master.key"

[users.user1]
level = 2
set_by = "test"
set_on = 2016-01-01
"""


def message(code: str, number: int, **fields: str) -> dict[str, str]:
    """Spell the message of this number, of generation C; the fields win."""
    return {
        "msgApplication": "monitoring",
        "msgProducer": "libigcm",
        "msgProducerVersion": "2.8.1",
        "simuid": SIMULATION,
        "jobuid": JOB,
        "msgCode": code,
        "msgUID": f"a170b338-3926-4059-b28c-{number:012d}",
        "msgTimestamp": f"2016-02-19T11:53:{number % 60:02d}.000000001+0100",
        **fields,
    }


def start(**fields: str) -> dict[str, str]:
    """Spell the 0000 of the simulation; the fields win."""
    announced = {
        "name": "CTL02",
        "space": "PROD",
        "model": "IPSLCM6",
        "login": "user1",
        "centre": "TGCC",
        "machine": "curie",
        "jobSubmissionPath": "/ccc/work/user1/CTL02",
    }
    return message("0000", 1, **announced | fields)


FAILED: Final = [message("1001", 2, CumulPeriod="7"), message("1999", 3)]
"""What follows a start, up to the failure."""


def without(name: str, number: int) -> dict[str, str]:
    """Spell a fatal that lacks a field."""
    return {key: value for key, value in message("1999", number).items() if key != name}


LINES: Final[dict[str, bytes]] = {
    "not base64": b"$(touch canary)",
    "not JSON": base64.b64encode(b'{"msgCode": 1999'),
    "not a JSON object": base64.b64encode(b'["1999"]'),
    "not UTF-8": base64.b64encode(b'{"name": "\xff"}'),
    "simuid is not a UUID": json.dumps(message("1999", 11, simuid="$(touch canary)")).encode(),
    "jobuid is not a UUID": json.dumps(message("1999", 12, jobuid="../../etc/passwd")).encode(),
    "unknown code": json.dumps(message("1234", 13)).encode(),
    "msgUID is missing": json.dumps(without("msgUID", 14)).encode(),
    "msgTimestamp is missing": json.dumps(without("msgTimestamp", 15)).encode(),
    "jobuid is missing": json.dumps(without("jobuid", 16)).encode(),
    "holds a NUL": json.dumps(message("1900", 17, command="a\0b")).encode(),
    "half of a surrogate pair": json.dumps(message("1900", 18, command="\ud800")).encode(),
    "wrong type": json.dumps({**message("1900", 19), "command": 7}).encode(),
    "is no time": json.dumps(message("1999", 20, msgTimestamp="tomorrow")).encode(),
    "is too long": json.dumps(message("1000", 21, jobSchedulerID="7" * 600)).encode(),
}
"""Lines of a mail that are no messages, by what is said of each."""
TOO_LARGE: Final = base64.b64encode(json.dumps(message("1999", 10, name="x" * HUGE)).encode())
"""A line that nobody holds in memory whole: it is read, and told, in pieces."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings under which the service acts at one site for one user."""
    (tmp_path / "master.key").write_bytes(b"k" * 32)
    (tmp_path / "master.key").chmod(0o600)
    path = tmp_path / "supervision.toml"
    path.write_text(SETTINGS)
    return path


@contextmanager
def composed(
    config: Path, *, database: str, broker: str = "memory://", scheduler: str = "slurm"
) -> Iterator[App]:
    """Compose the service a quarter of an hour after the failure, with agents in memory."""
    urls = {"SUPERVISION_DATABASE_URL": database, "SUPERVISION_BROKER_URL": broker}
    known = settings.load(config, urls)
    sites = tuple(replace(site, scheduler=scheduler) for site in known.policy.sites)
    clock = FrozenClock(NOW)
    wanted = replace(known, policy=replace(known.policy, sites=sites))
    made = app.build(wanted, clock=clock, transport=AgentDouble(clock))
    try:
        yield made
    finally:
        made.close()


def stored(database: str) -> list[str]:
    """The numbers of the messages that are stored."""
    return sorted(uid[-12:].lstrip("0") for (uid,) in columns(database, "tbl_message", ("uid",)))


def test_poison_in_a_mail_is_named_and_spoils_nothing(config: Path, sqlite_url: str) -> None:
    """Every bad line is told with its number and reason; the good ones around it are stored."""
    first, *others = (json.dumps(each).encode() for each in (start(), *FAILED))
    mail = config.with_name("mail.txt")
    mail.write_bytes(b"\n".join([first, *LINES.values(), TOO_LARGE, *others]) + b"\n")
    env = environment(database=sqlite_url)
    done = command("--config", config, "ingest", "--json", mail, env=env)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith(str(mail))]
    for number, (reason, line) in enumerate(zip(LINES, told, strict=False), start=2):
        assert line.startswith(f"{mail}:{number}: ")
        assert reason in line
    assert all("too large" in line for line in told[len(LINES) :])
    assert (3, len(told)) == tuple(json.loads(done.stdout)[key] for key in ("new", "undecodable"))
    assert ["1", "2", "3"] == stored(sqlite_url)


def poison() -> dict[str, tuple[str, bytes, pika.BasicProperties]]:
    """Code, body and properties of what is no message, by the reason that its dead letter bears."""
    fatal = message("1999", 30)
    plain, labelled = body(fatal), properties(fatal)
    return {
        "too large": ("1999", body({"simuid": SIMULATION, "name": "x" * HUGE}), labelled),
        "not JSON": ("9999", b"$(touch canary)", labelled),
        "not UTF-8": ("1900", b'{"name": "\xff"}', labelled),
        "not a JSON object": ("1999", b"[]", labelled),
        "simuid is not a UUID": ("1999", body({**fatal, "simuid": "$(touch canary)"}), labelled),
        "jobuid is not a UUID": ("1000", body({**fatal, "jobuid": "\n"}), labelled),
        "unknown code": ("9000", plain, properties({**fatal, "msgCode": "1234"})),
        "message_id is missing": ("0100", plain, pika.BasicProperties(type="0100")),
        "jobuid is missing": ("1100", body({"simuid": SIMULATION}), bare("1100")),
        "holds a NUL": ("1900", body({**fatal, "command": "a\0b"}), labelled),
        "wrong type": ("4900", body({**fatal, "command": 7}), labelled),
        "is no time": ("7000", plain, bare("7000", emitted_as="tomorrow")),
    }


def bare(code: str, **headers: str) -> pika.BasicProperties:
    """Properties of a client that tells as little as possible."""
    return pika.BasicProperties(type=code, message_id=message(code, 31)["msgUID"], headers=headers)


def test_poison_from_the_broker_is_buried_with_its_reason(
    config: Path, postgres_url: str, amqp_url: str
) -> None:
    """Each lies in the dead letters of its queue, whole; the failure between them is restarted."""
    bad = poison()
    with composed(config, database=postgres_url, broker=amqp_url) as made:
        work_through(made)  # the queues are there from now on
        good = [(each["msgCode"], body(each), properties(each)) for each in (start(), *FAILED)]
        _publish(amqp_url, [*bad.values(), *good, *bad.values()])
        work_through(made)
        (row,) = made.engine.read(Show())
    assert (JOB, State.EXECUTED) == (row.job_uid, row.state)
    assert ["1", "2", "3"] == stored(postgres_url)
    buried = dead_letters(amqp_url)
    assert 2 * len(bad) == len(buried)
    for reason, (code, raw, _) in bad.items():
        where = (f"dead-in-monitoring-{code}", raw)
        same = [said for queue, said, kept in buried if where == (queue, kept) and reason in said]
        assert len(same) == 2, reason


def _publish(url: str, parcels: Sequence[tuple[str, bytes, pika.BasicProperties]]) -> None:
    with connection(url) as opened:
        channel = opened.channel()
        channel.confirm_delivery()
        for code, raw, labels in parcels:
            channel.basic_publish("x-in", f"in-monitoring-{code}", raw, labels, mandatory=True)


UNKNOWN: Final = {
    "no site is known for centre '$(touch canary)'": start(centre="$(touch canary)"),
    "machine \"';rm -rf /;'\"": start(machine="';rm -rf /;'"),
    "no consent of '`touch canary`' at curie": start(login="`touch canary`"),
    "submission directory of": start(jobSubmissionPath=""),
}
"""Starts of a simulation that nobody can place, by what the verdict says."""


@pytest.mark.parametrize("sentence", UNKNOWN)
def test_a_simulation_that_cannot_be_placed_is_refused_in_words(
    sentence: str, config: Path, sqlite_url: str
) -> None:
    """Site, login or directory are unknown: the verdict says which, and no centre is called."""
    with composed(config, database=sqlite_url) as made:
        told(made, UNKNOWN[sentence])
        (decision,) = made.engine.read(Why(job_uid=JOB))
        assert [] == made.engine.read(Show())
        assert isinstance(made.transport, AgentDouble)
        assert [] == made.transport.calls
    assert "refuse" == decision.verdict
    assert sentence in (decision.sentence or "")


def test_an_unknown_scheduler_ends_the_supervision_in_words(config: Path, sqlite_url: str) -> None:
    """No script can be built for it: the row fails for good, and says which there are."""
    with composed(config, database=sqlite_url, scheduler="nqs") as made:
        told(made, start())
        (row,) = made.engine.read(Show())
    assert (State.FAILED, FailureCause.RENDER, None) == (row.state, row.cause, row.wake_at)
    assert "scheduler 'nqs' of curie is none of slurm, ccc" in (row.reason or "")


def test_settings_with_an_unknown_scheduler_are_refused(config: Path) -> None:
    """The mistake is found before anything starts; the sentence says what is allowed."""
    config.write_text(SETTINGS.replace('"slurm"', '"$(touch canary)"'))
    done = command("--config", config, "run", env=environment())
    assert done.returncode == 2
    assert "sites.curie.scheduler" in done.stderr
    assert "slurm" in done.stderr


def told(made: App, first: Mapping[str, str]) -> None:
    """Store a start and the failure that follows, and do all that is due."""
    lines = [json.dumps(each).encode() for each in (first, *FAILED)]
    made.engine.record([decode_monitoring(line) for line in lines])
    work_through(made)
