"""The main road, through every consumer: a failure comes in, and a restart comes out of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from supervision.facts import (
    AnswerKind,
    JobKind,
    Key,
    Level,
    Look,
    Mode,
    Policy,
    Sight,
    TriggerKind,
)
from supervision.fsm.states import Event, ExecutionStatus, State
from tests.factories import DIRECTORY, JOB, NOW, SIMULATION, PolicyFactory, SitePolicyFactory
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    LOGIN,
    MINUTE,
    NEW_JOB,
    OPERATOR,
    OWNER,
    POST_JOB,
    SITE,
    Bench,
    bench,
    failing_chain,
    failing_post,
    message,
    message_b,
)


@pytest.fixture
def service(database_url: str) -> Iterator[Bench]:
    """The service at a site where it may act."""
    with bench(database_url) as made:
        yield made


def _policy(mode: Mode) -> Policy:
    return PolicyFactory.build(sites=(SitePolicyFactory.build(mode=mode),))


def test_a_fatal_message_becomes_a_restart(service: Bench) -> None:
    """Published facts, five stages, one script run once, one mail, and the watch that ends well."""
    service.publish(*failing_chain())
    service.settle()
    row = service.row()
    assert (State.FORMATTED, 0, {}) == (row.state, row.dispatch_try_count, service.agent.executions)
    service.agent.outcome(row.id, scheduler_id="41300", period=7)

    service.wait(9 * MINUTE)
    assert [] == service.agent.calls, "nothing is asked before the grace is over"
    service.wait(MINUTE)
    row = service.row()
    assert (State.EXECUTED, 1, "41300", 7) == (
        row.state,
        row.dispatch_try_count,
        row.scheduler_id,
        row.period,
    )
    assert {Key(supervision_id=row.id, attempt=1): 1} == service.agent.executions
    assert ["detect", "format", "dispatch", "execute"] == service.events()
    assert [(OWNER, "acted")] == service.mails()

    service.publish(message("1000", at=service.clock.now() + MINUTE, job=NEW_JOB))
    service.settle()
    row = service.row()
    assert (State.EXECUTED, None) == (row.state, row.wake_at)
    assert [] == service.broker.dead()
    service.live(2 * DAY, step=6 * HOUR)
    assert 1 == sum(service.agent.executions.values())


def test_the_row_says_everything_that_was_decided(service: Bench) -> None:
    """Site, login, directory, level and trigger are frozen on it."""
    row = service.to_formatted()
    expected = (SITE, LOGIN, DIRECTORY, JobKind.COMPUTE, TriggerKind.FATAL, Level.AUTOMATIC, 1)
    found = (row.site, row.login, row.directory, row.kind, row.trigger, row.level, row.attempt)
    assert expected == found
    decision = service.ledger()["fatal"]
    assert (decision.decision_id, SIMULATION, JOB) == (
        row.decision_id,
        row.simulation_uid,
        row.job_uid,
    )
    assert ("supervise", "supervise", None) == (decision.verdict, decision.rule, decision.wake_at)


def test_a_verdict_replays_bit_for_bit(service: Bench) -> None:
    """The ledger keeps facts, moment and policy: asked again it says the same."""
    service.to_formatted()
    service.wait(DAY)
    decision = service.ledger()["fatal"]
    assert decision.replays
    assert (decision.verdict, decision.sentence) == (
        decision.again and decision.again.kind,
        decision.again and decision.again.sentence,
    )


def test_what_is_sent_is_what_was_stored(service: Bench) -> None:
    """The order carries the row's script, and expires with the claim."""
    row = service.to_dispatched()
    (order,) = service.agent.orders
    assert row.script_sha256 == order.script.sha256
    assert base64.b64decode(order.script.content).startswith(b"#!")
    (stored,) = service.table("tbl_simulation_supervision")
    assert (order.script.content, "base64") == (
        stored["script_content"],
        stored["script_content_encoding"],
    )
    assert NOW + 10 * MINUTE + service.tools.settings.lease == order.expires_at


def test_a_script_that_runs_is_asked_after_until_it_ends(service: Bench) -> None:
    """Dispatched and running; each look at the row backs off; then it is executed."""
    row = service.to_dispatched()
    assert (State.DISPATCHED, ExecutionStatus.RUNNING) == (row.state, row.execution_status)
    service.live(10 * MINUTE)
    asked = service.calls("status")
    assert 3 <= asked <= 8
    service.agent.outcome(row.id, scheduler_id="41300")
    service.live(6 * MINUTE)
    assert State.EXECUTED is service.row().state
    assert {Key(supervision_id=row.id, attempt=1): 1} == service.agent.executions


def test_mode_observe_decides_renders_records_and_stops(database_url: str) -> None:
    """Nothing leaves the house: no contact, no mail; the script can be read all the same."""
    with bench(database_url, policy=_policy(Mode.OBSERVE)) as service:
        service.feed(*failing_chain())
        service.settle()
        row = service.row()
        assert (State.CANCELLED, "observed", Level.NOTHING) == (row.state, row.cause, row.level)
        assert row.script_sha256
        assert ([], []) == (service.agent.calls, service.mails())
        service.live(2 * DAY, step=6 * HOUR)
        assert ["detect", "format", "cancel"] == service.events()


