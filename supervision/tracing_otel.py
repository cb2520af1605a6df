"""The port Tracer over OpenTelemetry, which is an extra: the only room that knows it.

Where spans go, and how many of them, is said by the variables OTEL_* of its standard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Final

from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from supervision.logs_about import NAMED, Ids, spelled
from supervision.ports import Clock, Delivery

LATE: Final = timedelta(hours=1)
"""Who handles a message so long after it was sent is no part of what sent it."""

_HEADER: Final = "traceparent"
_W3C: Final = TraceContextTextMapPropagator()


def over_otlp(clock: Clock) -> OtelTracer:
    """Make a tracer that sends by OTLP over http, in the background; drops what is too much."""
    named = Resource({SERVICE_NAME: "supervision"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=named)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider, clock)


class OtelTracer:
    """Notes spans with this provider. What a block raises marks its span, by its kind alone."""

    def __init__(self, provider: TracerProvider, clock: Clock) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("supervision")
        self._clock = clock

    @property
    def service(self) -> str:
        """As which service it tells."""
        return str(self._provider.resource.attributes[SERVICE_NAME])

    def span(self, name: str, **ids: Ids) -> AbstractContextManager[None]:
        """Note a step."""
        return self._within(name, SpanKind.INTERNAL, spelled(ids))

    def request(self, verb: str, **ids: Ids) -> AbstractContextManager[None]:
        """Note that a centre is asked."""
        return self._within(f"agent {verb}", SpanKind.CLIENT, spelled(ids))

    def handling(self, queue: str, deliveries: Sequence[Delivery]) -> AbstractContextManager[None]:
        """Note that messages are handled, as a part of the one trace that they are of, if so."""
        origins = [_origin(delivery) for delivery in deliveries]
        known = {origin.span_id: origin for origin in origins if origin.is_valid}
        one = len({origin.trace_id for origin in origins}) == 1 and bool(known)
        parent, *others = known.values() if known else [None]
        if not one or any(self._is_stale(delivery) for delivery in deliveries):
            parent, others = None, list(known.values())
        attributes = {
            "messaging.destination.name": queue,
            "messaging.batch.message_count": len(deliveries),
            **spelled({"message_id": [delivery.envelope.message_id for delivery in deliveries]}),
        }
        within = set_span_in_context(NonRecordingSpan(parent), Context()) if parent else Context()
        links = [Link(other) for other in others[:NAMED] if other is not None]
        return self._within(f"handle {queue}", SpanKind.CONSUMER, attributes, (within, links))

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let the steps of this block be no part of the step around it."""
        token = attach(Context())
        try:
            yield
        finally:
            detach(token)

    def headers(self) -> Mapping[str, str]:
        """Give the W3C's traceparent of the present step, outside of one nothing."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return {_HEADER: carrier[_HEADER]} if _HEADER in carrier else {}

    def close(self) -> None:
        """Send what was noted. Idempotent."""
        self._provider.shutdown()

    @contextmanager
    def _within(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, str | int | Sequence[str]],
        origin: tuple[Context | None, Sequence[Link]] = (None, ()),
    ) -> Iterator[None]:
        within, links = origin
        span = self._tracer.start_span(name, within, kind, attributes, links)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:  # its text may hold a URL with a password
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def _is_stale(self, delivery: Delivery) -> bool:
        return delivery.redelivered or self._clock.now() - delivery.envelope.timestamp > LATE


def _origin(delivery: Delivery) -> SpanContext:
    """Read from which step a message came; an invalid one where it does not tell."""
    carried = {_HEADER: delivery.envelope.headers.get(_HEADER, "")}
    return get_current_span(_W3C.extract(carried, Context())).get_span_context()
