"""Dispatched and executed: what each answer, look, silence and deadline does to a row."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from supervision.errors import ProtocolError
from supervision.facts import (
    Answer,
    AnswerKind,
    CancelCause,
    EndReason,
    ExitCode,
    FailureCause,
    JobKind,
    Key,
    Look,
    OtherJob,
    Sight,
    Wish,
)
from supervision.fsm.asking import ask
from supervision.fsm.outcomes import Notice
from supervision.fsm.states import Event, ExecutionStatus
from supervision.fsm.watching import watch
from tests.factories import (
    NOW,
    OTHER_JOB,
    SUPERVISION,
    DecisionFactsFactory,
    LookFactory,
    RunCardFactory,
    SimulationFactsFactory,
    ago,
)
from tests.integration.desk_kit import (
    OTHER,
    FakeDesk,
    ScriptedTransport,
    dispatched,
    executed,
    held,
    only,
)

DAY = timedelta(days=1)
EMPTY = LookFactory.build(sight=Sight.ABSENT, reason=None)
"""A look that sees no job of that name, and a run.card that the failed job left."""


def _answer(kind: AnswerKind, **changes: object) -> Answer:
    key = Key(supervision_id=SUPERVISION, attempt=1)
    usual: dict[str, object] = {"key": key, "kind": kind, "journal_id": "j1"}
    return Answer(**{**usual, **changes})  # type: ignore[arg-type]


def _desk(status: AnswerKind | Answer, look: Look | None = None) -> FakeDesk:
    transport = ScriptedTransport(status=status)
    transport.looks[SUPERVISION] = look or EMPTY
    return FakeDesk(transport=transport)


def _verbs(desk: FakeDesk) -> list[str]:
    assert isinstance(desk.transport, ScriptedTransport)
    return desk.transport.verbs


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (AnswerKind.ACCEPTED, ExecutionStatus.RUNNING),
        (AnswerKind.RUNNING, ExecutionStatus.RUNNING),
        (AnswerKind.BUSY, ExecutionStatus.RUNNING),
        (AnswerKind.UNKNOWN, ExecutionStatus.UNKNOWN),
        (AnswerKind.EXPIRED, ExecutionStatus.UNKNOWN),
    ],
)
def test_what_goes_on_is_waited_for(kind: AnswerKind, status: ExecutionStatus) -> None:
    """Accepted and running wait; unknown is a value that the row shows, and waits too."""
    outcome = only(ask([dispatched(backoff=1, dispatch_error="away")], _desk(kind)))
    assert outcome.event is None
    assert status is outcome.after.execution_status
    assert NOW + timedelta(seconds=20) == outcome.until
    assert 2 == outcome.after.backoff
    assert outcome.after.dispatch_error is None


def test_executed_tells_the_owner_what_was_done() -> None:
    """The script acted: its owner reads which period begins again, as which job."""
    answer = _answer(AnswerKind.EXECUTED, exit_code=0, period=7, scheduler_id="41300")
    desk = _desk(answer)
    outcome = only(ask([dispatched()], desk))
    sentence = "the script was executed, period 7 begins again, as job 41300."
    assert Event.EXECUTE is outcome.event
    assert [(Notice.ACTED, SUPERVISION, sentence)] == desk.told
    assert (0, 7, "41300") == (
        outcome.after.exit_code,
        outcome.after.period,
        outcome.after.scheduler_id,
    )


def test_executed_without_a_mail_server_is_asked_again() -> None:
    """What cannot be told yet is not written yet: the agent answers the same next time."""
    desk = _desk(AnswerKind.EXECUTED)
    desk.mail_away = True
    outcome = only(ask([dispatched()], desk))
    assert outcome.event is None
    assert "the mail server does not answer" == outcome.reason


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (ExitCode.COMPLETED, CancelCause.DECLINED),
        (ExitCode.OTHER_JOB, CancelCause.DECLINED),
        (ExitCode.STOPPED_BY_POST, CancelCause.DECLINED_POST),
    ],
)
def test_a_decline_cancels_with_its_reason(code: ExitCode, cause: CancelCause) -> None:
    """The script touched nothing, for a good reason: cancelled, and one sentence to the owner."""
    desk = _desk(_answer(AnswerKind.DECLINED, exit_code=int(code), detail="another job is there"))
    outcome = only(ask([dispatched()], desk))
    assert (Event.CANCEL, cause.value) == (outcome.event, outcome.cause)
    assert [(Notice.DECLINED, SUPERVISION, "another job is there")] == desk.told
    assert outcome.by_agent


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (ExitCode.SUBMIT_REFUSED, FailureCause.NOT_YET),
        (ExitCode.JOB_LEAVING, FailureCause.NOT_YET),
        (ExitCode.NO_LIBIGCM, FailureCause.SCRIPT),
        (ExitCode.TIMED_OUT, FailureCause.SCRIPT),
        (None, FailureCause.SCRIPT),
    ],
)
def test_a_failed_script_fails_by_its_exit_class(
    code: ExitCode | None, cause: FailureCause
) -> None:
    """Exit 40 to 59 is not yet, everything else a failure of the script."""
    answer = _answer(AnswerKind.FAILED, exit_code=code, output_tail="clean: no")
    outcome = only(ask([dispatched()], _desk(answer)))
    assert (Event.FAIL, cause.value) == (outcome.event, outcome.cause)
    assert f"exit code {code}" in str(outcome.reason)
    assert "clean: no" == outcome.after.output_tail
    assert outcome.by_agent


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (AnswerKind.REFUSED, FailureCause.REFUSED),
        (AnswerKind.CONFLICT, FailureCause.CONFLICT),
        (AnswerKind.FOREIGN_JOURNAL, FailureCause.REFUSED),
    ],
)
def test_what_no_repeat_can_mend_fails(kind: AnswerKind, cause: FailureCause) -> None:
    """Such an answer is failed with a cause that gives up at once."""
    outcome = only(ask([dispatched()], _desk(kind)))
    assert (Event.FAIL, cause.value) == (outcome.event, outcome.cause)
    assert cause.hopeless


def test_another_journal_than_the_one_that_took_it_is_not_believed() -> None:
    """Whatever a foreign journal says of the key, the row fails: this one knows nothing of it."""
    desk = _desk(_answer(AnswerKind.EXECUTED, journal_id="j2"))
    outcome = only(ask([dispatched(journal_id="j1")], desk))
    assert (Event.FAIL, FailureCause.REFUSED.value) == (outcome.event, outcome.cause)
    assert str(outcome.reason).startswith("the agent says foreign-journal")
    assert [] == desk.told


def test_never_seen_by_a_new_journal_is_a_restored_home() -> None:
    """A home restored from nothing has another journal: it is looked at, not called foreign."""
    desk = _desk(_answer(AnswerKind.NEVER_SEEN, journal_id="j2"))
    outcome = only(ask([dispatched(journal_id="j1")], desk))
    assert ["status", "look"] == _verbs(desk)
    assert (Event.FAIL, FailureCause.JOURNAL_LOST.value) == (outcome.event, outcome.cause)


@pytest.mark.parametrize("kind", [AnswerKind.NEVER_SEEN, AnswerKind.LOST])
@pytest.mark.parametrize(
    ("look", "shown"),
    [
        (LookFactory.build(others=True), "a job of that name is there"),
        (
            LookFactory.build(sight=Sight.QUEUED, reason=None, others=None),
            "a job of that name is there",
        ),
        (
            LookFactory.build(run_card=RunCardFactory.build(state="OnQueue")),
            "run.card says OnQueue",
        ),
    ],
)
def test_evidence_of_our_act_counts_as_executed(kind: AnswerKind, look: Look, shown: str) -> None:
    """A job of that name, or OnQueue, shows that the script acted before it was forgotten."""
    outcome = only(ask([dispatched()], _desk(kind, look)))
    assert Event.EXECUTE is outcome.event
    assert f"the agent says {kind}, but {shown}" == outcome.reason
    assert outcome.after.looked is not None
    assert json.loads(outcome.after.looked)["others"] is look.others


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (AnswerKind.NEVER_SEEN, FailureCause.JOURNAL_LOST),
        (AnswerKind.LOST, FailureCause.LOST),
    ],
)
def test_without_evidence_it_fails_and_gives_up(kind: AnswerKind, cause: FailureCause) -> None:
    """Nothing shows that it acted: failed, with a cause that is never repeated by itself."""
    outcome = only(ask([dispatched()], _desk(kind)))
    assert (Event.FAIL, cause.value) == (outcome.event, outcome.cause)
    assert cause.hopeless


@pytest.mark.parametrize("kind", [AnswerKind.NEVER_SEEN, AnswerKind.LOST])
@pytest.mark.parametrize(
    "look",
    [
        Look(at=NOW, reachable=False, problem="the scheduler does not answer"),
        LookFactory.build(others=None),
    ],
)
def test_a_look_that_saw_nothing_concludes_nothing(kind: AnswerKind, look: Look) -> None:
    """Silence of the scheduler is no evidence, neither for nor against: not yet."""
    outcome = only(ask([dispatched()], _desk(kind, look)))
    assert outcome.event is None
    assert outcome.until is not None


def test_a_centre_that_goes_away_between_status_and_look_is_not_yet() -> None:
    """The status came, the look did not: nothing is concluded."""
    desk = _desk(AnswerKind.NEVER_SEEN)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away.add("look")
    outcome = only(ask([dispatched()], desk))
    assert outcome.event is None
    assert "curie: no route to host" == outcome.after.dispatch_error


def test_a_dispatched_row_of_a_deleted_simulation_is_withdrawn() -> None:
    """Only an 8888, or a person, sends `cancel` for what the agent has in its journal."""
    desk = _desk(AnswerKind.RUNNING)
    desk.simulation = SimulationFactsFactory.build(deleted_at=ago(minutes=1))
    outcome = only(ask([dispatched()], desk))
    assert (Event.CANCEL, CancelCause.POLICY.value) == (outcome.event, outcome.cause)
    assert not outcome.by_agent
    assert [] == _verbs(desk)


def test_a_simulation_started_again_after_its_8888_is_alive() -> None:
    """An 8888 before the last start is about an earlier life of the simulation."""
    desk = _desk(AnswerKind.RUNNING)
    desk.simulation = SimulationFactsFactory.build(deleted_at=ago(hours=9))
    assert only(ask([dispatched()], desk)).event is None
    assert ["status"] == _verbs(desk)


def test_a_finished_simulation_is_asked_after_all_the_same() -> None:
    """A dispatched row asks its agent whatever the messages say: it may just have acted."""
    desk = _desk(AnswerKind.RUNNING)
    desk.simulation = SimulationFactsFactory.build(complete_at=NOW)
    assert only(ask([dispatched()], desk)).event is None
    assert ["status"] == _verbs(desk)


def test_a_wish_is_carried_out_instead_of_asking() -> None:
    """What a person wanted while nobody could be asked is done now, under that person's name."""
    desk = _desk(AnswerKind.RUNNING)
    wish = Wish(event="cancel", actor="alice", reason="wrong forcing")
    outcome = only(ask([dispatched(wanted=wish)], desk))
    assert (Event.CANCEL, "alice", True) == (outcome.event, outcome.actor, outcome.by_person)
    assert [] == _verbs(desk)


