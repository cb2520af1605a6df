"""What people watch: top, history, dead letters, pictures; and what they get wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision import topology
from supervision.adapters.rabbitmq import RabbitBroker
from supervision.adapters.system import SystemClock
from supervision.testing import SeededIds
from tests.contract.broker_kit import FACTS, envelope, eventually, taken
from tests.integration.cli_kit import JOB, SIMULATION, Desk, Said, a_desk, failure, give

UNKNOWN = "ffffffff-0000-4000-8000-000000000000"


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    """A service that was told of one failure, and whose script acted."""
    with a_desk(tmp_path, sqlite_url) as made:
        made.hear(failure())
        made.work()
        yield made


def test_top_shows_states_verdicts_sites_and_acts(desk: Desk) -> None:
    """Once, where nobody watches; the queues are the service's own."""
    desk.give("hold", "site:curie", "--yes", "--reason", "the disk is full")
    said = desk.give("top")
    words = [line.split() for line in said.out.splitlines()]
    assert 0 == said.code
    assert ["executed", "1", "1"] in [line[:3] for line in words]
    assert ["supervise", "supervise", "1"] in [line[-3:] for line in words]
    assert ["curie", "0", "0", "of", "4"] in [line[:5] for line in words]
    assert "The queues are in the service's own memory." in said.out
    assert "the disk is full" in said.out
    assert desk.row().id[:8] in said.out


def test_top_is_json_for_programs(desk: Desk) -> None:
    """The same figures by name."""
    said = desk.give("top", "--json").json
    counts = {crowd["state"]: crowd["count"] for crowd in said["now"]["crowds"]}
    assert {"executed": 1} == {state: count for state, count in counts.items() if count}
    assert (0, [["supervise", "supervise", 1]]) == (said["now"]["late"], said["now"]["verdicts"])
    assert ["execute", "dispatch", "format", "detect"] == [
        act["event"] for act in said["now"]["acts"]
    ]


def test_history_tells_each_transition(desk: Desk) -> None:
    """In order, with who did it; the job's uid will do, and the beginning of it."""
    said = desk.give("history", JOB[:8])
    lines = [line.split() for line in said.out.splitlines()[1:]]
    numbered = [line for line in lines if line and line[0].isdigit()]
    assert (0, 4) == (said.code, len(numbered))
    assert [["1", "detect"], ["2", "format"], ["3", "dispatch"], ["4", "execute"]] == [
        [line[0], next(word for word in line if word in _EVENTS)] for line in numbered
    ]
    steps = desk.give("history", desk.row().id, "--json").json
    assert ["policy", "supervision", "supervision", "supervision"] == [
        step["actor"] for step in steps
    ]


_EVENTS = {"detect", "format", "dispatch", "execute"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("history", UNKNOWN), 1),
        (("history", "nobody"), 2),
        (("history", SIMULATION), 1),
        (("diagram", "--of", UNKNOWN), 1),
        (("diagram", "--of", JOB, "--live"), 2),
        (("show", "--trigger", "late"), 1),
        (("show", "--trigger", "boredom"), 2),
        (("dead", "list"), 4),
        (("dead", "replay"), 2),
        (("dead", "drop", "abc", "--all"), 2),
        (("top", "--every", "0"), 2),
    ],
)
def test_what_is_wrong_gets_a_sentence(desk: Desk, words: tuple[str, ...], code: int) -> None:
    """And an exit code of its kind; nothing is changed."""
    before = desk.row()
    said = desk.give(*words)
    assert (code, True) == (said.code, bool((said.err + said.out).strip()))
    assert before == desk.row()


def test_an_ambiguous_prefix_offers_candidates(desk: Desk) -> None:
    """Both jobs are named."""
    other = f"{JOB[:-1]}0"
    desk.hear(failure(jobuid=other, simuid=UNKNOWN))
    desk.work()
    said = desk.give("history", JOB[:8])
    assert (1, True, True) == (said.code, JOB in said.err, other in said.err)


def test_show_is_filtered_by_trigger_and_by_what_waits(desk: Desk) -> None:
    """The executed one is still watched."""
    assert 1 == len(desk.give("show", "--trigger", "fatal", "--waiting", "--json").json)


@pytest.mark.parametrize("form", ["mermaid", "dot", "svg"])
def test_the_live_picture_counts_rows(desk: Desk, form: str) -> None:
    """The state of the only row says so, the others are empty; the legend is there."""
    said = desk.give("diagram", "--live", "--format", form)
    assert (0, True) == (said.code, "1 row, 1 waiting" in said.out)
    assert 5 == said.out.count("0 rows")
    assert "rows, none of them waits" in said.out


def test_the_picture_of_a_path_numbers_its_moves(desk: Desk) -> None:
    """Each with its actor; the state where it is now is marked."""
    drawn = desk.give("diagram", "--of", JOB[:8], "--format", "dot").out
    for number, actor in enumerate(["policy", "supervision", "supervision", "supervision"], 1):
        assert 1 == sum(f">{number}. " in line and actor in line for line in drawn.splitlines())
    marked = [line.split()[0] for line in drawn.splitlines() if "penwidth=4" in line]
    assert ["executed"] == marked


@pytest.fixture
def graves(tmp_path: Path, sqlite_url: str, amqp_url: str) -> Iterator[RabbitBroker]:
    """A RabbitMQ with two dead letters."""
    (tmp_path / "supervision.toml").write_text(
        f'broker_url = "{amqp_url}"\ndatabase_url = "{sqlite_url}"\n'
    )
    broker = RabbitBroker(amqp_url, ids=SeededIds(), clock=SystemClock())
    broker.publish([envelope(FACTS, b"\x1b[2Jpoison"), envelope(FACTS, b"other")])
    for delivery in taken(broker, FACTS, 2):
        broker.bury(delivery, "no JSON")
    eventually(lambda: broker.depth(topology.dead_queue(FACTS)) == 2, "two letters lie there")
    yield broker
    broker.close()


def test_dead_letters_are_listed_replayed_and_dropped(graves: RabbitBroker, tmp_path: Path) -> None:
    """By their keys; dropping asks first, and nothing is gone without a yes."""

    def dead(*words: str) -> Said:
        return give("--config", tmp_path / "supervision.toml", "dead", *words, env={})

    letters = json.loads(dead("list", "--json").out)
    assert [(FACTS, "no JSON")] * 2 == [(it["queue"], it["reason"]) for it in letters]
    listed = dead("list").out
    assert ("\x1b" in listed, "poison" in listed) == (False, True)
    first, second = (it["key"] for it in letters)
    assert "poison" in dead("show", first[:6]).out
    assert "Sent again: 1.\n" == dead("replay", second).out
    assert b"other" == taken(graves, FACTS, 1)[0].envelope.body
    assert 1 == dead("show", second).code
    assert 130 == dead("drop", "--all").code
    assert 1 == len(json.loads(dead("list", "--json").out))
    assert "Dropped: 1." in dead("drop", first, "--yes").out
    assert 1 == dead("list").code
    assert 2 == dead("list", "--queue", "in-monitoring-123").code
