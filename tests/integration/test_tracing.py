"""Traces: one failure is one trace from its message to its restart, and nothing secret is in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import supervision
from supervision import app, settings
from supervision.adapters.system import SystemClock
from supervision.app_observe import tracer_of
from supervision.consumers import base, monitoring
from supervision.errors import SettingsError, SiteUnavailable
from supervision.fsm.engine.workers import SiteWorkers
from supervision.fsm.states import Queue
from supervision.messages import Envelope, WakeUp
from supervision.ports import Delivery
from supervision.settings_values import ObserveSettings
from supervision.testing import AgentDouble, FrozenClock
from supervision.tracing import NoTracer, Tracer
from supervision.tracing_otel import LATE, OtelTracer
from supervision.tracing_transport import TracedTransport
from supervision.wire import monitoring_envelope, wakeup_envelope
from tests.factories import NOW, SUPERVISION
from tests.integration.cli_kit import JOB, LOGIN, Desk, a_desk, decoded, failure

A_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ITS_NEXT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
ANOTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """What was noted."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Iterator[OtelTracer]:
    """A tracer by a clock that stands."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = OtelTracer(provider, FrozenClock(NOW))
    yield made
    made.close()


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str, exporter: InMemorySpanExporter) -> Iterator[Desk]:
    """A service that is traced, by the clock that its messages go by."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with a_desk(tmp_path, sqlite_url, tracer=OtelTracer(provider, SystemClock())) as made:
        yield made


def _handle_facts(desk: Desk, messages: Sequence[Mapping[str, str]]) -> None:
    """Have the consumers of the facts take these, each by itself, as with RabbitMQ."""
    broker = desk.made.broker
    by_queue = {each.queue: each for each in monitoring.consumers(desk.made.engine, 200)}
    for envelope in (monitoring_envelope(each) for each in decoded(messages)):
        broker.publish([envelope])
        consumer = replace(by_queue[envelope.queue], tracer=desk.made.tracer)
        taken = broker.take(consumer.queue, limit=1, timeout_seconds=0)
        base.consume(consumer, broker, taken)


def _named(spans: Sequence[ReadableSpan], name: str) -> ReadableSpan:
    (found,) = (span for span in spans if span.name == name)
    return found


def _ancestors(spans: Sequence[ReadableSpan], span: ReadableSpan) -> list[str]:
    """Name a span, and those that it is within, up to the first one."""
    by_id = {each.context.span_id: each for each in spans}
    names = [span.name]
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return names


def test_one_failure_is_one_trace(desk: Desk, exporter: InMemorySpanExporter) -> None:
    """From the fatal message over every stage and wake-up to the request that the agent answers."""
    _handle_facts(desk, failure())
    desk.work()
    spans = exporter.get_finished_spans()
    asked = [span for span in spans if span.name == "agent status"][-1]
    assert [
        "agent status",
        "execute",
        "handle in-supervision-execution",
        "dispatch",
        "handle out-supervision-dispatch",
        "format",
        "handle internal-supervision-format",
        "decide",
        "handle internal-supervision-detect",
        "handle in-monitoring-1999",
    ] == _ancestors(spans, asked)
    submitted = _named(spans, "agent submit")
    assert "dispatch" == _ancestors(spans, submitted)[1]
    assert SpanKind.CLIENT is submitted.kind
    assert {
        "site": "curie",
        "login": LOGIN,
        "supervision_id": desk.row().id,
    } == dict(submitted.attributes or {})
    stages = [_named(spans, name).attributes or {} for name in ("format", "dispatch", "execute")]
    assert [(desk.row().id, JOB)] * 3 == [(it["supervision_id"], it["job_uid"]) for it in stages]