@pytest.mark.parametrize("changes", [{}, {"wanted": Wish(event="cancel", actor="a", reason="b")}])
def test_a_hold_asks_nothing(changes: dict[str, object]) -> None:
    """While a brake is on no status is asked, and no wish is sent; the owner is not forgotten."""
    desk = _desk(AnswerKind.RUNNING)
    desk.stops[SUPERVISION] = held()
    outcome = only(ask([dispatched(**changes)], desk))
    assert outcome.event is None
    assert dispatched().dispatched_at == ago(minutes=5)
    assert NOW + DAY - timedelta(minutes=5) == outcome.until
    assert [] == _verbs(desk)


def test_one_dead_login_keeps_only_its_own_rows_waiting() -> None:
    """Rows are asked after login by login."""
    desk = _desk(AnswerKind.EXECUTED)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away.add("p87user2")
    rows = [dispatched(), dispatched(id=OTHER, job_uid=OTHER_JOB, login="p87user2")]
    found = {each.row.id: each.event for each in ask(rows, desk)}
    assert {SUPERVISION: Event.EXECUTE, OTHER: None} == found


def test_a_peer_that_is_no_agent_is_not_yet() -> None:
    """Who speaks another protocol has told nothing: the row waits, with the problem on it."""
    desk = _desk(AnswerKind.RUNNING)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.fault = ProtocolError("the peer said: Welcome to curie!")
    desk.transport.away.add("status")
    outcome = only(ask([dispatched()], desk))
    assert outcome.event is None
    assert "the peer said: Welcome to curie!" == outcome.after.dispatch_error


