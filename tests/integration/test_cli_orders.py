"""What people order: hold, release, retry, cancel, force; and how each answers by its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision.facts import AnswerKind, Hold, Wish
from supervision.fsm.engine.reading import History, Holds, Step
from supervision.fsm.states import State
from supervision.sandbox.builder import present_user
from tests.integration.cli_kit import JOB, LOGIN, SIMULATION, Desk, a_desk, failure, give

WHY = ("--yes", "--reason", "a test says so")


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    """A service that acts at one site."""
    with a_desk(tmp_path, sqlite_url) as made:
        yield made


@pytest.fixture
def observing(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    """A service that only observes: what it begins ends as cancelled."""
    with a_desk(tmp_path, sqlite_url, mode="observe") as made:
        made.hear(failure())
        made.work()
        yield made


def detected(desk: Desk) -> str:
    """A supervision of which nothing was sent; tells its id."""
    desk.hear(failure())
    desk.made.engine.decide([JOB])
    assert State.DETECTED is desk.row().state
    return desk.row().id


def unanswered(desk: Desk) -> str:
    """A supervision whose first byte may have left for a centre that does not answer."""
    desk.agents.lose_answer("submit")
    detected(desk)
    desk.work()
    assert (State.FORMATTED, 1) == (desk.row().state, desk.row().dispatch_try_count)
    return desk.row().id


def last_step(desk: Desk) -> Step:
    """What happened to the supervision last."""
    return desk.made.engine.read(History(supervision_id=desk.row().id))[-1]


def holds(desk: Desk) -> dict[str, Hold]:
    """Every hold by its scope."""
    return {each.scope: each for each in desk.made.engine.read(Holds())}


@pytest.mark.parametrize("scope", ["site:curie", f"login:curie/{LOGIN}"])
def test_a_hold_is_placed_once_and_taken_back(desk: Desk, scope: str) -> None:
    """The second one is an exit of 1 and tells the first one's words, as does a second release."""
    first = desk.give("hold", scope, "--actor", "ann", *WHY)
    second = desk.give("hold", scope, "--actor", "bob", "--yes", "--reason", "me too")
    assert (0, 1) == (first.code, second.code)
    assert "by ann: a test says so" in second.out
    assert ("ann", "a test says so") == (holds(desk)[scope].actor, holds(desk)[scope].reason)
    assert [0, 1] == [desk.give("release", scope, *WHY).code for _ in range(2)]
    assert {} == holds(desk)


def test_a_simulation_is_held_by_the_beginning_of_its_uid(desk: Desk) -> None:
    """It is stored in full, and nothing is sent while it is held."""
    desk.hear(failure())
    assert 0 == desk.give("hold", f"simulation:{SIMULATION[:9].upper()}", *WHY).code
    assert [f"simulation:{SIMULATION}"] == list(holds(desk))
    desk.work()
    assert [] == desk.agents.orders
    assert 0 == desk.give("release", f"simulation:{SIMULATION[:5]}", *WHY).code
    desk.work()
    assert 1 == len(desk.agents.orders)


def test_who_takes_a_hold_back_is_logged(desk: Desk) -> None:
    """A hold has no history of its own, so the log keeps who took it back."""
    desk.give("hold", "site:curie", *WHY)
    said = desk.give("release", "site:curie", "--actor", "carl", *WHY)
    assert "hold.released" in said.err
    assert "carl" in said.err


def test_a_hold_on_a_site_that_is_gone_can_be_taken_back(desk: Desk) -> None:
    """The settings no longer know the site; the hold is there all the same."""
    old = Hold(scope="site:ada", actor="ann", reason="old", since=desk.made.clock.now())
    desk.made.engine.record_hold(old)
    assert 0 == desk.give("release", "site:ada", *WHY).code


@pytest.mark.parametrize(
    ("scope", "code", "sentence"),
    [
        ("site:nowhere", 1, "there are: curie"),
        ("login:nowhere/me", 1, "there are: curie"),
        ("site:", 1, "there are: curie"),
        ("curie", 2, "is no scope"),
        ("login:curie", 2, "is no scope"),
        ("login:curie/", 2, "is no scope"),
        ("site:curie/x", 2, "is no scope"),
        ("simulation:*", 2, "is no id"),
        ("simulation:abc", 1, "begins with 'abc'"),
        ("$(touch x)\x1b[0m", 2, "is no scope"),
    ],
)
def test_a_scope_that_is_none_is_a_sentence(
    desk: Desk, scope: str, code: int, sentence: str
) -> None:
    """Nothing is held by a slip."""
    said = desk.give("hold", scope, *WHY)
    assert code == said.code
    assert sentence in said.err
    assert "\x1b" not in said.err
    assert {} == holds(desk)


ORDERS = (
    ("hold", "site:curie"),
    ("release", "site:curie"),
    ("retry", JOB),
    ("cancel", JOB),
    ("force", JOB, "--to", "failed"),
)


@pytest.mark.parametrize("words", ORDERS)
@pytest.mark.parametrize(
    "reason", [(), ("--reason", ""), ("--reason", " \n "), ("--reason", "a\x1b[0mb")]
)
def test_every_order_needs_a_reason(
    desk: Desk, words: tuple[str, ...], reason: tuple[str, ...]
) -> None:
    """None, an empty one and one that drives terminals are bad use."""
    said = desk.give(*words, *reason)
    assert 2 == said.code
    assert "--reason" in said.err


@pytest.mark.parametrize("words", ORDERS[2:])
def test_an_order_about_nobody_is_an_exit_of_1(desk: Desk, words: tuple[str, ...]) -> None:
    """The id is told back."""
    said = desk.give(*words, *WHY)
    assert 1 == said.code
    assert JOB in said.err


