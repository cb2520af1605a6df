"""The four simulations of the demonstration: what goes wrong with each, and how each is to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from supervision.facts import Supervision, TriggerKind, VerdictKind
from supervision.fsm.engine.reading import Explained, Step
from supervision.fsm.states import STATES, Event, State
from supervision.sandbox import spool
from supervision.sandbox.builder import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One simulation of the demonstration: what goes wrong with it, and what is to come of it.

    `rules` are those of which one must have the last word about a simulation that is left alone.
    """

    name: str
    fault: str
    periods: int
    what: str
    restarts: int
    rules: tuple[str, ...] = ()

    @property
    def recovers(self) -> bool:
        """Whether it is to reach its end."""
        return not self.rules


ROLES: Final = (
    Role(
        name="fails-once",
        fault="error:3",
        periods=6,
        what="fails in its third period",
        restarts=1,
    ),
    Role(
        name="killed",
        fault="silent:2",
        periods=4,
        what="is killed silently: nobody sends anything",
        restarts=1,
    ),
    Role(
        name="blows-up",
        fault="nan:2",
        periods=4,
        what="blows up in the same period again and again",
        restarts=1,
        rules=("again", "no-progress"),
    ),
    Role(
        name="unwanted",
        fault="cancelled:2",
        periods=4,
        what="is cancelled by its owner",
        restarts=0,
        rules=("ask", "handled"),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """How one simulation is at this moment."""

    role: Role
    status: Status
    complete: bool
    decisions: Sequence[Explained]
    supervisions: Sequence[tuple[Supervision, Sequence[Step]]]

    @property
    def restarts(self) -> int:
        """How often the agent has restarted it."""
        steps = [step for _, history in self.supervisions for step in history]
        return sum(is_restart(step) for step in steps)

    @property
    def refusal(self) -> Explained | None:
        """The decision by which it is left alone, once there is one."""
        found = [each for each in self.decisions if self._refuses(each)]
        return max(found, key=lambda each: each.decided_at or each.first_at, default=None)

    def _refuses(self, each: Explained) -> bool:
        return each.verdict == VerdictKind.REFUSE and each.rule in self.role.rules

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way: no job, no unfinished supervision, no alarm."""
        rows = [row for row, _ in self.supervisions]
        working = self.status.job is None or self.status.job.state != spool.ENDED
        alarms = (*(row.wake_at for row in rows), *(each.wake_at for each in self.decisions))
        waiting = any(alarm is not None for alarm in alarms)
        return not (working or waiting or any(STATES[row.state].unfinished for row in rows))

    @property
    def ended(self) -> bool:
        """Whether it has ended as it was to."""
        good = self.complete if self.role.recovers else bool(self.refusal) or self.declined
        return good and self.at_rest and self.restarts == self.role.restarts

    @property
    def declined(self) -> bool:
        """Whether the script itself found that nothing should be done."""
        return any(
            row.state is State.CANCELLED and (row.cause or "").startswith("declined")
            for row, _ in self.supervisions
        )

    @property
    def time_to_recover(self) -> timedelta | None:
        """From the failure, or for silence from its alarm, to the first new period."""
        spans = [
            each.recovered_at - each.first_at
            for each in self.decisions
            if each.recovered_at is not None and each.kind != TriggerKind.COMMAND
        ]
        return max(spans, default=None)


def is_restart(step: Step) -> bool:
    """Whether a step of a supervision's history is the agent's word that its script acted."""
    return step.event == Event.EXECUTE and step.source == State.DISPATCHED
