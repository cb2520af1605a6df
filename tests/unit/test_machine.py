"""The transition table: every question that can be asked of it, against a table written by hand."""

from __future__ import annotations

import itertools
from typing import Final

import pytest

from supervision.errors import IllegalTransition
from supervision.fsm.machine import TABLE, sources, target
from supervision.fsm.states import STATES, Event, State

LEADS: Final = {
    "detected": {
        "format": "formatted",
        "fail": "failed",
        "cancel": "cancelled",
        "force_detected": "detected",
        "force_executed": "executed",
        "force_failed": "failed",
        "force_cancelled": "cancelled",
    },
    "formatted": {
        "dispatch": "dispatched",
        "fail": "failed",
        "cancel": "cancelled",
        "force_detected": "detected",
        "force_executed": "executed",
        "force_failed": "failed",
        "force_cancelled": "cancelled",
    },
    "dispatched": {
        "execute": "executed",
        "fail": "failed",
        "cancel": "cancelled",
        "force_detected": "detected",
        "force_executed": "executed",
        "force_failed": "failed",
        "force_cancelled": "cancelled",
    },
    "executed": {
        "execute": "executed",
        "fail": "failed",
        "force_detected": "detected",
        "force_executed": "executed",
        "force_failed": "failed",
        "force_cancelled": "cancelled",
    },
    "failed": {
        "retry": "detected",
        "force_detected": "detected",
        "force_executed": "executed",
        "force_failed": "failed",
        "force_cancelled": "cancelled",
    },
    "cancelled": {
        "retry": "detected",
        "force_detected": "detected",
        "force_executed": "executed",
        "force_failed": "failed",
        "force_cancelled": "cancelled",
    },
}
"""Where each event leads from each state; what is not named leads nowhere."""


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_event_from_every_state(state: State, event: Event) -> None:
    """It leads where the table says, and is refused where the table is silent."""
    expected = LEADS[state].get(event)
    if expected is None:
        with pytest.raises(IllegalTransition, match=rf"{event} is not possible from {state}"):
            target(state, event)
    else:
        assert State(expected) is target(state, event)


def test_a_question_leaves_no_trace() -> None:
    """The one machine serves all rows: what was asked before changes no answer."""
    first = target(State.DETECTED, Event.FORMAT)
    with pytest.raises(IllegalTransition):
        target(State.CANCELLED, Event.FORMAT)
    assert first is target(State.DETECTED, Event.FORMAT)


def test_no_row_of_the_table_is_there_twice() -> None:
    """An event leads from a state to one place only."""
    assert len(TABLE) == len({(event, source) for event, source, _ in TABLE})


@pytest.mark.parametrize("event", Event)
def test_sources_are_those_that_the_table_names(event: Event) -> None:
    """A claim asks for the rows in these states."""
    assert {state for state in State if event in LEADS[state]} == set(sources(event))


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_way_on(state: State) -> None:
    """No trap: a person can always begin anew or end it, and whatever is open can end by itself."""
    assert {"force_detected", "force_cancelled"} <= set(LEADS[state])
    if STATES[state].unfinished:
        assert {"fail", "cancel"} <= set(LEADS[state])


@pytest.mark.parametrize("state", [State.FORMATTED, State.DISPATCHED])
def test_what_is_earned_cannot_be_forced(state: State) -> None:
    """A script and a receipt are facts; nobody can order them to be there."""
    leading = {event for event, _, reached in TABLE if reached is state}
    assert not {event for event in leading if event.startswith("force_")}


def test_the_event_that_a_state_waits_for_is_possible_there() -> None:
    """The queue of a state fires an event that leaves from it."""
    waiting = {state: info.event for state, info in STATES.items() if info.event is not None}
    assert set(waiting) == {state for state, event in waiting.items() if event in LEADS[state]}
