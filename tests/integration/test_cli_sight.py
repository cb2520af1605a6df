"""What a person is shown before an order, with an agent that answers: and asked, or not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest

from supervision import app
from supervision.facts import AnswerKind, Look, Sight
from supervision.fsm.engine.reading import Holds, Show
from supervision.fsm.states import State
from tests.integration.cli_kit import JOB, LOGIN, SIMULATION, Desk, Said, a_desk, failure

REASON = ("--reason", "a test says so")
WHY = ("--yes", *REASON)


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A service at one site; commands reach the same agents as it does."""
    calm = '\n[policy.incident]\ncount = 100\nwindow = "10 min"\n'
    with a_desk(tmp_path, sqlite_url, more=calm) as made:
        monkeypatch.setattr(app, "build", partial(app.build, transport=made.agents))
        yield made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Somebody sits at the terminal and says no; gives the questions."""
    questions: list[str] = []

    def no(question: str, **_: object) -> bool:
        questions.append(question)
        return False

    monkeypatch.setattr("supervision.cli.asking.watched", lambda: True)
    monkeypatch.setattr(click, "confirm", no)
    return questions


def running(desk: Desk) -> str:
    """A supervision whose script runs; tells its id."""
    desk.hear(failure())
    desk.made.engine.decide([JOB])
    target = desk.row().id
    desk.agents.outcome(target, kind=AnswerKind.RUNNING, detail="on curie71")
    desk.work()
    assert State.DISPATCHED is desk.row().state
    return target


def executed(desk: Desk) -> str:
    """A supervision that has restarted its job; tells its id."""
    desk.hear(failure())
    desk.work()
    assert State.EXECUTED is desk.row().state
    return desk.row().id


def many(desk: Desk, count: int) -> list[str]:
    """So many supervisions of which nothing was sent, of a simulation each; tells their jobs."""
    jobs = [f"{number:08x}{JOB[8:]}" for number in range(count)]
    for number, job in enumerate(jobs):
        uid = f"{number:08x}{SIMULATION[8:]}"
        desk.hear(failure(simuid=uid, jobuid=job, name=f"CPL{number}"))
    desk.made.engine.decide(jobs)
    assert count == len(desk.made.engine.read(Show(states=(State.DETECTED,))))
    return jobs


def states(desk: Desk) -> set[State]:
    """The states that rows are in."""
    return {row.state for row in desk.made.engine.read(Show(limit=None))}


def test_it_is_shown_and_asked(desk: Desk, asked: list[str]) -> None:
    """State, the agent's word, what would be done; a no changes nothing, with exit 1."""
    target = executed(desk)
    desk.agents.see(JOB, Look(at=desk.made.clock.now(), sight=Sight.ENDED, others=False))
    said = desk.give("force", target[:8], "--to", "failed", *REASON)
    assert (1, ["one supervision: do it?"]) == (said.code, asked)
    assert f"supervision {target}" in said.out
    assert "executed, attempt 1, at curie as p86user1" in said.out
    assert "The agent says of this attempt: executed" in said.out
    assert "The centre shows: the job is ended; no other one is there" in said.out
    assert "executed -> failed" in said.out
    assert "Nothing was changed." in said.err
    assert {State.EXECUTED} == states(desk)


@pytest.mark.parametrize(
    "words", [("cancel", JOB), ("force", JOB, "--to", "failed"), ("hold", "site:curie")]
)
def test_nobody_to_ask_is_bad_use(desk: Desk, words: tuple[str, ...]) -> None:
    """A script has to say --yes; nothing is done by an order that was only piped."""
    many(desk, 1)
    target = desk.row().id
    said = desk.give(*(target if word == JOB else word for word in words), *REASON)
    assert 2 == said.code
    assert "--yes" in said.err
    assert ({State.DETECTED}, ()) == (states(desk), desk.made.engine.read(Holds()))


@pytest.mark.parametrize(
    "words", [("cancel", JOB), ("force", JOB, "--to", "failed"), ("hold", "site:curie")]
)
def test_a_dry_run_changes_nothing(desk: Desk, words: tuple[str, ...]) -> None:
    """Of no order, and it asks nobody."""
    many(desk, 1)
    target = desk.row().id
    said = desk.give(*(target if word == JOB else word for word in words), "--dry-run", *REASON)
    assert 0 == said.code, said.err
    assert ({State.DETECTED}, ()) == (states(desk), desk.made.engine.read(Holds()))


