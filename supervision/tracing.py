"""Traces: how one piece of work led to the next, across threads and processes. The port alone.

What tells them to OpenTelemetry is `tracing_otel.py`, which is loaded where traces are on.
Attributes are ids and counts, under the names that the log uses: never scripts, never secrets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from supervision.logs_about import Ids
from supervision.ports import Delivery


class Tracer(Protocol):
    """Notes what is done while a block runs. Never blocks; what it raises came from the block."""

    def span(self, name: str, **ids: Ids) -> AbstractContextManager[None]:
        """Note a step, within the one that this thread is in."""

    def request(self, verb: str, **ids: Ids) -> AbstractContextManager[None]:
        """Note that a centre is asked, within the step that this thread is in."""

    def handling(self, queue: str, deliveries: Sequence[Delivery]) -> AbstractContextManager[None]:
        """Note that messages are handled: as a part of what sent them, where they are of one trace.

        Messages of several traces, a repeated one, and one that comes late begin a new trace, which
        links to those that they come from.
        """

    def apart(self) -> AbstractContextManager[None]:
        """Let the steps of this block be no part of the step around it."""

    def headers(self) -> Mapping[str, str]:
        """Give what a message carries, so that who handles it knows from which step it came."""

    def close(self) -> None:
        """Send what was noted; blocks for at most some seconds. Idempotent."""


class NoTracer:
    """Notes nothing: for processes that nobody traces."""

    def span(self, name: str, **ids: Ids) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing is noted."""
        return nullcontext()

    def request(self, verb: str, **ids: Ids) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing is noted."""
        return nullcontext()

    def handling(
        self,
        queue: str,  # noqa: ARG002
        deliveries: Sequence[Delivery],  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Nothing is noted."""
        return nullcontext()

    def apart(self) -> AbstractContextManager[None]:
        """Nothing is noted."""
        return nullcontext()

    def headers(self) -> Mapping[str, str]:
        """Messages carry nothing of it."""
        return {}

    def close(self) -> None:
        """There is nothing to send."""
