"""in-supervision-execution: dispatched rows are asked after, executed ones watched."""

from __future__ import annotations

from supervision.consumers.base import Consumer, firing
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.states import Event, Queue


def consumer(engine: Engine, batch: int) -> Consumer:
    """Fire `execute` for the ids that came; nothing else is known here."""
    return firing(engine, Queue.EXECUTION, Event.EXECUTE, batch)
