"""The transition table of a supervision. Nothing else names a source and a target together.

The only room that imports the package `transitions`. One shared machine serves all rows: a
machine per row would cost megabytes a thousand rows. No callback does anything.
"""

from __future__ import annotations

from typing import Final

from transitions import Machine, MachineError

from supervision.errors import IllegalTransition
from supervision.fsm.states import Event, State

TABLE: Final[tuple[tuple[Event, State, State], ...]] = (
    (Event.FORMAT, State.DETECTED, State.FORMATTED),
    (Event.DISPATCH, State.FORMATTED, State.DISPATCHED),
    (Event.EXECUTE, State.DISPATCHED, State.EXECUTED),
    (Event.EXECUTE, State.EXECUTED, State.EXECUTED),  # the watch ends well: the new job started
    (Event.FAIL, State.DETECTED, State.FAILED),
    (Event.FAIL, State.FORMATTED, State.FAILED),
    (Event.FAIL, State.DISPATCHED, State.FAILED),
    (Event.FAIL, State.EXECUTED, State.FAILED),  # only while it is watched: the new job is gone
    (Event.CANCEL, State.DETECTED, State.CANCELLED),
    (Event.CANCEL, State.FORMATTED, State.CANCELLED),
    (Event.CANCEL, State.DISPATCHED, State.CANCELLED),
    (Event.RETRY, State.FAILED, State.DETECTED),
    (Event.RETRY, State.CANCELLED, State.DETECTED),
    *((Event.FORCE_DETECTED, state, State.DETECTED) for state in State),
    *((Event.FORCE_EXECUTED, state, State.EXECUTED) for state in State),
    *((Event.FORCE_FAILED, state, State.FAILED) for state in State),
    *((Event.FORCE_CANCELLED, state, State.CANCELLED) for state in State),
)
"""(event, source, target). Formatted and dispatched are earned: no force leads there."""


class _Marker:
    """The one thing that the machine moves: it stands on a state and knows nothing else."""

    state: str = State.DETECTED.value


def _machine() -> Machine:
    return Machine(
        model=None,
        states=[state.value for state in State],
        initial=State.DETECTED.value,
        transitions=[[event.value, source.value, target.value] for event, source, target in TABLE],
        auto_transitions=False,
        send_event=True,
    )


_MACHINE: Final = _machine()


def _asked(state: State, event: Event) -> State | None:
    """Ask the machine where an event leads; a marker is made for each question."""
    marker = _Marker()
    marker.state = state.value
    try:
        _MACHINE.events[event.value].trigger(marker)
    except MachineError:
        return None
    return State(marker.state)


_TARGETS: Final = {(state, event): _asked(state, event) for state in State for event in Event}
"""The machine's answer to every question there is: 60 of them, asked once."""


def target(state: State, event: Event) -> State:
    """Tell where `event` leads from `state`; raises IllegalTransition where it leads nowhere."""
    found = _TARGETS[state, event]
    if found is None:
        raise IllegalTransition(f"{event} is not possible from {state}")
    return found


def sources(event: Event) -> tuple[State, ...]:
    """List the states that `event` may leave from, in the order of the table."""
    return tuple(
        State(transition.source)
        for source in _MACHINE.events[event.value].transitions.values()
        for transition in source
    )
