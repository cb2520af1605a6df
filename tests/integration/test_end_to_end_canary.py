"""Names that are commands, all the way to a centre that runs scripts: no canary is ever seen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email import message_from_bytes
from pathlib import Path
from typing import Final

import pytest

from supervision.facts import CancelCause, ExitCode, JobKind, Supervision
from supervision.fsm.states import STATES, State
from supervision.sandbox import cards, emission, spool
from supervision.sandbox.cards import RunCard
from supervision.sandbox.centre import CENTRE_NAME, EXPERIMENT, MACHINE, MODEL, SPACE
from tests.integration.end_to_end_kit import World, a_world, command, until

CANARY: Final = "canary"
WORDS: Final = (
    "$(touch canary)",
    "`touch canary`",
    "'; touch canary; '",
    "é 漢字 ${IFS}& touch canary #",
)
"""Names of jobs, tasks and directories, and scheduler ids; config.card can spell each of them."""
UNSPELT: Final = ('"; touch canary; "', "a\nBcc: canary@example.org\n\ntouch canary")
"""Such that no config.card can: to libIGCM they are other names."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A simulation of which somebody says that its job failed."""

    name: str
    directory: Path
    uid: str
    job_uid: str


@pytest.fixture
def world(tmp_path: Path, sqlite_url: str) -> Iterator[World]:
    """A sandbox, and settings under which its service is one process on SQLite."""
    with a_world(tmp_path, database=sqlite_url) as made:
        yield made


def failed(world: World, word: str) -> Failed:
    """Make the directory of a simulation of this name, as its failed job has left it."""
    made = Failed(
        name=word,
        directory=world.centre.directory_of(word),
        uid=emission.new_uid(),
        job_uid=emission.new_uid(),
    )
    made.directory.mkdir(parents=True)
    choices = {"JobName": word, "TagName": MODEL, "SpaceName": SPACE, "ExperimentName": EXPERIMENT}
    card = cards.render({"UserChoices": {**choices, "PeriodLength": "1M"}})
    (made.directory / "config.card").write_text(card)
    (made.directory / f"Job_{word}").write_text("#!/bin/sh\n#SBX -o out\n#SBX -e out\ntrue\n")
    (made.directory / post_file(word)).write_text("#!/bin/sh\n#SBX -o out\ntrue\n")
    cards.write_run_card(
        made.directory / "run.card",
        RunCard(
            period=3,
            state=cards.FATAL,
            simulation_uid=made.uid,
            submit_path=str(made.directory),
        ),
    )
    return made


def post_file(word: str) -> str:
    """Name the file of a post-processing job whose simulation, task and date are this word."""
    return f"Post_{word}.{word}.{word}.job"


def says(whose: Failed, code: str, **fields: str) -> dict[str, str]:
    """Spell one message of generation C, sent now."""
    now = emission.stamp(time.time_ns())
    return {
        "msgApplication": "monitoring",
        "msgProducer": "libigcm",
        "msgProducerVersion": "2.8.1",
        "simuid": whose.uid,
        "jobuid": whose.job_uid,
        "msgCode": code,
        "msgUID": emission.new_uid(),
        "msgTimestamp": now,
        **fields,
    }


def compute(world: World, whose: Failed) -> list[dict[str, str]]:
    """Say that the compute job of a simulation failed in its third period."""
    announced = {
        "name": whose.name,
        "login": world.centre.login,
        "centre": CENTRE_NAME,
        "machine": MACHINE,
        "model": MODEL,
        "space": SPACE,
    }
    return [
        says(whose, "0000", **announced, **begun(whose)),
        says(whose, "1001", CumulPeriod="3"),
        says(whose, "1900", command=whose.name),
        says(whose, "1999"),
    ]


def post(whose: Failed) -> list[dict[str, str]]:
    """Say that a post-processing job of a simulation failed; its task has the simulation's name."""
    job = replace(whose, job_uid=emission.new_uid())
    parts = ("Name", "Date", "Dimn", "Comp", "File")
    task = {f"postProcessing{part}": whose.name for part in parts}
    return [says(job, "2000", **task, **begun(whose)), says(job, "2999")]


def begun(whose: Failed) -> dict[str, str]:
    """What the start of a job says of it."""
    return {
        "accountingProject": whose.name,
        "jobWarningDelay": whose.name,
        "jobSchedulerID": whose.name,
        "jobSubmissionPath": str(whose.directory),
    }


def ingest(world: World, messages: Sequence[Mapping[str, str]]) -> None:
    """Hand messages over as lines of JSON."""
    file = world.centre.root / "lines.txt"
    file.write_text("".join(json.dumps(each) + "\n" for each in messages))
    done = command("ingest", "--json", file, env=world.environment)
    assert done.returncode == 0, done.stderr
    assert len(messages) == json.loads(done.stdout)["new"]


def canaries(tmp_path: Path) -> list[Path]:
    """Every file that a name has made, wherever a script, an agent or the service may stand."""
    places = (Path.cwd(), *Path(__file__).parents[:3], Path.home())
    beside = [each / CANARY for each in places if (each / CANARY).exists()]
    return [*tmp_path.rglob(CANARY), *beside]


def settled(world: World, count: int) -> list[Supervision]:
    """Wait until so many rows are there and none of them is unfinished, or waits for a try."""

    def over() -> bool:
        rows = world.rows()
        return len(rows) == count and not any(
            STATES[row.state].unfinished or (row.state is State.FAILED and row.wake_at)
            for row in rows
        )

    until(over, f"{count} rows are finished")
    return world.rows()


def test_names_are_never_commands(world: World, tmp_path: Path) -> None:
    """Jobs with such names, and their post-processing, are restarted like any other, once."""
    simulations = [failed(world, word) for word in WORDS]
    ingest(world, [said for each in simulations for said in (*compute(world, each), *post(each))])
    world.run().begun()
    states = {(row.directory, row.kind, row.state) for row in settled(world, 2 * len(WORDS))}
    assert [] == canaries(tmp_path)
    wanted = {
        (str(each.directory), kind, State.EXECUTED) for each in simulations for kind in JobKind
    }
    assert wanted == states
    restarted = sorted(job.name for job in spool.queue(world.centre))
    assert sorted([*WORDS, *(post_file(word) for word in WORDS)]) == restarted


def test_names_that_libigcm_reads_otherwise_are_left_alone(world: World, tmp_path: Path) -> None:
    """The script sees another JobName in config.card and touches nothing; the mail says so."""
    simulations = [failed(world, word) for word in UNSPELT]
    ingest(world, [said for each in simulations for said in compute(world, each)])
    world.run().begun()
    rows = settled(world, len(UNSPELT))
    assert [] == canaries(tmp_path)
    assert {(State.CANCELLED, CancelCause.DECLINED)} == {(row.state, row.cause) for row in rows}
    assert all(f"(exit code {ExitCode.OTHER_SIMULATION})" in (row.reason or "") for row in rows)
    assert [] == list(spool.queue(world.centre))
    mails = [message_from_bytes(file.read_bytes()) for file in maildir(world)]
    assert len(UNSPELT) == len(mails)
    assert not any(mail["Bcc"] or CANARY in str(mail["To"]) for mail in mails)


def maildir(world: World) -> list[Path]:
    """The mails that people got."""
    return list(world.centre.root.glob("mail/new/*"))
