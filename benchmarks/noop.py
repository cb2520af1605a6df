"""A transport that goes nowhere: every submit is accepted, every script was executed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from supervision.facts import Answer, AnswerKind, Key, Look, Order, Subject


class NoopTransport:
    """Answers at once and keeps nothing, so that only the durable work around it is measured."""

    def submit(self, site: str, login: str, orders: Sequence[Order]) -> Sequence[Answer]:  # noqa: ARG002
        """Accept everything."""
        return [Answer(key=order.key, kind=AnswerKind.ACCEPTED) for order in orders]

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:  # noqa: ARG002
        """Everything was executed."""
        return [
            Answer(key=key, kind=AnswerKind.EXECUTED, exit_code=0, scheduler_id="2", period=3)
            for key in keys
        ]

    def peek(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Say what a status says."""
        return self.status(site, login, keys)

    def look(self, site: str, login: str, subjects: Sequence[Subject]) -> Sequence[Look]:  # noqa: ARG002
        """Nothing is there to be seen."""
        return [Look(at=datetime.now(UTC)) for _ in subjects]

    def cancel(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:  # noqa: ARG002
        """Everything is fenced."""
        return [Answer(key=key, kind=AnswerKind.FENCED) for key in keys]

    def close(self) -> None:
        """Nothing is open."""
