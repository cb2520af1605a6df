"""Decisions that stand beside others: merged, busy, mailed before, declined; told, woken again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest

from db import dao_facts
from supervision.errors import MailUnavailable
from supervision.facts import (
    AnswerKind,
    EndReason,
    ExitCode,
    Level,
    Look,
    Sight,
    TriggerKind,
)
from supervision.fsm.states import Event, State
from tests.factories import JOB, NOW, PolicyFactory, SitePolicyFactory
from tests.unit.engine_kit import (
    ALICE,
    DAY,
    HOUR,
    MINUTE,
    NEW_JOB,
    OLD_JOB,
    OPERATOR,
    OWNER,
    POST_JOB,
    Bench,
    bench,
    failing_chain,
    message,
)

SECOND: Final = timedelta(seconds=1)
GONE: Final = Look(at=NOW, sight=Sight.ENDED, reason=EndReason.TIMEOUT, scheduler_alive=True)


@pytest.fixture
def service(database_url: str) -> Iterator[Bench]:
    """The service at a site where it may act."""
    with bench(database_url) as made:
        yield made


def _two_jobs(service: Bench) -> None:
    """The chain failed; before that was handled its owner began it again, and that fails too."""
    service.to_dispatched()
    now = service.clock.now()
    service.feed(
        message("1000", at=now - MINUTE, job=NEW_JOB, jobSchedulerID="7"),
        message("1001", at=now - MINUTE, job=NEW_JOB, CumulPeriod="8"),
        message("1999", at=now, job=NEW_JOB),
    )
    service.settle()


def test_the_strongest_trigger_of_a_job_opens_and_the_others_merge(service: Bench) -> None:
    """One failure sends commands and a fatal; one supervision comes of it."""
    commands = [message("1900", at=NOW - each * SECOND) for each in range(1, 4)]
    service.feed(*commands, *failing_chain())
    service.settle()
    assert [TriggerKind.FATAL] == [row.trigger for row in service.rows()]
    service.live(15 * MINUTE)
    verdicts = {kind: each.verdict for kind, each in service.ledger().items()}
    assert "supervise" == verdicts["fatal"]
    assert verdicts["command"] in {"merge", "refuse"}
    assert 1 == len(service.rows())


def test_a_merged_decision_is_decided_again_when_its_supervision_ends(service: Bench) -> None:
    """Not an hour later: at once."""
    row = service.to_dispatched()
    service.feed(message("1900", at=service.clock.now(), job=JOB))
    service.settle()
    service.live(5 * MINUTE)
    merged = service.ledger()["command"]
    assert ("merge", "handled") == (merged.verdict, merged.rule)
    assert merged.wake_at is not None
    assert merged.wake_at > service.clock.now() + 30 * MINUTE
    service.agent.outcome(row.id, scheduler_id="41300")
    service.live(5 * MINUTE)
    assert State.EXECUTED is service.row().state
    assert ("refuse", None) == (
        service.ledger()["command"].verdict,
        service.ledger()["command"].wake_at,
    )


def test_a_second_job_of_a_simulation_waits_until_the_first_is_done(service: Bench) -> None:
    """Busy: an hour, or at once when the other one ends; never two restarts of one chain."""
    _two_jobs(service)
    waiting = service.ledger(NEW_JOB)["fatal"]
    assert ("defer", "busy") == (waiting.verdict, waiting.rule)
    assert [JOB] == [row.job_uid for row in service.rows()]
    service.agent.outcome(service.row().id, kind=AnswerKind.DECLINED, exit_code=ExitCode.OTHER_JOB)
    service.live(6 * MINUTE)
    assert State.CANCELLED is service.row().state
    assert "supervise" == service.ledger(NEW_JOB)["fatal"].verdict


@pytest.mark.parametrize(
    "event",
    [
        Event.CANCEL,
        Event.FORCE_CANCELLED,
        Event.FORCE_FAILED,
    ],
)
def test_a_person_who_ends_one_wakes_what_waited_for_it(service: Bench, event: Event) -> None:
    """However a supervision ends, those that waited for it are decided at once."""
    service.feed(message("1001", at=NOW - MINUTE, job=NEW_JOB, CumulPeriod="8"))
    first = service.to_formatted()
    service.feed(message("1999", at=NOW, job=NEW_JOB))
    service.settle()
    rules = [service.ledger(NEW_JOB)["fatal"].rule]
    service.engine.order(event, first.id, ALICE)
    service.settle()
    rules.append(service.ledger(NEW_JOB)["fatal"].rule)
    assert ["busy", "supervise"] == rules


def test_a_mail_about_a_weak_trigger_gives_way_to_a_strong_one(database_url: str) -> None:
    """Level 1 about a late job: the fatal cancels and retries it, with a second mail."""
    site = SitePolicyFactory.build(mode="mail")
    with bench(database_url, policy=PolicyFactory.build(sites=(site,))) as service:
        service.feed(
            message("0000", at=NOW - 10 * DAY, job=OLD_JOB),
            message("1000", at=NOW - HOUR, job=JOB, jobWarningDelay="60"),
            message("1001", at=NOW - HOUR, job=JOB),
        )
        service.wait(2 * HOUR)
        service.wait(DAY)
        row = service.row()
        assert (TriggerKind.LATE, State.DISPATCHED) == (row.trigger, row.state)
        service.feed(message("1999", at=service.clock.now(), job=JOB))
        service.settle()
        again = service.row()
        assert (TriggerKind.FATAL, 2, State.DISPATCHED) == (
            again.trigger,
            again.attempt,
            again.state,
        )
        assert row.id == again.id
        assert [(OWNER, "script")] * 2 == service.mails()
        assert ["cancel", "retry"] == service.events()[3:5]


def test_a_stronger_trigger_is_noted_on_a_row_that_acts(service: Bench) -> None:
    """Level 2 absorbs it: what is under way is the answer to both."""
    service.feed(*failing_chain()[:-1])
    service.feed(message("1900", at=NOW))
    service.settle()
    service.agent.see(service.ledger()["command"].decision_id, GONE)
    service.live(11 * MINUTE)
    assert TriggerKind.COMMAND is service.row().trigger
    service.agent.outcome(service.row().id, kind=AnswerKind.RUNNING)
    service.feed(message("1999", at=service.clock.now()))
    service.settle()
    row = service.row()
    assert (TriggerKind.COMMAND, 1) == (row.trigger, row.attempt)
    assert "fatal" in service.ledger()


def test_declined_for_post_processing_goes_on_when_that_is_done(service: Bench) -> None:
    """The chain was stopped by a pack that failed: once that is through, the chain is restarted."""
    service.feed(*failing_chain())
    service.feed(
        message("2000", at=NOW - HOUR, job=POST_JOB), message("2999", at=NOW, job=POST_JOB)
    )
    service.settle()
    compute, post = service.row(JOB), service.row(POST_JOB)
    service.agent.outcome(
        compute.id, 1, kind=AnswerKind.DECLINED, exit_code=ExitCode.STOPPED_BY_POST
    )
    service.agent.outcome(post.id, kind=AnswerKind.RUNNING)
    service.wait(10 * MINUTE)
    assert "declined-post" == service.row(JOB).cause
    service.live(HOUR, step=10 * MINUTE)
    assert 1 == service.row(JOB).attempt
    service.agent.outcome(post.id, scheduler_id="600")
    service.live(6 * MINUTE)
    assert State.EXECUTED is service.row(POST_JOB).state
    service.live(15 * MINUTE)
    assert 2 == service.row(JOB).attempt


def test_an_answer_that_was_told_is_not_told_again(service: Bench) -> None:
    """Looked at daily, the same refusal is no news."""
    service.feed(
        message("0000", at=NOW - DAY, job=OLD_JOB, machine="unheard-of"),
        message("1100", at=NOW - HOUR, job=OLD_JOB),
        message("1000", at=NOW - HOUR / 2, job=JOB),
        message("1999", at=NOW),
    )
    service.settle()
    service.live(4 * DAY, step=6 * HOUR)
    assert "where-and-who" == service.ledger()["fatal"].rule
    assert [(OWNER, "refused")] == service.mails()


def test_a_verdict_that_cannot_be_told_yet_waits(service: Bench) -> None:
    """Without a mail server it is put off, and told later: never not at all."""
    service.feed(*failing_chain(period=1))
    service.notifier.fail_with(MailUnavailable("away"))
    service.settle()
    assert ("defer", []) == (service.ledger()["fatal"].verdict, service.mails())
    service.live(2 * MINUTE)
    assert ("refuse", [(OWNER, "refused")]) == (
        service.ledger()["fatal"].verdict,
        service.mails(),
    )


def test_a_person_retries_what_was_refused(service: Bench) -> None:
    """The first period: refused by policy, begun by a person at once, and without a grace."""
    service.feed(*failing_chain(period=1))
    service.settle()
    assert ("refuse", "first-period") == (
        service.ledger()["fatal"].verdict,
        service.ledger()["fatal"].rule,
    )
    service.engine.retry(JOB, ALICE)
    service.settle()
    row = service.row()
    assert (True, State.EXECUTED, Level.AUTOMATIC) == (row.by_person, row.state, row.level)
    assert "alice" == service.history()[0].actor


@pytest.mark.parametrize("known", [True, False])
def test_an_act_of_a_person_begins_the_count_of_failures_anew(
    service: Bench,
    known: bool,  # noqa: FBT001
) -> None:
    """Three jobs failed, a person begins an attempt: that is progress, by whichever row."""
    service.feed(*failing_chain(period=7 if known else 1))
    service.settle()
    service.clock.advance(MINUTE)
    if known:
        service.engine.order(Event.FORCE_DETECTED, service.row().id, ALICE)
    else:
        service.engine.retry(JOB, ALICE)
    with service.tools.database.read() as session:
        uid = service.row().simulation_uid
        progress = dao_facts.progress(session, [uid])
    assert service.clock.now() == progress[uid]


def test_giving_up_is_told_to_both_and_once(service: Bench) -> None:
    """Twice tried, 30 minutes apart, then user and operator hear of it in the same step."""
    row = service.to_formatted()
    service.agent.outcome(row.id, kind=AnswerKind.FAILED, exit_code=ExitCode.CLEAN_FAILED)
    service.live(4 * HOUR, step=5 * MINUTE)
    row = service.row()
    assert (State.FAILED, 3, None) == (row.state, row.attempt, row.wake_at)
    assert [(OWNER, "gave-up"), (OPERATOR, "gave-up")] == service.mails()
    service.live(3 * DAY, step=6 * HOUR)
    assert 2 == len(service.mails())


def _fills_the_disk(service: Bench) -> None:
    name, code = service.row().id, ExitCode.NOT_WRITABLE
    service.agent.outcome(name, 1, kind=AnswerKind.FAILED, exit_code=code)


def test_a_retry_by_a_strong_trigger_is_not_given_up_by_the_weak_one(service: Bench) -> None:
    """Both are decided in one set: what the weak one says is about an attempt that is over."""
    service.feed(*failing_chain()[:-1], message("1900", at=NOW))
    service.agent.see(service.table("tbl_supervision_decision")[0]["id"], GONE)
    service.agent.once("before submit", lambda: _fills_the_disk(service))
    service.wait(10 * MINUTE)
    assert (State.FAILED, TriggerKind.COMMAND) == (service.row().state, service.row().trigger)
    service.clock.advance(6 * MINUTE)
    service.feed(message("1999", at=service.clock.now()))
    service.drain()
    after = service.row()
    assert (2, TriggerKind.FATAL) == (after.attempt, after.trigger)
    assert [] == service.broker.dead()
