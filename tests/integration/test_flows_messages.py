"""What messages do to decisions and supervisions: they wake and reopen, and change no state."""

from __future__ import annotations

from datetime import timedelta

import pytest

from supervision.errors import InvalidValue
from supervision.facts import AnswerKind, Sight
from supervision.fsm.engine import accounts, recording
from supervision.fsm.engine.recording import Fate
from supervision.fsm.states import State
from supervision.messages import MonitoringMessage
from tests.factories import JOB, NOW, LookFactory
from tests.integration.flows_kit import (
    BY_MAIL,
    GRACE,
    Meanwhile,
    executions,
    hold,
    rewire,
    young_chain,
)
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    MINUTE,
    NEW_JOB,
    POST_JOB,
    Bench,
    bench,
    failing_chain,
    message,
)

WAKING = ["0000", "1000", "1001", "1100", "0100", "2000", "2100", "3000", "3100", "8888"]
NOT_WAKING = ["1900", "7010", "7100"]


def _about(code: str, made: Bench) -> MonitoringMessage:
    job = None if code == "8888" else POST_JOB if code[0] in "23" else NEW_JOB
    return message(code, at=made.clock.now(), job=job)


@pytest.mark.parametrize("code", [*WAKING, *NOT_WAKING])
def test_news_of_the_simulation_wakes_its_supervision(sqlite_url: str, code: str) -> None:
    """Starts, ends and deletions bring the alarm forward; the state stays as it was."""
    with bench(sqlite_url) as made:
        before = made.to_dispatched()
        made.clock.advance(timedelta(seconds=1))
        made.feed(_about(code, made))
        after = made.row()
        assert State.DISPATCHED is after.state
        assert (code in WAKING) == (made.clock.now() == after.wake_at)
        assert (code in WAKING) == (before.wake_at != after.wake_at)


@pytest.mark.parametrize("code", [*WAKING, *NOT_WAKING])
def test_news_of_the_simulation_wakes_its_decisions(sqlite_url: str, code: str) -> None:
    """A deferred decision is looked at again at once; one that is final stays so."""
    with bench(sqlite_url) as made:
        made.engine.record_hold(hold())
        made.feed(*failing_chain())
        made.settle()
        assert NOW + DAY == made.ledger()["fatal"].wake_at
        made.clock.advance(MINUTE)
        made.feed(_about(code, made))
        assert (code in WAKING) == (made.clock.now() == made.ledger()["fatal"].wake_at)


def test_news_wakes_a_row_that_a_worker_has_in_its_hands(sqlite_url: str) -> None:
    """A message that comes while the agent is asked is not lost in the confirm that follows."""
    with bench(sqlite_url) as made:
        made.to_dispatched()
        made.clock.advance(10 * MINUTE)
        comes = Meanwhile(made.agent, "status", lambda: made.feed(_about("1000", made)))
        rewire(made, transport=comes)
        asked = made.calls("status")
        made.engine.sweep(1000)
        made.drain()
        row = made.row()
        assert (State.DISPATCHED, None) == (row.state, row.lease_until)
        assert asked + 2 == made.calls("status")


def test_news_wakes_a_decision_that_is_being_made(sqlite_url: str) -> None:
    """The look takes its time; what comes meanwhile is decided on next."""
    with bench(sqlite_url) as made:
        chain = failing_chain()
        # Without a 1001 the period is not known, so the centre is asked.
        made.feed(chain[0], chain[2], message("1999", at=NOW))
        leaving = LookFactory.build(sight=Sight.RUNNING, reason=None, others=True)
        made.agent.see(made.table("tbl_supervision_decision")[0]["id"], leaving)
        start = message("2000", at=NOW, job=POST_JOB)
        rewire(made, transport=Meanwhile(made.agent, "look", lambda: made.feed(start)))
        made.drain()
        assert ("defer", "ask") == _verdict(made)
        assert made.clock.now() == made.ledger()["fatal"].wake_at


