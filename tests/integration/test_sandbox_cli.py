"""The commands for people: making a centre, starting, restarting, stopping, looking."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supervision import settings
from supervision.adapters.agent_protocol import derive_key
from supervision.cli.sandbox import sandbox
from supervision.facts import Mode
from supervision.sandbox import builder, plans, spool
from supervision.sandbox.centre import Centre, Pace, open_centre
from supervision.sandbox.plans import Fault, FaultKind, Generation

QUICK = Pace(period_seconds=0.05, queue_seconds=60, mail_again_seconds=())
"""Jobs stay in the queue: here nobody waits for them."""


def use(*words: str | Path) -> Result:
    """Give one command, as a person does."""
    return CliRunner().invoke(sandbox, [str(word) for word in words])


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """A centre without an agent whose jobs stay queued; nothing of it runs afterwards."""
    made = builder.make_centre(tmp_path / "a centre", ingest=("/bin/true",), pace=QUICK)
    yield made
    builder.stop(made)


def test_new_makes_a_centre_that_the_service_can_use(tmp_path: Path) -> None:
    """Settings that load and act, a key that only its owner reads, an agent that has its own."""
    root = tmp_path / "my centre"
    done = use("new", root)
    assert 0 == done.exit_code, done.output
    loaded = settings.load(root / "supervision.toml", {})
    login = open_centre(root).login
    assert (Mode.ACT, login) == (loaded.policy.sites[0].mode, loaded.policy.users[0].login)
    assert str(root / "home") == loaded.site("sandbox").home_of(login)
    key = derive_key(loaded.site("sandbox").master_key(), "sandbox", login)
    file = root / "home" / ".supervision-agent" / "agent.key"
    assert key.hex() == file.read_text().strip()
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in (file, root / "master.key")}


def test_new_takes_over_the_urls_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if they had been written there, a path from where we stand; only its owner reads it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERVISION_DATABASE_URL", "sqlite:///mine.db")
    monkeypatch.setenv("SUPERVISION_BROKER_URL", "amqp://me:secret@localhost:5672/mine")
    done = use("new", tmp_path / "c")
    assert 0 == done.exit_code, done.output
    assert "secret" not in done.output
    file = tmp_path / "c" / "supervision.toml"
    loaded = settings.load(file, {})
    assert f"sqlite:///{tmp_path / 'mine.db'}" == loaded.database_url
    assert "amqp://me:secret@localhost:5672/mine" == loaded.broker_url
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_url_that_cannot_be_used_makes_no_centre(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the variable."""
    monkeypatch.setenv("SUPERVISION_BROKER_URL", "http://me:secret@host/")
    done = use("new", tmp_path / "c")
    assert 2 == done.exit_code
    assert "SUPERVISION_BROKER_URL" in done.output
    assert "secret" not in done.output
    assert not (tmp_path / "c").exists()


def test_a_centre_whose_agent_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent refuses the key: the sentence is its own, and the next try finds room."""
    monkeypatch.setattr("supervision.cli.sandbox.derive_key", lambda *_: b"short")
    done = use("new", tmp_path / "c")
    assert 2 == done.exit_code
    assert "a key has 32 bytes" in done.output
    assert [] == list((tmp_path / "c").iterdir())


def test_new_tells_what_to_do_next(tmp_path: Path) -> None:
    """A newcomer copies three lines."""
    said = use("new", tmp_path / "a c").output
    assert f"export SUPERVISION_CONFIG='{tmp_path / 'a c' / 'supervision.toml'}'" in said
    assert "supervision sandbox simulate" in said


def test_new_leaves_alone_what_is_there(tmp_path: Path) -> None:
    """A directory with anything in it is refused, in a sentence and with exit code 2."""
    (tmp_path / "thesis.tex").write_text("precious")
    done = use("new", tmp_path)
    assert (2, ["thesis.tex"]) == (done.exit_code, [path.name for path in tmp_path.iterdir()])
    assert "is not empty" in done.output


def test_simulate_prints_the_uid_and_keeps_the_plan(centre: Centre) -> None:
    """The uid alone stands on stdout, so that a shell can take it."""
    words = ("demo", "--periods", "5", "--fail", "error:3", "--fail", "post:2", "--end-delayed")
    done = use("simulate", centre.root, *words, "--generation", "B")
    assert 0 == done.exit_code, done.output
    plan = plans.load(centre, "demo")
    faults = (Fault(kind=FaultKind.ERROR, period=3), Fault(kind=FaultKind.POST, period=2))
    assert (5, faults, True, Generation.B) == (
        plan.periods, plan.faults, plan.end_delayed, plan.generation,
    )  # fmt: skip
    assert f"{plan.uid}\n" == done.output
    assert ["queued"] == [record.state for record in spool.queue(centre)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("a b", "--periods", "4"), "allowed are 1 to 64"),
        (("..", "--periods", "4"), "allowed are 1 to 64"),
        (("demo", "--periods", "4", "--fail", "boom:1"), "write KIND:PERIOD"),
        (("demo", "--periods", "4", "--fail", "nan:5"), "none of the periods 1 to 4"),
        (("demo", "--periods", "0"), "0 is not in the range"),
        (("demo",), "Missing option '--periods'"),
        (("demo", "--periods", "4", "--generation", "A"), "is not one of 'B', 'C'"),
    ],
)
def test_a_bad_simulation_is_a_sentence(
    centre: Centre, words: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2, and nothing was started."""
    done = use("simulate", centre.root, *words)
    assert 2 == done.exit_code
    assert sentence in done.output
    assert [] == list(spool.queue(centre))


