"""What is true now of supervisions and jobs, at their centres too: for people about to order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from db import dao_monitoring, dao_supervision
from supervision import policy as rules
from supervision.facts import (
    Answer,
    AnswerKind,
    JobFacts,
    JobKind,
    Key,
    Level,
    Look,
    Sight,
    SimulationFacts,
    Subject,
    Supervision,
)
from supervision.fsm import machine
from supervision.fsm.engine.tools import Tools
from supervision.fsm.outcomes import UNASKED
from supervision.fsm.states import Event, State
from supervision.ports import Transport

_RUNS: Final = frozenset({AnswerKind.RUNNING, AnswerKind.BUSY})
_THERE: Final = frozenset({Sight.QUEUED, Sight.RUNNING, Sight.HELD})


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """How one job is now. `row` None: no supervision of it was ever begun.

    `answer` is the agent's word about the newest attempt, None where no byte of it can have left;
    `look` what the scheduler and run.card show of the job that a restart submitted, else of the
    failed one. `problem`: why the centre could not be asked.
    """

    job_uid: str
    name: str | None = None
    row: Supervision | None = None
    answer: Answer | None = None
    look: Look | None = None
    problem: str | None = None

    def target(self, event: Event) -> State | None:
        """Where a person's event would lead; None where the state machine has no such way."""
        if self.row is None:
            return State.DETECTED if event is Event.RETRY else None
        possible = self.row.state in machine.sources(event)
        return machine.target(self.row.state, event) if possible else None

    @property
    def script_runs(self) -> bool:
        """Whether the agent says that the script of an attempt runs."""
        return self.answer is not None and self.answer.kind in _RUNS

    @property
    def job_is_there(self) -> bool:
        """Whether the job, or another one of its name and directory, is in the queue or runs."""
        return self.look is not None and (self.look.sight in _THERE or self.look.others is True)


@dataclass(frozen=True, kw_only=True, slots=True)
class HowIsIt:
    """What is true now of these jobs? Reads, then asks each login's centre once for all of them.

    Blocks until the centres have answered, at most a deadline for each login. Nothing is changed
    and nothing started there.
    """

    job_uids: Sequence[str]

    def answer(self, tools: Tools) -> list[Live]:
        """Ask; in the order of the question."""
        known = _known(tools, self.job_uids)
        seen = {each.live.job_uid: each.live for each in known}
        for (site, login), group in _by_login(known).items():
            for live in _asked(tools.ports.transport, site, login, group):
                seen[live.job_uid] = live
        return list(seen.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What is in the database; `key` only where the agent may have heard of it."""

    live: Live
    place: tuple[str | None, str | None]
    subject: Subject
    key: Key | None


def _known(tools: Tools, job_uids: Sequence[str]) -> list[_Known]:
    with tools.database.read() as session:
        rows = dao_supervision.of_jobs(session, job_uids)
        jobs = dao_monitoring.jobs(session, job_uids)
        uids = {job.simulation_uid for job in jobs.values()}
        simulations = dao_monitoring.simulations(session, uids)
    known = []
    for uid in job_uids:
        job, row = jobs.get(uid), rows.get(uid)
        simulation = None if job is None else simulations.get(job.simulation_uid)
        if job is None or simulation is None:
            known.append(_unannounced(Live(job_uid=uid, row=row)))
        elif row is None:
            known.append(_not_begun(tools, job, simulation))
        else:
            known.append(_begun(row, job, simulation))
    return known


def _unannounced(live: Live) -> _Known:
    """Nobody knows where it lives, so nobody is asked."""
    subject = Subject(ref=live.job_uid, name="", directory="", kind=JobKind.COMPUTE)
    return _Known(live=live, place=(None, None), subject=subject, key=None)


def _begun(row: Supervision, job: JobFacts, simulation: SimulationFacts) -> _Known:
    subject = Subject(
        ref=row.job_uid,
        name=simulation.name or "",
        directory=row.directory,
        kind=row.kind,
        scheduler_id=row.scheduler_id or job.scheduler_id,
    )
    sent = row.level is Level.AUTOMATIC and row.dispatch_try_count > 0
    live = Live(job_uid=row.job_uid, name=simulation.name, row=row)
    key = row.key if sent else None
    return _Known(live=live, place=(row.site, row.login), subject=subject, key=key)


def _not_begun(tools: Tools, job: JobFacts, simulation: SimulationFacts) -> _Known:
    place = rules.resolve(simulation, job, tools.policy)
    subject = Subject(
        ref=job.uid,
        name=simulation.name or "",
        directory=place.directory or "",
        kind=job.kind or JobKind.COMPUTE,
        scheduler_id=job.scheduler_id,
    )
    live = Live(job_uid=job.uid, name=simulation.name)
    return _Known(live=live, place=(place.site, place.login), subject=subject, key=None)


def _by_login(known: Iterable[_Known]) -> dict[tuple[str, str], list[_Known]]:
    groups: dict[tuple[str, str], list[_Known]] = {}
    for each in known:
        site, login = each.place
        if site is not None and login is not None:
            groups.setdefault((site, login), []).append(each)
    return groups


def _asked(transport: Transport, site: str, login: str, group: Sequence[_Known]) -> list[Live]:
    keys = [each.key for each in group if each.key is not None]
    try:
        answers = dict(zip(keys, transport.peek(site, login, keys), strict=True)) if keys else {}
        looks = transport.look(site, login, [each.subject for each in group])
    except UNASKED as error:
        return [replace(each.live, problem=str(error)) for each in group]
    return [
        replace(
            each.live,
            answer=None if each.key is None else answers[each.key],
            look=look,
            problem=None if look.reachable else look.problem,
        )
        for each, look in zip(group, looks, strict=True)
    ]
