"""Level 2, formatted: what is asked first, what the rules and caps say, what an answer does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from supervision.facts import (
    Answer,
    AnswerKind,
    CancelCause,
    FailureCause,
    Key,
    Sight,
    TriggerKind,
    VerdictKind,
    Wish,
)
from supervision.fsm.acting import act
from supervision.fsm.outcomes import Notice
from supervision.fsm.states import Event, ExecutionStatus
from supervision.fsm.withdrawing import withdraw
from supervision.testing import AgentDouble, FrozenClock
from tests.factories import (
    DIRECTORY,
    NOW,
    OTHER_JOB,
    SUPERVISION,
    DecisionFactsFactory,
    JobFactsFactory,
    LookFactory,
    PolicyFactory,
    SimulationFactsFactory,
    SitePolicyFactory,
    ago,
)
from tests.integration.desk_kit import OTHER, FakeDesk, ScriptedTransport, formatted, held, only

DAY = timedelta(days=1)

DISPATCHED = {
    AnswerKind.ACCEPTED: ExecutionStatus.PENDING,
    AnswerKind.RUNNING: ExecutionStatus.RUNNING,
    AnswerKind.EXECUTED: ExecutionStatus.PENDING,
    AnswerKind.DECLINED: ExecutionStatus.PENDING,
    AnswerKind.FAILED: ExecutionStatus.PENDING,
    AnswerKind.UNKNOWN: ExecutionStatus.UNKNOWN,
    AnswerKind.LOST: ExecutionStatus.UNKNOWN,
}
"""Answers that prove that the key is in the journal."""

GIVEN_UP = {
    AnswerKind.REFUSED: FailureCause.REFUSED,
    AnswerKind.CONFLICT: FailureCause.CONFLICT,
    AnswerKind.FOREIGN_JOURNAL: FailureCause.REFUSED,
}
"""Answers after which no repeat can help."""


def test_nothing_to_act_on_asks_nobody() -> None:
    """Without rows, no agent is asked and nothing comes out."""
    transport = ScriptedTransport()
    assert [] == act([], FakeDesk(transport=transport))
    assert [] == transport.asked


def test_a_first_try_submits_without_asking_for_its_key() -> None:
    """A row whose first byte never left goes through rules and caps straight to the agent."""
    agent = AgentDouble(FrozenClock(NOW))
    desk = FakeDesk(transport=agent)
    outcome = only(act([formatted()], desk))
    assert [("submit", "curie", "p86user1")] == agent.calls
    assert [SUPERVISION] == desk.admitted
    assert Event.DISPATCH is outcome.event
    assert ExecutionStatus.PENDING is outcome.after.execution_status
    assert "curie/p86user1/0" == outcome.after.journal_id


def test_the_order_says_what_is_run_where_and_until_when() -> None:
    """The agent gets key, directory, script, interpreter, the lease's end and the time limit."""
    transport = ScriptedTransport(submit=AnswerKind.ACCEPTED)
    sites = (SitePolicyFactory.build(interpreter="/usr/bin/ksh93"),)
    desk = FakeDesk(transport=transport, policy=PolicyFactory.build(sites=sites))
    row = formatted(attempt=2)
    act([row], desk)
    (order,) = transport.orders
    assert Key(supervision_id=SUPERVISION, attempt=2) == order.key
    assert DIRECTORY == order.directory
    assert row.script == order.script
    assert "/usr/bin/ksh93" == order.interpreter
    assert NOW + desk.settings.lease == order.expires_at
    assert desk.settings.script_timeout == order.timeout


@pytest.mark.parametrize(("kind", "status"), DISPATCHED.items())
@pytest.mark.parametrize("tries", [0, 1])
def test_what_the_journal_knows_is_dispatched(
    kind: AnswerKind, status: ExecutionStatus, tries: int
) -> None:
    """A key in the journal means dispatched, by the submit's answer or by the status before it."""
    transport = ScriptedTransport(status=kind, submit=kind)
    outcome = only(act([formatted(dispatch_try_count=tries)], FakeDesk(transport=transport)))
    assert Event.DISPATCH is outcome.event
    assert status is outcome.after.execution_status
    assert "j1" == outcome.after.journal_id
    assert ["status" if tries else "submit"] == transport.verbs