@pytest.mark.parametrize("kind", [AnswerKind.RUNNING, AnswerKind.UNKNOWN, None])
def test_a_day_without_an_end_is_told_once(kind: AnswerKind | None) -> None:
    """After 24 h one mail, whether the agent answers or not; who was told is not told again."""
    desk = _desk(kind or AnswerKind.RUNNING)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away |= set() if kind else {"status"}
    first = only(ask([dispatched(dispatched_at=ago(hours=24))], desk))
    assert first.event is None
    assert NOW == first.after.told_at
    again = only(ask([dispatched(dispatched_at=ago(hours=24), told_at=NOW)], desk))
    assert again.event is None
    assert [Notice.NO_ANSWER] == desk.notices


def test_a_script_that_runs_for_a_day_is_running() -> None:
    """The mail changes nothing about what the agent knows: the row goes on saying it."""
    outcome = only(ask([dispatched(dispatched_at=ago(hours=24))], _desk(AnswerKind.RUNNING)))
    assert ExecutionStatus.RUNNING is outcome.after.execution_status


def test_an_hour_without_an_end_is_told_to_nobody() -> None:
    """Before the day is over nobody is written to."""
    desk = _desk(AnswerKind.UNKNOWN)
    ask([dispatched(dispatched_at=ago(hours=23))], desk)
    assert [] == desk.told


