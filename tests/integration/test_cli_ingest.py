"""`supervision ingest`: what is counted, what is stored, what is refused, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from db.session import Database, create
from supervision import app, settings, topology
from supervision.adapters.rabbitmq import RabbitBroker
from supervision.adapters.system import SystemClock, SystemIds
from tests.integration.cli_kit import MAILS, Said, announced, failure, give, lines, message
from tests.integration.end_to_end_kit import command, dump, environment

COUNTS = {
    "curie-2014-echo-after-end": {"read": 7440, "new": 10, "ignored": 7430},
    "curie-2015-fatal": {"read": 760, "new": 306, "ignored": 454},
    "curie-2015-run-a": {"read": 367, "new": 3, "ignored": 364},
}
NOTHING = {"read": 0, "new": 0, "duplicate": 0, "ignored": 0, "undecodable": 0, "uncorrelated": 0}
NOW = datetime.now(UTC)


@pytest.fixture
def env(sqlite_url: str) -> dict[str, str]:
    """A database and nothing else: the embedded default."""
    return {"SUPERVISION_DATABASE_URL": sqlite_url}


def ingest(*words: str | Path, env: Mapping[str, str]) -> Said:
    """Ingest, and be told in JSON."""
    return give("ingest", "--json", *words, env=env)


def held(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that holds any."""
    return {table: rows for table, rows in dump(url).items() if rows}


@pytest.mark.parametrize("folder", COUNTS)
def test_real_mails_are_counted(folder: str, env: dict[str, str]) -> None:
    """The counts add up, and are those of the files themselves."""
    said = ingest(MAILS / folder, env=env)
    assert (0, {**NOTHING, **COUNTS[folder]}) == (said.code, said.json)
    assert "" == said.err


def test_a_second_time_changes_nothing(env: dict[str, str], sqlite_url: str) -> None:
    """Every message counts once: the rows are the same to the last column."""
    ingest(MAILS, env=env)
    before = held(sqlite_url)
    again = ingest(MAILS, env=env).json
    assert (0, 319, 8248) == (again["new"], again["duplicate"], again["ignored"])
    assert before == held(sqlite_url)


def test_the_order_of_mails_changes_no_fact(tmp_path: Path, env: dict[str, str]) -> None:
    """Simulations and jobs are what the messages said, whichever came first."""
    urls = []
    for name, folders in (("a", sorted(COUNTS)), ("b", sorted(COUNTS, reverse=True))):
        urls.append(f"sqlite:///{tmp_path / name}.db")
        for folder in folders:
            ingest(MAILS / folder, env={**env, "SUPERVISION_DATABASE_URL": urls[-1]})
    tables = ("tbl_simulation", "tbl_job", "tbl_job_period")
    first, second = (held(url) for url in urls)
    assert [first.get(name) for name in tables] == [second.get(name) for name in tables]


def test_every_kind_of_file_is_read(tmp_path: Path, env: dict[str, str]) -> None:
    """Lines, JSON lines, mail, mailbox and Maildir give the same message, which counts once."""
    sent = announced(NOW)
    body = lines([sent])
    mail = b"From: a@example.org\r\nDate: Wed, 18 Mar 2015 09:48:48 +0100\r\n\r\n" + body
    (tmp_path / "lines").write_bytes(body)
    (tmp_path / "json").write_text(json.dumps(sent) + "\n")
    (tmp_path / "mail.eml").write_bytes(mail)
    (tmp_path / "mbox").write_bytes(b"From a@example.org Wed Mar 18 09:48:48 2015\n" + mail)
    for name in ("cur", "new", "tmp"):
        (tmp_path / "maildir" / name).mkdir(parents=True)
    (tmp_path / "maildir" / "new" / "1.a").write_bytes(mail)
    names = ("lines", "json", "mail.eml", "mbox", "maildir")
    said = ingest(*(tmp_path / name for name in names), env=env)
    assert {**NOTHING, "read": 5, "new": 1, "duplicate": 4} == said.json


def test_what_cannot_be_read_is_listed_and_stops_nothing(
    tmp_path: Path, env: dict[str, str]
) -> None:
    """File and line are named, control characters are not let through, the rest is stored."""
    file = tmp_path / "mixed"
    bad = b"eyJ\xff\x1b[31m\n" + b'{"msgCode": "9999"}\n\n' + b'{"a": \x00}\n'
    file.write_bytes(bad + lines([announced(NOW), announced(NOW, simuid="")]))
    said = ingest(file, env=env)
    expected = {"read": 5, "new": 1, "undecodable": 3, "uncorrelated": 1}
    assert (0, {**NOTHING, **expected}) == (said.code, said.json)
    numbers = [line.split(": ")[0] for line in said.err.splitlines()]
    assert [f"{file}:1", f"{file}:2", f"{file}:4"] == numbers
    assert said.err.replace("\n", "").isprintable()