def test_an_attempt_that_executed_unheard_is_not_decided_again() -> None:
    """Our own restart's start looks like somebody else's, so the agent is asked before the rules.

    The rules would say `superseded` here, and the row would be cancelled though it acted.
    """
    transport = ScriptedTransport(status=AnswerKind.EXECUTED)
    desk = FakeDesk(transport=transport)
    desk.known[SUPERVISION] = DecisionFactsFactory.build(
        before_acting=True, simulation__complete_at=NOW
    )
    outcome = only(act([formatted(dispatch_try_count=1)], desk))
    assert Event.DISPATCH is outcome.event
    assert [] == desk.admitted


@pytest.mark.parametrize(("kind", "cause"), GIVEN_UP.items())
@pytest.mark.parametrize("tries", [0, 1])
def test_what_no_repeat_can_mend_fails_at_once(
    kind: AnswerKind, cause: FailureCause, tries: int
) -> None:
    """Unsigned, altered, too large, conflict, foreign journal: failed, and given up at once."""
    transport = ScriptedTransport(status=kind, submit=kind)
    outcome = only(act([formatted(dispatch_try_count=tries)], FakeDesk(transport=transport)))
    assert Event.FAIL is outcome.event
    assert cause.value == outcome.cause
    assert cause.hopeless
    assert f"the agent says {kind}: so it is" == outcome.reason


@pytest.mark.parametrize("kind", [AnswerKind.EXPIRED, AnswerKind.BUSY])
@pytest.mark.parametrize("tries", [0, 1])
def test_expired_and_a_lower_attempt_still_running_are_not_yet(
    kind: AnswerKind, tries: int
) -> None:
    """The row stays where it is, with the same key, and comes back later and later."""
    transport = ScriptedTransport(status=kind, submit=kind)
    row = formatted(dispatch_try_count=tries, backoff=2)
    outcome = only(act([row], FakeDesk(transport=transport)))
    assert outcome.event is None
    assert NOW + 4 * timedelta(seconds=30) == outcome.until
    assert 3 == outcome.after.backoff
    assert row.key == outcome.after.key


@pytest.mark.parametrize("tries", [0, 1])
def test_a_file_that_forbids_it_cancels_as_declined(tries: int) -> None:
    """NO_SUPERVISION in the directory is a decline, and its owner is told in a sentence."""
    kind = AnswerKind.OPTED_OUT
    desk = FakeDesk(transport=ScriptedTransport(status=kind, submit=kind))
    outcome = only(act([formatted(dispatch_try_count=tries)], desk))
    assert Event.CANCEL is outcome.event
    assert CancelCause.DECLINED.value == outcome.cause
    assert [(Notice.DECLINED, SUPERVISION, "so it is")] == desk.told


def test_a_decline_waits_for_the_mail_server() -> None:
    """Who declined is told before the row says so: without a mail server the row stays."""
    transport = ScriptedTransport(submit=AnswerKind.OPTED_OUT)
    outcome = only(act([formatted()], FakeDesk(transport=transport, mail_away=True)))
    assert outcome.event is None
    assert "the mail server does not answer" == outcome.after.dispatch_error


def test_an_attempt_fenced_meanwhile_never_starts() -> None:
    """A key that was cancelled at the centre is not sent again: the row ends."""
    outcome = only(
        act(
            [formatted(dispatch_try_count=1)],
            FakeDesk(transport=ScriptedTransport(status=AnswerKind.FENCED)),
        )
    )
    assert Event.CANCEL is outcome.event
    assert "fenced at the centre: so it is" == outcome.reason


def test_a_key_that_nobody_has_seen_goes_by_the_rules_again() -> None:
    """Never-seen in formatted: the rules, the caps, and the same key once more."""
    agent = AgentDouble(FrozenClock(NOW))
    desk = FakeDesk(transport=agent)
    outcome = only(act([formatted(dispatch_try_count=1)], desk))
    assert ["status", "submit"] == [verb for verb, _, _ in agent.calls]
    assert Event.DISPATCH is outcome.event