def test_a_name_is_used_once(centre: Centre) -> None:
    """The second simulation of a name is refused, the first one is untouched."""
    first = use("simulate", centre.root, "demo", "--periods", "4").output.strip()
    done = use("simulate", centre.root, "demo", "--periods", "9")
    assert 2 == done.exit_code
    assert (first, 4) == (plans.load(centre, "demo").uid, plans.load(centre, "demo").periods)


@pytest.mark.parametrize(
    "words",
    [("simulate", "demo", "--periods", "1"), ("rerun", "demo"), ("status",), ("stop",)],
)
def test_a_directory_that_is_no_centre_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Every command says so, with exit code 2."""
    command, *rest = words
    done = use(command, tmp_path, *rest)
    assert 2 == done.exit_code
    assert f"{tmp_path} is no sandbox centre" in done.output


def test_rerun_of_a_queued_simulation_is_refused(centre: Centre) -> None:
    """There would be two."""
    use("simulate", centre.root, "demo", "--periods", "4")
    done = use("rerun", centre.root, "demo")
    assert 2 == done.exit_code
    assert "is queued: nothing to restart" in done.output


def test_stop_cancels_and_rerun_starts_again(centre: Centre) -> None:
    """Stop prints what it cancelled, rerun what it submitted."""
    use("simulate", centre.root, "demo", "--periods", "4")
    assert "1001\n" == use("stop", centre.root).output
    assert "1002\n" == use("rerun", centre.root, "demo").output
    assert ["cancelled", None] == [record.reason for record in spool.queue(centre)]


def test_status_is_a_table(centre: Centre) -> None:
    """A line for each simulation, under a heading."""
    uid = use("simulate", centre.root, "demo", "--periods", "4").output.strip()
    heading, line = use("status", centre.root).output.splitlines()
    assert ["NAME", "PERIOD", "STATE", "JOB", "QUEUE", "UID"] == heading.split()
    assert ["demo", "-/4", "absent", "1001", "queued", uid] == line.split()


def test_status_tells_of_mail_that_waits(centre: Centre) -> None:
    """A service that is away shows itself here."""
    (centre.outbox / "00000000000000000001.1.mail").write_text("x\n")
    assert "1 mails wait in the outbox" in use("status", centre.root).output


def test_status_is_json_when_asked(centre: Centre) -> None:
    """For programs: every value by its name, null where there is none."""
    uid = use("simulate", centre.root, "demo", "--periods", "4").output.strip()
    expected = {
        "name": "demo",
        "uid": uid,
        "state": "absent",
        "period": None,
        "periods": 4,
        "job": "1001",
        "job_state": "queued",
        "job_reason": None,
    }
    said = json.loads(use("status", centre.root, "--json").output)
    assert {"simulations": [expected], "undelivered": 0} == said


def test_status_of_a_stopped_job_says_how_it_ended(centre: Centre) -> None:
    """The scheduler's reason stands behind the state."""
    use("simulate", centre.root, "demo", "--periods", "4")
    use("stop", centre.root)
    assert "ended (cancelled)" in use("status", centre.root).output


def test_a_scheduler_that_takes_no_job_is_said(centre: Centre) -> None:
    """Its own sentence reaches the person."""
    (centre.bin / "sbx-submit").write_text("#!/bin/sh\necho 'the queue is closed' >&2\nexit 1\n")
    done = use("simulate", centre.root, "demo", "--periods", "4")
    assert 2 == done.exit_code
    assert "did not take the job: the queue is closed" in done.output


@pytest.mark.parametrize("words", [(), ("new",), ("simulate",), ("rerun",), ("status",), ("stop",)])
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    """--help says what the command does before it lists options."""
    done = use(*words, "--help")
    assert 0 == done.exit_code
    assert done.output.splitlines()[2].strip()
