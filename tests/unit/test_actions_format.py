"""Detected: the script is built, and the row waits as long as its level asks for."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest

from supervision.facts import JobKind, Level
from supervision.fsm.actions import ACTIONS, give_up_crashed
from supervision.fsm.outcomes import Outcome
from supervision.fsm.states import Event, State
from tests.factories import NOW, PolicyFactory
from tests.unit.test_actions_desk import HOUR, MINUTE, WISH, FakeDesk, SayingAgent, row

DETECTED = row(State.DETECTED, script_content=None, script_sha256=None)


def _formatted(desk: FakeDesk | None = None, **changes: Any) -> Outcome:  # noqa: ANN401
    desk = desk or FakeDesk(agent=SayingAgent())
    changed = row(State.DETECTED, script_content=None, script_sha256=None, **changes)
    return ACTIONS[State.DETECTED]([changed], desk)[0]


def test_a_script_is_stored_as_base64_with_the_digest_of_what_it_decodes_to() -> None:
    """What is sent later is what was built now, and it can be proven."""
    outcome = _formatted()
    assert Event.FORMAT is outcome.event
    raw = base64.b64decode(outcome.after.script_content or "")
    assert raw.startswith(b"#!/usr/bin/env ksh\n")
    expected = ("base64", hashlib.sha256(raw).hexdigest())
    assert expected == (outcome.after.script_content_encoding, outcome.after.script_sha256)


def test_the_same_row_gives_the_same_script() -> None:
    """A repeat after a crash is the same act: same key, same digest."""
    assert _formatted().after == _formatted().after


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"directory": "not/absolute"}, "not absolute"),
        ({"login": ""}, "the login is empty"),
        ({"kind": JobKind.POST_PROCESSING}, "without a task's name and date"),
        ({"site": "nowhere"}, "site nowhere is no longer in the settings"),
    ],
)
def test_a_script_that_cannot_be_built_fails_and_says_what_is_missing(
    changes: dict[str, Any], missing: str
) -> None:
    """Trying again would not help: the cause says so."""
    outcome = _formatted(**changes)
    assert (Event.FAIL, "render") == (outcome.event, outcome.cause)
    assert missing in (outcome.reason or "")
    assert outcome.after.script_content is None


def test_one_row_that_cannot_be_built_spoils_no_other() -> None:
    """A set is worked on as a whole, and each row has its own outcome."""
    rows = [DETECTED, row(State.DETECTED, id="other", directory="nowhere")]
    outcomes = ACTIONS[State.DETECTED](rows, FakeDesk(agent=SayingAgent()))
    assert [Event.FORMAT, Event.FAIL] == [each.event for each in outcomes]


def test_an_act_of_policy_waits_for_its_grace() -> None:
    """Mails come late, owners act, the failed job leaves the queue."""
    desk = FakeDesk(agent=SayingAgent(), grace=NOW + 10 * MINUTE)
    assert NOW + 10 * MINUTE == _formatted(desk).until


@pytest.mark.parametrize(
    ("changes", "span"),
    [
        ({"by_person": True}, 10 * MINUTE),
        ({"level": Level.NOTHING}, 10 * MINUTE),
        ({}, timedelta(0)),
        ({}, -HOUR),
    ],
)
def test_nothing_waits_without_a_reason(changes: dict[str, Any], span: timedelta) -> None:
    """A person's attempt, one that is only observed, and one whose grace is over go on at once."""
    desk = FakeDesk(agent=SayingAgent(), grace=NOW + span)
    outcome = _formatted(desk, **changes)
    assert (Event.FORMAT, None) == (outcome.event, outcome.until)


def test_a_failure_to_build_waits_for_no_grace() -> None:
    """Bad news needs no time to settle."""
    desk = FakeDesk(agent=SayingAgent(), grace=NOW + 10 * MINUTE)
    outcome = _formatted(desk, directory="nowhere")
    assert (Event.FAIL, None) == (outcome.event, outcome.until)


def test_a_wish_is_carried_out_instead_of_building() -> None:
    """Whoever cancelled it does not want a script."""
    outcome = _formatted(wanted=WISH)
    assert (Event.CANCEL, "alice", None) == (
        outcome.event,
        outcome.actor,
        outcome.after.script_content,
    )


def test_nothing_remote_happens_while_building() -> None:
    """Building asks nobody: a dead centre does not delay a script."""
    agent = SayingAgent()
    _formatted(FakeDesk(agent=agent, policy=PolicyFactory.build()))
    assert [] == agent.calls


def test_a_row_that_kills_whoever_claims_it_fails_as_a_crash_loop() -> None:
    """Its claims were never confirmed: somebody has to look."""
    (outcome,) = give_up_crashed([row(claim_count=6)])
    assert (Event.FAIL, "crash-loop") == (outcome.event, outcome.cause)
    assert "6 times" in (outcome.reason or "")