def test_an_observed_supervision_is_retried(observing: Desk) -> None:
    """By its own id or its job's uid: attempt 2 begins, and the history says who wanted it."""
    assert State.CANCELLED is observing.row().state
    said = observing.give("retry", observing.row().id[:8], *WHY)
    assert (0, 2, State.DETECTED) == (said.code, observing.row().attempt, observing.row().state)
    step = last_step(observing)
    assert (present_user(), "a test says so") == (step.actor, step.reason)
    assert 4 == observing.give("retry", JOB, *WHY).code


def test_what_protects_the_simulation_refuses_a_retry(observing: Desk) -> None:
    """The rule that speaks is named."""
    now = observing.made.clock.now()
    observing.made.engine.record_hold(
        Hold(scope="site:curie", actor="ann", reason="stop", since=now)
    )
    said = observing.give("retry", JOB, *WHY)
    assert 4 == said.code
    assert "not retried, by rule hold" in said.err


def test_retry_needs_one_job(observing: Desk) -> None:
    """A simulation has many: the sentence says where to find them."""
    said = observing.give("retry", SIMULATION, *WHY)
    assert 1 == said.code
    assert f"supervision why {SIMULATION}" in said.err


def test_what_was_not_sent_is_cancelled_at_once(desk: Desk) -> None:
    """Nobody has to be asked; a second time it is refused."""
    target = detected(desk)
    said = desk.give("cancel", target, "--actor", "ann", *WHY)
    assert (0, State.CANCELLED) == (said.code, desk.row().state)
    assert ("cancel", "ann", "a test says so") == (
        last_step(desk).event,
        last_step(desk).actor,
        last_step(desk).reason,
    )
    again = desk.give("cancel", JOB, *WHY)
    assert 4 == again.code
    assert "is cancelled" in again.err


def test_a_centre_that_cannot_be_asked_keeps_the_wish(desk: Desk) -> None:
    """Exit 5; the row remembers who wanted what, and nothing is sent any more."""
    target = unanswered(desk)
    said = desk.give("cancel", target, "--actor", "ann", *WHY)
    assert 5 == said.code
    assert "the centre cannot be asked" in said.out
    wish = Wish(event="cancel", actor="ann", reason="a test says so")
    assert (State.FORMATTED, wish) == (desk.row().state, desk.row().wanted)


def test_a_row_is_not_forced_over_the_head_of_a_centre(desk: Desk) -> None:
    """What may have left cannot be forced away while nobody knows what became of it there."""
    unanswered(desk)
    said = desk.give("force", JOB, "--to", "failed", *WHY)
    assert 4 == said.code
    assert State.FORMATTED is desk.row().state


@pytest.mark.parametrize(
    ("state", "attempt"), [("detected", 2), ("cancelled", 1), ("failed", 1), ("executed", 1)]
)
def test_a_row_that_nobody_has_is_forced(desk: Desk, state: str, attempt: int) -> None:
    """Where nothing was sent every forced state is reached, and told."""
    target = detected(desk)
    said = desk.give("force", target, "--to", state, *WHY)
    assert (0, State(state), attempt) == (said.code, desk.row().state, desk.row().attempt)
    assert f"detected -> {state}" in said.out
    assert f"force_{state}" == last_step(desk).event


@pytest.mark.parametrize("state", ["formatted", "dispatched", "gone", ""])
def test_what_is_earned_is_not_forced(desk: Desk, state: str) -> None:
    """Formatted and dispatched are no choices."""
    assert 2 == desk.give("force", detected(desk), "--to", state, *WHY).code


def test_an_executed_supervision_is_not_cancelled(desk: Desk) -> None:
    """It has acted already; the state machine says so."""
    detected(desk)
    desk.work()
    assert State.EXECUTED is desk.row().state
    said = desk.give("cancel", JOB, *WHY)
    assert 4 == said.code
    assert "cancel is not possible from executed" in said.err


def test_an_ambiguous_beginning_offers_what_there_is(desk: Desk) -> None:
    """Two jobs begin alike: both are named, nothing is done."""
    twin = JOB[:-1] + "7"
    desk.hear(failure())
    desk.hear(failure(jobuid=twin))
    said = desk.give("retry", JOB[:8], *WHY)
    assert 1 == said.code
    assert JOB in said.err
    assert twin in said.err


def test_orders_need_no_broker(desk: Desk, free_port: int) -> None:
    """Wake-ups are hints: with the broker away the order stands, and the sweeper sends them."""
    target = detected(desk)
    env = {**desk.env, "SUPERVISION_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{free_port}/"}
    for words in (("hold", "site:curie"), ("release", "site:curie"), ("cancel", target)):
        assert 0 == give(*words, *WHY, env=env).code
    assert State.CANCELLED is desk.row().state


def test_a_running_script_is_left_to_itself(desk: Desk) -> None:
    """The agent of this test runs it; the command's own way leads nowhere, so the wish is kept."""
    target = detected(desk)
    desk.agents.outcome(target, kind=AnswerKind.RUNNING)
    desk.work()
    assert State.DISPATCHED is desk.row().state
    assert 5 == desk.give("cancel", target, *WHY).code
    assert State.DISPATCHED is desk.row().state


def test_the_database_away_is_an_exit_of_3(desk: Desk, free_port: int) -> None:
    """Every order says so in a sentence."""
    url = f"postgresql://nobody@127.0.0.1:{free_port}/supervision"
    env = {**desk.env, "SUPERVISION_DATABASE_URL": url}
    for words in ORDERS:
        said = give(*words, *WHY, env=env)
        assert (3, "") == (said.code, said.out)
        assert "the database does not answer" in said.err
