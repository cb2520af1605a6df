"""Levels 0 and 1, the building of scripts, and the wait before an act: all without an agent."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import date, timedelta

import pytest

from supervision.facts import (
    AnswerKind,
    CancelCause,
    FailureCause,
    JobKind,
    Level,
    OtherJob,
    Sight,
    Task,
    TriggerKind,
    Wish,
)
from supervision.fsm.actions import dispatch, format_scripts, give_up_crashed
from supervision.fsm.asking import ask
from supervision.fsm.outcomes import Notice
from supervision.fsm.states import Event
from tests.factories import (
    NOW,
    OTHER_JOB,
    SUPERVISION,
    DecisionFactsFactory,
    JobFactsFactory,
    LookFactory,
    PolicyFactory,
    SitePolicyFactory,
    UserPolicyFactory,
    ago,
)
from tests.integration.desk_kit import (
    OTHER,
    FakeDesk,
    ScriptedTransport,
    detected,
    dispatched,
    formatted,
    held,
    only,
    script_facts,
)

DAY = timedelta(days=1)
BY_MAIL = PolicyFactory.build(users=(UserPolicyFactory.build(level=Level.MAIL),))
WISH = Wish(event="cancel", actor="alice", reason="wrong forcing")


def _desk(**known: object) -> FakeDesk:
    """A desk at level 1 that knows this much of the one row."""
    desk = FakeDesk(policy=BY_MAIL)
    desk.known[SUPERVISION] = DecisionFactsFactory.build(before_acting=True, **known)
    return desk


def _verbs(desk: FakeDesk) -> list[str]:
    assert isinstance(desk.transport, ScriptedTransport)
    return desk.transport.verbs


# Detected: the script is built.


def test_a_script_is_built_and_hashed() -> None:
    """What is stored is base64 of the script, and the SHA-256 of the same bytes."""
    outcome = only(format_scripts([detected()], FakeDesk()))
    raw = base64.b64decode(str(outcome.after.script_content))
    assert Event.FORMAT is outcome.event
    assert raw.startswith(b"#!/usr/bin/env ksh\n")
    assert hashlib.sha256(raw).hexdigest() == outcome.after.script_sha256


def test_a_script_that_cannot_be_built_fails_and_says_what_is_missing() -> None:
    """No repeat would render it: failed with a cause that gives up at once."""
    desk = FakeDesk()
    desk.scripts[SUPERVISION] = replace(script_facts(detected()), directory="config/CPL01")
    outcome = only(format_scripts([detected()], desk))
    assert (Event.FAIL, FailureCause.RENDER.value) == (outcome.event, outcome.cause)
    assert "the submission directory 'config/CPL01' is not absolute" == outcome.reason
    assert FailureCause.RENDER.hopeless


def test_a_post_processing_job_without_a_task_cannot_be_resubmitted() -> None:
    """What nobody knows how to submit is given up, and spoils no other script of the set."""
    desk = FakeDesk()
    row = detected(kind=JobKind.POST_PROCESSING, trigger=TriggerKind.POST_PROCESSING)
    task = Task(name="create_ts", date="18591231")
    desk.scripts[OTHER] = replace(script_facts(row), task=task)
    outcomes = format_scripts([row, replace(row, id=OTHER, job_uid=OTHER_JOB)], desk)
    assert [Event.FAIL, Event.FORMAT] == [each.event for each in outcomes]


def test_a_site_that_left_the_settings_fails_the_row() -> None:
    """Without its site nobody knows scheduler or interpreter."""
    outcome = only(format_scripts([detected(site="ada")], FakeDesk()))
    assert (Event.FAIL, FailureCause.RENDER.value) == (outcome.event, outcome.cause)
    assert "site ada is no longer in the settings" == outcome.reason


def test_an_act_waits_for_its_grace() -> None:
    """At level 2 the owner may be first: the alarm of the formatted row is the end of the grace."""
    due = NOW + timedelta(minutes=4)
    outcome = only(format_scripts([detected()], FakeDesk(graces={SUPERVISION: due})))
    assert (Event.FORMAT, due) == (outcome.event, outcome.until)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, ago(seconds=1)),
        ({"by_person": True}, NOW + DAY),
        ({"level": Level.NOTHING}, NOW + DAY),
    ],
    ids=["over", "a person's", "observed"],
)
def test_nobody_waits_for_a_grace_without_reason(changes: dict[str, object], due: object) -> None:
    """A grace that is over, a person's attempt, and what is only observed go on at once."""
    desk = FakeDesk(graces={SUPERVISION: due})  # type: ignore[dict-item]
    outcome = only(format_scripts([detected(**changes)], desk))
    assert (Event.FORMAT, None) == (outcome.event, outcome.until)