def test_a_submit_that_settles_nothing_is_not_yet() -> None:
    """An agent that answers a submit with never-seen has done nothing that anybody can rely on."""
    transport = ScriptedTransport(submit=AnswerKind.NEVER_SEEN)
    outcome = only(act([formatted()], FakeDesk(transport=transport)))
    assert outcome.event is None
    assert "the agent answered a submit with never-seen" == outcome.reason


@pytest.mark.parametrize(("tries", "verb"), [(0, "submit"), (1, "status")])
def test_a_centre_that_is_away_uses_no_attempt_up(tries: int, verb: str) -> None:
    """A transport error keeps row, attempt and key, and backs off."""
    transport = ScriptedTransport()
    transport.away.add(verb)
    row = formatted(dispatch_try_count=tries, backoff=10)
    outcome = only(act([row], FakeDesk(transport=transport)))
    assert outcome.event is None
    assert row.key == outcome.after.key
    assert NOW + timedelta(minutes=15) == outcome.until
    assert "curie: no route to host" == outcome.after.dispatch_error


def test_a_login_that_cannot_be_reached_delays_no_other() -> None:
    """Each login is its own session: one that is away keeps only its own rows waiting."""
    transport = ScriptedTransport(submit=AnswerKind.ACCEPTED)
    transport.away.add("p87user2")
    rows = [formatted(), formatted(id=OTHER, job_uid=OTHER_JOB, login="p87user2")]
    outcomes = {each.row.id: each.event for each in act(rows, FakeDesk(transport=transport))}
    assert {SUPERVISION: Event.DISPATCH, OTHER: None} == outcomes


@pytest.mark.parametrize("tries", [0, 1])
@pytest.mark.parametrize("wish", [None, Wish(event="cancel", actor="alice", reason="no")])
def test_a_brake_comes_before_any_contact(tries: int, wish: Wish | None) -> None:
    """While a hold is on, neither the key is asked for nor anything looked at, admitted, sent."""
    transport = ScriptedTransport()
    desk = FakeDesk(transport=transport, stops={SUPERVISION: held()})
    outcome = only(withdraw(act([formatted(dispatch_try_count=tries, wanted=wish)], desk), desk))
    assert outcome.event is None
    assert NOW + DAY == outcome.until
    assert held().sentence == outcome.reason
    assert [] == transport.asked
    assert [] == desk.admitted


def test_a_brake_on_one_row_stops_no_other() -> None:
    """Only the row that is held waits."""
    transport = ScriptedTransport(submit=AnswerKind.ACCEPTED)
    desk = FakeDesk(transport=transport, stops={SUPERVISION: held()})
    outcomes = act([formatted(), formatted(id=OTHER, job_uid=OTHER_JOB)], desk)
    assert {SUPERVISION: None, OTHER: Event.DISPATCH} == {
        each.row.id: each.event for each in outcomes
    }
    assert [("submit", "curie/p86user1", (OTHER,))] == transport.asked


def test_a_wish_is_never_submitted() -> None:
    """A row that somebody wants cancelled only sends `cancel`, and bears that person's name."""
    transport = ScriptedTransport(cancel=AnswerKind.FENCED)
    desk = FakeDesk(transport=transport)
    wish = Wish(event="cancel", actor="alice", reason="wrong forcing")
    row = formatted(dispatch_try_count=1, wanted=wish)
    outcome = only(withdraw(act([row], desk), desk))
    assert ["cancel"] == transport.verbs
    assert (Event.CANCEL, "alice", True) == (outcome.event, outcome.actor, outcome.by_person)
    assert CancelCause.PERSON.value == outcome.cause
    assert "wrong forcing" == outcome.after.reason
    assert outcome.after.wanted is None


