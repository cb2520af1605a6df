"""Several triggers and several jobs: who waits for whom, who is told what, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from supervision.errors import MailUnavailable
from supervision.facts import AnswerKind, Cap, EndReason, Policy, Sight, Supervision
from supervision.fsm.actions import ACTIONS
from supervision.fsm.engine import deciding, opening
from supervision.fsm.engine.opening import Case, Opened
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import Desk, Outcome
from supervision.fsm.states import Queue, State
from supervision.messages import LateCheck
from tests.factories import JOB, NOW, LookFactory
from tests.integration.flows_kit import (
    BY_MAIL,
    GRACE,
    Chain,
    Died,
    executions,
    hold,
    policy,
    young_chain,
)
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    MINUTE,
    NEW_JOB,
    OPERATOR,
    OWNER,
    POST_JOB,
    TASK,
    Bench,
    bench,
    failing_chain,
    message,
)

LIMIT = 1000


def _verdict(made: Bench, kind: str, job: str = JOB) -> tuple[str | None, str | None]:
    row = made.ledger(job)[kind]
    return row.verdict, row.rule


# Two jobs of one simulation.


def test_an_older_job_that_is_heard_of_late_is_superseded(database_url: str) -> None:
    """The failure of a job before the one that is being helped opens nothing of its own."""
    with bench(database_url) as made:
        row = made.to_dispatched()
        made.feed(
            message("1001", at=NOW - 5 * HOUR, job=NEW_JOB, CumulPeriod="9"),
            message("1999", at=NOW + MINUTE, job=NEW_JOB),
        )
        made.settle()
        assert ("refuse", "superseded") == _verdict(made, "fatal", NEW_JOB)
        made.agent.outcome(row.id, scheduler_id="41300")
        made.live(10 * MINUTE)
        assert [1] == executions(made.agent)


def test_a_later_job_s_failure_supersedes_the_earlier_attempt(sqlite_url: str) -> None:
    """Restarted by hand in the grace, and failed again: busy, then helped at once, alone."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        at = NOW + MINUTE
        made.feed(
            message("1000", at=at, job=NEW_JOB),
            message("1001", at=at, job=NEW_JOB, CumulPeriod="8"),
            message("1999", at=at + MINUTE, job=NEW_JOB),
        )
        made.clock.advance(2 * MINUTE)
        made.drain()
        assert ("defer", "busy") == _verdict(made, "fatal", NEW_JOB)
        made.live(20 * MINUTE)
        assert (State.CANCELLED, "policy") == (made.row().state, made.row().cause)
        assert State.EXECUTED is made.row(NEW_JOB).state
        assert [1] == executions(made.agent)


def test_post_processing_and_the_chain_do_not_wait_for_each_other(sqlite_url: str) -> None:
    """Two failures of one simulation, one of each kind: both are helped."""
    with bench(sqlite_url) as made:
        made.feed(
            *failing_chain(),
            message("2000", at=NOW - HOUR, job=POST_JOB, jobSchedulerID="555", **TASK),
            message("2999", at=NOW, job=POST_JOB),
        )
        made.settle()
        made.wait(GRACE)
        assert [State.EXECUTED] * 2 == [row.state for row in made.rows()]


def test_a_chain_stopped_by_post_processing_goes_on_when_that_is_mended(sqlite_url: str) -> None:
    """Declined as stopped by post-processing: waits for the open one, then the rules go on."""
    with bench(sqlite_url) as made:
        made.feed(
            *failing_chain(),
            message("2000", at=NOW - HOUR, job=POST_JOB, jobSchedulerID="555", **TASK),
            message("2999", at=NOW, job=POST_JOB),
        )
        made.settle()
        made.agent.outcome(made.row(POST_JOB).id, kind=AnswerKind.RUNNING)
        made.agent.outcome(made.row().id, 1, kind=AnswerKind.DECLINED, exit_code=12)
        made.wait(GRACE)
        assert (State.CANCELLED, "declined-post") == (made.row().state, made.row().cause)
        made.agent.outcome(made.row(POST_JOB).id, scheduler_id="556")
        made.live(DAY + HOUR, step=HOUR)
        assert (State.EXECUTED, 2) == (made.row().state, made.row().attempt)


# Two triggers of one job.


def test_a_merged_decision_is_woken_when_the_supervision_ends(sqlite_url: str) -> None:
    """A command failure under a row that is under way merges; it is decided again at its end."""
    with bench(sqlite_url) as made:
        row = made.to_dispatched()
        made.feed(message("1900", at=NOW + MINUTE))
        made.settle()
        assert "merge" == made.ledger()["command"].verdict
        made.agent.outcome(row.id, scheduler_id="41300")
        made.wait(10 * MINUTE)
        assert ("refuse", "handled") == _verdict(made, "command")
        assert ["acted"] == [kind for _, kind in made.mails()]