def test_a_dry_run_tells_by_its_exit_code_what_would_be_refused(desk: Desk) -> None:
    """4 as the order itself; and 0 where it would be done."""
    target = executed(desk)
    assert 4 == desk.give("cancel", target, "--dry-run", *REASON).code
    assert 0 == desk.give("force", target, "--to", "failed", "--dry-run", *REASON).code


def test_what_runs_is_left_alone_unless_somebody_insists(desk: Desk) -> None:
    """Refused with how to stop it; with --despite-running the row goes its way, the script too."""
    target = running(desk)
    first = desk.give("force", target, "--to", "failed", *WHY)
    assert 4 == first.code
    assert "It would be refused: its script runs at the centre" in first.out
    assert "kill -TERM" in first.err
    assert {State.DISPATCHED} == states(desk)
    second = desk.give("force", target, "--to", "failed", "--despite-running", *WHY)
    assert (0, {State.FAILED}) == (second.code, states(desk)), second.err


def test_a_new_attempt_waits_for_no_job_that_is_there(desk: Desk) -> None:
    """Who would begin again while the job is in the queue is refused, and nothing is sent."""
    target = executed(desk)
    desk.agents.see(JOB, Look(at=desk.made.clock.now(), sight=Sight.QUEUED))
    orders = len(desk.agents.orders)
    said = desk.give("force", target, "--to", "detected", *WHY)
    assert 4 == said.code
    assert "--despite-running insists" in said.err
    assert ({State.EXECUTED}, orders) == (states(desk), len(desk.agents.orders))
    again = desk.give("force", target, "--to", "detected", "--despite-running", *WHY)
    assert (0, 2) == (again.code, desk.row().attempt)


def test_looking_starts_nothing(desk: Desk) -> None:
    """An attempt that was accepted and never begun stays so: only the engine's question starts."""
    desk.hear(failure())
    desk.made.engine.decide([JOB])
    desk.agents.outcome(desk.row().id, kind=AnswerKind.ACCEPTED)
    desk.work()
    desk.agents.calls.clear()
    desk.give("cancel", desk.row().id, "--dry-run", *REASON)
    assert ["peek", "look"] == [verb for verb, _, _ in desk.agents.calls]


def test_many_are_asked_about_in_one_request(desk: Desk) -> None:
    """A filter, a table of the first ones, a sum, one look for all; then all are done."""
    many(desk, 30)
    desk.agents.calls.clear()
    said = desk.give("cancel", "--login", LOGIN, "--everything", *WHY)
    assert (0, {State.CANCELLED}) == (said.code, states(desk)), said.err
    assert 1 == [verb for verb, _, _ in desk.agents.calls].count("look")
    assert "    30 detected -> cancelled" in said.out
    assert "and 10 more" in said.out
    assert 30 == said.out.count(": detected -> cancelled\n")


def test_a_filter_that_leaves_nobody_out_is_refused(desk: Desk) -> None:
    """All there are is seldom meant: it has to be said."""
    many(desk, 3)
    said = desk.give("cancel", "--site", "curie", *WHY)
    assert (4, {State.DETECTED}) == (said.code, states(desk))
    assert "all 3 supervisions" in said.err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "name ids, or give a filter"),
        ((JOB, "--site", "curie"), 2, "name ids, or give a filter"),
        (("--state", "executed"), 1, "no supervision like that"),
        (("--login", "nobody"), 1, "no supervision like that"),
        (("--simulation", "ffff"), 1, "begins with 'ffff'"),
        (("nonsense!",), 2, "is no id"),
    ],
)
def test_who_is_meant_has_to_be_said(
    desk: Desk, words: tuple[str, ...], code: int, sentence: str
) -> None:
    """Nobody, everybody in two ways, or somebody who is not there: a sentence, nothing changed."""
    many(desk, 2)
    said = desk.give("cancel", *words, *WHY)
    assert (code, {State.DETECTED}) == (said.code, states(desk))
    assert sentence in said.err