def test_a_line_of_ten_megabytes_spoils_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    """Its neighbours are stored, and the counts still add up."""
    file = tmp_path / "long"
    before, after = lines([announced(NOW)]), lines([message("1001", NOW, CumulPeriod="1")])
    file.write_bytes(before + b"e" * 10_000_000 + b"\n" + after)
    counts = ingest(file, env=env).json
    assert (2, 0) == (counts["new"], counts["duplicate"])
    assert counts["undecodable"] >= 1
    assert counts["read"] == sum(counts.values()) - counts["read"]


def test_hostile_values_are_only_text(
    tmp_path: Path, env: dict[str, str], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that a shell or SQL would run are stored as they are, and nothing runs."""
    monkeypatch.chdir(tmp_path)
    name = "$(touch x); '; DROP TABLE tbl_job; -- \N{SNOWMAN}"
    file = tmp_path / "$(touch y) 'mail"
    file.write_bytes(lines([announced(NOW, name=name)]))
    assert 1 == ingest(file, env=env).json["new"]
    assert name in [value for row in held(sqlite_url)["tbl_simulation"] for value in row]
    assert [] == [path.name for path in tmp_path.iterdir() if path.name in {"x", "y"}]


@pytest.mark.parametrize("content", [b"", b"not a message\n", b"{}\n"])
def test_nothing_that_can_be_read_is_an_exit_of_1(
    content: bytes, tmp_path: Path, env: dict[str, str]
) -> None:
    """The counts are told all the same."""
    (tmp_path / "file").write_bytes(content)
    said = ingest(tmp_path / "file", env=env)
    assert (1, bool(content)) == (said.code, said.json["undecodable"] == 1)
    assert "no message could be read" in said.err


def test_a_file_that_is_not_there_is_named(tmp_path: Path, env: dict[str, str]) -> None:
    """Nothing of the other files is stored or reported."""
    said = ingest(MAILS / "curie-2015-run-a", tmp_path / "gone", env=env)
    assert (1, "") == (said.code, said.out)
    assert f"there is no {tmp_path / 'gone'}" in said.err


def test_without_a_path_there_is_a_usage(env: dict[str, str]) -> None:
    """Bad use is 2."""
    assert 2 == ingest(env=env).code


def test_people_get_a_sentence(tmp_path: Path, env: dict[str, str]) -> None:
    """One line with every count."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    said = give("ingest", tmp_path / "mail", env=env)
    expected = "3 read: 3 new, 0 known already, 0 not of use, 0 unreadable, 0 of no simulation\n"
    assert expected == said.out


def test_history_triggers_nothing(tmp_path: Path, env: dict[str, str], sqlite_url: str) -> None:
    """The messages are there, the ledger is empty, and no alarm is set."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    assert 3 == ingest("--history", tmp_path / "mail", env=env).json["new"]
    rows = held(sqlite_url)
    assert (3, 1) == (len(rows["tbl_message"]), len(rows["tbl_job"]))
    assert "tbl_supervision_decision" not in rows


def test_a_database_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    """Four mails at once, at a place where nothing is: one database, every message once."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    env = environment(database=f"sqlite:///{tmp_path}/deep/down/supervision.db")
    line = [sys.executable, "-P", "-m", "supervision", "ingest", "--json", str(tmp_path / "mail")]
    running = [
        subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60) for process in running]
    assert [0] * 4 == [process.returncode for process in running], said
    assert 3 == sum(json.loads(out)["new"] for out, _ in said)


def test_a_database_that_is_away_is_an_exit_of_3(free_port: int, tmp_path: Path) -> None:
    """A sentence, no traceback, and no counts of a half."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    url = f"postgresql://nobody@127.0.0.1:{free_port}/supervision"
    said = ingest(tmp_path / "mail", env={"SUPERVISION_DATABASE_URL": url})
    assert (3, "") == (said.code, said.out)
    assert "Traceback" not in said.err


def test_a_broker_that_is_away_is_an_exit_of_3(
    free_port: int, tmp_path: Path, env: dict[str, str]
) -> None:
    """The sentence says that the same paths may be given again."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    url = f"amqp://guest:guest@127.0.0.1:{free_port}/"
    said = ingest(tmp_path / "mail", env={**env, "SUPERVISION_BROKER_URL": url})
    assert (3, "") == (said.code, said.out)
    assert "0 messages are safe; give the same paths again" in said.err


