"""What a process shows of itself, put together: its figures, and whether it works and is ready."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from supervision import topology
from supervision.app_credentials import FileCredentials
from supervision.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    NotFound,
    SettingsError,
)
from supervision.fsm.engine.reading_now import Now, Recoveries
from supervision.fsm.engine.reading_schema import Revision, revisions
from supervision.fsm.states import Queue
from supervision.ports import Clock, Meter, NoMeter
from supervision.pulse import Pulse
from supervision.settings import Settings
from supervision.tracing import Tracer

if TYPE_CHECKING:
    from supervision.app import App
    from supervision.observing.figures import Reading
    from supervision.observing.server import Pages

_NAMES = (*topology.WORK_QUEUES, *(topology.dead_queue(each) for each in topology.WORK_QUEUES))


def meter_of(settings: Settings) -> Meter:
    """Make what counts; nothing is counted, and no library loaded, where nobody may ask."""
    if settings.observe.address is None:
        return NoMeter()
    from supervision.observing.meter import PrometheusMeter  # noqa: PLC0415 - only where asked for

    return PrometheusMeter()


def tracer_of(settings: Settings, clock: Clock) -> Tracer | None:
    """Make what traces; None, and no library loaded, where it is not asked for.

    Raises SettingsError where the library is not installed.
    """
    if not settings.observe.traces:
        return None
    try:
        from supervision import tracing_otel  # noqa: PLC0415 - only where asked for
    except ImportError as error:
        extra = "pip install 'prodiguer-supervision[otel]'"
        raise SettingsError(f"observe.traces: needs OpenTelemetry: {extra}") from error
    return tracing_otel.over_otlp(clock)


@contextmanager
def observed(app: App, pulse: Pulse) -> Iterator[int | None]:
    """Serve /metrics, /healthz and /readyz meanwhile; gives the port, None where none is set.

    Raises SettingsError where the address cannot be listened at.
    """
    address = app.settings.observe.endpoint()
    if address is None:
        yield None
        return
    from supervision.observing.server import Observatory  # noqa: PLC0415 - only where asked for

    observatory = Observatory(address, _pages(app, pulse))
    try:
        yield observatory.port
    finally:
        observatory.close()


def _pages(app: App, pulse: Pulse) -> Pages:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - as above
    from prometheus_client.process_collector import ProcessCollector  # noqa: PLC0415

    from supervision.observing.figures import Figures  # noqa: PLC0415
    from supervision.observing.meter import PrometheusMeter  # noqa: PLC0415
    from supervision.observing.server import Page, sentence  # noqa: PLC0415

    meter = app.meter if isinstance(app.meter, PrometheusMeter) else PrometheusMeter()
    ProcessCollector(registry=meter.registry)
    meter.registry.register(Figures(lambda: reading(app, pulse), app.clock))

    def metrics() -> Page:
        return Page(body=generate_latest(meter.registry), content_type=CONTENT_TYPE_LATEST)

    def healthz() -> Page:
        silent = pulse.silent()
        text = f"silent: {', '.join(silent)}" if silent else "the work goes on"
        if app.in_force.refused is not None:
            text += "\nthe settings file was refused: the former settings are in force"
        return sentence(text, well=not silent)

    def readyz() -> Page:
        problem = unready(app)
        return sentence(problem or "ready", well=problem is None)

    return {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz}


def unready(app: App) -> str | None:
    """Say why this process cannot work now: database, its tables, or broker; None when it can."""
    try:
        found, needed = app.engine.read(Revision()), revisions()[-1]
        if found != needed:
            return f"the database is at revision {found or 'none'}, this version needs {needed}"
        app.depths.depth(Queue.DETECT)
    except (DatabaseUnavailable, BrokerUnavailable, NotFound) as error:
        return str(error)
    return None


def reading(app: App, pulse: Pulse) -> Reading:
    """Read everything that is measured; what is away is left out, and said so."""
    from supervision.observing.figures import Reading  # noqa: PLC0415 - as above

    settings = app.settings
    limits = {site.name: site.max_sessions for site in settings.sites}
    try:
        picture = app.engine.read(Now(sites=tuple(limits), acts=0))
        recoveries = app.engine.read(Recoveries())
    except DatabaseUnavailable:
        picture, recoveries = None, []
    return Reading(
        picture=picture,
        recoveries=recoveries,
        depths=_depths(app),
        limits=limits,
        expiries=_expiries(settings),
        silent=pulse.silent(),
        refused=app.in_force.refused is not None,
    )


def _depths(app: App) -> dict[str, int] | None:
    try:
        return {name: app.depths.depth(name) for name in _NAMES}
    except (BrokerUnavailable, NotFound):
        return None


def _expiries(settings: Settings) -> dict[tuple[str, str], datetime]:
    """Read when the credential of each login ends; one that does not is left out."""
    found = FileCredentials(lambda: (settings.policy, settings.sites)).read()
    return {(it.site, it.login): it.expires_at for it in found if it.expires_at is not None}
