"""Executed: the new job is watched until it starts, is stopped by its owner, or is proven gone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from supervision.facts import EndReason, JobKind, Look, OtherJob, RunCard, Sight
from supervision.fsm.actions import ACTIONS
from supervision.fsm.outcomes import Notice, Outcome
from supervision.fsm.states import Event, State
from tests.factories import NOW, OTHER_JOB, DecisionFactsFactory, LookFactory, ago
from tests.unit.test_actions_desk import DAY, HOUR, MINUTE, FakeDesk, SayingAgent, braked, row

ABSENT = LookFactory.build(sight=Sight.ABSENT, reason=None)
BEFORE = json.dumps({"sight": "absent", "at": ago(minutes=20).isoformat()})


def _watch(desk: FakeDesk, **changes: Any) -> Outcome:  # noqa: ANN401
    return ACTIONS[State.EXECUTED]([row(State.EXECUTED, **changes)], desk)[0]


def _desk(seen: Look) -> FakeDesk:
    return FakeDesk(agent=SayingAgent(seen=seen))


@pytest.mark.parametrize(
    ("started", "over"), [(ago(minutes=50), True), (NOW - HOUR, False), (ago(hours=4), False)]
)
def test_a_start_later_than_the_act_ends_the_watch(started: datetime, over: bool) -> None:  # noqa: FBT001
    """The chain goes on; an earlier start is the failed job's own."""
    agent = SayingAgent(seen=LookFactory.build(sight=Sight.QUEUED, reason=None))
    facts = DecisionFactsFactory.build(simulation__last_start_at=started)
    outcome = _watch(FakeDesk(agent=agent, decision_facts=facts))
    assert (Event.EXECUTE if over else None) is outcome.event
    assert ([] if over else ["look"]) == agent.calls


@pytest.mark.parametrize(
    ("other", "over"),
    [
        (OtherJob(uid=OTHER_JOB, at=ago(minutes=5)), True),
        (OtherJob(uid=OTHER_JOB, at=ago(minutes=5), ended_well=True), False),
        (OtherJob(uid=OTHER_JOB, at=ago(hours=2)), False),
    ],
)
def test_a_post_processing_job_is_awaited_by_its_task(other: OtherJob, over: bool) -> None:  # noqa: FBT001
    """A start of the chain says nothing about it; a later start of the same task does."""
    facts = DecisionFactsFactory.build(
        job__kind=JobKind.POST_PROCESSING, simulation__last_start_at=NOW, later_starts=(other,)
    )
    desk = replace(_desk(ABSENT), decision_facts=facts)
    outcome = _watch(desk, kind=JobKind.POST_PROCESSING)
    assert (Event.EXECUTE if over else None) is outcome.event


@pytest.mark.parametrize("sight", [Sight.QUEUED, Sight.RUNNING, Sight.HELD, Sight.UNKNOWN])
def test_a_job_that_is_there_is_looked_at_later_and_later(sight: Sight) -> None:
    """10 min, doubling to 6 h, however long it waits."""
    desk = _desk(LookFactory.build(sight=sight, reason=None))
    found = [_watch(desk, backoff=times, executed_at=ago(days=3)) for times in (0, 2, 9)]
    assert [NOW + 10 * MINUTE, NOW + 40 * MINUTE, NOW + 6 * HOUR] == [o.until for o in found]
    assert [(None, 1), (None, 3), (None, 10)] == [(o.event, o.after.backoff) for o in found]
    assert [] == desk.told


def test_the_new_job_is_looked_at_by_the_id_that_the_script_got() -> None:
    """And the look is kept on the row."""
    agent = SayingAgent(seen=ABSENT)
    outcome = _watch(FakeDesk(agent=agent))
    assert ["41300"] == [subject.scheduler_id for subject in agent.subjects]
    kept = json.loads(outcome.after.looked or "{}")
    assert ("absent", NOW.isoformat(), 7) == (kept["sight"], kept["at"], kept["period"])


def test_a_job_that_its_owner_cancelled_ends_the_watch_with_a_mail() -> None:
    """Whoever stops what we started wants it stopped."""
    desk = _desk(LookFactory.build(sight=Sight.ENDED, reason=EndReason.CANCELLED))
    outcome = _watch(desk)
    assert Event.EXECUTE is outcome.event
    assert [Notice.NEW_JOB_CANCELLED] == [notice for notice, _ in desk.told]


def test_a_cancel_that_cannot_be_told_yet_is_seen_again_later() -> None:
    """A mail may come twice, but is never forgotten."""
    desk = _desk(LookFactory.build(sight=Sight.ENDED, reason=EndReason.CANCELLED))
    assert _watch(replace(desk, mail_is_away=True)).event is None