def _depths(url: str) -> dict[str, int]:
    broker = RabbitBroker(url, ids=SystemIds(), clock=SystemClock())
    try:
        depths = {name: broker.depth(name) for name in topology.QUEUES}
        return {name: depth for name, depth in depths.items() if depth}
    finally:
        broker.close()


def test_with_a_rabbitmq_messages_are_published(amqp_url: str, tmp_path: Path) -> None:
    """Each to the queue of its code; the database may be away, and is not asked."""
    now = datetime.now(UTC)
    sent = [
        *failure(),
        message("7000", now, activity="x"),
        message("1999", now, simuid=""),
        message("4900", now, msgProducerVersion=None, command="IGCM_sys_Cp", cumulPeriod=""),
        message("4000", now, msgProducerVersion=None, command="IGCM_sys_Cp", cumulPeriod=""),
    ]
    (tmp_path / "mail").write_bytes(lines(sent) + b"eyJ=\n")
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    env = {"SUPERVISION_BROKER_URL": amqp_url, "SUPERVISION_DATABASE_URL": away}
    said = ingest(tmp_path / "mail", env=env)
    expected = {"read": 8, "published": 4, "ignored": 2, "undecodable": 1, "uncorrelated": 1}
    assert (0, expected) == (said.code, said.json)
    queues = {"0000": 1, "1001": 1, "1999": 2, "4900": 1, "7000": 1}
    assert {f"in-monitoring-{code}": count for code, count in queues.items()} == _depths(amqp_url)


def test_history_goes_past_the_rabbitmq(amqp_url: str, postgres_url: str, tmp_path: Path) -> None:
    """A queue could not carry that it is history: the database has it, the queues stay empty."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    env = {"SUPERVISION_BROKER_URL": amqp_url, "SUPERVISION_DATABASE_URL": postgres_url}
    assert 3 == ingest("--history", tmp_path / "mail", env=env).json["new"]
    assert (3, {}) == (len(dump(postgres_url)["tbl_message"]), _depths(amqp_url))


def test_one_message_that_no_broker_takes_spoils_no_other(amqp_url: str, tmp_path: Path) -> None:
    """What does not fit into a frame is unreadable, the rest of its set is published."""
    huge = announced(NOW, msgProducer="x" * 200_000)
    (tmp_path / "mail").write_bytes(lines([*failure(), huge]))
    said = ingest(tmp_path / "mail", env={"SUPERVISION_BROKER_URL": amqp_url})
    assert (3, 1) == (said.json["published"], said.json["undecodable"])
    assert "mail:4: " in said.err


def test_two_homes_of_settings_lead_to_one_database(tmp_path: Path, sqlite_url: str) -> None:
    """--config wins over the variable, and the environment's database over both."""
    (tmp_path / "good.toml").write_text("")
    (tmp_path / "bad.toml").write_text("nonsense = 1\n")
    (tmp_path / "mail").write_bytes(lines(failure()))
    env = {
        "SUPERVISION_CONFIG": str(tmp_path / "bad.toml"),
        "SUPERVISION_DATABASE_URL": sqlite_url,
    }
    good = ("--config", tmp_path / "good.toml", "ingest", "--json", tmp_path / "mail")
    assert 3 == give(*good, env=env).json["new"]
    bad = ingest(tmp_path / "mail", env=env)
    assert 2 == bad.code
    assert "nonsense" in bad.err


def test_a_mail_program_can_call_it(tmp_path: Path) -> None:
    """As a process: JSON alone on stdout, nothing on stderr, exit code 0."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    env = environment(database=f"sqlite:///{tmp_path}/supervision.db")
    done = command("ingest", "--json", tmp_path / "mail", env=env)
    assert (0, "", 3) == (done.returncode, done.stderr, json.loads(done.stdout)["new"])


def test_a_broken_message_is_told_with_its_error(tmp_path: Path, env: dict[str, str]) -> None:
    """What the database refuses of one message is unreadable; the others of its set are stored."""
    sqlite_url = env["SUPERVISION_DATABASE_URL"]
    loaded = settings.load(None, env)
    app.prepare(loaded)
    database = Database(create(sqlite_url), None)
    with database.write() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON tbl_job_period "
            "BEGIN SELECT RAISE(ABORT, 'no period, says the test'); END"
        )
    database.close()
    (tmp_path / "mail").write_bytes(lines(failure()))
    said = ingest(tmp_path / "mail", env=env)
    assert (0, 2, 1) == (said.code, said.json["new"], said.json["undecodable"])
    assert "no period, says the test" in said.err
