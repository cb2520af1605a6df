"""The sweeper: wakes what is due, every second; cleans what is past its retention, every hour."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as Signal
from typing import Final

import structlog

from supervision.consumers.base import Beat
from supervision.errors import Transient
from supervision.facts import EngineSettings, RetentionSettings
from supervision.fsm.engine.verbs import Engine

_LOG = structlog.get_logger()

CLEAN_EVERY_SECONDS: Final = 3600.0


def run(
    engine: Engine,
    rhythm: Callable[[], tuple[EngineSettings, RetentionSettings]],
    stop: Signal,
    beat: Beat = lambda: None,
) -> None:
    """Sweep until `stop` is set. A sweep that filled its limit is followed by the next at once.

    `rhythm` is asked anew each turn.
    """
    until_clean = 0.0
    while not stop.is_set():
        beat()
        settings, retention = rhythm()
        interval = settings.sweep_interval.total_seconds()
        full = False
        try:
            full = engine.sweep(settings.sweep_limit).total >= settings.sweep_limit
            if until_clean <= 0:
                _LOG.info("retention.cleaned", **engine.clean(retention))
                until_clean = CLEAN_EVERY_SECONDS
        except Transient as error:
            _LOG.warning("sweep.failed", problem=str(error))
        if not full:
            stop.wait(interval)
            until_clean -= interval
