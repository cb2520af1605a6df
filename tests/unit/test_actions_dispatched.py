"""Dispatched: the agent's word, what a look concludes where it has none, and patience that ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from supervision.facts import (
    Answer,
    AnswerKind,
    ExitCode,
    JobKind,
    Look,
    Sight,
    SimulationFacts,
)
from supervision.fsm.actions import ACTIONS
from supervision.fsm.outcomes import Notice, Outcome
from supervision.fsm.states import Event, ExecutionStatus, State
from tests.factories import (
    DIRECTORY,
    NOW,
    DecisionFactsFactory,
    LookFactory,
    RunCardFactory,
    ago,
)
from tests.unit.test_actions_desk import (
    DAY,
    HOUR,
    MINUTE,
    ROW,
    WISH,
    FakeDesk,
    SayingAgent,
    braked,
    row,
)

ANSWERED: Final = {
    "accepted": (None, "running", None),
    "running": (None, "running", None),
    "busy": (None, "running", None),
    "unknown": (None, "unknown", None),
    "expired": (None, "unknown", None),
    "executed": ("execute", "pending", None),
    "declined": ("cancel", "pending", "declined"),
    "opted-out": ("cancel", "pending", "declined"),
    "failed": ("fail", "pending", "script"),
    "fenced": ("cancel", "pending", "person"),
    "refused": ("fail", "pending", "refused"),
    "conflict": ("fail", "pending", "conflict"),
    "foreign-journal": ("fail", "pending", "refused"),
    "stale": ("fail", "pending", "conflict"),
    "never-seen": ("fail", "pending", "journal-lost"),
    "lost": ("fail", "pending", "lost"),
}
"""What each answer makes of a dispatched row; the last two after a look that showed nothing."""

NOTHING_THERE: Final = LookFactory.build(sight=Sight.ABSENT, reason=None)
KEY: Final = ROW.key


def _ask(desk: FakeDesk, **changes: Any) -> Outcome:  # noqa: ANN401
    return ACTIONS[State.DISPATCHED]([row(State.DISPATCHED, **changes)], desk)[0]


def _desk(kind: AnswerKind | Answer, seen: Look | None = None) -> FakeDesk:
    return FakeDesk(agent=SayingAgent(to_status=kind, seen=seen or NOTHING_THERE))


def _said(outcome: Outcome) -> tuple[str | None, str, str | None]:
    event = None if outcome.event is None else outcome.event.value
    return event, outcome.after.execution_status.value, outcome.cause


@pytest.mark.parametrize("kind", AnswerKind)
def test_every_answer_to_a_status(kind: AnswerKind) -> None:
    """Ends end the row, `unknown` is a value, and nobody concludes from a silent journal alone."""
    assert ANSWERED[kind] == _said(_ask(_desk(kind)))


@pytest.mark.parametrize("kind", [kind for kind in AnswerKind if ANSWERED[kind][0] is not None])
def test_an_end_that_the_agent_told_needs_no_cancel(kind: AnswerKind) -> None:
    """There is nothing left to withdraw at the centre."""
    assert _ask(_desk(kind)).by_agent


def test_a_row_that_works_is_asked_later_and_later() -> None:
    """10 s, doubling to 5 min."""
    found = [_ask(_desk(AnswerKind.RUNNING), backoff=times).until for times in (0, 1, 9)]
    seconds = (10, 20, 300)
    assert [NOW + timedelta(seconds=each) for each in seconds] == found


def test_what_the_script_did_is_kept_and_told() -> None:
    """Scheduler id, period, exit code and the tail of the output; the owner hears it once."""
    answer = Answer(
        key=KEY,
        kind=AnswerKind.EXECUTED,
        exit_code=0,
        scheduler_id="41300",
        period=7,
        output_tail="submitted",
        journal_id="journal",
    )
    desk = _desk(answer)
    after = _ask(desk, dispatch_error="no route", backoff=5).after
    assert (0, "41300", 7, "submitted") == (
        after.exit_code,
        after.scheduler_id,
        after.period,
        after.output_tail,
    )
    assert ("journal", None, 0) == (after.journal_id, after.dispatch_error, after.backoff)
    sentence = "the script was executed, period 7 begins again, as job 41300."
    assert [(Notice.ACTED, sentence)] == desk.told


def test_an_act_that_cannot_be_told_yet_is_not_written_yet() -> None:
    """A mail may come twice, but is never forgotten."""
    desk = replace(_desk(AnswerKind.EXECUTED), mail_is_away=True)
    outcome = _ask(desk)
    assert (None, 1) == (outcome.event, outcome.after.backoff)


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_of_a_script_that_failed(code: ExitCode) -> None:
    """40 to 59 is not yet; everything else that an agent calls failed is a failure."""
    answer = Answer(key=KEY, kind=AnswerKind.FAILED, exit_code=code)
    outcome = _ask(_desk(answer))
    assert ("not-yet" if 40 <= code < 60 else "script") == outcome.cause
    assert f"exit code {code}" in (outcome.reason or "")
    assert code == outcome.after.exit_code


@pytest.mark.parametrize("code", [code for code in ExitCode if code.declined])
def test_every_exit_code_of_a_script_that_declined(code: ExitCode) -> None:
    """Stopped by post-processing is a cause of its own: that one is looked at again."""
    answer = Answer(key=KEY, kind=AnswerKind.DECLINED, exit_code=code, detail="no")
    desk = _desk(answer)
    outcome = _ask(desk)
    post = code is ExitCode.STOPPED_BY_POST
    assert ("declined-post" if post else "declined") == outcome.cause
    assert [(Notice.DECLINED, "no")] == desk.told


@pytest.mark.parametrize("kind", [AnswerKind.NEVER_SEEN, AnswerKind.LOST])
@pytest.mark.parametrize(
    "seen",
    [
        LookFactory.build(others=True),
        LookFactory.build(sight=Sight.QUEUED, reason=None),
        LookFactory.build(run_card=RunCardFactory.build(state="OnQueue")),
    ],
)
def test_evidence_that_we_acted_counts_as_executed(kind: AnswerKind, seen: Look) -> None:
    """A job of that name, or OnQueue: starting another one could only double it."""
    outcome = _ask(_desk(kind, seen))
    assert (Event.EXECUTE, True) == (outcome.event, outcome.by_agent)
    assert outcome.after.looked


@pytest.mark.parametrize("kind", [AnswerKind.NEVER_SEEN, AnswerKind.LOST])
@pytest.mark.parametrize(
    "seen", [LookFactory.build(reachable=False), LookFactory.build(others=None)]
)
def test_a_look_that_could_not_tell_concludes_nothing(kind: AnswerKind, seen: Look) -> None:
    """A failed query is never read as an end."""
    outcome = _ask(_desk(kind, seen))
    assert (None, 1) == (outcome.event, outcome.after.backoff)


def test_a_look_that_fails_is_tried_again() -> None:
    """The journal's word alone ends nothing."""
    agent = SayingAgent(to_status=AnswerKind.LOST, silent={"look"})
    assert Event.FAIL is not _ask(FakeDesk(agent=agent)).event


