"""What stops and spaces acts: holds, caps, the timetable after a failed attempt, one mail each."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

import pytest

from db import dao_history
from supervision.errors import MailUnavailable
from supervision.facts import AnswerKind, Cap, ExitCode, Window
from supervision.fsm.states import State
from supervision.replay import load_question
from supervision.testing import Programmed
from tests.factories import NOW
from tests.integration.flows_kit import GRACE, Chain, executions, hold, policy, reload
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    MINUTE,
    NEW_JOB,
    OPERATOR,
    OWNER,
    Bench,
    bench,
    failing_chain,
    message,
)

_NOT_YET: Final[Programmed] = {"kind": AnswerKind.FAILED, "exit_code": int(ExitCode.SUBMIT_REFUSED)}
_BROKEN: Final[Programmed] = {"kind": AnswerKind.FAILED, "exit_code": int(ExitCode.CLEAN_FAILED)}


def _restarts(made: Bench) -> int:
    return len(made.table("tbl_supervision_restart"))


# Holds.


@pytest.mark.parametrize("scope", ["site:curie", "login:curie/p86user1", "simulation:{simulation}"])
def test_a_hold_defers_and_its_release_decides_at_once(sqlite_url: str, scope: str) -> None:
    """While it is on nothing is opened and nobody asked; taken back, the decision is made now."""
    with bench(sqlite_url) as made:
        scope = scope.format(simulation=failing_chain()[0].simulation_uid)
        assert made.engine.record_hold(hold(scope))
        made.feed(*failing_chain())
        made.settle()
        assert "hold" == made.ledger()["fatal"].rule
        made.wait(2 * HOUR)
        assert [] == made.rows()
        assert made.engine.record_release(scope)
        made.settle()
        assert State.EXECUTED is made.row().state


def test_a_hold_stops_a_row_before_its_act(sqlite_url: str) -> None:
    """Placed while the script waits for its grace: nothing is asked or sent, until the release."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        made.engine.record_hold(hold())
        made.live(5 * HOUR, step=HOUR)
        assert (State.FORMATTED, 0) == (made.row().state, made.row().dispatch_try_count)
        assert [] == made.agent.calls
        assert "on hold" in str(made.row().reason)
        made.engine.record_release("site:curie")
        made.settle()
        assert State.EXECUTED is made.row().state


def test_a_hold_stops_questions_about_what_was_sent(sqlite_url: str) -> None:
    """A dispatched row is not asked after under a hold; afterwards it tells how it ended."""
    with bench(sqlite_url) as made:
        row = made.to_dispatched()
        made.engine.record_hold(hold())
        made.agent.outcome(row.id, scheduler_id="41300")
        made.wait(10 * MINUTE)
        asked = len(made.agent.calls)
        made.live(3 * HOUR, step=HOUR)
        assert asked == len(made.agent.calls)
        made.engine.record_release("site:curie")
        made.settle()
        assert State.EXECUTED is made.row().state


def test_what_was_sent_is_told_of_and_ends_under_a_hold_too(sqlite_url: str) -> None:
    """Telling asks nobody: one mail after 24 h, the end after 14 days, and not a single contact."""
    with bench(sqlite_url) as made:
        made.to_dispatched()
        made.engine.record_hold(hold())
        asked = len(made.agent.calls)
        made.live(DAY - MINUTE, step=10 * MINUTE)
        assert [] == made.mails()
        made.live(10 * MINUTE)
        assert [(OPERATOR, "unanswered")] == made.mails()
        assert "on hold since" in made.notifier.mails[0].text
        made.live(13 * DAY - HOUR, step=HOUR)
        assert (State.DISPATCHED, 1) == (made.row().state, len(made.mails()))
        made.live(2 * HOUR, step=HOUR)
        assert (State.FAILED, "expired") == (made.row().state, made.row().cause)
        assert made.row().wake_at is None
        assert [(OWNER, "gave-up"), (OPERATOR, "gave-up")] == made.mails()[1:]
        assert asked == len(made.agent.calls)


