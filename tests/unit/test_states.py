"""States and their two columns: what is true in each, and that the spelling goes both ways."""

from __future__ import annotations

import itertools
from typing import Final

import pytest

from supervision.fsm.states import (
    STATES,
    STATUS_PAIRS,
    UNFINISHED,
    DispatchStatus,
    Event,
    ExecutionStatus,
    Queue,
    State,
    state_of,
    status_of,
)

PAIRS: Final = {
    "detected/pending": "detected",
    "formatted/pending": "formatted",
    "dispatched/pending": "dispatched",
    "dispatched/running": "dispatched",
    "dispatched/unknown": "dispatched",
    "dispatched/executed": "executed",
    "failed/pending": "failed",
    "dispatched/failed": "failed",
    "cancelled/pending": "cancelled",
    "dispatched/cancelled": "cancelled",
}

SERVED: Final = {
    "detected": ("internal-supervision-format", "format", True),
    "formatted": ("out-supervision-dispatch", "dispatch", True),
    "dispatched": ("in-supervision-execution", "execute", True),
    "executed": ("in-supervision-execution", "execute", False),
    "failed": ("internal-supervision-detect", "retry", False),
    "cancelled": (None, None, False),
}


def test_the_pairs_are_the_ten_that_were_agreed() -> None:
    """Nothing else may stand in the two columns."""
    written = {f"{first}/{second}": state for (first, second), state in STATUS_PAIRS.items()}
    assert PAIRS == written


@pytest.mark.parametrize(
    ("dispatch", "execution"), list(itertools.product(DispatchStatus, ExecutionStatus))
)
def test_a_pair_spells_one_state_or_none(
    dispatch: DispatchStatus, execution: ExecutionStatus
) -> None:
    """A pair that the CHECK forbids is no state; nobody guesses one."""
    expected = PAIRS.get(f"{dispatch}/{execution}")
    if expected is None:
        with pytest.raises(KeyError):
            state_of(dispatch, execution)
    else:
        assert State(expected) is state_of(dispatch, execution)


@pytest.mark.parametrize("word", ["", "Detected", "done"])
def test_a_word_that_is_no_status_spells_nothing(word: str) -> None:
    """What another hand wrote into a column is not read as something near it."""
    with pytest.raises(ValueError, match="is not a valid"):
        state_of(word, "pending")


@pytest.mark.parametrize(("state", "at_centre"), list(itertools.product(State, (False, True))))
def test_a_state_is_read_as_it_was_spelled(state: State, at_centre: bool) -> None:  # noqa: FBT001
    """To columns and back is the same state, wherever the row was when it ended."""
    assert state is state_of(*status_of(state, at_centre=at_centre))


@pytest.mark.parametrize(
    ("state", "before", "at"),
    [
        (State.FAILED, ("failed", "pending"), ("dispatched", "failed")),
        (State.CANCELLED, ("cancelled", "pending"), ("dispatched", "cancelled")),
    ],
)
def test_an_end_tells_whether_the_centre_was_reached(
    state: State, before: tuple[str, str], at: tuple[str, str]
) -> None:
    """The columns keep where a supervision was when it failed or was cancelled."""
    assert before == status_of(state, at_centre=False)
    assert at == status_of(state, at_centre=True)


@pytest.mark.parametrize("state", State)
def test_who_serves_a_state(state: State) -> None:
    """Its wake-ups go to one queue, which fires one event; and unfinished means the same here."""
    queue, event, unfinished = SERVED[state]
    info = STATES[state]
    assert queue == (info.queue and info.queue.value)
    assert event == (info.event and info.event.value)
    assert (unfinished, unfinished) == (info.unfinished, state in UNFINISHED)
    assert info.true


def test_no_event_and_no_queue_is_served_by_nobody() -> None:
    """Late jobs are facts of the clock: theirs is the only queue without a state."""
    assert {Queue.LATE_JOBS} == set(Queue) - {info.queue for info in STATES.values()}
    asked = {info.event for info in STATES.values()}
    assert {Event.FORMAT, Event.DISPATCH, Event.EXECUTE, Event.RETRY} == asked - {None}
