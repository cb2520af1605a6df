"""Two at once, in earnest: threads on one PostgreSQL, as processes of one service would meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from threading import Barrier, Event, Thread
from typing import Any

import pytest

from db import dao_history, dao_recovery
from supervision.errors import DatabaseUnavailable, Refused
from supervision.facts import Cap
from supervision.fsm.engine.sweeping import Swept
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.states import Event as Step
from supervision.fsm.states import State
from tests.factories import JOB, NOW
from tests.integration.flows_kit import GRACE, Chain, another_worker, executions, policy
from tests.unit.engine_kit import ALICE, HOUR, NEW_JOB, Bench, bench, failing_chain, message

WORKERS = 4


def _at_once(deeds: Sequence[Callable[[], object]]) -> list[object]:
    """Do these things in as many threads, all begun at the same moment; gives what came of each.

    An expected refusal, or a conflict of transactions, is what came of it, not a failure.
    """
    start = Barrier(len(deeds))
    results: list[object] = [None] * len(deeds)

    def begin(index: int, deed: Callable[[], object]) -> None:
        start.wait(30)
        try:
            results[index] = deed()
        except (DatabaseUnavailable, Refused) as error:
            results[index] = error
        except BaseException as error:  # noqa: BLE001 - handed to the test, which fails by it
            results[index] = AssertionError(repr(error))

    threads = [Thread(target=begin, args=pair) for pair in enumerate(deeds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    broken = [each for each in results if isinstance(each, AssertionError)]
    assert [] == broken
    return results


def _workers(made: Bench, stack: ExitStack, count: int = WORKERS) -> list[Engine]:
    return [stack.enter_context(another_worker(made)) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 3, 6])
def test_workers_on_one_row(postgres_url: str, count: int) -> None:
    """All are told of the same row at once: one claims it, one submit leaves, one script runs."""
    with bench(postgres_url) as made, ExitStack() as stack:
        made.to_formatted()
        made.clock.advance(GRACE)
        row = made.row().id
        workers = _workers(made, stack, count)
        _at_once([partial(each.fire, Step.DISPATCH, [row]) for each in workers])
        assert (State.DISPATCHED, 1) == (made.row().state, made.row().dispatch_try_count)
        assert 1 == made.calls("submit")
        made.settle()
        assert [1] == executions(made.agent)


def test_deciders_of_one_job(postgres_url: str) -> None:
    """The same failure is decided by several at once: one supervision, begun once."""
    with bench(postgres_url) as made, ExitStack() as stack:
        made.feed(*failing_chain())
        workers = _workers(made, stack)
        _at_once([partial(each.decide, [JOB]) for each in workers])
        made.settle()
        assert 1 == len(made.rows())
        assert ["detect", "format"] == made.events()


def test_recorders_of_the_same_messages(postgres_url: str) -> None:
    """A mail that is ingested by several at once counts once."""
    with bench(postgres_url) as made, ExitStack() as stack:
        workers = _workers(made, stack)
        _at_once([partial(each.record, failing_chain()) for each in workers])
        made.feed(*failing_chain())
        assert 1 == made.ledger()["fatal"].occurrences
        assert len(failing_chain()) == len(made.table("tbl_message"))


def test_a_fact_and_an_outcome_of_one_simulation(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write the row and its ledger: in one order, so that neither loses what it has done."""
    with bench(postgres_url) as made, ExitStack() as stack:
        row = made.to_dispatched().id
        made.agent.outcome(row, scheduler_id="41300")
        made.clock.advance(HOUR)
        (recorder,) = _workers(made, stack, 1)
        written, noted = Event(), Event()
        append, note = dao_history.append, dao_recovery.note

        def append_slowly(*arguments: Any) -> None:  # noqa: ANN401
            written.set()
            noted.wait(0.5)
            append(*arguments)

        def note_and_say(*arguments: Any) -> None:  # noqa: ANN401
            note(*arguments)
            noted.set()

        def record() -> object:
            written.wait(30)
            return recorder.record([message("1000", at=NOW + HOUR, job=NEW_JOB)])

        monkeypatch.setattr(dao_history, "append", append_slowly)
        monkeypatch.setattr(dao_recovery, "note", note_and_say)
        results = _at_once([partial(made.engine.fire, Step.EXECUTE, [row]), record])
        assert [] == [each for each in results if isinstance(each, Exception)]
        assert State.EXECUTED is made.row().state


def test_sweepers_at_the_same_moment(postgres_url: str) -> None:
    """However many sweep, each due decision is woken by one."""
    with bench(postgres_url) as made, ExitStack() as stack:
        for number in range(6):
            made.feed(*Chain(number=number).failing())
        workers = _workers(made, stack)
        swept = _at_once([partial(each.sweep, 1000) for each in workers])
        assert 6 == sum(each.decisions for each in swept if isinstance(each, Swept))


def test_workers_before_the_last_place_under_a_cap(postgres_url: str) -> None:
    """Rows of several workers ask at once: under the lock of their site one is admitted."""
    capped = replace(policy(), site_cap=Cap(count=1, window=HOUR))
    with bench(postgres_url, policy=capped) as made, ExitStack() as stack:
        for number in range(WORKERS):
            made.feed(*Chain(number=number).failing())
        made.settle()
        made.clock.advance(GRACE)
        rows = [row.id for row in made.rows(State.FORMATTED)]
        pairs = zip(_workers(made, stack), rows, strict=True)
        _at_once([partial(each.fire, Step.DISPATCH, [row]) for each, row in pairs])
        assert 1 == len(made.table("tbl_supervision_restart"))
        assert 1 == sum(row.dispatch_try_count for row in made.rows())


def test_a_person_and_a_worker_meet_on_a_row(postgres_url: str) -> None:
    """Cancelled or sent, whoever was first: never both; a cancelled row's script never runs."""
    with bench(postgres_url) as made, ExitStack() as stack:
        made.to_formatted()
        made.clock.advance(GRACE)
        row = made.row().id
        worker, person = _workers(made, stack, 2)
        _at_once(
            [
                partial(worker.fire, Step.DISPATCH, [row]),
                partial(person.order, Step.CANCEL, row, ALICE),
            ]
        )
        made.settle()
        states = {State.CANCELLED: [], State.EXECUTED: [1]}
        assert states[made.row().state] == executions(made.agent)


def test_orders_of_two_people_at_once(postgres_url: str) -> None:
    """Two retries of one failed row begin one attempt; the other person is refused."""
    with bench(postgres_url) as made, ExitStack() as stack:
        row = made.to_formatted()
        made.engine.order(Step.FORCE_FAILED, row.id, ALICE)
        first, second = _workers(made, stack, 2)
        results = _at_once([partial(each.retry, JOB, ALICE) for each in (first, second)])
        assert 2 == made.row().attempt
        assert 1 == sum(isinstance(each, Exception) for each in results)