def test_a_watch_ends_under_a_hold_too(sqlite_url: str) -> None:
    """A restart of which nothing was ever seen is told of after 14 days, asked about or not."""
    with bench(sqlite_url) as made:
        made.to_executed()
        made.engine.record_hold(hold())
        asked = len(made.agent.calls)
        made.live(15 * DAY, step=6 * HOUR)
        assert (State.EXECUTED, None) == (made.row().state, made.row().wake_at)
        assert [(OWNER, "acted"), (OPERATOR, "watch-over")] == made.mails()
        assert asked == len(made.agent.calls)


def test_the_owner_s_mail_while_the_server_is_away_under_a_hold(sqlite_url: str) -> None:
    """It is tried again later and later; nobody is forgotten, and nothing spins."""
    with bench(sqlite_url) as made:
        made.to_dispatched()
        made.engine.record_hold(hold())
        made.notifier.fail_with(MailUnavailable("away"), times=3)
        made.live(DAY + 10 * MINUTE, step=MINUTE)
        assert [(OPERATOR, "unanswered")] == made.mails()


def test_a_hold_on_one_simulation_stops_no_other(sqlite_url: str) -> None:
    """Scopes are what they say."""
    with bench(sqlite_url) as made:
        first, second = Chain(number=1), Chain(number=2)
        made.engine.record_hold(hold(f"simulation:{first.simulation}"))
        made.feed(*first.failing(), *second.failing())
        made.settle()
        made.wait(GRACE)
        assert [second.job] == [row.job_uid for row in made.rows()]


def test_a_release_of_another_hold_leaves_this_one_in_force(sqlite_url: str) -> None:
    """Two holds: only when both are gone does anything happen."""
    with bench(sqlite_url) as made:
        made.engine.record_hold(hold("site:curie"))
        made.engine.record_hold(hold("login:curie/p86user1"))
        made.feed(*failing_chain())
        made.settle()
        made.engine.record_release("site:curie")
        made.settle()
        assert ("hold", []) == (made.ledger()["fatal"].rule, made.rows())
        assert not made.engine.record_release("site:curie")


def test_a_release_does_not_end_a_grace(sqlite_url: str) -> None:
    """Some other hold is taken back while the owner still has his ten minutes: they stay his."""
    with bench(sqlite_url) as made:
        made.engine.record_hold(hold("site:elsewhere"))
        made.to_formatted()
        made.wait(MINUTE)
        made.engine.record_release("site:elsewhere")
        made.settle()
        assert {} == made.agent.executions


def test_a_maintenance_stops_acts_until_two_hours_after_its_end(sqlite_url: str) -> None:
    """The centre is left alone, before any contact, until it has come to rest."""
    window = Window(start=NOW - HOUR, end=NOW + HOUR)
    with bench(sqlite_url, policy=policy(site={"maintenance": (window,)})) as made:
        made.feed(*failing_chain())
        made.settle()
        assert ("maintenance", NOW + 3 * HOUR) == (
            made.ledger()["fatal"].rule,
            made.ledger()["fatal"].wake_at,
        )
        made.live(3 * HOUR - MINUTE, step=30 * MINUTE)
        assert [] == made.agent.calls
        made.wait(2 * MINUTE)
        assert State.EXECUTED is made.row().state


def test_new_settings_reopen_what_was_refused_for_want(sqlite_url: str) -> None:
    """The site was missing in the settings; once it is there, it is decided at once."""
    full = policy()
    with bench(sqlite_url, policy=replace(full, digest="1" * 64, sites=())) as made:
        made.feed(*failing_chain())
        made.settle()
        assert ("refuse", "where-and-who") == (
            made.ledger()["fatal"].verdict,
            made.ledger()["fatal"].rule,
        )
        reload(made, full)
        made.settle()
        assert "supervise" == made.ledger()["fatal"].verdict


# Caps.


