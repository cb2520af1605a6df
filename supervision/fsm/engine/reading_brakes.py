"""What a hold would stop, and what waits for one: for people about to place it or take it back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from db import dao_brakes
from supervision.fsm.engine.reading import Show
from supervision.fsm.engine.reading_live import HowIsIt, Live
from supervision.fsm.engine.tools import Tools
from supervision.fsm.states import UNFINISHED, State


@dataclass(frozen=True, kw_only=True, slots=True)
class InScope:
    """What is under way where a hold would stop it.

    `states`: how many supervisions are in each. `running`: those whose script runs, as far as the
    centre could be asked; `problems`: why it could not.
    """

    states: tuple[tuple[State, int], ...]
    running: tuple[Live, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnderWay:
    """What is under way at a site, for a login, for a simulation? `ask`: the centres too.

    `scope` is spelled as a hold's, in full. Blocks as `HowIsIt` does where it asks.
    """

    scope: str
    ask: bool

    def answer(self, tools: Tools) -> InScope:
        """Read, and ask about those that were dispatched."""
        kind, _, name = self.scope.partition(":")
        site, _, login = name.partition("/")
        simulation = name if kind == "simulation" else None
        rows = Show(
            states=UNFINISHED,
            site=None if simulation else site,
            login=login or None,
            simulation_uid=simulation,
            limit=None,
        ).answer(tools)
        sent = [row.job_uid for row in rows if row.state is State.DISPATCHED and self.ask]
        lives = HowIsIt(job_uids=sent).answer(tools)
        counts = Counter(row.state for row in rows)
        return InScope(
            states=tuple((state, counts[state]) for state in UNFINISHED if counts[state]),
            running=tuple(live for live in lives if live.script_runs),
            problems=tuple(dict.fromkeys(live.problem for live in lives if live.problem)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIsHeld:
    """How much waits for a hold or a credential, any of them."""

    def answer(self, tools: Tools) -> tuple[int, int]:
        """Count decisions, and supervisions."""
        with tools.database.read() as session:
            return dao_brakes.waiting(session, tools.database.now(session))
