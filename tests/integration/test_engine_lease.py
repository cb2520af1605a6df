"""Guard and lease: who was presumed dead writes nothing; who dies again and again is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest
from sqlalchemy import update

from db.types_supervision import Supervision as Row
from supervision.facts import AnswerKind, ExitCode, Key, Mail
from supervision.fsm.engine.reading import Why
from supervision.fsm.states import Event, State
from tests.factories import JOB, NOW, OTHER_JOB
from tests.unit.engine_kit import (
    ALICE,
    DAY,
    HOUR,
    MINUTE,
    OPERATOR,
    OWNER,
    POST_JOB,
    Bench,
    Died,
    bench,
    die,
    failing_chain,
    message,
)

LEASE: Final = timedelta(seconds=120)
OTHER: Final = "8f0d3a52-93b5-4f6f-9e0b-0d5a3a6cd714"


@pytest.fixture
def service(database_url: str) -> Iterator[Bench]:
    """The service at a site where it may act."""
    with bench(database_url) as made:
        yield made


def _two_formatted(service: Bench) -> list[str]:
    """Two simulations whose scripts wait for their grace; their ids, oldest first."""
    service.feed(
        *failing_chain(),
        message("0000", at=NOW - DAY, job=OTHER_JOB, simulation=OTHER, name="CPL02"),
        message("1001", at=NOW - HOUR, job=OTHER_JOB, simulation=OTHER),
        message("1999", at=NOW, job=OTHER_JOB, simulation=OTHER),
    )
    service.settle()
    return [service.row(JOB).id, service.row(OTHER_JOB).id]


def _claims(service: Bench, supervision_id: str, count: int) -> None:
    with service.tools.database.write() as session:
        session.execute(update(Row).where(Row.id == supervision_id).values(claim_count=count))


def test_a_claim_is_nobody_elses(service: Bench) -> None:
    """While one worker asks, a second wake-up for the same row claims nothing."""
    row = service.to_dispatched()
    before = service.calls("status")
    service.clock.advance(10 * MINUTE)
    service.agent.once("before status", lambda: service.engine.fire(Event.EXECUTE, [row.id]))
    service.engine.fire(Event.EXECUTE, [row.id])
    assert before + 1 == service.calls("status")


def test_every_confirm_frees_the_row_and_forgets_its_claims(service: Bench) -> None:
    """Not yet is a confirm too."""
    row = service.to_dispatched()
    assert (State.DISPATCHED, 0, None) == (row.state, row.claim_count, row.lease_until)
    version = row.version
    service.live(5 * MINUTE)
    row = service.row()
    assert (0, None) == (row.claim_count, row.lease_until)
    assert row.version > version


def test_a_worker_that_was_presumed_dead_overwrites_nothing(service: Bench) -> None:
    """It asked, slept through its lease, and comes back with an old answer."""
    row = service.to_dispatched()
    service.clock.advance(10 * MINUTE)

    def somebody_else_ends_it() -> None:
        service.clock.advance(LEASE + MINUTE)
        service.agent.outcome(row.id, kind=AnswerKind.DECLINED, exit_code=ExitCode.COMPLETED)
        service.settle()
        assert State.CANCELLED is service.row().state

    service.agent.once("after status", somebody_else_ends_it)
    service.engine.fire(Event.EXECUTE, [row.id])
    found = service.row()
    assert (State.CANCELLED, "declined", None) == (found.state, found.cause, found.wake_at)
    assert 1 == service.events().count("cancel")


def test_an_old_worker_does_not_undo_the_next_attempt(service: Bench) -> None:
    """While it slept an operator forced the row to its next attempt."""
    row = service.to_formatted()
    service.clock.advance(10 * MINUTE)

    def an_operator_begins_anew() -> None:
        service.clock.advance(LEASE + MINUTE)
        service.engine.order(Event.FORCE_DETECTED, row.id, ALICE)

    service.agent.once("after submit", an_operator_begins_anew)
    service.engine.fire(Event.DISPATCH, [row.id])
    found = service.row()
    assert (State.DETECTED, 2, True) == (found.state, found.attempt, found.by_person)
    service.settle()
    service.live(HOUR)
    assert {Key(supervision_id=row.id, attempt=2): 1} == service.agent.executions


def test_a_worker_whose_lease_is_over_sends_nothing(service: Bench) -> None:
    """The count before the first byte is guarded by the lease as well."""
    row = service.to_formatted()
    service.clock.advance(10 * MINUTE)
    real = service.tools.settings.lease
    service.agent.once("before submit", die)
    with pytest.raises(Died):
        service.engine.fire(Event.DISPATCH, [row.id])
    assert 1 == service.row().dispatch_try_count
    service.agent.once("after status", lambda: service.clock.advance(real + MINUTE))
    service.clock.advance(real)
    service.engine.fire(Event.DISPATCH, [row.id])
    assert (1, []) == (service.row().dispatch_try_count, service.agent.orders)


def test_a_message_during_the_lease_is_not_slept_over(service: Bench) -> None:
    """What came while somebody worked is looked at as soon as they are done."""
    row = service.to_dispatched()
    service.clock.advance(10 * MINUTE)
    asked = service.calls("status")
    news = message("2100", at=service.clock.now(), job=POST_JOB)
    service.agent.once("after status", lambda: service.feed(news))
    service.engine.fire(Event.EXECUTE, [row.id])
    assert asked + 2 == service.calls("status")


def test_rows_that_were_claimed_too_often_are_worked_on_alone(service: Bench) -> None:
    """One of a set may kill its worker: the others must not die with it for ever."""
    first, second = _two_formatted(service)
    _claims(service, second, 3)
    service.clock.advance(10 * MINUTE)
    service.engine.fire(Event.DISPATCH, [first, second])
    assert 2 == service.calls("submit")
    assert {State.DISPATCHED} == {row.state for row in service.rows()}


def test_rows_below_the_limit_share_their_session(service: Bench) -> None:
    """One login, one request."""
    first, second = _two_formatted(service)
    _claims(service, second, 2)
    service.clock.advance(10 * MINUTE)
    service.engine.fire(Event.DISPATCH, [first, second])
    assert 1 == service.calls("submit")


def test_a_row_that_kills_its_workers_fails_and_is_told(service: Bench) -> None:
    """Five workers died of it; the sixth claim ends it, fenced at the centre, with two mails."""
    row = service.to_formatted()
    service.clock.advance(10 * MINUTE)
    deaths = 0
    for _ in range(5):
        service.agent.once("before submit", die)
        with pytest.raises(Died):
            service.engine.fire(Event.DISPATCH, [row.id])
        deaths += 1
        service.clock.advance(LEASE)
    assert (5, 5) == (deaths, service.row().claim_count)
    service.settle()
    found = service.row()
    assert (State.FAILED, "crash-loop", None) == (found.state, found.cause, found.wake_at)
    assert [(OWNER, "gave-up"), (OPERATOR, "gave-up")] == service.mails()
    assert (1, {}) == (service.calls("cancel"), service.agent.executions)


def _break_off(service: Bench) -> None:
    """Five workers die of the decision; the sixth says so."""
    service.notifier.fail_with(Died(), times=5)  # type: ignore[arg-type]
    for _ in range(5):
        with pytest.raises(Died):
            service.engine.decide([JOB])
        service.clock.advance(LEASE)
    service.settle()


def test_a_decision_that_kills_its_workers_is_refused_and_told(service: Bench) -> None:
    """The ledger has no trap either: the operator hears of it; a day later it is tried again."""
    service.feed(*failing_chain(period=1))
    _break_off(service)
    decision = service.ledger()["fatal"]
    assert ("refuse", "crash-loop") == (decision.verdict, decision.rule)
    assert service.clock.now() + DAY == decision.wake_at
    assert [(OPERATOR, "unanswered")] == service.mails()
    [told] = service.engine.read(Why(job_uid=JOB))
    assert None is told.replays  # the rules were not asked, so they cannot be held to it
    service.clock.advance(DAY)
    service.settle()
    assert "first-period" == service.ledger()["fatal"].rule


def test_one_incident_is_one_mail_however_often_it_breaks_off(service: Bench) -> None:
    """News brings it up again before its day is over; the operator knows already."""
    service.feed(*failing_chain(period=1))
    _break_off(service)
    service.clock.advance(DAY)
    _break_off(service)
    assert "crash-loop" == service.ledger()["fatal"].rule
    assert [(OPERATOR, "unanswered")] == service.mails()


def test_a_decision_is_made_by_one_worker(service: Bench) -> None:
    """A second detect for the same job finds nothing to claim."""
    service.feed(*failing_chain(period=1))
    sent = []

    def send(mail: Mail) -> None:
        service.engine.decide([JOB])
        sent.append(mail)

    service.notifier.send = send  # type: ignore[method-assign]
    service.engine.decide([JOB])
    assert 1 == len(sent)