def test_a_trace_holds_ids_and_nothing_else(desk: Desk, exporter: InMemorySpanExporter) -> None:
    """No script, directory or sentence is in it, and an error is named by its kind alone."""
    desk.agents.unreachable.add("curie")
    _handle_facts(desk, failure())
    desk.work()
    spans = exporter.get_finished_spans()
    allowed = {
        *("messaging.destination.name", "messaging.batch.message_count", "message_id"),
        *("job_uid", "supervision_id", "scheduler_id", "site", "login"),
    }
    assert set() == {key for span in spans for key in span.attributes or {}} - allowed
    assert [] == [event for span in spans for event in span.events]
    failed = {span.status.description for span in spans if not span.status.is_ok}
    assert {"SiteUnavailable"} == failed


def test_a_sites_thread_goes_on_with_the_trace(
    tracer: OtelTracer, exporter: InMemorySpanExporter
) -> None:
    """Work that is handed over belongs to what handed it over; what the table fed it does not."""
    workers = SiteWorkers()

    def work() -> None:
        with tracer.span("named"):
            pass
        with tracer.apart(), tracer.span("due"):
            pass

    with tracer.span("handed over"):
        workers.run("curie", work)
    for pool in workers._pools.values():  # noqa: SLF001 - `close` would drop what has not begun
        pool.shutdown(wait=True)
    spans = exporter.get_finished_spans()
    assert ["named", "handed over"] == _ancestors(spans, _named(spans, "named"))
    assert ["due"] == _ancestors(spans, _named(spans, "due"))


def _delivery(origin: str | None, *, old: timedelta = timedelta(), again: bool = False) -> Delivery:
    wakeup = WakeUp(queue=Queue.FORMAT, supervision_id=SUPERVISION)
    made = wakeup_envelope(wakeup, message_id="m", now=NOW - old)
    headers = {} if origin is None else {"traceparent": origin}
    envelope: Envelope = replace(made, headers={**made.headers, **headers})
    return Delivery(queue=Queue.FORMAT, envelope=envelope, epoch=1, tag=1, redelivered=again)


@pytest.mark.parametrize(
    ("deliveries", "parent", "links"),
    [
        ([_delivery(A_TRACE)], A_TRACE, []),
        ([_delivery(A_TRACE), _delivery(A_TRACE)], A_TRACE, []),
        ([_delivery(A_TRACE), _delivery(ITS_NEXT)], A_TRACE, [ITS_NEXT]),
        ([_delivery(A_TRACE), _delivery(None)], None, [A_TRACE]),
        ([_delivery(ANOTHER), _delivery(ITS_NEXT)], None, [ANOTHER, ITS_NEXT]),
        ([_delivery(A_TRACE, again=True)], None, [A_TRACE]),
        ([_delivery(A_TRACE, old=LATE)], A_TRACE, []),
        ([_delivery(A_TRACE, old=LATE + timedelta(seconds=1))], None, [A_TRACE]),
        ([_delivery(None)], None, []),
        ([_delivery("what a stranger\r\nsent")], None, []),
        ([_delivery("00-" + "0" * 32 + "-b7ad6b7169203331-01")], None, []),
    ],
)
def test_who_handles_a_message_is_a_part_of_what_sent_it(
    tracer: OtelTracer,
    exporter: InMemorySpanExporter,
    deliveries: Sequence[Delivery],
    parent: str | None,
    links: Sequence[str],
) -> None:
    """Of one trace it is a part; of several, of a repeated or late one, it only tells of them."""
    with tracer.span("around"), tracer.handling(Queue.FORMAT, deliveries):
        pass
    made = _named(exporter.get_finished_spans(), f"handle {Queue.FORMAT}")
    within = None if made.parent is None else (made.parent.trace_id, made.parent.span_id)
    assert within == (None if parent is None else _ids(parent))
    assert [_ids(each) for each in links] == [
        (link.context.trace_id, link.context.span_id) for link in made.links
    ]


def _ids(traceparent: str) -> tuple[int, int]:
    _, trace, span, _ = traceparent.split("-")
    return int(trace, 16), int(span, 16)