@pytest.mark.parametrize("reason", [reason for reason in EndReason if reason != "cancelled"])
@pytest.mark.parametrize(("since", "gone"), [(HOUR, True), (HOUR - MINUTE, False)])
def test_a_job_that_ended_without_a_start_is_gone_after_an_hour(
    reason: EndReason,
    since: timedelta,
    gone: bool,  # noqa: FBT001
) -> None:
    """Its start message may still be on its way before."""
    desk = _desk(LookFactory.build(sight=Sight.ENDED, reason=reason))
    outcome = _watch(desk, executed_at=NOW - since)
    expected = (Event.FAIL, "new-job-gone") if gone else (None, None)
    assert expected == (outcome.event, outcome.cause)


@pytest.mark.parametrize(
    ("seen", "looked", "gone"),
    [
        (ABSENT, BEFORE, True),
        (ABSENT, None, False),
        (ABSENT, json.dumps({"sight": "queued"}), False),
        (replace(ABSENT, scheduler_alive=False), BEFORE, False),
        (replace(ABSENT, reachable=False), BEFORE, False),
    ],
)
def test_absent_counts_when_it_is_seen_twice(
    seen: Look,
    looked: str | None,
    gone: bool,  # noqa: FBT001
) -> None:
    """Once may be a moment between two states; a dead scheduler knows nothing."""
    outcome = _watch(_desk(seen), executed_at=NOW - HOUR, looked=looked)
    assert (Event.FAIL if gone else None) is outcome.event


def test_the_end_of_a_job_without_an_id_proves_nothing() -> None:
    """The script did not tell what it submitted: by name it may be the job that failed before."""
    desk = _desk(LookFactory.build(sight=Sight.ENDED, reason=EndReason.FAILED))
    assert _watch(desk, scheduler_id=None, executed_at=ago(days=2)).event is None


CLEANED: Final = LookFactory.build(
    sight=Sight.ENDED,
    reason=EndReason.FAILED,
    others=False,
    run_card=RunCard(state="OnQueue", period=7),
)
WAITING: Final = json.dumps({"sight": "ended", "others": False, "period_state": "OnQueue"})


@pytest.mark.parametrize(
    ("seen", "looked", "gone"),
    [
        (CLEANED, WAITING, True),
        (CLEANED, None, False),
        (CLEANED, BEFORE, False),
        (replace(CLEANED, others=True), WAITING, False),
        (replace(CLEANED, others=None), WAITING, False),
        (replace(CLEANED, scheduler_alive=False), WAITING, False),
        (replace(CLEANED, reachable=False), WAITING, False),
        (replace(CLEANED, run_card=RunCard(state="Running", period=7)), WAITING, False),
        (replace(CLEANED, run_card=None), WAITING, False),
    ],
)
def test_a_script_that_was_killed_between_clean_and_submit_is_found_out(
    seen: Look,
    looked: str | None,
    gone: bool,  # noqa: FBT001
) -> None:
    """run.card waits for a job and none of that name is there, twice: a chain that broke."""
    outcome = _watch(_desk(seen), scheduler_id=None, executed_at=NOW - HOUR, looked=looked)
    assert (Event.FAIL if gone else None) is outcome.event
    early = _watch(_desk(seen), scheduler_id=None, executed_at=NOW, looked=looked)
    assert early.event is None


@pytest.mark.parametrize("silent", [{"look"}, set[str]()])
def test_a_start_that_never_came_is_told_and_over_after_two_weeks(silent: set[str]) -> None:
    """No watch is for ever."""
    agent = SayingAgent(seen=LookFactory.build(sight=Sight.UNKNOWN), silent=silent)
    desk = FakeDesk(agent=agent)
    outcome = _watch(desk, executed_at=NOW - 14 * DAY)
    assert (Event.EXECUTE, [Notice.WATCH_OVER]) == (outcome.event, [n for n, _ in desk.told])


def test_a_centre_that_does_not_answer_ends_no_watch() -> None:
    """Silence is no evidence."""
    outcome = _watch(FakeDesk(agent=SayingAgent(silent={"look"})))
    assert (None, NOW + MINUTE / 2) == (outcome.event, outcome.until)


def test_brakes_come_before_the_look() -> None:
    """A hold stops looks as well; a start ends the watch all the same."""
    agent = SayingAgent()
    held = FakeDesk(agent=agent, stops={row().id: braked()})
    assert (None, NOW + HOUR) == (_watch(held).event, _watch(held).until)
    held.decision_facts = DecisionFactsFactory.build(simulation__last_start_at=NOW)
    assert (Event.EXECUTE, []) == (_watch(held).event, agent.calls)