def test_a_script_that_failed_to_build_waits_for_no_grace() -> None:
    """A failure is a failure at once."""
    desk = FakeDesk(graces={SUPERVISION: NOW + DAY})
    outcome = only(format_scripts([detected(site="ada")], desk))
    assert (Event.FAIL, None) == (outcome.event, outcome.until)


@pytest.mark.parametrize("level", list(Level))
def test_a_wish_ends_a_row_that_has_no_script(level: Level) -> None:
    """A person's wish is done before anything is built."""
    outcome = only(format_scripts([detected(wanted=WISH, level=level)], FakeDesk()))
    assert (Event.CANCEL, "alice", True) == (outcome.event, outcome.actor, outcome.by_person)
    assert "wrong forcing" == outcome.after.reason


# Level 0: observed.


def test_an_observed_site_gets_decision_and_script_and_nothing_else() -> None:
    """At level 0 the row is cancelled as observed: no agent is asked, nobody is written to."""
    desk = FakeDesk()
    outcome = only(dispatch([formatted(level=Level.NOTHING)], desk))
    assert (Event.CANCEL, CancelCause.OBSERVED.value) == (outcome.event, outcome.cause)
    assert [] == _verbs(desk)
    assert [] == desk.told
    assert [] == desk.admitted


def test_each_row_of_a_set_goes_by_its_own_level() -> None:
    """Levels are frozen on the rows: one is observed, one mailed, one sent."""
    desk = FakeDesk(transport=ScriptedTransport(submit=AnswerKind.ACCEPTED))
    rows = [
        formatted(id="observed", level=Level.NOTHING),
        formatted(id="mailed", level=Level.MAIL),
        formatted(id="sent"),
    ]
    outcomes = {each.row.id: each.event for each in dispatch(rows, desk)}
    assert {
        "observed": Event.CANCEL,
        "mailed": Event.DISPATCH,
        "sent": Event.DISPATCH,
    } == outcomes
    assert [("submit", "curie/p86user1", ("sent",))] == getattr(desk.transport, "asked", None)


# Level 1, formatted: the script goes by mail.


def test_the_script_goes_by_mail_and_counts_as_no_restart() -> None:
    """The owner has it: dispatched, with no try counted and no agent asked."""
    desk = _desk()
    outcome = only(dispatch([formatted(level=Level.MAIL)], desk))
    assert Event.DISPATCH is outcome.event
    assert [(Notice.SCRIPT, SUPERVISION)] == [(notice, row) for notice, row, _ in desk.told]
    assert 0 == outcome.after.dispatch_try_count
    assert [] == desk.admitted
    assert [] == _verbs(desk)


def test_without_an_address_the_script_cannot_be_mailed() -> None:
    """A user without an address, or who wants no mail, cannot be helped at level 1."""
    desk = _desk()
    desk.readers = False
    outcome = only(dispatch([formatted(level=Level.MAIL)], desk))
    assert (Event.CANCEL, CancelCause.POLICY.value) == (outcome.event, outcome.cause)
    assert "no address" in str(outcome.reason)


def test_a_mail_server_that_is_away_uses_no_attempt_up() -> None:
    """The mail is sent later; the row keeps attempt and script."""
    desk = _desk()
    desk.mail_away = True
    row = formatted(level=Level.MAIL)
    outcome = only(dispatch([row], desk))
    assert outcome.event is None
    assert NOW + timedelta(seconds=30) == outcome.until
    assert (1, row.script_sha256) == (outcome.after.attempt, outcome.after.script_sha256)


@pytest.mark.parametrize(
    ("seen", "event"),
    [(ago(minutes=1), Event.CANCEL), (ago(minutes=30), Event.DISPATCH), (None, Event.DISPATCH)],
)
def test_a_late_job_that_is_heard_of_again_gets_no_mail(seen: object, event: Event) -> None:
    """Most late jobs are heard of within the day that the mail waits."""
    job = JobFactsFactory.build(last_seen_at=seen)
    desk = _desk(trigger__kind=TriggerKind.LATE, job=job)
    row = formatted(level=Level.MAIL, trigger=TriggerKind.LATE)
    assert event is only(dispatch([row], desk)).event


def test_a_fatal_is_no_rumour() -> None:
    """A job that said that it failed is mailed about, whatever came after: echoes always do."""
    desk = _desk(job=JobFactsFactory.build(last_seen_at=NOW))
    assert Event.DISPATCH is only(dispatch([formatted(level=Level.MAIL)], desk)).event