def test_a_wish_waits_while_the_agent_cannot_be_asked() -> None:
    """The wish stays on the row until the agent could be told: it is not forgotten."""
    transport = ScriptedTransport()
    transport.away.add("cancel")
    desk = FakeDesk(transport=transport)
    wish = Wish(event="cancel", actor="alice", reason="wrong forcing")
    outcome = only(withdraw(act([formatted(dispatch_try_count=1, wanted=wish)], desk), desk))
    assert outcome.event is None
    assert wish == outcome.after.wanted


def test_before_acting_want_and_defer_wait() -> None:
    """A refusal for want before the act is a wait: what is missing may still come."""
    desk = FakeDesk()
    desk.known[SUPERVISION] = DecisionFactsFactory.build(
        before_acting=True, job__directory=None, simulation__directory=None
    )
    outcome = only(act([formatted()], desk))
    assert outcome.event is None
    assert NOW + DAY == outcome.until
    assert [] == desk.admitted


def test_before_acting_too_old_expires() -> None:
    """What has waited until its trigger is too old fails as expired, and is given up."""
    desk = FakeDesk()
    desk.known[SUPERVISION] = DecisionFactsFactory.build(
        before_acting=True, trigger__at=ago(days=6), trigger__first_at=ago(days=6)
    )
    outcome = only(act([formatted()], desk))
    assert (Event.FAIL, FailureCause.EXPIRED.value) == (outcome.event, outcome.cause)
    assert [] == desk.admitted


def test_before_acting_any_other_refusal_cancels() -> None:
    """A simulation that was finished meanwhile is left alone, for policy's reason."""
    desk = FakeDesk()
    desk.known[SUPERVISION] = DecisionFactsFactory.build(
        before_acting=True, simulation__complete_at=ago(minutes=1)
    )
    outcome = only(act([formatted()], desk))
    assert (Event.CANCEL, CancelCause.POLICY.value) == (outcome.event, outcome.cause)
    assert "was complete at" in str(outcome.reason)
    assert [] == desk.admitted


def test_a_refusal_after_the_first_byte_first_fences_the_key() -> None:
    """Policy may leave a row whose key is never-seen only when the agent has been told."""
    transport = ScriptedTransport(cancel=AnswerKind.FENCED)
    desk = FakeDesk(transport=transport)
    desk.known[SUPERVISION] = DecisionFactsFactory.build(
        before_acting=True, simulation__complete_at=ago(minutes=1)
    )
    outcome = only(withdraw(act([formatted(dispatch_try_count=1)], desk), desk))
    assert ["status", "cancel"] == transport.verbs
    assert (Event.CANCEL, CancelCause.POLICY.value) == (outcome.event, outcome.cause)


def _silent_job() -> FakeDesk:
    """A late job: the rules want a look before they let anybody act."""
    desk = FakeDesk(transport=ScriptedTransport(submit=AnswerKind.ACCEPTED))
    desk.known[SUPERVISION] = DecisionFactsFactory.build(
        before_acting=True,
        trigger__kind=TriggerKind.LATE,
        job=JobFactsFactory.build(warning_delay=timedelta(hours=1)),
        simulation=SimulationFactsFactory.build(),
    )
    return desk


def test_the_rules_look_at_the_centre_before_an_act() -> None:
    """A job found ended by its time limit is restarted; the look is kept with its decision."""
    desk = _silent_job()
    transport = desk.transport
    assert isinstance(transport, ScriptedTransport)
    outcome = only(act([formatted(trigger=TriggerKind.LATE)], desk))
    assert ["look", "submit"] == transport.verbs
    assert Event.DISPATCH is outcome.event
    assert (LookFactory.build(),) == desk.kept[SUPERVISION].looks


def test_a_job_that_is_seen_alive_before_an_act_is_left_alone() -> None:
    """A running job is slow, not dead: the row is cancelled, nothing is sent."""
    desk = _silent_job()
    transport = desk.transport
    assert isinstance(transport, ScriptedTransport)
    alive = LookFactory.build(sight=Sight.RUNNING, reason=None, others=True)
    transport.looks[SUPERVISION] = alive
    outcome = only(act([formatted(trigger=TriggerKind.LATE)], desk))
    assert (Event.CANCEL, CancelCause.POLICY.value) == (outcome.event, outcome.cause)
    assert ["look"] == transport.verbs