def test_evidence_is_any_job_of_that_name_and_directory() -> None:
    """Not the failed one's id: what the script submitted has another."""
    desk = _desk(AnswerKind.LOST)
    _ask(desk)
    assert isinstance(desk.agent, SayingAgent)
    (subject,) = desk.agent.subjects
    assert (None, "CPL01", DIRECTORY) == (subject.scheduler_id, subject.name, subject.directory)
    assert (ROW.id, JobKind.COMPUTE) == (subject.ref, subject.kind)


def test_a_centre_that_does_not_answer_fails_nothing() -> None:
    """Silence is never read as failure."""
    outcome = _ask(FakeDesk(agent=SayingAgent(silent={"status"})))
    assert (None, "pending", None) == _said(outcome)


def test_another_journal_than_the_one_that_took_it_is_given_up() -> None:
    """A home that was restored from a copy cannot know how it ended."""
    answer = Answer(key=KEY, kind=AnswerKind.EXECUTED, journal_id="other")
    assert ("fail", "pending", "refused") == _said(_ask(_desk(answer), journal_id="journal"))


def test_a_new_journal_that_never_saw_it_leads_to_a_look() -> None:
    """The home was lost: only the centre itself can tell."""
    answer = Answer(key=KEY, kind=AnswerKind.NEVER_SEEN, journal_id="other")
    outcome = _ask(_desk(answer), journal_id="journal")
    assert ("fail", "pending", "journal-lost") == _said(outcome)