def test_the_mail_about_silence_waits_for_the_mail_server() -> None:
    """Without a mail server the row is not marked as told."""
    desk = _desk(AnswerKind.RUNNING)
    desk.mail_away = True
    outcome = only(ask([dispatched(dispatched_at=ago(hours=25))], desk))
    assert outcome.event is None
    assert outcome.after.told_at is None


@pytest.mark.parametrize("kind", [AnswerKind.RUNNING, AnswerKind.UNKNOWN, AnswerKind.NEVER_SEEN])
@pytest.mark.parametrize("away", [set(), {"status"}, {"look"}])
def test_two_weeks_without_an_end_fail(kind: AnswerKind, away: set[str]) -> None:
    """After 14 days the row fails, whoever is or is not to be reached."""
    desk = _desk(kind, LookFactory.build(others=None))
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away |= away
    outcome = only(ask([dispatched(dispatched_at=ago(days=14), told_at=ago(days=13))], desk))
    assert (Event.FAIL, FailureCause.EXPIRED.value) == (outcome.event, outcome.cause)


def test_an_end_after_two_weeks_is_an_end() -> None:
    """What the agent knows wins over the calendar."""
    outcome = only(ask([dispatched(dispatched_at=ago(days=15))], _desk(AnswerKind.EXECUTED)))
    assert Event.EXECUTE is outcome.event