def test_one_of_many_is_refused(desk: Desk) -> None:
    """The others are done, and the exit code is that of the refusal."""
    jobs = many(desk, 3)
    assert 0 == desk.give("cancel", jobs[0], *WHY).code
    said = desk.give("cancel", *jobs, *WHY)
    assert (4, {State.CANCELLED}) == (said.code, states(desk))
    assert "cancel is not possible from cancelled" in said.err


def test_programs_read_what_was_done(desk: Desk) -> None:
    """One object for each, with what was seen, what would be and how it ended."""
    target = running(desk)
    said = desk.give("cancel", target, "--json", *WHY)
    (step,) = said.json
    assert (4, 4) == (said.code, step["exit_code"])
    assert (target, JOB, "running", "dispatched") == (
        step["id"], step["job_uid"], step["agent"], step["state"],
    )  # fmt: skip
    dry = desk.give("cancel", target, "--json", "--dry-run", *REASON)
    assert (4, None) == (dry.code, dry.json[0]["exit_code"])
    assert 2 == desk.give("cancel", target, "--json", *REASON).code


def test_a_job_without_a_supervision_is_shown(desk: Desk) -> None:
    """A retry of a refused job looks at the centre too."""
    desk.hear(failure())
    desk.give("hold", "site:curie", *WHY)
    desk.work()
    assert [] == desk.made.engine.read(Show())
    desk.give("release", "site:curie", *WHY)
    desk.agents.see(JOB, Look(at=desk.made.clock.now(), sight=Sight.RUNNING))
    said = desk.give("retry", JOB, *WHY)
    assert 4 == said.code
    assert f"job {JOB} of CPL01: never supervised" in said.out
    assert "The centre shows: the job is running" in said.out


def test_a_centre_that_is_away_is_told(desk: Desk) -> None:
    """The reason stands there; what was never sent can be cancelled all the same."""
    many(desk, 1)
    desk.agents.unreachable.add("curie")
    said = desk.give("cancel", desk.row().id, *WHY)
    assert (0, {State.CANCELLED}) == (said.code, states(desk))
    assert "The centre cannot be asked: curie: no route to host" in said.out
    assert "Nothing of this attempt was sent" in said.out


def test_a_hold_shows_what_goes_on(desk: Desk, asked: list[str]) -> None:
    """How many are under way, and whose script runs; a no holds nothing."""
    running(desk)
    said = desk.give("hold", "site:curie", *REASON)
    assert (1, ["Hold site:curie?"]) == (said.code, asked)
    assert "Under way there: 1 dispatched" in said.out
    assert "a script runs, and goes on: supervision" in said.out
    assert () == desk.made.engine.read(Holds())


def test_a_program_may_look_before_it_holds_and_releases(desk: Desk) -> None:
    """`--json --dry-run` tells what goes on and what waits, and changes nothing."""
    target = running(desk)
    look = desk.give("hold", "site:curie", "--json", "--dry-run", *REASON)
    under_way = {"states": {"dispatched": 1}, "running": [target], "problems": []}
    assert {"done": False, "scope": "site:curie", "under_way": under_way} == look.json
    assert (0, ()) == (look.code, desk.made.engine.read(Holds()))
    desk.give("hold", "site:curie", *WHY)
    look = desk.give("release", "site:curie", "--json", "--dry-run", *REASON)
    assert (0, False) == (look.code, look.json["done"])
    assert {"decisions": 0, "supervisions": 0} == look.json["waiting"]
    assert ["site:curie"] == [each.scope for each in desk.made.engine.read(Holds())]


def test_a_brake_works_while_the_centre_is_away(desk: Desk) -> None:
    """With --yes nobody is asked, neither person nor centre."""
    running(desk)
    desk.agents.calls.clear()
    assert 0 == desk.give("hold", "site:curie", *WHY).code
    assert [] == desk.agents.calls


def test_a_release_shows_what_waits(desk: Desk) -> None:
    """How many decisions wait for a brake; afterwards they are decided."""
    desk.give("hold", "site:curie", *WHY)
    desk.hear(failure())
    desk.work()
    said: Said = desk.give("release", "site:curie", *WHY)
    assert "by all the rules" in said.out
    assert "1 decisions, 0 supervisions" in said.out
    desk.work()
    assert {State.EXECUTED} == states(desk)