def test_a_stronger_trigger_is_noted_on_a_row_that_acts(sqlite_url: str) -> None:
    """A fatal that comes while a late job is being restarted is merged, and the row says so."""
    with bench(sqlite_url) as made:
        made.feed(*young_chain())
        _found_dead(made)
        made.engine.record_hold(hold())
        row = made.row()
        made.feed(message("1999", at=made.clock.now()))
        made.settle()
        assert ("merge", "handled") == _verdict(made, "fatal")
        assert (row.state, "late", "fatal") == (
            made.row().state,
            made.row().trigger.value,
            str(made.row().noted_trigger),
        )


def _found_dead(made: Bench) -> None:
    """Let a silent job become late, and the centre say that it ended by its time limit.

    The agent then takes its time, so that the restart is under way.
    """
    made.live(24 * HOUR, step=4 * HOUR)
    made.clock.advance(65 * MINUTE)
    made.engine.sweep(LIMIT)
    late_jobs = made.broker.take(Queue.LATE_JOBS, limit=LIMIT, timeout_seconds=0)
    made.engine.record_late([LateCheck(job_uid=JOB)])
    made.broker.ack(late_jobs)
    (decision,) = made.table("tbl_supervision_decision")
    dead = LookFactory.build(sight=Sight.ENDED, reason=EndReason.TIMEOUT)
    made.agent.see(decision["id"], dead)
    made.engine.decide([JOB])
    made.agent.outcome(made.row().id, kind=AnswerKind.RUNNING)
    made.agent.see(made.row().id, dead)
    made.settle()


def test_a_level_one_row_is_cancelled_and_retried_by_a_stronger_trigger(sqlite_url: str) -> None:
    """The mail about a late job blocks nothing: its fatal cancels and retries, by a second mail."""
    with bench(sqlite_url, policy=BY_MAIL) as made:
        made.feed(*young_chain())
        made.live(50 * HOUR, step=HOUR)
        assert (State.DISPATCHED, "late") == (made.row().state, made.row().trigger.value)
        assert ["script"] == [kind for _, kind in made.mails()]
        made.feed(message("1999", at=made.clock.now()))
        made.settle()
        row = made.row()
        assert (State.DISPATCHED, 2, "fatal") == (row.state, row.attempt, row.trigger.value)
        assert ["cancel", "retry", "format", "dispatch"] == made.events()[-4:]
        assert ["script", "script"] == [kind for _, kind in made.mails()]
        assert 2 == len({mail.message_id for mail in made.notifier.mails})


def test_an_equally_strong_trigger_does_not_retry_a_level_one_row(sqlite_url: str) -> None:
    """A second fatal of the job is the same incident: no second mail."""
    with bench(sqlite_url, policy=BY_MAIL) as made:
        made.feed(*failing_chain())
        made.settle()
        made.feed(message("1999", at=NOW + MINUTE))
        made.live(3 * HOUR, step=HOUR)
        assert 1 == made.row().attempt
        assert ["script"] == [kind for _, kind in made.mails()]


# One incident, one mail.


def test_what_is_decided_again_with_the_same_answer_is_not_told_again(sqlite_url: str) -> None:
    """The site is unknown on every day until it is too old: its owner heard it once."""
    away = policy(site={"centres": ("IDRIS",)})
    with bench(sqlite_url, policy=away) as made:
        made.feed(*failing_chain())
        made.live(4 * DAY, step=12 * HOUR)
        assert ("refuse", "where-and-who") == _verdict(made, "fatal")
        assert len(made.mails()) <= 1


def test_a_verdict_waits_for_the_mail_server(sqlite_url: str) -> None:
    """Whom it concerns is told before it is written: until then it is deferred, and then told."""
    with bench(sqlite_url) as made:
        made.notifier.fail_with(MailUnavailable("421 later"), times=3)
        made.feed(*failing_chain(period=1))
        made.settle()
        assert ("defer", "first-period") == _verdict(made, "fatal")
        assert [] == made.mails()
        made.live(HOUR, step=5 * MINUTE)
        assert ("refuse", "first-period") == _verdict(made, "fatal")
        assert [OWNER] == [to for to, _ in made.mails()]


def test_a_centre_that_is_away_for_a_day_is_told_to_the_operator_once(sqlite_url: str) -> None:
    """A look that cannot be made defers, backed off; after 24 h one mail, then silence again."""
    with bench(sqlite_url) as made:
        chain = failing_chain()
        made.agent.unreachable.add("curie")
        made.feed(chain[0], chain[2], chain[4])
        made.live(3 * DAY, step=HOUR)
        assert "defer" == made.ledger()["fatal"].verdict
        assert [OPERATOR] == [to for to, _ in made.mails()]
        assert made.calls("look") < 100


# Alarms.