def test_brakes_come_before_the_question() -> None:
    """`status` connects too, and may start a runner."""
    agent = SayingAgent()
    outcome = _ask(FakeDesk(agent=agent, stops={ROW.id: braked()}))
    assert (None, NOW + HOUR, []) == (outcome.event, outcome.until, agent.calls)


def test_a_wish_ends_the_row_instead_of_asking() -> None:
    """Leaving it sends `cancel`, which answers how it is as well."""
    agent = SayingAgent()
    outcome = _ask(FakeDesk(agent=agent), wanted=WISH)
    assert ("cancel", "pending", "person") == _said(outcome)
    assert (False, []) == (outcome.by_agent, agent.calls)


@pytest.mark.parametrize(
    ("deleted", "started", "event"),
    [
        (ago(minutes=1), ago(hours=4), Event.CANCEL),
        (ago(minutes=1), None, Event.CANCEL),
        (ago(hours=5), ago(hours=4), None),
        (None, ago(hours=4), None),
    ],
)
def test_only_a_deleted_simulation_is_not_wanted_any_more(
    deleted: object, started: object, event: Event | None
) -> None:
    """An 8888 later than the last start, and no other message, takes back what was sent."""
    facts = DecisionFactsFactory.build(
        simulation__deleted_at=deleted, simulation__last_start_at=started
    )
    assert isinstance(facts.simulation, SimulationFacts)
    desk = replace(_desk(AnswerKind.RUNNING), decision_facts=facts)
    assert event is _ask(desk).event


def test_our_own_start_is_not_taken_for_somebody_elses() -> None:
    """The new job's 1000 comes before the agent was asked: it is asked all the same."""
    facts = DecisionFactsFactory.build(simulation__last_start_at=NOW)
    desk = replace(_desk(AnswerKind.EXECUTED), decision_facts=facts)
    assert Event.EXECUTE is _ask(desk).event


@pytest.mark.parametrize("silent", [{"status"}, set[str]()])
def test_a_day_without_an_end_is_told_once(silent: set[str]) -> None:
    """The operator hears of it; from then on nobody is told again."""
    agent = SayingAgent(to_status=AnswerKind.UNKNOWN, silent=silent)
    desk = FakeDesk(agent=agent)
    outcome = _ask(desk, dispatched_at=NOW - DAY)
    assert [Notice.NO_ANSWER] == [notice for notice, _ in desk.told]
    assert (None, NOW) == (outcome.event, outcome.after.told_at)
    assert ExecutionStatus.UNKNOWN is outcome.after.execution_status
    again = _ask(desk, dispatched_at=NOW - 2 * DAY, told_at=outcome.after.told_at)
    assert (None, 1) == (again.event, len(desk.told))


def test_less_than_a_day_is_no_news() -> None:
    """Queues are long, and scripts may wait for a lock."""
    desk = _desk(AnswerKind.UNKNOWN)
    _ask(desk, dispatched_at=NOW - DAY + MINUTE)
    assert [] == desk.told


def test_a_day_that_cannot_be_told_yet_is_told_later() -> None:
    """Without a mail server nothing is marked as told."""
    desk = replace(_desk(AnswerKind.UNKNOWN), mail_is_away=True)
    outcome = _ask(desk, dispatched_at=NOW - DAY)
    assert (None, None) == (outcome.event, outcome.after.told_at)


@pytest.mark.parametrize("kind", [AnswerKind.UNKNOWN, AnswerKind.RUNNING, AnswerKind.LOST])
@pytest.mark.parametrize("silent", [{"status"}, {"look"}])
def test_two_weeks_without_an_end_end_the_row(kind: AnswerKind, silent: set[str]) -> None:
    """A row ends by success, by a person, or by a decision that somebody is told of."""
    agent = SayingAgent(to_status=kind, silent=silent)
    outcome = _ask(FakeDesk(agent=agent), dispatched_at=NOW - 14 * DAY, told_at=ago(days=13))
    assert (Event.FAIL, "expired") == (outcome.event, outcome.cause)


def test_an_end_is_an_end_however_late() -> None:
    """What the agent knows after two weeks still counts."""
    outcome = _ask(_desk(AnswerKind.EXECUTED), dispatched_at=NOW - 20 * DAY)
    assert Event.EXECUTE is outcome.event