def test_a_0000_an_hour_late_reopens_what_was_refused_for_want(database_url: str) -> None:
    """Deferred three times, refused for want, then decided at once when the 0000 is in."""
    with bench(database_url) as made:
        made.feed(*failing_chain()[1:])
        made.settle()
        assert ("defer", "where-and-who") == _verdict(made)
        made.live(20 * MINUTE)
        assert ("refuse", "where-and-who") == _verdict(made)
        assert [] == made.rows()
        made.wait(40 * MINUTE)
        made.feed(failing_chain()[0])
        made.settle()
        assert ("supervise", "supervise") == _verdict(made)
        assert State.EXECUTED is made.row().state


def test_a_want_that_nobody_fills_is_looked_at_daily_until_it_is_too_old(sqlite_url: str) -> None:
    """Up to max_age once a day, then never again."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain()[1:])
        made.live(HOUR, step=5 * MINUTE)
        first = made.ledger()["fatal"].wake_at
        assert first is not None
        assert DAY <= first - NOW <= DAY + HOUR
        made.live(6 * DAY, step=6 * HOUR)
        assert made.ledger()["fatal"].wake_at is None
        assert [] == made.rows()


def _verdict(made: Bench) -> tuple[str | None, str | None]:
    row = made.ledger()["fatal"]
    return row.verdict, row.rule


def test_history_is_stored_and_triggers_nothing(sqlite_url: str) -> None:
    """A year's mailbox on the first day: facts in, no ledger, no alarm, no wake-up."""
    with bench(sqlite_url) as made:
        recorded = made.feed(*failing_chain(), history=True)
        assert {Fate.NEW} == set(recorded.fates)
        made.live(10 * DAY, step=DAY)
        assert {} == made.ledger()
        assert [] == made.rows()
        assert [None, None] == [row["late_check_at"] for row in made.table("tbl_job")]
        assert [None] == [row["next_start_check_at"] for row in made.table("tbl_simulation")]
        assert 5 == len(made.table("tbl_message"))


def test_what_history_brought_does_not_hinder_a_later_failure(sqlite_url: str) -> None:
    """The same simulation fails for real afterwards: it is helped as if it had been known."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain()[:-1], history=True)
        made.feed(failing_chain()[-1])
        made.settle()
        assert State.FORMATTED is made.row().state


def test_a_message_twice_is_one_fact(sqlite_url: str) -> None:
    """Redelivered, mailed twice, in one set or two: nothing is done twice."""
    with bench(sqlite_url) as made:
        made.feed(*failing_chain(), *failing_chain())
        made.settle()
        made.publish(*failing_chain())
        made.settle()
        assert 1 == made.ledger()["fatal"].occurrences
        assert ["detect", "format"] == made.events()
        assert [] == made.broker.dead()


def test_news_in_the_grace_does_not_end_it(sqlite_url: str) -> None:
    """The failed job's own leftovers come in while it leaves the queue: nobody acts early."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        made.wait(2 * MINUTE)
        made.feed(message("2000", at=made.clock.now(), job=POST_JOB))
        made.settle()
        assert {} == made.agent.executions
        made.wait(8 * MINUTE)
        assert [1] == executions(made.agent)


def test_a_late_mail_waits_its_day_whatever_other_jobs_say(sqlite_url: str) -> None:
    """At level 1 a mail about a late job waits 24 h, whatever post-processing of its run says."""
    with bench(sqlite_url, policy=BY_MAIL) as made:
        made.feed(*young_chain())
        made.live(26 * HOUR, step=HOUR)
        assert State.FORMATTED is made.row().state
        made.feed(message("2000", at=made.clock.now(), job=POST_JOB))
        made.settle()
        assert [] == made.mails()
        made.live(DAY, step=HOUR)
        assert "script" in [kind for _, kind in made.mails()]