def test_the_cap_of_a_site_admits_the_oldest_first(database_url: str) -> None:
    """One place in an hour, three rows at once: each gets it in the order of their age."""
    capped = replace(policy(), site_cap=Cap(count=1, window=HOUR))
    with bench(database_url, policy=capped) as made:
        chains = [Chain(number=number) for number in (3, 1, 2)]
        for chain in chains:
            made.feed(*chain.failing(made.clock.now()))
            made.drain()
            made.clock.advance(timedelta(seconds=1))
        made.live(3 * HOUR, step=10 * MINUTE)
        begun = {row.acted_at: row.job_uid for row in made.rows() if row.acted_at}
        assert [chain.job for chain in chains] == [begun[at] for at in sorted(begun)]
        assert all(later - sooner >= HOUR for sooner, later in pairwise(sorted(begun)))
        assert [1, 1, 1] == executions(made.agent)


def test_an_attempt_s_own_restart_is_not_counted_against_it(sqlite_url: str) -> None:
    """The answer to the submit got lost: with a cap of one the same key still goes again."""
    capped = replace(policy(), simulation_cap=Cap(count=1, window=DAY))
    with bench(sqlite_url, policy=capped) as made:
        made.to_formatted()
        made.agent.unreachable.add("curie")
        made.wait(GRACE)
        assert (1, State.FORMATTED) == (made.row().dispatch_try_count, made.row().state)
        made.agent.unreachable.clear()
        made.wait(MINUTE)
        assert State.EXECUTED is made.row().state
        assert 1 == _restarts(made)


def test_a_full_cap_defers_the_next_failure_until_a_place_is_free(sqlite_url: str) -> None:
    """Rule `cap` says when the oldest restart leaves its window."""
    capped = replace(policy(), user_cap=Cap(count=1, window=HOUR))
    with bench(sqlite_url, policy=capped) as made:
        made.feed(*Chain(number=1).failing())
        made.settle()
        made.wait(GRACE)
        second = Chain(number=2)
        made.feed(*second.failing(made.clock.now()))
        made.settle()
        verdict = made.ledger(second.job)["fatal"]
        assert ("defer", "cap", NOW + GRACE + HOUR) == (
            verdict.verdict,
            verdict.rule,
            verdict.wake_at,
        )
        made.live(50 * MINUTE, step=10 * MINUTE)
        assert 1 == made.calls("submit")
        made.live(20 * MINUTE, step=5 * MINUTE)
        assert State.EXECUTED is made.row(second.job).state


def test_facts_are_as_of_the_moment_of_the_decision(database_url: str) -> None:
    """What others begin while they are read is counted where restarts are admitted, not here."""
    with bench(database_url) as made:
        later = {
            "supervision_id": Chain(number=2).job,
            "attempt": 1,
            "site": "curie",
            "login": "p86user1",
            "simulation_uid": Chain(number=2).simulation,
            "at": made.clock.now() + timedelta(seconds=1),
        }
        with made.tools.database.write() as session:
            dao_history.begin_restarts(session, [later])
        made.feed(*failing_chain())
        made.settle()
        (verdict,) = made.ledger().values()
        assert () == load_question(str(verdict.facts)).facts.restarts.site


