"""The caretaker: steps of incidents, how credentials are, and the operator's list.

It runs beside the sweeper and not in it: mails are slow, and alarms must not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as Signal
from typing import Final

import structlog

from supervision.consumers.base import Beat
from supervision.errors import Transient
from supervision.facts import EngineSettings
from supervision.fsm.engine.verbs import Engine

_LOG = structlog.get_logger()

_STEP_SECONDS: Final = 1.0


def run(
    engine: Engine,
    settings: Callable[[], EngineSettings],
    stop: Signal,
    beat: Beat = lambda: None,
) -> None:
    """Take care until `stop` is set; what cannot be done now is done at a later turn.

    Incidents are tended every second, the rest as often as `settings` say, which are asked for
    anew each turn.
    """
    left = 0.0
    while not stop.is_set():
        beat()
        _take_care(engine.tend_incidents)
        if left <= 0:
            _take_care(engine.watch_credentials, engine.tell_daily)
            left = settings().credentials_every.total_seconds()
        stop.wait(min(left, _STEP_SECONDS))
        left -= _STEP_SECONDS


def _take_care(*duties: Callable[[], object]) -> None:
    try:
        for duty in duties:
            duty()
    except Transient as error:
        _LOG.warning("care.failed", problem=str(error))
