"""What people ask: show, why, render; as sentences and tables, and as JSON for programs."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.session import Database, create
from db.types_supervision import Supervision
from supervision import script
from supervision.fsm.states import State
from tests.integration.cli_kit import (
    JOB,
    LOGIN,
    SIMULATION,
    Desk,
    a_desk,
    announced,
    failure,
    message,
)

UNKNOWN = "ffffffff-0000-4000-8000-000000000000"
COLUMNS = {column.name for column in Supervision.__table__.columns}


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    """A service that was told of one failure, and has sent its script."""
    with a_desk(tmp_path, sqlite_url) as made:
        made.hear(failure())
        made.work()
        assert State.EXECUTED is made.row().state
        yield made


@pytest.fixture
def fresh(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    """A service that has been told nothing."""
    with a_desk(tmp_path, sqlite_url) as made:
        yield made


def test_show_is_a_table(desk: Desk) -> None:
    """One line a supervision, with what people look for; no line is cut where nobody watches."""
    said = desk.give("show")
    assert 0 == said.code
    heading, _rule, line = [line for line in said.out.splitlines() if line.strip()]
    assert ["ID", "STATE", "SIMULATION", "JOB", "SITE", "LOGIN", "TRIGGER"] == heading.split()[:7]
    expected = [desk.row().id[:8], "executed", "CPL01", JOB[:8], "curie", LOGIN, "fatal", "1"]
    assert expected == line.split()[:8]


def test_show_is_json_for_programs(desk: Desk) -> None:
    """The names are those of the table's columns, and `state`; the script is in it."""
    (row,) = desk.give("show", "--json").json
    assert COLUMNS - {"rewakes"} | {"state"} == set(row)
    assert ("executed", "dispatched", "executed") == (
        row["state"],
        row["dispatch_status"],
        row["execution_status"],
    )
    text = base64.b64decode(row["script_content"])
    assert row["script_sha256"] == hashlib.sha256(text).hexdigest()
    assert desk.row().created_at == datetime.fromisoformat(row["created_at"])


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--state", "executed"), 1),
        (("--state", "failed", "--state", "executed"), 1),
        (("--state", "failed"), 0),
        (("--site", "curie"), 1),
        (("--site", "ada"), 0),
        (("--login", LOGIN), 1),
        (("--login", "$(touch x)"), 0),
        (("--simulation", SIMULATION[:6]), 1),
        (("--limit", "1"), 1),
    ],
)
def test_show_filters(desk: Desk, words: tuple[str, ...], count: int) -> None:
    """Filters narrow the list; those that match nothing give an empty list, and say so by 1."""
    said = desk.give("show", "--json", *words)
    assert (0 if count else 1, count) == (said.code, len(said.json))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--state", "gone"), 2),
        (("--limit", "0"), 2),
        (("--simulation", "zz"), 2),
        (("--simulation", UNKNOWN), 1),
        (("--simulation", JOB), 1),
    ],
)
def test_show_refuses_what_is_no_filter(desk: Desk, words: tuple[str, ...], code: int) -> None:
    """A slip is told, and not taken for an empty list."""
    assert code == desk.give("show", *words).code


def test_show_of_nothing_says_so(fresh: Desk) -> None:
    """People get a sentence, programs an empty list, and both the exit code of nothing."""
    assert (1, "There is no such supervision.\n") == (
        fresh.give("show").code,
        fresh.give("show").out,
    )
    assert [] == fresh.give("show", "--json").json


def test_show_lets_no_escape_through(fresh: Desk) -> None:
    """A name from a message does not drive the terminal of whoever looks."""
    fresh.hear(failure(name="a\x1b[2Jb[red]"))
    fresh.work()
    said = fresh.give("show").out
    assert "a?[2Jb[red]" in said


@pytest.mark.parametrize("target", [JOB, JOB[:8].upper(), "supervision"])
def test_why_tells_a_job_in_sentences(desk: Desk, target: str) -> None:
    """By the job or its supervision: verdict, rule, facts, replay and history."""
    said = desk.give("why", desk.row().id if target == "supervision" else target)
    assert (0, "") == (said.code, said.err)
    text = " ".join(said.out.split())
    for part in (
        f"Job {JOB}: fatal, heard once",
        'Help it (supervise), by the rule "supervise"',
        "- it is a compute job, in period 7, number 41234 at the scheduler",
        f"the simulation is CPL01 ({SIMULATION[:8]}) of {LOGIN} at TGCC/curie",
        "Replayed on the same facts and policy: the same verdict.",
        f"Supervision {desk.row().id} is executed",
        "dispatched -> executed (execute, attempt 1, supervision)",
    ):
        assert part in text
    assert "otherwise" not in text


def test_why_of_a_simulation_tells_all_its_jobs(desk: Desk) -> None:
    """A second job that failed in the same period is in it, too, with its refusal."""
    twin = "4195c4c1-2278-4fd3-9c97-19091a26e3b6"
    now = datetime.now(UTC)
    again = [
        message("1000", now - timedelta(minutes=5), jobuid=twin, jobSchedulerID="41235"),
        message("1001", now - timedelta(minutes=5), jobuid=twin, CumulPeriod="7"),
        message("1999", now - timedelta(minutes=4), jobuid=twin),
    ]
    desk.hear(again)
    desk.work()
    text = " ".join(desk.give("why", SIMULATION).out.split())
    assert 'Leave it alone (refuse), by the rule "again"' in text
    assert "jobs that failed, this one included: 2, in period 7, 7" in text