@pytest.mark.parametrize(
    ("known", "event", "cause"),
    [
        ({"simulation__complete_at": NOW}, Event.CANCEL, CancelCause.POLICY.value),
        ({"trigger__at": ago(days=6)}, Event.FAIL, FailureCause.EXPIRED.value),
        ({"simulation__login": None}, None, None),
        ({"holds": ()}, Event.DISPATCH, None),
    ],
    ids=["complete", "too old", "for want", "nothing"],
)
def test_the_rules_are_asked_again_before_a_mail(
    known: dict[str, object], event: Event | None, cause: str | None
) -> None:
    """The same dispositions as before an act: cancel, expire, wait, go."""
    desk = _desk(**known)
    outcome = only(dispatch([formatted(level=Level.MAIL)], desk))
    assert (event, cause) == (outcome.event, outcome.cause)
    assert (event is Event.DISPATCH) == bool(desk.told)


def _gone_for_a_day() -> FakeDesk:
    """A late job that two looks saw gone, a day before its mail is due, at a site that may ask."""
    site = SitePolicyFactory.build(ask=True)
    looks = tuple(
        LookFactory.build(at=ago(hours=hours), sight=Sight.ABSENT, reason=None)
        for hours in (25, 24.5)
    )
    desk = _desk(trigger__kind=TriggerKind.LATE, trigger__at=ago(hours=26), looks=looks)
    desk.policy = replace(BY_MAIL, sites=(site,))
    return desk


def test_where_a_look_is_too_old_the_centre_is_asked_before_a_mail() -> None:
    """The site allows questions: a job that is gone still is mailed about, not waited for."""
    desk = _gone_for_a_day()
    assert isinstance(desk.transport, ScriptedTransport)
    desk.transport.looks[SUPERVISION] = LookFactory.build(sight=Sight.ABSENT, reason=None)
    outcome = only(dispatch([formatted(level=Level.MAIL, trigger=TriggerKind.LATE)], desk))
    assert Event.DISPATCH is outcome.event
    assert ["look"] == _verbs(desk)


def test_news_does_not_make_an_act_early() -> None:
    """A row that is woken before its grace is over goes back to wait for its end."""
    due = NOW + timedelta(minutes=4)
    desk = FakeDesk(graces={SUPERVISION: due})
    outcome = only(dispatch([formatted()], desk))
    assert (None, due) == (outcome.event, outcome.until)
    assert [] == _verbs(desk)


@pytest.mark.parametrize(
    "changes", [{"wanted": WISH}, {"by_person": True}, {"dispatch_try_count": 1}]
)
def test_a_grace_binds_only_what_policy_begins(changes: dict[str, object]) -> None:
    """A wish, a person's attempt and one whose first byte left go on within the grace."""
    desk = FakeDesk(
        transport=ScriptedTransport(submit=AnswerKind.ACCEPTED, status=AnswerKind.ACCEPTED),
        graces={SUPERVISION: NOW + timedelta(minutes=4)},
    )
    assert only(dispatch([formatted(**changes)], desk)).event in {Event.CANCEL, Event.DISPATCH}


def test_a_late_job_heard_again_does_not_wait_to_be_cancelled() -> None:
    """A newer message clears the mail that waits, at once."""
    job = JobFactsFactory.build(last_seen_at=NOW)
    desk = _desk(trigger__kind=TriggerKind.LATE, job=job)
    desk.graces[SUPERVISION] = NOW + DAY
    row = formatted(level=Level.MAIL, trigger=TriggerKind.LATE)
    assert Event.CANCEL is only(dispatch([row], desk)).event


def test_a_wish_stops_a_mail() -> None:
    """A row that somebody wants cancelled is never mailed."""
    desk = _desk()
    outcome = only(dispatch([formatted(level=Level.MAIL, wanted=WISH)], desk))
    assert (Event.CANCEL, "alice") == (outcome.event, outcome.actor)
    assert [] == desk.told


def test_no_rows_read_nothing() -> None:
    """Without rows nothing is read, nothing said."""
    assert [] == ask([], FakeDesk())
    assert [] == dispatch([], FakeDesk())


# Level 1, dispatched: the facts are asked instead of an agent.


def _later() -> OtherJob:
    return OtherJob(uid=OTHER_JOB, at=ago(minutes=1))


