"""Picks each decision's own facts out of what was read for a whole set. No statement here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from db import dao_facts
from db.types_incidents import Incident
from db.types_supervision import Restart
from db.values_decisions import LedgerRow
from supervision import policy as rules
from supervision.facts import (
    AttemptFailure,
    CancelCause,
    Cap,
    DecisionFacts,
    Handling,
    Hold,
    IncidentFacts,
    JobFacts,
    JobFailure,
    JobKind,
    Key,
    OtherJob,
    OtherSimulation,
    Place,
    Policy,
    Restarts,
    SimulationFacts,
    Supervision,
    Trigger,
    TriggerKind,
)
from supervision.fsm.states import State
from supervision.replay import load_looks


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What was read for a whole set; each decision picks its own out of it."""

    places: Mapping[str, Place]
    jobs: Mapping[str, JobFacts]
    simulations: Mapping[str, SimulationFacts]
    handlings: Mapping[str, Supervision]
    attempt_failures: Mapping[str, tuple[AttemptFailure, ...]]
    fatal_jobs: frozenset[str]
    later: Mapping[str, list[dao_facts.LaterJob]]
    replacements: Mapping[str, list[OtherSimulation]]
    failures: Mapping[str, list[dao_facts.FailedJob]]
    gone: Mapping[str, list[JobFailure]]
    progress: Mapping[str, datetime]
    busy: Mapping[str, list[tuple[str, str]]]
    post_open: frozenset[str]
    holds: tuple[Hold, ...]
    expiries: Mapping[tuple[str, str], datetime]
    restarts: Mapping[tuple[str, ...], list[Restart]]
    incidents: Mapping[str, Incident]
    admitted: frozenset[str]
    policy: Policy
    now: datetime


def place_of(
    row: LedgerRow,
    simulations: Mapping[str, SimulationFacts],
    jobs: Mapping[str, JobFacts],
    policy: Policy,
) -> Place:
    """Where a ledger row's job lives, by this policy; nowhere while its simulation is unknown."""
    simulation, job = simulations.get(row.simulation_uid), jobs.get(row.job_uid)
    if simulation is None or job is None:
        return Place()
    return rules.resolve(simulation, job, policy)


def login_of(place: Place) -> tuple[str, str]:
    """Whose credential opens a session there; of nobody where the place is not known."""
    return place.site or "", place.login or ""


def facts_of(row: LedgerRow, known: Known, acting: Supervision | None = None) -> DecisionFacts:
    """Pick what one decision rests on out of what was read for the set."""
    job = known.jobs.get(row.job_uid)
    mine = job or JobFacts(uid=row.job_uid, simulation_uid=row.simulation_uid)
    simulation = known.simulations.get(row.simulation_uid)
    return DecisionFacts(
        trigger=trigger_of(row),
        job=mine,
        simulation=simulation or SimulationFacts(uid=row.simulation_uid),
        deferrals=json.loads(row.deferrals) if row.deferrals else {},
        handling=_handling(row.job_uid, known),
        fatal_of_job=row.job_uid in known.fatal_jobs,
        later_starts=_later(mine, known),
        replacements=tuple(known.replacements.get(row.simulation_uid, ())),
        busy_with=_busy_with(row, known),
        failures=_failures(mine, row, known),
        progress_at=known.progress.get(row.simulation_uid),
        post_open=row.simulation_uid in known.post_open,
        holds=known.holds,
        credential_expires_at=known.expiries.get(login_of(known.places[row.id])),
        looks=load_looks(row.looks) if row.looks else (),
        restarts=_restarts(row, known, own=acting.key if acting else None),
        incident=_incident(row, known),
        before_acting=acting is not None,
        by_person=acting is not None and acting.by_person,
    )


def trigger_of(row: LedgerRow) -> Trigger:
    """The trigger that a ledger row stands for."""
    return Trigger(
        kind=TriggerKind(row.kind),
        at=row.last_at,
        first_at=row.first_at,
        arrived_at=row.arrived_at,
        occurrences=row.occurrences,
    )