def test_why_is_json_for_programs(desk: Desk) -> None:
    """Facts are objects, the replay is there, and each supervision has its history."""
    told = desk.give("why", JOB, "--json").json
    (decision,) = told["decisions"]
    assert ("supervise", "supervise", True) == (
        decision["verdict"],
        decision["rule"],
        decision["replays"],
    )
    assert 7 == decision["facts"]["facts"]["job"]["period"]
    (row,) = told["supervisions"]
    assert ["detected", "formatted", "dispatched", "executed"] == [
        step["target"] for step in row["history"]
    ]


def test_why_says_what_todays_policy_would_do(desk: Desk) -> None:
    """The user has withdrawn since: the old verdict replays, today's is told beside it."""
    text = desk.config.read_text().replace("level = 2", "level = 0")
    desk.config.write_text(text)
    said = desk.give("why", JOB)
    assert 0 == said.code
    told = " ".join(said.out.split())
    assert "the same verdict. Today's policy would decide otherwise: refuse" in told
    assert 'rule "consent"' in told


def test_why_is_loud_when_the_ledger_does_not_replay(desk: Desk) -> None:
    """A verdict that was altered: an exit of 1, and words that nobody overlooks."""
    database = Database(create(desk.url), None)
    with database.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE tbl_supervision_decision SET sentence = 'because I say so.'"
        )
    database.close()
    said = desk.give("why", JOB)
    assert 1 == said.code
    assert "!!! THE REPLAY DIFFERS !!!" in said.err
    assert "!!! THE REPLAY DIFFERS !!!" in said.out
    assert 1 == desk.give("why", JOB, "--json").code


def test_why_of_what_asked_for_nothing_says_so(fresh: Desk) -> None:
    """A healthy simulation: known, and nothing was decided about it."""
    fresh.hear([announced(datetime.now(UTC))])
    for target in (SIMULATION, JOB):
        said = fresh.give("why", target)
        assert 1 == said.code
        assert "nothing was decided" in said.err


@pytest.mark.parametrize("words", [("why",), ("render",)])
@pytest.mark.parametrize(("target", "code"), [(UNKNOWN, 1), ("", 2), ("%", 2), ("x' OR '1", 2)])
def test_an_unknown_id_is_a_sentence(
    desk: Desk, words: tuple[str, ...], target: str, code: int
) -> None:
    """1 for an id that nothing has, 2 for what can be no id."""
    said = desk.give(*words, target)
    assert code == said.code
    assert "Traceback" not in said.err


def test_an_ambiguous_beginning_offers_candidates(desk: Desk) -> None:
    """Whoever typed too little sees what there is."""
    twin = JOB[:-1] + "7"
    desk.hear(failure(jobuid=twin))
    said = desk.give("why", JOB[:5])
    assert 1 == said.code
    assert f"candidates: {JOB}, {twin}" in said.err


def test_render_shows_the_script_that_was_sent(desk: Desk) -> None:
    """Byte for byte, so that it can be looked at, and even run."""
    said = desk.give("render", desk.row().id[:8])
    assert (0, "") == (said.code, said.err)
    (order,) = desk.agents.orders
    assert script.text_of(order.script) == said.out
    checked = subprocess.run(["bash", "-n"], input=said.out, text=True, check=False)
    assert 0 == checked.returncode


def test_render_builds_what_is_not_stored_yet(fresh: Desk) -> None:
    """A supervision that was only detected: the script is shown, and not stored."""
    fresh.hear(failure())
    fresh.made.engine.decide([JOB])
    said = fresh.give("render", JOB)
    assert 0 == said.code
    assert said.out.startswith("#!")
    assert "built now, not stored" in said.err
    assert (State.DETECTED, None) == (fresh.row().state, fresh.row().script_sha256)


def test_render_compares_with_what_would_be_built_now(desk: Desk) -> None:
    """First it is the same; after a change of the settings the difference is told on stderr."""
    same = desk.give("render", JOB, "--rebuild")
    assert "the same, byte for byte" in same.err
    text = desk.config.read_text().replace('scheduler = "slurm"', 'scheduler = "pbs"')
    desk.config.write_text(text)
    other = desk.give("render", JOB, "--rebuild")
    assert 0 == other.code
    assert "The stored script differs" in other.err
    assert "--- stored" in other.err
    assert other.out != same.out


def test_render_says_what_is_missing(fresh: Desk) -> None:
    """The site has left the settings: no script can be built, and nothing breaks."""
    fresh.hear(failure())
    fresh.made.engine.decide([JOB])
    text = fresh.config.read_text().replace("[sites.curie]", "[sites.irene]")
    fresh.config.write_text(text)
    said = fresh.give("render", JOB)
    assert 1 == said.code
    assert "site curie is no longer in the settings" in said.err


def test_a_hostile_name_is_quoted_in_the_script(fresh: Desk, tmp_path: Path) -> None:
    """What the script would do with the name is nothing."""
    fresh.hear(failure(name="$(touch x)'; touch y #"))
    fresh.made.engine.decide([JOB])
    said = fresh.give("render", JOB)
    assert 0 == said.code
    (assigned,) = [line for line in said.out.splitlines() if line.startswith("our_name=")]
    told = subprocess.run(
        ["bash", "-c", f'{assigned}; printf %s "$our_name"'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "$(touch x)'; touch y #" == told.stdout
    assert [] == [path.name for path in tmp_path.iterdir() if path.name in {"x", "y"}]