def test_many_origins_are_linked_as_far_as_they_fit(
    tracer: OtelTracer, exporter: InMemorySpanExporter
) -> None:
    """A batch of 200 messages does not make a span of 200 links."""
    origins = [f"00-{number:032x}-b7ad6b71692{number:05x}-01" for number in range(1, 201)]
    with tracer.handling(Queue.FORMAT, [_delivery(each) for each in origins]):
        pass
    (made,) = exporter.get_finished_spans()
    assert (20, 200) == (len(made.links), (made.attributes or {})["messaging.batch.message_count"])


def test_a_message_carries_the_step_that_sent_it(tracer: OtelTracer) -> None:
    """Outside of any step it carries nothing."""
    assert {} == tracer.headers()
    with tracer.span("step"):
        assert ["traceparent"] == list(tracer.headers())


def test_every_request_to_a_centre_is_noted(
    tracer: OtelTracer, exporter: InMemorySpanExporter
) -> None:
    """Each verb of the transport, also one that fails; the answer and the error come through."""
    agents = AgentDouble(FrozenClock(NOW))
    transport = TracedTransport(agents, tracer)
    assert [[], [], [], []] == [
        list(transport.submit("curie", LOGIN, [])),
        list(transport.status("curie", LOGIN, [])),
        list(transport.look("curie", LOGIN, [])),
        list(transport.cancel("curie", LOGIN, [])),
    ]
    agents.unreachable.add("curie")
    with pytest.raises(SiteUnavailable):
        transport.status("curie", LOGIN, [])
    spans = exporter.get_finished_spans()
    expected = ["submit", "status", "look", "cancel", "status"]
    assert [f"agent {verb}" for verb in expected] == [span.name for span in spans]
    assert [StatusCode.UNSET] * 4 + [StatusCode.ERROR] == [it.status.status_code for it in spans]
    transport.close()
    assert agents.closed


def test_who_is_not_traced_does_all_the_same(tmp_path: Path, sqlite_url: str) -> None:
    """Messages carry nothing of it, and no library is asked."""
    with a_desk(tmp_path, sqlite_url) as desk:
        desk.hear(failure())
        (sent,) = desk.made.broker.take(Queue.DETECT, limit=9, timeout_seconds=0)
        assert "traceparent" not in sent.envelope.headers
        desk.made.broker.release(Queue.DETECT)
        desk.work()
        assert "executed" == desk.row().state
        assert isinstance(desk.made.tracer, NoTracer)


def _set(path: Path, *, traces: bool) -> settings.Settings:
    loaded = settings.load(None, {"SUPERVISION_DATABASE_URL": f"sqlite:///{path / 'a.db'}"})
    return replace(loaded, observe=ObserveSettings(traces=traces))


def test_traces_are_off_unless_they_are_asked_for(tmp_path: Path) -> None:
    """Nobody who does not ask needs the library."""
    assert tracer_of(_set(tmp_path, traces=False), FrozenClock(NOW)) is None


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for traces and lacks it is told what to install, before anything runs."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "supervision.tracing_otel")
    monkeypatch.delattr(supervision, "tracing_otel")
    with pytest.raises(SettingsError, match=r"pip install 'prodiguer-supervision\[otel\]'"):
        tracer_of(_set(tmp_path, traces=True), FrozenClock(NOW))


def test_what_is_asked_for_goes_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service's name too; nothing is sent where nothing was done."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "supervision-of-tests")
    made: Tracer | None = tracer_of(_set(tmp_path, traces=True), FrozenClock(NOW))
    assert isinstance(made, OtelTracer)
    assert "supervision-of-tests" == made.service
    made.close()


def test_the_service_closes_its_tracer(tmp_path: Path) -> None:
    """What was noted last is sent before the process ends."""
    closed: list[str] = []

    class Noting(NoTracer):
        def close(self) -> None:
            closed.append("closed")

    app.build(_set(tmp_path, traces=False), tracer=Noting()).close()
    assert ["closed"] == closed