@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        ({"kind": AnswerKind.DECLINED, "exit_code": int(ExitCode.COMPLETED)}, 0),
        ({"kind": AnswerKind.DECLINED, "exit_code": int(ExitCode.STOPPED_BY_POST)}, 0),
        (_NOT_YET, 0),
        (_BROKEN, 1),
        ({"scheduler_id": "41300"}, 1),
    ],
    ids=["declined", "stopped by post-processing", "not yet", "failed", "executed"],
)
def test_what_restarted_nothing_is_taken_off_the_caps(
    sqlite_url: str, outcome: Programmed, left: int
) -> None:
    """Declined and not yet give their place back; what may have acted keeps it."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, **outcome)
        made.wait(GRACE)
        assert left == _restarts(made)


def test_under_the_sites_lock_two_rows_never_share_the_last_place(sqlite_url: str) -> None:
    """Both were allowed by the rules at the same moment; the caps admit one."""
    capped = replace(policy(), site_cap=Cap(count=1, window=HOUR))
    with bench(sqlite_url, policy=capped) as made:
        made.feed(*Chain(number=1).failing(), *Chain(number=2).failing())
        made.settle()
        made.wait(GRACE)
        assert [0, 1] == sorted(row.dispatch_try_count for row in made.rows())
        assert 1 == _restarts(made)
        (waiting,) = made.rows(State.FORMATTED)
        assert "no room" in str(waiting.reason)


# After a failed attempt.


def _attempts(made: Bench, span: timedelta, step: timedelta) -> list[datetime]:
    """When each attempt acted, while time passes after the grace."""
    made.wait(GRACE)
    began: dict[int, datetime] = {}
    end = made.clock.now() + span
    while made.clock.now() < end:
        row = made.row()
        if row.acted_at is not None:
            began[row.attempt] = row.acted_at
        made.wait(step)
    return [began[attempt] for attempt in sorted(began)]


def _minutes_apart(moments: list[datetime]) -> list[int]:
    return [round((later - sooner) / MINUTE) for sooner, later in pairwise(moments)]


def test_not_yet_is_tried_again_six_times_and_then_given_up(sqlite_url: str) -> None:
    """5 min, doubling, six times within 24 h; then owner and operator are told, once each."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, **_NOT_YET)
        began = _attempts(made, 6 * HOUR, 5 * MINUTE)
        assert [5, 10, 20, 40, 80, 160] == _minutes_apart(began)
        assert (State.FAILED, 7, None) == (made.row().state, made.row().attempt, made.row().wake_at)
        assert [(OPERATOR, "gave-up"), (OWNER, "gave-up")] == sorted(made.mails())
        assert [1] * 7 == executions(made.agent)


def test_any_other_failure_is_tried_twice_more_and_then_given_up(sqlite_url: str) -> None:
    """30 min apart; then people are told, and nothing ever wakes it again."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, **_BROKEN)
        began = _attempts(made, 3 * HOUR, 10 * MINUTE)
        assert [30, 30] == _minutes_apart(began)
        assert (State.FAILED, 3, None) == (made.row().state, made.row().attempt, made.row().wake_at)
        assert [(OPERATOR, "gave-up"), (OWNER, "gave-up")] == sorted(made.mails())
        made.live(4 * DAY, step=12 * HOUR)
        assert 2 == len(made.mails())
        assert 3 == made.row().attempt


@pytest.mark.parametrize("kind", [AnswerKind.REFUSED, AnswerKind.FOREIGN_JOURNAL])
def test_what_is_hopeless_is_given_up_at_once(sqlite_url: str, kind: AnswerKind) -> None:
    """No second attempt, one mail to each."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, kind=kind)
        made.wait(GRACE)
        assert (State.FAILED, None) == (made.row().state, made.row().wake_at)
        assert [(OPERATOR, "gave-up"), (OWNER, "gave-up")] == sorted(made.mails())
        made.live(DAY, step=6 * HOUR)
        assert 1 == made.row().attempt


def test_a_failed_attempt_s_next_one_meets_the_rules(sqlite_url: str) -> None:
    """The owner restarted by hand while the next attempt waited: there is no next attempt."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, **_BROKEN)
        made.wait(GRACE)
        made.clock.advance(MINUTE)
        made.feed(message("1000", at=made.clock.now(), job=NEW_JOB))
        made.live(2 * HOUR, step=10 * MINUTE)
        assert (State.FAILED, 1, None) == (made.row().state, made.row().attempt, made.row().wake_at)
        assert "superseded" == made.ledger()["fatal"].rule


def test_transport_errors_use_no_attempt_up(sqlite_url: str) -> None:
    """A centre that is away for hours costs patience, no attempts, and no connections in a row."""
    with bench(sqlite_url) as made:
        made.to_formatted()
        made.agent.unreachable.add("curie")
        made.live(6 * HOUR, step=5 * MINUTE)
        row = made.row()
        assert (State.FORMATTED, 1, 1) == (row.state, row.attempt, row.dispatch_try_count)
        assert made.calls("submit") + made.calls("status") < 40
        made.agent.unreachable.clear()
        made.live(20 * MINUTE)
        assert State.EXECUTED is made.row().state