def _handling(job_uid: str, known: Known) -> Handling | None:
    row = known.handlings.get(job_uid)
    if row is None:
        return None
    cancelled = row.state is State.CANCELLED and row.cause in set(CancelCause)
    return Handling(
        id=row.id,
        state=row.state,
        level=row.level,
        acted_on=row.trigger,
        attempt=row.attempt,
        cancel_cause=CancelCause(row.cause) if cancelled and row.cause else None,
        reason=row.reason,
        failures=known.attempt_failures.get(row.id, ()),
    )


def _later(job: JobFacts, known: Known) -> tuple[OtherJob, ...]:
    """Jobs that may have overtaken this one: of the chain, or of the same task."""
    begun = job.started_at or job.first_at
    found: list[OtherJob] = []
    for other in known.later.get(job.uid, ()):
        if begun is None or not _concerns(job, other):
            continue
        if other.started_at is not None and other.started_at > begun:
            found.append(OtherJob(uid=other.uid, at=other.started_at))
        if other.ended_at is not None and other.ended_at > begun and job.task is not None:
            found.append(OtherJob(uid=other.uid, at=other.ended_at, ended_well=True))
    return tuple(found)


def _concerns(job: JobFacts, other: dao_facts.LaterJob) -> bool:
    if job.kind is JobKind.POST_PROCESSING:
        return job.task is not None and job.task.same_as(other.task)
    return other.kind is JobKind.COMPUTE


def _busy_with(row: LedgerRow, known: Known) -> str | None:
    others = known.busy.get(row.simulation_uid, ())
    return next((supervision for job_uid, supervision in others if job_uid != row.job_uid), None)


def _failures(job: JobFacts, row: LedgerRow, known: Known) -> tuple[JobFailure, ...]:
    failed = known.failures.get(row.simulation_uid, ())
    if job.kind is JobKind.POST_PROCESSING:
        return tuple(
            each.failure
            for each in failed
            if each.failure.job_uid == job.uid or (job.task and job.task.same_as(each.task))
        )
    chain = [each.failure for each in failed if each.kind is not JobKind.POST_PROCESSING]
    chain += known.gone.get(row.simulation_uid, ())
    return tuple(sorted(chain, key=lambda failure: failure.at))


def _incident(row: LedgerRow, known: Known) -> IncidentFacts | None:
    found = known.incidents.get(known.places[row.id].site or "")
    if found is None:
        return None
    return IncidentFacts(
        id=found.id,
        opened_at=found.opened_at,
        simulations=found.simulations,
        window=timedelta(seconds=found.window_seconds),
        admitted=row.job_uid in known.admitted,
    )


def _restarts(row: LedgerRow, known: Known, *, own: Key | None) -> Restarts:
    """When restarts were begun within the windows of the caps; an attempt's own does not count."""
    policy, place = known.policy, known.places[row.id]
    site, login = place.site or "", place.login or ""
    return Restarts(
        site=_begun_within(known, ("site", site), policy.site_cap, own),
        simulation=_begun_within(
            known, ("simulation", row.simulation_uid), policy.simulation_cap, own
        ),
        user=_begun_within(known, ("user", site, login), policy.user_cap, own),
    )


def _begun_within(
    known: Known, key: tuple[str, ...], cap: Cap, own: Key | None
) -> tuple[datetime, ...]:
    """The newest that fill the cap: older ones could not change what it says."""
    mine = None if own is None else (own.supervision_id, own.attempt)
    since = known.now - cap.window
    found: list[datetime] = []
    for restart in reversed(known.restarts.get(key, ())):
        if restart.at <= since or len(found) >= cap.count:
            break
        if (restart.supervision_id, restart.attempt) != mine:
            found.append(restart.at)
    return tuple(reversed(found))
