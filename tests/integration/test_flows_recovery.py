"""From a failure to a recovery: the whole way of one simulation, and of many at once."""

from __future__ import annotations

import pytest

from supervision.facts import AnswerKind, EndReason, ExitCode, FailureCause, RunCard, Sight
from supervision.fsm.states import ExecutionStatus, State
from supervision.testing import Programmed
from tests.factories import JOB, NOW, SIMULATION, LookFactory
from tests.integration.flows_kit import (
    BY_MAIL,
    GRACE,
    OBSERVED,
    Chain,
    executions,
    next_start,
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
    bench,
    failing_chain,
    failing_post,
    message,
    message_b,
)


def test_a_failure_is_restarted_watched_and_recovered(database_url: str) -> None:
    """Fatal, script, receipt, act, first start, next period: each leaves its mark, one mail."""
    with bench(database_url) as made:
        row = made.to_executed()
        assert (State.EXECUTED, ExecutionStatus.EXECUTED) == (row.state, row.execution_status)
        assert ("41300", 7, 0) == (row.scheduler_id, row.period, row.exit_code)
        assert row.wake_at is not None
        made.clock.advance(3 * MINUTE)
        made.feed(next_start(made.clock.now()))
        made.settle()
        assert made.row().wake_at is None
        assert (None, "us") == (made.row().recovered_at, made.ledger()["fatal"].restarted_by)
        made.feed(message("1001", at=NOW + HOUR, job=NEW_JOB, CumulPeriod="7"))
        assert made.row().recovered_at is None
        made.feed(message("1001", at=NOW + 2 * HOUR, job=NEW_JOB, CumulPeriod="8"))
        assert NOW + 2 * HOUR == made.row().recovered_at == made.ledger()["fatal"].recovered_at
        assert ["detect", "format", "dispatch", "execute", "execute"] == made.events()
        assert [(OWNER, "acted")] == made.mails()
        assert [1] == executions(made.agent)
        assert [] == made.broker.dead()


def test_the_owner_reads_all_that_was_deleted(sqlite_url: str) -> None:
    """A long list does not fit into what is kept of the output: the mail has it all the same."""
    files = [f"12 KB OUT/ATM/CPL01_18500101_{number:03d}_histmth.nc" for number in range(50)]
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        outcome: Programmed = {
            "scheduler_id": "41300",
            "period": 7,
            "report": {"did": "restarted", "deleted": files},
            "output_tail": '.nc"], "exit": 0}',
        }
        made.agent.outcome(row.id, **outcome)
        made.wait(GRACE)
        (mail,) = made.notifier.mails
    assert files == [line.strip() for line in mail.text.splitlines() if "histmth" in line]
    assert "Deleted, of the failed period 7:" in mail.text
    assert "Submitted: job 41300." in mail.text


def test_a_restart_by_hand_ends_the_watch_and_is_not_ours(sqlite_url: str) -> None:
    """A start whose scheduler id is not our job's was somebody's hand."""
    with bench(sqlite_url) as made:
        made.to_executed()
        made.clock.advance(3 * MINUTE)
        made.feed(next_start(made.clock.now(), "99999"))
        made.settle()
        assert made.row().wake_at is None
        assert "hand" == made.ledger()["fatal"].restarted_by


def test_our_restart_is_ours_whatever_the_centre_s_clock_says(sqlite_url: str) -> None:
    """The centre's clock is behind: the start bears our job's id, and seems older than the act."""
    with bench(sqlite_url) as made:
        made.to_executed()
        made.feed(next_start(NOW + GRACE - MINUTE))
        made.settle()
        assert "us" == made.ledger()["fatal"].restarted_by


def test_a_generation_b_failure_takes_its_directory_from_the_site(sqlite_url: str) -> None:
    """Generation B tells no directory: without a pattern it is refused for want, and told."""
    with bench(sqlite_url) as made:
        made.feed(
            message_b("0000", at=NOW - 10 * DAY, job=NEW_JOB),
            message_b("1000", at=NOW - 4 * HOUR),
            message_b("9999", at=NOW),
        )
        made.settle()
        verdict = made.ledger()["fatal"]
        assert ("refuse", "where-and-who") == (verdict.verdict, verdict.rule)
        assert NOW + DAY == verdict.wake_at
        assert [] == made.rows()
        assert [OWNER] == [to for to, _ in made.mails()]


def test_one_failure_with_its_three_hundred_echoes_is_one_supervision(sqlite_url: str) -> None:
    """Command failures around one fatal: one ledger row each, one act, and `why` knows the rest."""
    with bench(sqlite_url) as made:
        echoes = [
            message("1900", at=NOW + MINUTE * index / 300, command=f"IGCM_sys_Cp {index}")
            for index in range(300)
        ]
        made.feed(*echoes[:150], *failing_chain(), *echoes[150:])
        made.settle()
        made.wait(GRACE + MINUTE)
        assert 1 == len(made.rows())
        assert 300 == made.ledger()["command"].occurrences
        assert "merge" == made.ledger()["command"].verdict
        assert [1] == executions(made.agent)