def test_a_look_that_cannot_be_made_is_not_yet() -> None:
    """Silence of the centre is never read as an end of the job."""
    desk = _silent_job()
    transport = desk.transport
    assert isinstance(transport, ScriptedTransport)
    transport.away.add("look")
    outcome = only(act([formatted(trigger=TriggerKind.LATE)], desk))
    assert outcome.event is None
    assert "curie: no route to host" == outcome.reason
    assert {} == desk.kept


def test_who_finds_no_room_under_the_caps_comes_back() -> None:
    """The caps admit whom they have room for; the others stay where they are, nothing sent."""
    transport = ScriptedTransport(submit=AnswerKind.ACCEPTED)
    desk = FakeDesk(transport=transport, room=1)
    outcomes = act([formatted(), formatted(id=OTHER, job_uid=OTHER_JOB, backoff=1)], desk)
    found = {each.row.id: each for each in outcomes}
    assert Event.DISPATCH is found[SUPERVISION].event
    assert found[OTHER].event is None
    assert NOW + 2 * desk.settings.rewake_first == found[OTHER].until
    assert "the caps of the site have no room for it now" == found[OTHER].reason
    assert [("submit", "curie/p86user1", (SUPERVISION,))] == transport.asked


def test_a_restart_at_a_full_cap_is_deferred_by_the_rules() -> None:
    """The verdict before the act knows the caps too: it says when one place is free."""
    desk = FakeDesk()
    restarts = replace(DecisionFactsFactory.build().restarts, simulation=(ago(hours=3),) * 3)
    desk.known[SUPERVISION] = DecisionFactsFactory.build(before_acting=True, restarts=restarts)
    outcome = only(act([formatted()], desk))
    assert outcome.event is None
    assert ago(hours=3) + DAY == outcome.until


def test_every_row_has_one_outcome() -> None:
    """Held, wished, unreachable, refused and sent: a set goes in, as many outcomes come out."""
    transport = ScriptedTransport(submit=AnswerKind.ACCEPTED, status=AnswerKind.RUNNING)
    transport.away.add("p87user2")
    wish = Wish(event="cancel", actor="alice", reason="no")
    rows = [
        formatted(id="held"),
        formatted(id="wished", wanted=wish),
        formatted(id="away", login="p87user2"),
        formatted(id="running", dispatch_try_count=1),
        formatted(id="refused"),
        formatted(id="sent"),
    ]
    desk = FakeDesk(transport=transport, stops={"held": held()})
    desk.known["refused"] = DecisionFactsFactory.build(
        before_acting=True, simulation__complete_at=NOW
    )
    assert {
        "held": None,
        "wished": Event.CANCEL,
        "away": None,
        "running": Event.DISPATCH,
        "refused": Event.CANCEL,
        "sent": Event.DISPATCH,
    } == {each.row.id: each.event for each in act(rows, desk)}


def test_an_answer_tells_how_the_agent_saw_it() -> None:
    """The answer's detail is the transition's reason; a former transport error is forgotten."""
    answer = Answer(
        key=Key(supervision_id=SUPERVISION, attempt=1),
        kind=AnswerKind.RUNNING,
        detail="pid 4711",
        journal_id="j9",
    )
    row = formatted(dispatch_try_count=1, dispatch_error="no route to host", backoff=4)
    outcome = only(act([row], FakeDesk(transport=ScriptedTransport(status=answer))))
    assert "pid 4711" == outcome.reason
    assert "j9" == outcome.after.journal_id
    assert outcome.after.dispatch_error is None
    assert 0 == outcome.after.backoff


def test_a_verdict_without_a_time_is_looked_at_at_once() -> None:
    """A brake that names no end is no trap: the row is looked at again now."""
    stop = replace(held(), wake_at=None)
    outcome = only(act([formatted()], FakeDesk(stops={SUPERVISION: stop})))
    assert VerdictKind.DEFER is stop.kind
    assert NOW == outcome.until
