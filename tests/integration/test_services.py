"""What the fixtures promise: own servers, fresh databases and vhosts, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pika
import psycopg2
import pytest
from pika import exceptions
from sqlalchemy import create_engine, inspect, text

from tests.services import kept, programs
from tests.services.handles import PostgresHandle, RabbitHandle
from tests.services.shared import Run
from tests.services.slurm import Slurm

_DEBIAN = Path(__file__).parents[2] / "requirements" / "debian.txt"


def _tables(url: str) -> set[str]:
    engine = create_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def _make_table(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_behind (x INTEGER)"))
    engine.dispose()


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_gets_a_migrated_database_of_its_own(database_url: str, time: int) -> None:
    """What one test leaves in its database, the next one does not see."""
    tables = _tables(database_url)
    assert (True, False) == ("alembic_version" in tables, "left_behind" in tables), time
    _make_table(database_url)
    assert "left_behind" in _tables(database_url)


def test_postgresql_keeps_its_promises_about_durability(postgres_url: str) -> None:
    """Tests of crashes mean something only where a commit reaches the disk."""
    with psycopg2.connect(postgres_url.replace("+psycopg2", "")) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW fsync")
        assert ("on",) == cursor.fetchone()
    connection.close()


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_gets_an_empty_vhost(amqp_url: str, time: int) -> None:
    """A queue that one test declares is not there for the next one."""
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        with pytest.raises(exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            connection.channel().queue_declare("left-behind", passive=True)
        declared = connection.channel().queue_declare(
            "left-behind", durable=True, arguments={"x-queue-type": "quorum"}
        )
        assert 0 == declared.method.message_count, time


def test_a_killed_database_comes_back_with_what_was_committed(postgresql: PostgresHandle) -> None:
    """Address and data of a worker's own server outlive its crash."""
    _make_table(postgresql.url)
    postgresql.kill()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(postgresql.url.replace("+psycopg2", ""))
    postgresql.start()
    assert "left_behind" in _tables(postgresql.url)


def _is_in_the_log(rabbitmq: RabbitHandle, queue: str) -> bool:
    """Whether a queue's definition is written: the broker gathers such changes for two seconds."""
    files = (rabbitmq.session.folder / "rabbitmq" / "mnesia").glob("*/*")
    return any(queue.encode() in file.read_bytes() for file in files if file.is_file())


def test_a_killed_broker_comes_back_at_the_same_address(rabbitmq: RabbitHandle) -> None:
    """Durable queues of a worker's own broker outlive its crash, once they are on disk."""
    name = "kept-over-a-crash"
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_declare(name, durable=True)
        kept.until(lambda: _is_in_the_log(rabbitmq, name), "the definition is written")
        rabbitmq.kill()
        with pytest.raises(exceptions.AMQPConnectionError):
            connection.process_data_events()
    rabbitmq.start()
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        found = connection.channel().queue_declare(name, passive=True)
    assert name == found.method.queue


def test_a_server_ends_with_a_session_that_was_killed(tmp_path: Path, free_port: int) -> None:
    """Also a killed run leaves neither a process nor its folder behind."""
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = tmp_path / "session"
    folder.mkdir()
    keeper = kept.start(kept.Session(owner=owner.pid, folder=folder), _listener(folder, free_port))
    owner.kill()
    owner.communicate()
    os.waitpid(keeper, 0)
    assert (False, False) == (kept.listens(free_port), folder.exists())


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    """The error carries what the server wrote before it ended."""
    command = [sys.executable, "-c", "raise SystemExit('no disk')"]
    launch = kept.Launch(command=command, log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(kept.NotStarted, match="no disk"):
        kept.start(kept.Session(owner=os.getpid(), folder=tmp_path), launch)


def test_a_polite_stop_reaches_the_server_itself(tmp_path: Path, free_port: int) -> None:
    """The signal that a server asks for arrives there, and stopping twice is fine."""
    session = kept.Session(owner=os.getpid(), folder=tmp_path)
    keeper = kept.start(session, _listener(tmp_path, free_port))
    kept.stop(keeper)
    kept.stop(keeper)
    assert "told\n" == (tmp_path / "log").read_text()


def test_what_a_server_began_ends_with_it(tmp_path: Path, free_port: int) -> None:
    """A daemon that a server began belongs to nobody, and is ended with the server all the same."""
    daemon = f"(setsid sh -c 'echo $$ > {tmp_path}/daemon; exec sleep 600' &)"
    launch = _listener(tmp_path, free_port)
    command = ["sh", "-c", f'{daemon}; exec "$@"', "sh", *launch.command]
    launch = replace(launch, command=command, family=True)
    keeper = kept.start(kept.Session(owner=os.getpid(), folder=tmp_path), launch)
    kept.until((tmp_path / "daemon").exists, "the daemon is there")
    kept.stop(keeper, crash=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "daemon").read_text()), 0)


def test_slurm_keeps_its_jobs_over_a_restart_and_loses_them_with_its_memory(
    slurm: Slurm, tmp_path: Path
) -> None:
    """A controller that comes back knows its jobs; one whose state is gone counts anew."""
    job = slurm.submit(tmp_path, "sleeper", "sleep 600")
    kept.until(lambda: "RUNNING" == slurm.state(job), "the job runs")
    slurm.stop_controller()
    with pytest.raises(subprocess.CalledProcessError):
        slurm.state(job)
    slurm.start()
    assert "RUNNING" == slurm.state(job)
    slurm.forget(next_job=1)
    assert ("", []) == (slurm.state(job), slurm.jobs(tmp_path))


def test_what_a_run_shares_is_made_once() -> None:
    """The second who asks gets the record of the first, whatever process it is in."""
    run = Run.begun()
    folder = run.session.folder
    joined = Run.joined(owner=os.getpid(), folder=str(folder))
    made = [run.once("thing", lambda: {"n": 1}), joined.once("thing", lambda: {"n": 2})]
    run.end()
    assert [{"n": 1}, {"n": 1}] == made
    assert not folder.exists()


def test_a_missing_program_fails_with_the_command_that_installs_it() -> None:
    """A test never skips what it cannot run: it says what to type."""
    with pytest.raises(pytest.fail.Exception, match="apt-get install -y no-such-program"):
        programs.program("no-such-program")


def test_every_program_that_tests_ask_for_is_installed_beforehand() -> None:
    """The list that `make test` installs from covers what tests fail without."""
    listed = {line.strip() for line in _DEBIAN.read_text().splitlines()}
    assert set() == set(programs.PACKAGES.values()) - listed


def _listener(folder: Path, port: int) -> kept.Launch:
    script = (
        "import signal, socket, sys, threading\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('told', flush=True), sys.exit()))\n"
        f"server = socket.create_server(('{kept.HOST}', {port}))\n"
        "while True: signal.pause()\n"
    )
    return kept.Launch(
        command=[sys.executable, "-c", script],
        log=folder / "log",
        ready=lambda: kept.listens(port),
        polite=signal.SIGINT,
    )
