"""A centre of simulations in memory, behind agents with the journal's real rules.

A script that begins looks before it acts, as the real ones do: it declines where a job of the
simulation is there, else it submits the next one. What was begun and what acted is counted here,
by the centre itself: no row of the service is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from supervision.facts import (
    Answer,
    AnswerKind,
    EndReason,
    ExitCode,
    Key,
    Look,
    RunCard,
    Sight,
    Subject,
)
from supervision.ports import Clock
from supervision.testing import AgentDouble, Programmed

_ALIVE: Final = {Sight.QUEUED, Sight.RUNNING, Sight.HELD}


@dataclass(kw_only=True)
class Job:
    """A batch job, as the scheduler knows it."""

    uid: str
    scheduler_id: str
    sight: Sight = Sight.QUEUED
    reason: EndReason | None = None
    since: datetime
    ours: bool = False

    @property
    def alive(self) -> bool:
        """Whether it is queued, held or running."""
        return self.sight in _ALIVE

    def end(self, reason: EndReason, now: datetime) -> None:
        """It is over."""
        self.sight, self.reason, self.since = Sight.ENDED, reason, now


@dataclass(kw_only=True)
class Directory:
    """A submission directory: whose it is, what run.card says, the jobs that were submitted."""

    path: str
    simulation: str
    state: str = "Running"
    period: int = 7
    jobs: list[Job] = field(default_factory=list)

    @property
    def alive(self) -> list[Job]:
        """The jobs that are queued, held or running."""
        return [job for job in self.jobs if job.alive]


@dataclass(kw_only=True)
class Run:
    """One script that was begun. `end` is None while it runs; `dead`: its process was killed."""

    key: Key
    directory: str
    ends_at: datetime
    acted: bool = False
    end: Programmed | None = None
    dead: bool = False

    @property
    def running(self) -> bool:
        """Whether it is at work now."""
        return self.end is None and not self.dead


class Centre(AgentDouble):
    """Agents whose scripts do something: each takes `duration`, and acts as it begins.

    `troubles` are taken by the next scripts, one each: exit codes other than 0, or None for none.
    `begun` counts scripts by journal and key, `acts` counts those that submitted a job.
    """

    def __init__(self, clock: Clock, new_id: Any, *, duration: timedelta) -> None:  # noqa: ANN401
        super().__init__(clock)
        self.directories: dict[str, Directory] = {}
        self.runs: dict[Key, Run] = {}
        self.troubles: list[ExitCode | None] = []
        self.begun: Counter[tuple[str, Key]] = Counter()
        self.acts: Counter[Key] = Counter()
        self.overlaps: list[tuple[Key, Key]] = []
        self.stepped_on: list[Key] = []
        self._places: dict[Key, str] = {}
        self._soon: dict[Key, Programmed] = {}
        self._new_id = new_id
        self._duration = duration
        self._count = 40_000

    def submit_job(self, directory: Directory, *, ours: bool) -> Job:
        """Queue the simulation's next job."""
        self._count += 1
        job = Job(
            uid=self._new_id(), scheduler_id=str(self._count), since=self._clock.now(), ours=ours
        )
        directory.jobs.append(job)
        return job

    def kill_runners(self) -> list[Key]:
        """Kill every script that runs, on its own host: its agent can tell that it is lost."""
        killed = [run for run in self.runs.values() if run.running]
        for run in killed:
            run.dead = True
        return [run.key for run in killed]

    def restore_homes(self) -> None:
        """Restore every home from nothing: journals with other ids. What runs goes on running."""
        for site, login in list(self._journals):
            self.forget(site, login)

    def tick(self) -> None:
        """Let the scripts whose time is over come to their ends."""
        for run in self.runs.values():
            if run.running and self._clock.now() >= run.ends_at:
                self._end(run)

    @contextmanager
    def _called(self, verb: str, site: str, login: str) -> Iterator[Any]:
        self.tick()
        with super()._called(verb, site, login) as journal:
            self._settle(journal)
            yield journal
            self._settle(journal)
        for order in self.orders:
            self._places.setdefault(order.key, order.directory)
        self.orders.clear()

    def _settle(self, journal: Any) -> None:  # noqa: ANN401
        """A script that has ended has written so, whether or not anybody asked."""
        for key, entry in journal.entries.items():
            run = self.runs.get(key)
            if entry.started and entry.end is None and run is not None and run.end is not None:
                entry.end = self._outcome_of(key)

    def _run(self, entry: Any, key: Key) -> None:  # noqa: ANN401
        if not entry.started:
            self._start(key)
        super()._run(entry, key)

    def _start(self, key: Key) -> None:
        site_journal = next(j.id for j in self._journals.values() if key in j.entries)
        self.begun[site_journal, key] += 1
        others = [run for run in self.runs.values() if run.running and run.key != key]
        mine = [run.key for run in others if run.key.supervision_id == key.supervision_id]
        self.overlaps += [(key, other) for other in mine]
        run = Run(
            key=key,
            directory=self._places[key],
            ends_at=self._clock.now() + self._duration,
        )
        self.runs[key] = run
        if len(self.runs) % 2:  # every other script acts at once and takes its time afterwards
            self._soon[key] = self._ended(run)
        if run.ends_at <= self._clock.now():
            self._end(run)

    def _end(self, run: Run) -> None:
        run.end = self._soon.pop(run.key, None) or self._ended(run)

    def _ended(self, run: Run) -> Programmed:
        """Look, and act where nothing speaks against it; under the directory's lock."""
        place = self.directories[run.directory]
        code = self._decline(place) or (self.troubles.pop(0) if self.troubles else None)
        if code is None:
            return self._act(run, place)
        if place.alive and place.alive[0].ours:
            self.stepped_on.append(run.key)
        kind = AnswerKind.DECLINED if code.declined else AnswerKind.FAILED
        return Programmed(kind=kind, exit_code=int(code), detail=code.name.lower())

    def _decline(self, place: Directory) -> ExitCode | None:
        if place.state == "Completed":
            return ExitCode.COMPLETED
        return ExitCode.OTHER_JOB if place.alive else None

    def _act(self, run: Run, place: Directory) -> Programmed:
        run.acted = True
        self.acts[run.key] += 1
        place.state = "OnQueue"
        job = self.submit_job(place, ours=True)
        return Programmed(
            kind=AnswerKind.EXECUTED,
            exit_code=0,
            scheduler_id=job.scheduler_id,
            period=place.period,
        )

    def _outcome_of(self, key: Key) -> Answer:
        run = self.runs.get(key)
        if run is None or (run.end is None and not run.dead):
            return Answer(key=key, kind=AnswerKind.RUNNING)
        if run.end is None:
            return Answer(key=key, kind=AnswerKind.LOST, detail="its process is gone")
        return replace(Answer(key=key, kind=AnswerKind.EXECUTED), **run.end)

    def _look(self, subject: Subject) -> Look:
        place = self.directories[subject.directory]
        mine = next((job for job in place.jobs if job.scheduler_id == subject.scheduler_id), None)
        others = [job for job in place.alive if job is not mine]
        return Look(
            at=self._clock.now(),
            sight=mine.sight if mine else Sight.UNKNOWN,
            reason=mine.reason if mine else None,
            scheduler_alive=True,
            others=bool(others),
            run_card=RunCard(
                simulation_uid=place.simulation, state=place.state, period=place.period
            ),
        )