# The watch over the new job.


def _watching(look: Look) -> FakeDesk:
    desk = FakeDesk(transport=ScriptedTransport())
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.looks[SUPERVISION] = look
    return desk


def test_the_first_start_after_the_act_ends_the_watch() -> None:
    """The chain goes on: nothing is looked at, nobody is written to."""
    desk = _watching(EMPTY)
    desk.simulation = SimulationFactsFactory.build(last_start_at=ago(minutes=3))
    outcome = only(watch([executed()], desk))
    assert (Event.EXECUTE, "the new job started") == (outcome.event, outcome.reason)
    assert [] == _verbs(desk)
    assert [] == desk.told


def test_the_failed_job_s_own_start_does_not_end_the_watch() -> None:
    """A start before the act is what failed, not what was begun."""
    desk = _watching(LookFactory.build(sight=Sight.QUEUED, reason=None))
    desk.simulation = SimulationFactsFactory.build(last_start_at=ago(minutes=13))
    assert only(watch([executed()], desk)).event is None


@pytest.mark.parametrize(
    ("ended_well", "event"), [(False, Event.EXECUTE), (True, None)], ids=["start", "end"]
)
def test_a_post_processing_watch_ends_by_a_start_of_its_task(
    ended_well: bool,  # noqa: FBT001
    event: Event | None,
) -> None:
    """The compute chain's starts say nothing of a post-processing job; its own task's do."""
    desk = _watching(LookFactory.build(sight=Sight.QUEUED, reason=None))
    desk.simulation = SimulationFactsFactory.build(last_start_at=ago(minutes=3))
    later = OtherJob(uid=OTHER_JOB, at=ago(minutes=3), ended_well=ended_well)
    desk.known[SUPERVISION] = DecisionFactsFactory.build(later_starts=(later,))
    outcome = only(watch([executed(kind=JobKind.POST_PROCESSING)], desk))
    assert event is outcome.event


@pytest.mark.parametrize("sight", [Sight.QUEUED, Sight.RUNNING, Sight.HELD, Sight.UNKNOWN])
def test_a_new_job_that_is_there_is_watched_more_and_more_seldom(sight: Sight) -> None:
    """Queued, running and held look again after 10 min, doubling up to 6 h; so does unknown."""
    look = LookFactory.build(sight=sight, reason=None)
    spans = [
        only(watch([executed(backoff=count)], _watching(look))).until for count in (0, 1, 5, 9)
    ]
    hours = [timedelta(minutes=10), timedelta(minutes=20), timedelta(minutes=320)]
    assert [NOW + span for span in (*hours, timedelta(hours=6))] == spans


def test_the_watch_looks_at_the_job_that_was_submitted() -> None:
    """The subject is the new job's scheduler id, and the row keeps what was seen."""
    desk = _watching(LookFactory.build(sight=Sight.QUEUED, reason=None))
    outcome = only(watch([executed()], desk))
    assert isinstance(desk.transport, ScriptedTransport)
    assert [("look", "curie/p86user1", (SUPERVISION,))] == desk.transport.asked
    assert "queued" == json.loads(str(outcome.after.looked))["sight"]


def test_a_new_job_that_its_owner_cancelled_ends_the_watch_with_a_mail() -> None:
    """Who cancels what we submitted is right: nothing is begun again."""
    desk = _watching(LookFactory.build(reason=EndReason.CANCELLED))
    outcome = only(watch([executed()], desk))
    assert Event.EXECUTE is outcome.event
    assert [Notice.NEW_JOB_CANCELLED] == desk.notices


