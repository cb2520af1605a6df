"""The states and events of a supervision, what is true in each state, and the two status columns.

No transition stands here: which event leads where is the table in `machine.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a supervision is."""

    DETECTED = "detected"
    FORMATTED = "formatted"
    DISPATCHED = "dispatched"
    EXECUTED = "executed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to a supervision. The `force_` events are an operator's."""

    FORMAT = "format"
    DISPATCH = "dispatch"
    EXECUTE = "execute"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"
    FORCE_DETECTED = "force_detected"
    FORCE_EXECUTED = "force_executed"
    FORCE_FAILED = "force_failed"
    FORCE_CANCELLED = "force_cancelled"


class DispatchStatus(StrEnum):
    """Column dispatch_status: how far the script has come on its way to the centre."""

    DETECTED = "detected"
    FORMATTED = "formatted"
    DISPATCHED = "dispatched"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExecutionStatus(StrEnum):
    """Column execution_status: what is known of the script's run at the centre."""

    PENDING = "pending"
    RUNNING = "running"
    UNKNOWN = "unknown"
    EXECUTED = "executed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Queue(StrEnum):
    """The queues that carry wake-ups. Their names are the client's."""

    LATE_JOBS = "internal-monitoring-late-jobs"
    DETECT = "internal-supervision-detect"
    FORMAT = "internal-supervision-format"
    DISPATCH = "out-supervision-dispatch"
    EXECUTION = "in-supervision-execution"


@dataclass(frozen=True, kw_only=True, slots=True)
class StateInfo:
    """What holds in a state, and who looks at its rows while they have an alarm."""

    true: str
    queue: Queue | None
    event: Event | None
    unfinished: bool


STATES: Final[dict[State, StateInfo]] = {
    State.DETECTED: StateInfo(
        true="decided, no script yet",
        queue=Queue.FORMAT,
        event=Event.FORMAT,
        unfinished=True,
    ),
    State.FORMATTED: StateInfo(
        true="script stored",
        queue=Queue.DISPATCH,
        event=Event.DISPATCH,
        unfinished=True,
    ),
    State.DISPATCHED: StateInfo(
        true="the agent has it in its journal, or the user has the mail",
        queue=Queue.EXECUTION,
        event=Event.EXECUTE,
        unfinished=True,
    ),
    State.EXECUTED: StateInfo(
        true="the script acted; watched while wake_at is set",
        queue=Queue.EXECUTION,
        event=Event.EXECUTE,
        unfinished=False,
    ),
    State.FAILED: StateInfo(
        true="an attempt is over without success; policy answers while wake_at is set",
        queue=Queue.DETECT,
        event=Event.RETRY,
        unfinished=False,
    ),
    State.CANCELLED: StateInfo(
        true="needless or not wanted; the reason says why",
        queue=None,
        event=None,
        unfinished=False,
    ),
}

UNFINISHED: Final = tuple(state for state, info in STATES.items() if info.unfinished)

STATUS_PAIRS: Final[dict[tuple[DispatchStatus, ExecutionStatus], State]] = {
    (DispatchStatus.DETECTED, ExecutionStatus.PENDING): State.DETECTED,
    (DispatchStatus.FORMATTED, ExecutionStatus.PENDING): State.FORMATTED,
    (DispatchStatus.DISPATCHED, ExecutionStatus.PENDING): State.DISPATCHED,
    (DispatchStatus.DISPATCHED, ExecutionStatus.RUNNING): State.DISPATCHED,
    (DispatchStatus.DISPATCHED, ExecutionStatus.UNKNOWN): State.DISPATCHED,
    (DispatchStatus.DISPATCHED, ExecutionStatus.EXECUTED): State.EXECUTED,
    (DispatchStatus.FAILED, ExecutionStatus.PENDING): State.FAILED,
    (DispatchStatus.DISPATCHED, ExecutionStatus.FAILED): State.FAILED,
    (DispatchStatus.CANCELLED, ExecutionStatus.PENDING): State.CANCELLED,
    (DispatchStatus.DISPATCHED, ExecutionStatus.CANCELLED): State.CANCELLED,
}
"""Every pair that the database admits, and the state that it spells."""


def state_of(dispatch: str, execution: str) -> State:
    """Read the state from the two columns.

    Raises ValueError for a word that is no status, KeyError for a pair that the CHECK forbids.
    """
    known = _STATES.get((dispatch, execution))
    return known or STATUS_PAIRS[DispatchStatus(dispatch), ExecutionStatus(execution)]


_STATES: Final = {
    (dispatch.value, execution.value): state
    for (dispatch, execution), state in STATUS_PAIRS.items()
}


def status_of(state: State, *, at_centre: bool) -> tuple[DispatchStatus, ExecutionStatus]:
    """Spell a state in the two columns.

    `at_centre` tells whether the row had been dispatched when it failed or was cancelled: the
    columns then keep that the script had reached the centre. Other states do not look at it.
    """
    if state in {State.FAILED, State.CANCELLED} and at_centre:
        return DispatchStatus.DISPATCHED, ExecutionStatus(state.value)
    return _PAIRS[state]


_PAIRS: Final = {state: pair for pair, state in reversed(STATUS_PAIRS.items())}
"""The first pair of each state: that of a script which has not reached the centre."""
