"""Between rows of tbl_simulation_supervision and their frozen values; no statement stands here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_

from db.types_supervision import Supervision
from supervision.facts import JobKind, Level, TriggerKind, Wish
from supervision.facts import Supervision as Value
from supervision.fsm.states import (
    STATUS_PAIRS,
    DispatchStatus,
    ExecutionStatus,
    State,
    state_of,
    status_of,
)

UNWRITTEN: Final = {
    "id",
    "state",
    "execution_status",
    "wanted",
    "wake_at",
    "not_before",
    "version",
    "lease_until",
    "claim_count",
    "created_at",
}
"""Fields of the value that are no column, or that a confirm writes in its own way."""


def value_of(row: Any) -> Value:  # noqa: ANN401
    """Turn what was read of `READ` into the frozen value that the house knows; no script is in it.

    A row of columns, not an entity: that one would be built, tracked and thrown away.
    """
    said: dict[str, Any] = dict(zip(_READ_NAMES, row, strict=True))
    said["state"] = state_of(said.pop("dispatch_status"), row.execution_status)
    for name, made in _CONVERTED.items():
        said[name] = None if said[name] is None else made(said[name])
    return Value(**said)


def _by_value(words: type[Enum]) -> Callable[[Any], object]:
    """Find a member at once: calling its class takes four times as long. Raises KeyError."""
    return {each.value: each for each in words}.__getitem__


_CONVERTED: Final[dict[str, Callable[[Any], object]]] = {
    "kind": _by_value(JobKind),
    "trigger": _by_value(TriggerKind),
    "noted_trigger": _by_value(TriggerKind),
    "level": _by_value(Level),
    "execution_status": _by_value(ExecutionStatus),
    "wanted": lambda wish: Wish(**json.loads(wish)),
}
"""The columns that have a form of their own in the value."""

_COLUMNS: Final = Supervision.__table__.c
READ: Final = (
    _COLUMNS.dispatch_status,
    *(
        _COLUMNS[name]
        for name in Value.__dataclass_fields__
        if name not in {"state", "script_content"}
    ),
)
"""The columns that a value is made of."""

_READ_NAMES: Final = tuple(column.name for column in READ)


def changes_of(old: Value, new: Value) -> dict[str, Any]:
    """Spell in columns what differs; alarms, lease and version are not among them."""
    pairs = zip(_WRITTEN, _written(old), _written(new), strict=True)
    changes = {name: after for name, before, after in pairs if before != after}
    for name, before, after in zip(_STATUSES, statuses_of(old), statuses_of(new), strict=True):
        if before is not after:
            changes[name] = after.value
    if old.wanted != new.wanted:
        changes["wanted"] = None if new.wanted is None else json.dumps(asdict(new.wanted))
    return changes


_WRITTEN: Final = tuple(name for name in Value.__dataclass_fields__ if name not in UNWRITTEN)
_STATUSES: Final = ("dispatch_status", "execution_status")
_written: Final = attrgetter(*_WRITTEN)


def statuses_of(value: Value) -> tuple[DispatchStatus, ExecutionStatus]:
    """Spell the state of a value in the two columns.

    In dispatched the value's own execution_status counts (pending, running, unknown); failed and
    cancelled tell by `dispatched_at` whether the script of this attempt had reached the centre.
    """
    if value.state is State.DISPATCHED:
        return DispatchStatus.DISPATCHED, value.execution_status
    return status_of(value.state, at_centre=value.dispatched_at is not None)


def in_states(states: Iterable[State]) -> ColumnElement[bool]:
    """Whether a row is in one of these states, in SQL."""
    wanted = set(states)
    pairs = [
        and_(
            _COLUMNS.dispatch_status == dispatch.value,
            _COLUMNS.execution_status == execution.value,
        )
        for (dispatch, execution), state in STATUS_PAIRS.items()
        if state in wanted
    ]
    return or_(*pairs)