def test_the_sweeper_sends_what_is_due_once_and_backs_off(sqlite_url: str) -> None:
    """A wake-up that nobody takes is sent again after a minute, two, four: not every second."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        made.clock.advance(GRACE)
        sent = 0
        for _ in range(120):
            sent += made.engine.sweep(LIMIT).supervisions
            made.clock.advance(MINUTE)
        assert 3 <= sent <= 10
        assert 0 == made.row().claim_count


def test_a_decision_that_nobody_makes_is_woken_again_and_again_more_seldom(
    sqlite_url: str,
) -> None:
    """The ledger's alarms back off like the rows'."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain())
        sent = 0
        for _ in range(120):
            sent += made.engine.sweep(LIMIT).decisions
            made.clock.advance(MINUTE)
        assert 3 <= sent <= 10


def test_a_late_job_is_one_trigger_however_often_it_is_swept(sqlite_url: str) -> None:
    """Its alarm is taken once it is recorded: one row of the ledger, one occurrence."""
    with bench(sqlite_url) as made:
        made.feed(*young_chain())
        made.clock.advance(26 * HOUR)
        assert 1 == made.engine.sweep(LIMIT).late_jobs
        assert 0 == made.engine.sweep(LIMIT).late_jobs
        made.clock.advance(2 * MINUTE)
        assert 1 == made.engine.sweep(LIMIT).late_jobs
        made.drain()
        assert 1 == made.ledger()["late"].occurrences
        made.clock.advance(2 * MINUTE)
        assert 0 == made.engine.sweep(LIMIT).late_jobs


def test_a_sweep_takes_no_more_than_it_may(sqlite_url: str) -> None:
    """The limit holds for each kind; the next sweep takes the rest."""
    with bench(sqlite_url) as made:
        for number in range(3):
            made.feed(*Chain(number=number).failing())
        assert [2, 1, 0] == [made.engine.sweep(2).decisions for _ in range(3)]


# Work that its workers die of.


def test_a_row_that_kills_its_workers_is_worked_on_alone_then_given_up(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five claims that no confirm followed, then crash-loop: told, given up, and others go on."""
    capped = replace(policy(), user_cap=Cap(count=20, window=HOUR))
    with bench(sqlite_url, policy=capped) as made:
        bad, good = Chain(number=1), Chain(number=2)
        made.feed(*bad.failing(), *good.failing())
        made.settle()
        honest = ACTIONS[State.FORMATTED]

        def deadly(rows: Sequence[Supervision], desk: Desk) -> list[Outcome]:
            if bad.job in [row.job_uid for row in rows]:
                raise Died
            return honest(rows, desk)

        monkeypatch.setitem(ACTIONS, State.FORMATTED, deadly)
        made.live(3 * HOUR, step=2 * MINUTE)
        row = made.row(bad.job)
        assert (State.FAILED, "crash-loop", None) == (row.state, row.cause, row.wake_at)
        assert [(OPERATOR, "gave-up"), (OWNER, "gave-up")] == sorted(
            mail for mail in made.mails() if mail[1] == "gave-up"
        )
        assert State.EXECUTED is made.row(good.job).state


def test_a_decision_that_kills_its_workers_is_refused_and_told(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for the ledger: after five broken claims it says crash-loop to the operator."""
    with bench(sqlite_url) as made:
        bad, good = Chain(number=1), Chain(number=2)
        honest = opening.open_supervisions

        def deadly(
            tools: Tools, session: Session, cases: Sequence[Case], current: Policy, now: datetime
        ) -> Opened:
            rules = {case.row.job_uid: case.verdict.rule for case in cases}
            if rules.get(bad.job, "crash-loop") != "crash-loop":
                raise Died
            return honest(tools, session, cases, current, now)

        monkeypatch.setattr(deciding, "open_supervisions", deadly)
        made.feed(*bad.failing(), *good.failing())
        made.live(3 * HOUR, step=2 * MINUTE)
        assert ("refuse", "crash-loop") == _verdict(made, "fatal", bad.job)
        assert OPERATOR in [to for to, _ in made.mails()]
        assert [good.job] == [row.job_uid for row in made.rows()]
        assert State.EXECUTED is made.row(good.job).state


def test_a_crash_loop_under_a_hold_asks_nobody(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brakes come before any contact: the key of a crashed row is fenced when the hold is over."""
    with bench(sqlite_url) as made:
        made.to_dispatched()
        made.engine.record_hold(hold())

        def deadly(_rows: Sequence[Supervision], _desk: Desk) -> list[Outcome]:
            raise Died

        monkeypatch.setitem(ACTIONS, State.DISPATCHED, deadly)
        asked = len(made.agent.calls)
        made.live(HOUR, step=2 * MINUTE)
        assert asked == len(made.agent.calls)


def test_a_confirm_ends_the_count_of_claims(sqlite_url: str) -> None:
    """Claims that a confirm follows, not yet included, never add up to a crash-loop."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        made.agent.unreachable.add("curie")
        made.live(3 * HOUR, step=10 * MINUTE)
        assert (State.FORMATTED, 0) == (made.row().state, made.row().claim_count)