@pytest.mark.parametrize("known", [{"simulation__complete_at": NOW}, {"later_starts": (_later(),)}])
def test_the_chain_that_goes_on_shows_that_the_mail_was_used(known: dict[str, object]) -> None:
    """Superseded or complete: executed, and it was the user who did it."""
    desk = _desk(**known)
    outcome = only(ask([dispatched(level=Level.MAIL, dispatch_try_count=0)], desk))
    assert (Event.EXECUTE, "user") == (outcome.event, outcome.actor)
    assert [] == _verbs(desk)


def test_a_mail_may_be_used_after_a_week() -> None:
    """By then the trigger is too old for an act of ours; what the user did counts all the same."""
    desk = _desk(trigger__at=ago(days=7), later_starts=(_later(),))
    outcome = only(ask([dispatched(level=Level.MAIL, dispatched_at=ago(days=7))], desk))
    assert (Event.EXECUTE, "user") == (outcome.event, outcome.actor)


def test_a_late_job_that_ended_well_is_superseded_by_the_next() -> None:
    """That the mailed job itself came to a good end hides nothing of what followed."""
    job = JobFactsFactory.build(ended_at=ago(minutes=9))
    desk = _desk(trigger__kind=TriggerKind.LATE, job=job, later_starts=(_later(),))
    row = dispatched(level=Level.MAIL, trigger=TriggerKind.LATE)
    assert Event.EXECUTE is only(ask([row], desk)).event


def test_a_mail_that_nobody_used_yet_is_looked_at_daily() -> None:
    """While the facts say nothing new, the row waits."""
    outcome = only(ask([dispatched(level=Level.MAIL)], _desk()))
    assert (None, NOW + DAY) == (outcome.event, outcome.until)


@pytest.mark.parametrize(("since", "event"), [(ago(days=13), None), (ago(days=14), Event.FAIL)])
def test_a_mail_that_nobody_used_in_two_weeks_expires(since: object, event: Event | None) -> None:
    """After 14 days the row fails, and is given up."""
    desk = _desk(trigger__at=ago(days=15), trigger__first_at=ago(days=15))
    outcome = only(ask([dispatched(level=Level.MAIL, dispatched_at=since)], desk))
    assert event is outcome.event
    assert (FailureCause.EXPIRED.value if event else None) == outcome.cause


def test_level_one_meets_no_brake_and_asks_no_agent() -> None:
    """A hold stops contact with the centre; reading our own facts is none."""
    desk = _desk(simulation__complete_at=NOW)
    desk.stops[SUPERVISION] = held()
    assert Event.EXECUTE is only(ask([dispatched(level=Level.MAIL)], desk)).event
    assert [] == _verbs(desk)


def test_a_wish_ends_a_mailed_row() -> None:
    """The mail is out; the row ends as its person wished."""
    outcome = only(ask([dispatched(level=Level.MAIL, wanted=WISH)], _desk()))
    assert (Event.CANCEL, "alice", True) == (outcome.event, outcome.actor, outcome.by_person)


def test_mailed_and_sent_rows_are_asked_after_each_in_its_way() -> None:
    """One set may hold both levels: the agent is asked only for its own."""
    transport = ScriptedTransport(status=AnswerKind.EXECUTED)
    desk = FakeDesk(transport=transport, policy=BY_MAIL)
    rows = [dispatched(level=Level.MAIL), dispatched(id=OTHER, job_uid=OTHER_JOB)]
    outcomes = {each.row.id: each.event for each in ask(rows, desk)}
    assert {SUPERVISION: None, OTHER: Event.EXECUTE} == outcomes
    assert [("status", "curie/p86user1", (OTHER,))] == transport.asked


# Rows of which their workers die.


def test_a_row_that_is_claimed_and_never_confirmed_fails() -> None:
    """Whoever works on it seems to die of it: crash-loop, given up; the reason has the count."""
    outcome = only(give_up_crashed([formatted(claim_count=6)]))
    assert (Event.FAIL, FailureCause.CRASH_LOOP.value) == (outcome.event, outcome.cause)
    assert "claimed 6 times, never confirmed" == outcome.reason
    assert FailureCause.CRASH_LOOP.hopeless


def test_consent_that_ended_meanwhile_stops_the_mail() -> None:
    """The user's word counts on the day of the act, not on that of the decision."""
    user = UserPolicyFactory.build(level=Level.MAIL, until=date(2015, 3, 17))
    desk = _desk()
    desk.policy = replace(BY_MAIL, users=(user,), sites=(SitePolicyFactory.build(),))
    outcome = only(dispatch([formatted(level=Level.MAIL)], desk))
    assert (Event.CANCEL, CancelCause.POLICY.value) == (outcome.event, outcome.cause)
    assert [] == desk.told