@pytest.mark.parametrize(
    "reason", [EndReason.FAILED, EndReason.TIMEOUT, EndReason.COMPLETED, EndReason.UNKNOWN]
)
def test_a_new_job_that_ended_unheard_is_gone_after_an_hour(reason: EndReason) -> None:
    """Ended otherwise than cancelled, and no start for an hour: failed, new job gone."""
    look = LookFactory.build(reason=reason)
    early = only(watch([executed(executed_at=ago(minutes=59))], _watching(look)))
    late = only(watch([executed(executed_at=ago(minutes=60))], _watching(look)))
    assert early.event is None
    assert (Event.FAIL, FailureCause.NEW_JOB_GONE.value) == (late.event, late.cause)
    assert not FailureCause.NEW_JOB_GONE.hopeless


def test_absence_counts_when_it_was_seen_twice() -> None:
    """A scheduler that forgets a job for a moment does not end the watch; two looks do."""
    row = executed(executed_at=ago(hours=2))
    once = only(watch([row], _watching(EMPTY)))
    assert once.event is None
    twice = only(
        watch([executed(executed_at=ago(hours=2), looked=once.after.looked)], _watching(EMPTY))
    )
    assert (Event.FAIL, FailureCause.NEW_JOB_GONE.value) == (twice.event, twice.cause)


@pytest.mark.parametrize(
    "look",
    [
        LookFactory.build(sight=Sight.ABSENT, reason=None, scheduler_alive=False),
        Look(at=NOW, reachable=False, sight=Sight.ENDED, problem="no answer"),
    ],
)
def test_a_scheduler_that_shows_no_life_proves_no_absence(look: Look) -> None:
    """Absent twice counts only when the scheduler answers at all."""
    before = only(watch([executed(executed_at=ago(hours=2))], _watching(EMPTY))).after.looked
    row = executed(executed_at=ago(hours=2), looked=before)
    assert only(watch([row], _watching(look))).event is None


def test_an_act_without_a_scheduler_id_proves_no_absence() -> None:
    """Found by name only, an absent job may be any job: the watch goes on."""
    before = only(watch([executed(executed_at=ago(hours=2))], _watching(EMPTY))).after.looked
    row = executed(executed_at=ago(hours=2), looked=before, scheduler_id=None)
    assert only(watch([row], _watching(EMPTY))).event is None


def test_a_watch_that_sees_nothing_for_two_weeks_is_over() -> None:
    """A new job that nobody ever sees is told to the operator, and then left."""
    desk = _watching(LookFactory.build(sight=Sight.UNKNOWN, reason=None))
    outcome = only(watch([executed(executed_at=ago(days=14))], desk))
    assert Event.EXECUTE is outcome.event
    assert [Notice.WATCH_OVER] == desk.notices


def test_a_watch_over_a_dead_centre_ends_too() -> None:
    """Two weeks without reaching the centre end the watch as well: no alarm rings for ever."""
    desk = _watching(EMPTY)
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.away.add("look")
    early = only(watch([executed(executed_at=ago(days=13))], desk))
    late = only(watch([executed(executed_at=ago(days=14))], desk))
    assert (None, Event.EXECUTE) == (early.event, late.event)


def test_the_last_mail_of_a_watch_waits_for_the_mail_server() -> None:
    """The watch ends when its mail is out."""
    desk = _watching(LookFactory.build(reason=EndReason.CANCELLED))
    desk.mail_away = True
    assert only(watch([executed()], desk)).event is None


def test_a_hold_stops_the_watch_s_looks_but_hears_messages() -> None:
    """Under a hold nothing is looked at; a start that was told of ends the watch all the same."""
    desk = _watching(EMPTY)
    desk.stops[SUPERVISION] = held()
    assert NOW + DAY == only(watch([executed()], desk)).until
    desk.simulation = SimulationFactsFactory.build(last_start_at=ago(minutes=3))
    assert Event.EXECUTE is only(watch([executed()], desk)).event
    assert [] == _verbs(desk)