def test_mode_mail_sends_the_script_to_its_user(database_url: str) -> None:
    """One mail with the script; the restart by hand is seen, and the history says whose it was."""
    with bench(database_url, policy=_policy(Mode.MAIL)) as service:
        service.feed(*failing_chain())
        service.settle()
        row = service.row()
        assert (State.DISPATCHED, 0) == (row.state, row.dispatch_try_count)
        assert ([(OWNER, "script")], []) == (service.mails(), service.agent.calls)
        ((name, text),) = service.notifier.mails[0].attachments
        assert name.endswith("-1.sh")
        assert text.startswith("#!")
        service.clock.advance(HOUR)
        service.feed(message("1000", at=service.clock.now(), job=NEW_JOB))
        service.settle()
        last = service.history()[-1]
        assert ("execute", "user") == (last.event, last.actor)
        assert service.row().wake_at is None


def test_a_post_processing_job_is_resubmitted_alone(service: Bench) -> None:
    """Its own task, its own script; the compute chain goes on, and does not end the watch."""
    service.publish(*failing_post())
    service.settle()
    row = service.row(POST_JOB)
    assert (JobKind.POST_PROCESSING, TriggerKind.POST_PROCESSING) == (row.kind, row.trigger)
    service.agent.outcome(row.id, scheduler_id="600")
    service.agent.see(row.id, Look(at=NOW, sight=Sight.QUEUED))
    service.wait(10 * MINUTE)
    assert State.EXECUTED is service.row(POST_JOB).state
    now = service.clock.now()
    service.feed(message("1000", at=now + MINUTE, job=NEW_JOB))
    service.wait(2 * MINUTE)
    assert service.row(POST_JOB).wake_at is not None
    again = message("2000", at=now + 2 * MINUTE, job="4f1d6f7e-1b1f-4a3a-9b1c-6c1c0e2a7d13")
    service.feed(again)
    service.settle()
    assert service.row(POST_JOB).wake_at is None
    assert ["detect", "format", "dispatch", "execute", "execute"] == service.events(POST_JOB)


def test_a_post_processing_task_that_fails_twice_is_left_to_its_owner(service: Bench) -> None:
    """A second job of the same task: refused, with a mail."""
    second = "4f1d6f7e-1b1f-4a3a-9b1c-6c1c0e2a7d13"
    service.feed(*failing_post())
    service.settle()
    service.agent.outcome(service.row(POST_JOB).id, scheduler_id="600")
    service.wait(10 * MINUTE)
    now = service.clock.now()
    service.feed(message("2000", at=now, job=second), message("2999", at=now + MINUTE, job=second))
    service.wait(2 * MINUTE)
    decision = service.ledger(second)["post-processing"]
    assert ("refuse", "again") == (decision.verdict, decision.rule)
    assert (OWNER, "refused") in service.mails()


def test_generation_b_is_helped_without_periods_and_ids(database_url: str) -> None:
    """No 1001 tells the period: the centre is asked first; the directory is the site's pattern."""
    site = SitePolicyFactory.build(directory_pattern="/work/{login}/{model}/{name}")
    with bench(database_url, policy=PolicyFactory.build(sites=(site,))) as service:
        service.feed(
            message_b("0000", at=NOW - DAY, job=JOB),
            message_b("9000", at=NOW - MINUTE, job=JOB, command="IGCM_sys_Cp", nesting="2"),
            message_b("9999", at=NOW, job=JOB),
        )
        service.settle()
        row = service.row()
        assert 1 == service.calls("look")
        assert ("/work/p86user1/IPSLCM6/CPL01", Level.AUTOMATIC) == (row.directory, row.level)
        assert {"fatal", "command"} == set(service.ledger())


def test_a_wake_up_for_a_row_that_is_elsewhere_has_no_effect(service: Bench) -> None:
    """Late, repeated, out of order: acked, and nothing happens."""
    row = service.to_formatted()
    for event in (Event.FORMAT, Event.DISPATCH, Event.EXECUTE):
        service.engine.fire(event, [row.id, "no-such-row"])
    assert row == service.row()


def test_two_simulations_that_fail_at_once_are_both_helped(service: Bench) -> None:
    """One set of messages, one set of rows, one session; and one act for each."""
    other = "8f0d3a52-93b5-4f6f-9e0b-0d5a3a6cd714"
    job = "b1c9a9f6-0f0e-46c5-8a0a-3f1a5b2c4d15"
    service.publish(
        *failing_chain(),
        message("0000", at=NOW - DAY, job=job, simulation=other, name="CPL02"),
        message("1001", at=NOW - HOUR, job=job, simulation=other),
        message("1999", at=NOW, job=job, simulation=other),
    )
    service.settle()
    service.wait(10 * MINUTE)
    assert {State.EXECUTED} == {row.state for row in service.rows()}
    assert 2 == sum(service.agent.executions.values())


def test_an_unanswered_act_is_told_after_a_day_and_ends_after_two_weeks(service: Bench) -> None:
    """One mail to the operator, then giving up: to the owner as well, in the same step."""
    row = service.to_dispatched()
    service.agent.outcome(row.id, kind=AnswerKind.UNKNOWN)
    service.live(DAY + HOUR, step=30 * MINUTE)
    assert [(OPERATOR, "unanswered")] == service.mails()
    service.live(3 * DAY, step=3 * HOUR)
    assert ExecutionStatus.UNKNOWN is service.row().execution_status
    service.agent.unreachable.add(SITE)
    service.live(11 * DAY, step=6 * HOUR)
    row = service.row()
    assert (State.FAILED, "expired", None) == (row.state, row.cause, row.wake_at)
    assert [(OWNER, "gave-up"), (OPERATOR, "gave-up")] == service.mails()[1:]