def test_a_lone_command_failure_restarts_nothing_by_itself(sqlite_url: str) -> None:
    """Ten minutes without a fatal, and a look that sees the job run: refused, nobody is told."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain()[:-1], message("1900", at=NOW))
        made.settle()
        assert "defer" == made.ledger()["command"].verdict
        alive = LookFactory.build(sight=Sight.RUNNING, reason=None, others=True)
        for row in made.table("tbl_supervision_decision"):
            made.agent.see(row["id"], alive)
        made.wait(11 * MINUTE)
        assert "refuse" == made.ledger()["command"].verdict
        assert [] == made.rows()
        assert [] == made.mails()


def test_a_new_job_that_is_gone_is_tried_again(sqlite_url: str) -> None:
    """The job that we submitted ended unheard: after an hour the attempt failed; one follows."""
    with bench(sqlite_url) as made:
        row = made.to_executed()
        gone = LookFactory.build(sight=Sight.ENDED, reason=EndReason.NODE_FAIL)
        made.agent.see(row.id, gone)
        made.live(50 * MINUTE, step=5 * MINUTE)
        assert State.EXECUTED is made.row().state
        while made.row().state is State.EXECUTED and made.clock.now() < NOW + DAY:
            made.wait(5 * MINUTE)
        assert made.clock.now() >= NOW + GRACE + HOUR
        assert FailureCause.NEW_JOB_GONE.value == made.row().cause
        made.live(35 * MINUTE, step=5 * MINUTE)
        assert 2 == made.row().attempt
        assert [1, 1] == executions(made.agent)


def test_a_script_killed_between_clean_and_submit_is_followed_by_another(sqlite_url: str) -> None:
    """run.card says that it acted, and no job ever comes: after an hour one more attempt submits.

    Nobody would hear of that simulation again: its run.card waits for a job that nobody submits.
    """
    with bench(sqlite_url) as made:
        made.feed(*failing_chain())
        made.settle()
        made.wait(GRACE)
        row = made.row()
        made.agent.outcome(row.id, 1, kind=AnswerKind.LOST)
        cleaned = RunCard(state="OnQueue", period=7)
        made.agent.see(row.id, LookFactory.build(others=False, run_card=cleaned))
        while made.row().state is not State.EXECUTED and made.clock.now() < NOW + DAY:
            made.wait(MINUTE)
        assert made.row().scheduler_id is None
        while made.row().state is State.EXECUTED and made.clock.now() < NOW + DAY:
            made.wait(5 * MINUTE)
        assert FailureCause.NEW_JOB_GONE.value == made.row().cause
        made.live(35 * MINUTE, step=5 * MINUTE)
        assert (2, State.EXECUTED) == (made.row().attempt, made.row().state)
        assert [1, 1] == executions(made.agent)


def test_a_new_job_that_its_owner_cancelled_is_left_alone(sqlite_url: str) -> None:
    """The watch ends with a mail; nothing is begun again, whatever time passes."""
    with bench(sqlite_url) as made:
        row = made.to_executed()
        made.agent.see(row.id, LookFactory.build(reason=EndReason.CANCELLED))
        made.wait(10 * MINUTE)
        assert (State.EXECUTED, None) == (made.row().state, made.row().wake_at)
        made.live(2 * DAY, step=6 * HOUR)
        assert [1] == executions(made.agent)
        assert 2 == len(made.mails())


def test_a_failed_post_processing_job_is_resubmitted_alone(sqlite_url: str) -> None:
    """A script of its own kind; the chain's starts do not end its watch, its task's start does."""
    with bench(sqlite_url) as made:
        made.feed(*failing_post())
        made.settle()
        row = made.row(POST_JOB)
        assert "post-processing" == row.kind.value
        made.agent.outcome(row.id, scheduler_id="556")
        made.wait(GRACE)
        assert State.EXECUTED is made.row(POST_JOB).state
        made.clock.advance(MINUTE)
        made.agent.see(row.id, LookFactory.build(sight=Sight.QUEUED, reason=None))
        made.feed(message("1000", at=made.clock.now(), job=NEW_JOB))
        made.settle()
        assert made.row(POST_JOB).wake_at is not None
        again = "d1c7d7f6-25f5-4f43-8b5d-0f4d3d9d5f77"
        made.feed(message("2000", at=made.clock.now(), job=again, jobSchedulerID="556", **TASK))
        made.settle()
        assert made.row(POST_JOB).wake_at is None


def test_a_task_that_fails_twice_is_left_to_its_owner(sqlite_url: str) -> None:
    """The same post-processing failed under another job before: refused, with a mail."""
    with bench(sqlite_url) as made:
        made.feed(*failing_post())
        made.settle()
        made.agent.outcome(made.row(POST_JOB).id, scheduler_id="556")
        made.wait(GRACE)
        again = "d1c7d7f6-25f5-4f43-8b5d-0f4d3d9d5f77"
        at = made.clock.now() + MINUTE
        made.feed(
            message("2000", at=at, job=again, jobSchedulerID="556", **TASK),
            message("2999", at=at + MINUTE, job=again),
        )
        made.wait(GRACE)
        assert ("refuse", "again") == (
            made.ledger(again)["post-processing"].verdict,
            made.ledger(again)["post-processing"].rule,
        )
        assert 1 == len(made.rows())


def test_a_period_that_blows_up_twice_is_left_to_its_owner(sqlite_url: str) -> None:
    """The restarted job failed in the same period: refused with a mail, not restarted for ever."""
    with bench(sqlite_url) as made:
        made.to_executed()
        at = made.clock.now() + MINUTE
        made.feed(
            next_start(at),
            message("1001", at=at + MINUTE, job=NEW_JOB, CumulPeriod="7"),
            message("1999", at=at + 2 * MINUTE, job=NEW_JOB),
        )
        made.wait(GRACE)
        assert "again" == made.ledger(NEW_JOB)["fatal"].rule
        assert 1 == len(made.rows())
        assert [OWNER, OWNER] == [to for to, _ in made.mails()]


def test_at_level_one_the_owner_gets_the_script_and_does_it(sqlite_url: str) -> None:
    """The script goes by mail, no agent is asked, and the next start shows that it was used."""
    with bench(sqlite_url, policy=BY_MAIL) as made:
        made.feed(*failing_chain())
        made.settle()
        row = made.row()
        assert (State.DISPATCHED, 0) == (row.state, row.dispatch_try_count)
        assert [(OWNER, "script")] == made.mails()
        made.clock.advance(HOUR)
        made.feed(next_start(made.clock.now(), "777"))
        made.settle()
        assert (State.EXECUTED, None) == (made.row().state, made.row().wake_at)
        assert "user" == made.history()[-1].actor
        assert "hand" == made.ledger()["fatal"].restarted_by
        assert [] == made.agent.calls


def test_an_observed_site_decides_renders_and_does_nothing(sqlite_url: str) -> None:
    """Mode observe: everything up to the script is on record, then cancelled as observed."""
    with bench(sqlite_url, policy=OBSERVED) as made:
        made.feed(*failing_chain())
        made.settle()
        row = made.row()
        assert (State.CANCELLED, "observed") == (row.state, row.cause)
        assert row.script_sha256 is not None
        assert ["detect", "format", "cancel"] == made.events()
        made.live(2 * DAY, step=6 * HOUR)
        assert [] == made.agent.calls
        assert [] == made.mails()


def test_the_script_that_declined_is_told_in_a_sentence(sqlite_url: str) -> None:
    """Another job of that name is there: cancelled as declined, one mail, off the caps."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(
            row.id,
            kind=AnswerKind.DECLINED,
            exit_code=ExitCode.OTHER_JOB,
            detail="job 41299 of this name is queued",
        )
        made.wait(GRACE)
        assert (State.CANCELLED, "declined") == (made.row().state, made.row().cause)
        assert [OWNER] == [to for to, _ in made.mails()]
        assert [] == made.table("tbl_supervision_restart")


