"""Reads, for a set of ledger rows at once, everything that a decision about them rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from db import (
    dao_credentials,
    dao_decisions,
    dao_facts,
    dao_history,
    dao_holds,
    dao_incidents,
    dao_monitoring,
    dao_supervision,
)
from db.types_supervision import Restart
from db.values_decisions import LedgerRow
from supervision.facts import (
    DecisionFacts,
    JobKind,
    Place,
    Policy,
    Supervision,
)
from supervision.fsm.engine.picking import Known, facts_of, login_of, place_of
from supervision.fsm.states import State


def gather(
    session: Session, rows: Sequence[LedgerRow], policy: Policy, now: datetime
) -> dict[str, DecisionFacts]:
    """Read the facts of these ledger rows, by decision id: a dozen statements for the whole set."""
    known = _read(session, rows, policy, now)
    return {row.id: facts_of(row, known) for row in rows}


def gather_acting(
    session: Session, rows: Sequence[Supervision], policy: Policy, now: datetime
) -> dict[str, DecisionFacts]:
    """Read the facts to decide again by, right before acting, by supervision id.

    The attempt itself is neither handled nor busy, and its own restart does not count.
    """
    decisions = dao_decisions.of_ids(session, [row.decision_id for row in rows if row.decision_id])
    known = _read(session, list(decisions.values()), policy, now)
    return {
        row.id: facts_of(decisions[row.decision_id], known, acting=row)
        for row in rows
        if row.decision_id in decisions
    }


def _read(session: Session, rows: Sequence[LedgerRow], policy: Policy, now: datetime) -> Known:
    job_uids = {row.job_uid for row in rows}
    simulation_uids = {row.simulation_uid for row in rows}
    jobs = dao_monitoring.jobs(session, job_uids)
    handlings = dao_supervision.of_jobs(session, job_uids)
    failed = [each.id for each in handlings.values() if each.state is State.FAILED]
    work = dao_facts.open_work(session, simulation_uids)
    simulations = dao_monitoring.simulations(session, simulation_uids)
    places = {row.id: place_of(row, simulations, jobs, policy) for row in rows}
    incidents = dao_incidents.standing(session)
    open_ones = [each.id for each in incidents.values()]
    return Known(
        places=places,
        jobs=jobs,
        simulations=simulations,
        handlings=handlings,
        attempt_failures=dao_history.failures(session, failed) if failed else {},
        fatal_jobs=dao_decisions.fatal_jobs(session, job_uids),
        later=dao_facts.later_jobs(session, job_uids),
        replacements=dao_facts.replacements(session, simulation_uids),
        failures=dao_facts.failures(session, simulation_uids),
        gone=dao_facts.gone_jobs(session, simulation_uids),
        progress=dao_facts.progress(session, simulation_uids),
        busy=_busy(work),
        post_open=frozenset(
            row.simulation_uid for row in work if row.kind == JobKind.POST_PROCESSING.value
        ),
        holds=dao_holds.all_holds(session),
        expiries=dao_credentials.expiries(session, map(login_of, places.values())),
        restarts=_restarts_near(session, places, policy, now),
        incidents=incidents,
        admitted=frozenset(
            dao_incidents.admitted(session, open_ones, job_uids) if open_ones else ()
        ),
        policy=policy,
        now=now,
    )


def _busy(work: Iterable[Any]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for row in work:
        if dao_facts.is_busy(row):
            found.setdefault(row.simulation_uid, []).append((row.job_uid, row.id))
    return found


def _restarts_near(
    session: Session, places: Mapping[str, Place], policy: Policy, now: datetime
) -> dict[tuple[str, ...], list[Restart]]:
    """Read the restarts that caps may count, oldest first: by site, simulation and user.

    As of `now`: what others begin while this is read is counted where restarts are admitted.
    """
    longest = max(policy.site_cap.window, policy.simulation_cap.window, policy.user_cap.window)
    sites = {place.site for place in places.values() if place.site is not None}
    found: dict[tuple[str, ...], list[Restart]] = {}
    for restart in dao_history.restarts_at(session, sites, now - longest, now):
        for key in (
            ("site", restart.site),
            ("simulation", restart.simulation_uid),
            ("user", restart.site, restart.login),
        ):
            found.setdefault(key, []).append(restart)
    return found
