"""The service as a process: a thread for each loop, until somebody says stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event as Signal
from threading import Thread
from typing import Final

import structlog

from supervision.adapters.system import SystemClock
from supervision.adapters.systemd import ServiceManager
from supervision.app import App, build, consumers_of
from supervision.app_observe import observed, tracer_of
from supervision.app_reload import Reloader
from supervision.consumers import base, caretaker, sweeper
from supervision.facts import EngineSettings, RetentionSettings
from supervision.fsm.engine.workers import SiteWorkers
from supervision.pulse import Pulse
from supervision.settings import Settings, notify_socket

_LOG = structlog.get_logger()

_WATCH_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What people tell a process that runs: to stop, or to read its settings anew."""

    stop: Signal = field(default_factory=Signal)
    reload: Signal = field(default_factory=Signal)


def serve(
    settings: Settings, stages: Sequence[str], told: Told, reread: Callable[[], Settings]
) -> int:
    """Run these stages until it is told to stop; returns the exit code: 1 when a thread died.

    `reread` gives the settings as they are later, read by the same rules as `settings` were.

    A thread that dies of something unforeseen, or a connection that only a new process can mend,
    stops the whole process: whoever supervises it starts it again, and the rows are as they were.
    """
    broken = Signal()

    def stuck(reason: str) -> None:
        _LOG.error("service.stuck", problem=reason)
        broken.set()
        told.stop.set()

    tracer = tracer_of(settings, SystemClock())
    app = build(settings, workers=SiteWorkers(), on_stuck=stuck, tracer=tracer)
    app.engine.record_policy()
    pulse = Pulse(app.clock, limit=settings.engine.lease)
    threads = _threads(app, stages, told.stop, (pulse, stuck))
    manager, status = ServiceManager(notify_socket()), f"running {', '.join(stages)}"
    reloading = (told.reload, told.stop, partial(pulse.beat, "settings"), status)
    threads.append(_thread("settings", stuck, Reloader(app, reread, manager).run, *reloading))
    _LOG.info("service.started", stages=list(stages))
    with closing(app), observed(app, pulse):
        for thread in threads:
            thread.start()
        manager.ready(status)
        _watch(pulse, manager, told.stop)
        _LOG.info("service.stopping")
        manager.stopping()
        for thread in threads:
            thread.join()
    _LOG.info("service.stopped")
    return 1 if broken.is_set() else 0


def _threads(
    app: App,
    stages: Sequence[str],
    stop: Signal,
    watched: tuple[Pulse, Callable[[str], None]],
) -> list[Thread]:
    pulse, stuck = watched
    threads = []
    for consumer in consumers_of(app, stages):
        name = f"consume-{consumer.queue}"
        work = (base.run, consumer, app.broker, stop, partial(pulse.beat, name))
        threads.append(_thread(name, stuck, *work))
    if "sweep" in stages:
        sweep = (partial(_rhythm, app), stop, partial(pulse.beat, "sweep"))
        threads.append(_thread("sweep", stuck, sweeper.run, app.engine, *sweep))
        care = (lambda: app.settings.engine, stop, partial(pulse.beat, "care"))
        threads.append(_thread("care", stuck, caretaker.run, app.engine, *care))
    return threads


def _rhythm(app: App) -> tuple[EngineSettings, RetentionSettings]:
    settings = app.settings
    return settings.engine, settings.retention


def _watch(pulse: Pulse, manager: ServiceManager, stop: Signal) -> None:
    """Tell the service manager that work goes on, while it does, until `stop` is set."""
    silent: list[str] = []
    while not stop.wait(_WATCH_SECONDS):
        before, silent = silent, pulse.silent()
        if not silent:
            manager.alive()
        elif silent != before:
            _LOG.error("service.silent", threads=silent)


def _thread(
    name: str, stuck: Callable[[str], None], work: Callable[..., object], *arguments: object
) -> Thread:
    def guarded() -> None:
        finished = False
        try:
            work(*arguments)
            finished = True
        finally:
            if not finished:
                with suppress(Exception):
                    stuck(f"thread {name} died")

    return Thread(target=guarded, name=name)