@pytest.mark.parametrize("failing", [3])
def test_many_simulations_are_helped_in_one_wave(sqlite_url: str, failing: int) -> None:
    """A set of failures goes through every stage as a set: one submit for all of a login."""
    with bench(sqlite_url) as made:
        for number in range(failing):
            made.feed(*Chain(number=number).failing())
        made.settle()
        made.wait(GRACE)
        assert [State.EXECUTED] * failing == [row.state for row in made.rows()]
        assert 1 == made.calls("submit")
        assert [1] * failing == executions(made.agent)


def test_a_job_that_ended_unheard_is_found_late_and_restarted(sqlite_url: str) -> None:
    """Killed by the scheduler, it sent nothing: an hour after its limit it is looked at."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain()[:-1])
        made.settle()
        dead = LookFactory.build(sight=Sight.ENDED, reason=EndReason.TIMEOUT)
        made.live(20 * HOUR, step=HOUR)
        assert {} == made.ledger()
        made.clock.advance(HOUR + MINUTE)
        made.engine.sweep(1000)
        made.drain()
        for row in made.table("tbl_supervision_decision"):
            made.agent.see(row["id"], dead)
        made.live(HOUR)
        assert "supervise" == made.ledger()["late"].verdict
        assert State.EXECUTED is made.row(JOB).state
        assert SIMULATION == made.row(JOB).simulation_uid
        assert OPERATOR not in [to for to, _ in made.mails()]
