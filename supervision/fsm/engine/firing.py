"""fire: an event for a set of rows. Claim, act; what came out is confirmed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter

import structlog

from db import dao_claims, dao_supervision
from supervision.facts import Supervision
from supervision.fsm import machine
from supervision.fsm.actions import ACTIONS, give_up_crashed
from supervision.fsm.engine.confirming import confirm
from supervision.fsm.engine.desk import EngineDesk
from supervision.fsm.engine.lines import working
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import unbraked
from supervision.fsm.states import STATES, Event, State
from supervision.fsm.withdrawing import withdraw
from supervision.logs_about import about, afresh

_LOG = structlog.get_logger()


def fire(tools: Tools, event: Event, ids: Sequence[str]) -> None:
    """Fire an event for these rows; those that are elsewhere already are left alone.

    The set is split by site, and each site's worker claims and works on its own part. Rows whose
    claims were never confirmed are taken one by one.
    """
    states = [state for state in machine.sources(event) if STATES[state].event is event]
    with tools.database.read() as session:
        sites = dao_supervision.sites_of(session, ids)
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(ids):
        if name in sites:
            groups.setdefault(sites[name], []).append(name)
    for site, names in sorted(groups.items()):
        if event is Event.FORMAT:  # nothing remote in it: it needs no worker of its own
            _work(tools, states, names)
        else:
            tools.workers.run(site, partial(_serve_site, tools, states, (site, names)))


def _serve_site(tools: Tools, states: Sequence[State], named: tuple[str, Sequence[str]]) -> None:
    """Work on the rows that a message named, then on what else is due at their site, oldest first.

    Messages start work, the table feeds it; each set goes by the settings of its own moment. The
    rounds are bounded: others want the worker too.
    """
    site, ids = named
    with about(site=site, supervision_id=ids):
        _work(tools.as_set(), states, ids)
    with tools.tracer.apart(), afresh(), about(site=site):  # no message named these rows
        for _ in range(_ROUNDS):
            tools = tools.as_set()
            if not (rows := _claim_due(tools, states, site)):
                return
            _work_on_all(tools, rows, perf_counter())


_ROUNDS = 8  # sets that a worker takes from the table before it looks at its messages again


def _claim_due(tools: Tools, states: Sequence[State], site: str) -> list[Supervision]:
    with tools.database.write() as session:
        now = tools.database.now(session)
        lease, limit = (now, now + tools.settings.lease), tools.settings.batch
        return dao_claims.claim_due(session, site, states, lease=lease, limit=limit)


def _work(tools: Tools, states: Sequence[State], ids: Sequence[str]) -> None:
    started = perf_counter()
    _work_on_all(tools, _claim(tools, states, ids), started)


def _work_on_all(tools: Tools, rows: Sequence[Supervision], started: float) -> None:
    alone = [row for row in rows if row.claim_count > tools.settings.claim_alone_above]
    together = [row for row in rows if row.claim_count <= tools.settings.claim_alone_above]
    for group in (together, *([row] for row in alone)):
        by_state: dict[State, list[Supervision]] = {}
        for row in group:
            by_state.setdefault(row.state, []).append(row)
        for state, same in by_state.items():
            with working(tools, state, same):
                work_on(tools, state, same, started)


def _claim(tools: Tools, states: Sequence[State], ids: Sequence[str]) -> list[Supervision]:
    with tools.database.write() as session:
        now = tools.database.now(session)
        lease = now, now + tools.settings.lease
        return dao_claims.claim(session, ids, states, lease=lease)


def work_on(tools: Tools, state: State, rows: Sequence[Supervision], started: float) -> None:
    """Run the state's action on claimed rows, and confirm what came out."""
    desk = EngineDesk(tools)
    crashed = [row for row in rows if row.claim_count > tools.settings.crash_loop_above]
    sound = [row for row in rows if row.claim_count <= tools.settings.crash_loop_above]
    outcomes = ACTIONS[state](sound, desk) if sound else []
    if crashed:  # leaving them asks the agent, so the brakes are asked first
        free, braked = unbraked(crashed, desk, desk.simulations(crashed))
        outcomes += [*braked, *give_up_crashed(free)]
    confirm(tools, desk, withdraw(outcomes, desk), started)