def test_a_late_job_that_is_heard_again_gets_no_mail(sqlite_url: str) -> None:
    """A newer message of the job clears the mail that was waiting."""
    with bench(sqlite_url, policy=BY_MAIL) as made:
        made.feed(*young_chain())
        made.live(26 * HOUR, step=HOUR)
        made.feed(message("1001", at=made.clock.now(), CumulPeriod="8"))
        made.settle()
        assert State.CANCELLED is made.row().state
        made.live(DAY, step=HOUR)
        assert [] == made.mails()


def test_a_deletion_withdraws_what_is_under_way(sqlite_url: str) -> None:
    """An 8888 sends `cancel` for what has not started, and nothing of it ever runs."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, kind=AnswerKind.ACCEPTED)
        made.wait(GRACE)
        assert State.DISPATCHED is made.row().state
        made.feed(message("8888", at=made.clock.now(), job=None))
        made.settle()
        assert (State.CANCELLED, "policy") == (made.row().state, made.row().cause)
        assert {} == made.agent.executions
        assert 1 == made.calls("cancel")


def test_a_deletion_waits_for_a_script_that_runs(sqlite_url: str) -> None:
    """What runs is not left behind: the row follows it to its end."""
    with bench(sqlite_url) as made:
        row = made.to_dispatched()
        made.feed(message("8888", at=made.clock.now(), job=None))
        made.settle()
        assert State.DISPATCHED is made.row().state
        made.agent.outcome(row.id, scheduler_id="41300")
        made.live(HOUR)
        assert State.EXECUTED is made.row().state


@pytest.mark.parametrize("known", [False, True], ids=["new", "known before"])
def test_a_message_that_fails_alone_is_kept_and_done_again(
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,  # noqa: FBT001
) -> None:
    """Its body and error are kept, it goes to the dead letters, and its repeat is processed."""
    with bench(sqlite_url) as made:
        if known:
            made.feed(*failing_chain()[:-1])
        honest = accounts.trigger_row

        def broken(each: MonitoringMessage, *rest: object) -> dict[str, object]:
            if each.code == "1999":
                raise InvalidValue("this one is too strange")
            return honest(each, *rest)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(recording, "trigger_row", broken)
            made.publish(*failing_chain())
            made.settle()
        errors = {row["code"]: row["processing_error"] for row in made.table("tbl_message")}
        assert "InvalidValue: this one is too strange" == errors.pop("1999")
        assert {None} == set(errors.values())
        assert [("dead-in-monitoring-1999", "InvalidValue: this one is too strange")] == (
            made.broker.dead()
        )
        assert [] == made.rows()
        made.publish(failing_chain()[-1])
        made.settle()
        assert [None] == list({row["processing_error"] for row in made.table("tbl_message")})
        assert State.FORMATTED is made.row(JOB).state


def test_a_stalled_chain_is_heard_of_a_day_after_its_last_end(sqlite_url: str) -> None:
    """A good end, no next start and no 0100: the last job that ended stands for the chain."""
    with bench(sqlite_url) as made:
        made.feed(*young_chain(), message("1100", at=NOW))
        made.live(DAY + MINUTE, step=HOUR)
        assert "stalled" in made.ledger()
        assert "ask" == made.ledger()["stalled"].rule
        assert [] == made.rows()


@pytest.mark.parametrize("code", ["1000", "0100", "8888"])
def test_what_follows_an_end_clears_the_alarm_of_the_next_start(sqlite_url: str, code: str) -> None:
    """The next start, the end of the simulation or its deletion: no trigger of silence."""
    with bench(sqlite_url) as made:
        made.feed(*young_chain(), message("1100", at=NOW))
        job = {"1000": NEW_JOB, "0100": JOB, "8888": None}[code]
        made.feed(message(code, at=NOW + MINUTE, job=job, jobWarningDelay="864000"))
        made.live(2 * DAY, step=6 * HOUR)
        assert "stalled" not in made.ledger()
