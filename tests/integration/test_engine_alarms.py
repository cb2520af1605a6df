"""Silence: late jobs, chains that broke between two jobs, and the sweeper that rings the alarms."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

import pytest

from supervision.facts import EndReason, Look, RunCard, Sight, Silence
from supervision.fsm.states import Queue, State
from supervision.messages import LateCheck
from tests.factories import JOB, NOW, SIMULATION, PolicyFactory, SitePolicyFactory
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    MINUTE,
    NEW_JOB,
    OLD_JOB,
    OPERATOR,
    OWNER,
    SITE,
    Bench,
    bench,
    failing_chain,
    message,
)

ACTING: Final = PolicyFactory.build(
    sites=(SitePolicyFactory.build(absent=Silence.ACT, stalled=Silence.ACT),)
)
RUNNING: Final = Look(at=NOW, sight=Sight.RUNNING, scheduler_alive=True, others=True)
ABSENT: Final = Look(at=NOW, sight=Sight.ABSENT, scheduler_alive=True, others=False)
LATE_AT: Final = NOW + 2 * HOUR


@pytest.fixture
def service(database_url: str) -> Iterator[Bench]:
    """The service at a site that lets it act on silence."""
    with bench(database_url, policy=ACTING) as made:
        yield made


def _started(service: Bench) -> None:
    """A job in its 7th period that is late in two hours, if it says nothing more."""
    service.feed(
        message("0000", at=NOW - 10 * DAY, job=OLD_JOB),
        message("1100", at=NOW - HOUR, job=OLD_JOB),
        message("1000", at=NOW, job=JOB, jobWarningDelay="3600"),
        message("1001", at=NOW, job=JOB),
    )


def _alarm(service: Bench, job: str = JOB) -> Any:  # noqa: ANN401
    return next(each for each in service.table("tbl_job") if each["uid"] == job)["late_check_at"]


def _see(service: Bench, look: Look, job: str = JOB, kind: str = "late") -> None:
    service.agent.see(service.ledger(job)[kind].decision_id, look)


def test_a_silent_job_is_late_an_hour_after_its_delay(service: Bench) -> None:
    """The alarm rings once, at the time that the start itself named."""
    _started(service)
    assert LATE_AT == _alarm(service)
    service.live(2 * HOUR - MINUTE, step=30 * MINUTE)
    assert {} == service.ledger()
    service.wait(MINUTE)
    decision = service.ledger()["late"]
    assert (LATE_AT, LATE_AT, 1) == (decision.first_at, decision.last_at, decision.occurrences)
    assert _alarm(service) is None
    service.engine.record_late([LateCheck(job_uid=JOB)])
    assert 1 == service.ledger()["late"].occurrences


@pytest.mark.parametrize("code", ["1100", "1999"])
def test_an_end_or_a_fatal_clears_the_alarm(service: Bench, code: str) -> None:
    """Terminal facts win over silence."""
    _started(service)
    service.feed(message(code, at=NOW + HOUR))
    assert _alarm(service) is None
    service.engine.record_late([LateCheck(job_uid=JOB)])
    service.live(DAY - 2 * HOUR, step=HOUR)
    assert "late" not in service.ledger()


def test_an_alarm_that_is_not_due_changes_nothing(service: Bench) -> None:
    """A late-jobs message is a hint; the database knows when."""
    _started(service)
    service.engine.record_late([LateCheck(job_uid=JOB), LateCheck(job_uid=NEW_JOB)])
    assert ({}, LATE_AT) == (service.ledger(), _alarm(service))


def test_a_job_whose_start_never_came_is_late_a_day_after_its_first_sign(service: Bench) -> None:
    """A start that comes after all sets the alarm anew."""
    service.feed(message("1001", at=NOW, job=JOB))
    assert NOW + DAY == _alarm(service)
    service.feed(message("1000", at=NOW - MINUTE, job=JOB, jobWarningDelay="3600"))
    assert LATE_AT - MINUTE == _alarm(service)


def test_a_late_job_that_runs_is_merely_slow(service: Bench) -> None:
    """One mail to its owner, and another look after another delay; nothing is done."""
    _started(service)
    service.clock.advance(2 * HOUR)
    service.engine.sweep(10)
    service.engine.record_late([LateCheck(job_uid=JOB)])
    _see(service, RUNNING)
    service.settle()
    decision = service.ledger()["late"]
    expected = ("refuse", "ask", LATE_AT + HOUR)
    assert expected == (decision.verdict, decision.rule, decision.wake_at)
    service.live(5 * HOUR, step=10 * MINUTE)
    assert [(OWNER, "slow")] == service.mails()
    assert [] == service.rows()


def test_a_late_job_that_is_gone_twice_is_restarted(service: Bench) -> None:
    """Two looks ten minutes apart agree, the scheduler is alive, and the site lets us act."""
    _started(service)
    service.clock.advance(2 * HOUR)
    service.engine.record_late([LateCheck(job_uid=JOB)])
    _see(service, ABSENT)
    service.settle()
    assert ("defer", "ask") == (service.ledger()["late"].verdict, service.ledger()["late"].rule)
    assert 1 == service.calls("look")
    service.wait(10 * MINUTE)
    decision = service.ledger()["late"]
    assert ("supervise", "absent") == (decision.verdict, decision.cause)
    assert State.EXECUTED is service.row().state


def test_a_late_job_that_its_owner_cancelled_is_left_alone(service: Bench) -> None:
    """Refused, with a mail: the owner stopped it."""
    _started(service)
    service.clock.advance(2 * HOUR)
    service.engine.record_late([LateCheck(job_uid=JOB)])
    _see(service, Look(at=NOW, sight=Sight.ENDED, reason=EndReason.CANCELLED))
    service.settle()
    assert ("refuse", [(OWNER, "refused")]) == (service.ledger()["late"].verdict, service.mails())


def test_a_centre_that_cannot_be_asked_is_told_once_after_a_day(service: Bench) -> None:
    """Unreachable is no answer: deferred, backed off; after 24 h one mail to the operator."""
    _started(service)
    service.agent.unreachable.add(SITE)
    service.clock.advance(2 * HOUR)
    service.live(DAY - HOUR, step=30 * MINUTE)
    assert ("defer", []) == (service.ledger()["late"].verdict, service.mails())
    service.live(DAY, step=30 * MINUTE)
    assert [(OPERATOR, "unanswered")] == service.mails()
    assert 15 < service.calls("look") < 60


def test_a_chain_without_a_next_start_is_stalled_after_a_day(service: Bench) -> None:
    """Its job is the last one that ended; OnQueue and no job, twice: submit without cleaning."""
    service.feed(
        message("0000", at=NOW - 10 * DAY, job=OLD_JOB),
        message("1000", at=NOW - HOUR),
        message("1100", at=NOW),
    )
    service.live(DAY - HOUR, step=HOUR)
    assert {} == service.ledger()
    service.clock.advance(HOUR)
    service.engine.record_late([LateCheck(job_uid=JOB)])
    card = RunCard(simulation_uid=SIMULATION, state="OnQueue", period=8)
    idle = Look(at=NOW, sight=Sight.ABSENT, scheduler_alive=True, others=False, run_card=card)
    _see(service, idle, kind="stalled")
    service.settle()
    service.wait(10 * MINUTE)
    decision = service.ledger()["stalled"]
    assert ("supervise", NOW + DAY) == (decision.verdict, decision.last_at)
    assert (True, "stalled") == (service.row().submit_only, service.row().trigger)


@pytest.mark.parametrize(
    "then",
    [
        message("1000", at=NOW + MINUTE, job=NEW_JOB),
        message("0100", at=NOW + MINUTE),
        message("8888", at=NOW + MINUTE, job=None),
    ],
)
def test_a_next_start_or_an_end_clears_the_stalled_alarm(service: Bench, then: Any) -> None:  # noqa: ANN401
    """Also when it comes before the 1100 does."""
    story = [message("0000", at=NOW - DAY), message("1100", at=NOW), then]
    service.feed(*story)
    (simulation,) = service.table("tbl_simulation")
    assert simulation["next_start_check_at"] is None
    service.live(2 * DAY, step=4 * HOUR)
    assert "stalled" not in service.ledger()


def test_a_stalled_alarm_rings_once(service: Bench) -> None:
    """What is told later about something else does not arm it again."""
    service.feed(message("0000", at=NOW - DAY), message("1100", at=NOW))
    service.wait(DAY)
    assert 1 == service.ledger()["stalled"].occurrences
    service.feed(message("1001", at=NOW - HOUR), message("2100", at=NOW, job=NEW_JOB))
    service.live(HOUR, step=10 * MINUTE)
    assert 1 == service.ledger()["stalled"].occurrences


def test_the_sweeper_sends_what_is_due_once(service: Bench) -> None:
    """A row, a decision, a late job; what was sent is not sent again at once."""
    row = service.to_formatted()
    service.feed(message("1000", at=NOW, job=NEW_JOB, simulation=OLD_JOB, jobWarningDelay="60"))
    assert 0 == service.engine.sweep(10).total
    service.clock.advance(2 * HOUR)
    swept = service.engine.sweep(10)
    assert (1, 0, 1) == (swept.supervisions, swept.decisions, swept.late_jobs)
    assert 1 == service.broker.depth(Queue.DISPATCH)
    assert 0 == service.engine.sweep(10).total
    assert row.id == service.row().id


def test_alarms_that_nobody_answers_back_off(service: Bench) -> None:
    """A minute, doubling to an hour: a long queue is not doubled by its own alarms."""
    service.to_formatted()
    service.clock.advance(HOUR)
    sent = []
    for _ in range(6 * 60):
        sent.append(service.engine.sweep(10).supervisions)
        service.clock.advance(MINUTE)
    assert 9 <= sum(sent) <= 14
    assert sum(sent[:60]) > sum(sent[60:180])


def test_a_sweep_is_limited(service: Bench) -> None:
    """Oldest alarms first; the rest comes with the next one."""
    for number in range(3):
        uid = f"{number}0000000-0000-4000-8000-000000000000"
        service.feed(message("1999", at=NOW, simulation=uid, job=uid))
    service.clock.advance(HOUR)
    assert [2, 1, 0] == [service.engine.sweep(2).decisions for _ in range(3)]


def test_two_sweepers_at_once_take_different_rows(postgres_url: str) -> None:
    """While one holds its rows the other takes the next ones; nothing is sent twice."""
    with bench(postgres_url) as first, bench(postgres_url) as second:
        for number in range(20):
            uid = f"{number:08d}-0000-4000-8000-000000000000"
            first.feed(message("1999", at=NOW, simulation=uid, job=uid))
        first.drain()
        for each in (first, second):
            each.clock.advance(6 * MINUTE)
        with ThreadPoolExecutor(2) as pool:
            swept = list(pool.map(lambda each: each.engine.sweep(20), (first, second)))
        assert 20 == sum(each.decisions for each in swept)
        depths = [each.broker.depth(Queue.DETECT) for each in (first, second)]
        assert 20 == sum(depths)


def test_retention_deletes_nothing_that_is_unfinished(service: Bench) -> None:
    """Bodies go first, then finished simulations whole; an alarm or an open row keeps them."""
    service.feed(*failing_chain())
    service.feed(message("8888", at=NOW, job=None, simulation=OLD_JOB))
    service.settle()
    keep = service.app.settings.retention
    service.clock.advance(keep.raw_bodies + DAY)
    counts = service.engine.clean(keep)
    assert (6, 0) == (counts["bodies"], counts["tbl_simulation"])
    assert {None} == {each["body"] for each in service.table("tbl_message")}
    service.clock.advance(keep.rest)
    counts = service.engine.clean(keep)
    assert (1, 1, 0) == (
        counts["tbl_simulation"],
        counts["tbl_message"],
        counts["tbl_simulation_supervision"],
    )
    assert 1 == len(service.rows())


def test_retention_forgets_what_is_over_with_everything_about_it(service: Bench) -> None:
    """Supervision, history, restarts, ledger, jobs, periods, messages."""
    service.to_executed()
    service.feed(message("1000", at=service.clock.now() + MINUTE, job=NEW_JOB))
    service.feed(message("0100", at=service.clock.now() + HOUR, job=NEW_JOB))
    service.wait(timedelta(0))
    service.wait(2 * DAY)
    keep = service.app.settings.retention
    service.clock.advance(keep.rest + 11 * DAY)
    service.engine.clean(keep)
    left = {
        name: len(service.table(name))
        for name in (
            "tbl_simulation",
            "tbl_job",
            "tbl_job_period",
            "tbl_message",
            "tbl_supervision_decision",
            "tbl_simulation_supervision",
            "tbl_supervision_transition",
            "tbl_supervision_restart",
        )
    }
    assert dict.fromkeys(left, 0) == left
