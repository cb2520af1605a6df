"""out-supervision-dispatch: formatted rows go to the centre, or by mail."""

from __future__ import annotations

from supervision.consumers.base import Consumer, firing
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.states import Event, Queue


def consumer(engine: Engine, batch: int) -> Consumer:
    """Fire `dispatch` for the ids that came; nothing else is known here."""
    return firing(engine, Queue.DISPATCH, Event.DISPATCH, batch)
