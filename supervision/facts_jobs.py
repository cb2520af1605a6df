"""What is known of jobs and simulations, and what is decided on it: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from supervision.facts_words import (
    CancelCause,
    EndReason,
    FailureCause,
    JobKind,
    Level,
    Sight,
    TriggerKind,
    VerdictKind,
)
from supervision.fsm.states import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a post-processing job works on. Absent fields are None."""

    name: str | None = None
    date: str | None = None
    dimension: str | None = None
    component: str | None = None
    file: str | None = None

    @property
    def identified(self) -> bool:
        """Without name and date a task equals no other."""
        return self.name is not None and self.date is not None

    def same_as(self, other: Task | None) -> bool:
        """Whether both are the same piece of work; never true for an unidentified one."""
        return self.identified and self == other


@dataclass(frozen=True, kw_only=True, slots=True)
class Trigger:
    """One row of the ledger, as policy sees it: why somebody should look at a job.

    `at` is when it was last emitted, or for late and stalled the last due time; `arrived_at` is
    when the service first heard of it.
    """

    kind: TriggerKind
    at: datetime
    first_at: datetime
    arrived_at: datetime
    occurrences: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFacts:
    """What the messages said of one batch job. `period` is the CumulPeriod that it worked on."""

    uid: str
    simulation_uid: str
    kind: JobKind | None = None
    task: Task | None = None
    directory: str | None = None
    scheduler_id: str | None = None
    warning_delay: timedelta = timedelta(days=1)
    first_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    fatal_at: datetime | None = None
    last_seen_at: datetime | None = None
    period: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationFacts:
    """What the messages said of one simulation. `announced_at` is None until a 0000 came in."""

    uid: str
    name: str | None = None
    login: str | None = None
    centre: str | None = None
    machine: str | None = None
    space: str | None = None
    model: str | None = None
    experiment: str | None = None
    accounting_project: str | None = None
    directory: str | None = None
    announced_at: datetime | None = None
    last_start_at: datetime | None = None
    complete_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherJob:
    """A job that may have overtaken the one in question: later start, or later good end."""

    uid: str
    at: datetime
    ended_well: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherSimulation:
    """A later 0000 of the same centre, machine, login and name."""

    uid: str
    announced_at: datetime
    directory: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFailure:
    """A job of the simulation (or, for post-processing, of the same task) that failed."""

    job_uid: str
    at: datetime
    period: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptFailure:
    """An attempt of a supervision that ended without success."""

    attempt: int
    at: datetime
    cause: FailureCause


@dataclass(frozen=True, kw_only=True, slots=True)
class Handling:
    """The supervision that this job has already, as far as policy needs it.

    `acted_on` is the trigger of the latest attempt. `failures` are its failed attempts since a
    person last began one, oldest first.
    """

    id: str
    state: State
    level: Level
    acted_on: TriggerKind
    attempt: int
    cancel_cause: CancelCause | None = None
    reason: str | None = None
    failures: tuple[AttemptFailure, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Somebody said stop. Scope is site:NAME, login:SITE/NAME or simulation:UID.

    Scope credential:SITE/NAME is the service's own: that login is parked, for the login nodes have
    refused its credential.
    """

    scope: str
    actor: str
    reason: str
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Restarts:
    """When restarts were begun inside the windows of the caps, oldest first."""

    site: tuple[datetime, ...] = ()
    simulation: tuple[datetime, ...] = ()
    user: tuple[datetime, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCard:
    """What run.card says: whose it is, the state of its period, which period that is."""

    simulation_uid: str | None = None
    state: str | None = None
    period: int | None = None
    begin: str | None = None

    @property
    def on_queue(self) -> bool:
        """Whether a next job is to come: libIGCM and clean write that before it is submitted."""
        return (self.state or "").casefold() == "onqueue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What was seen at the centre, once. `reachable` False: nothing was seen at all.

    `others` tells whether a job of that login, name and directory is queued or running (None:
    nobody knows); `newest` how the newest later one of them ended, where the scheduler tells;
    `scheduler_alive` whether the scheduler showed that it answers at all.
    """

    at: datetime
    reachable: bool = True
    sight: Sight = Sight.UNKNOWN
    reason: EndReason | None = None
    scheduler_alive: bool = False
    others: bool | None = None
    newest: EndReason | None = None
    run_card: RunCard | None = None
    output_tail: str = ""
    free_bytes: int | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IncidentFacts:
    """Many simulations of the job's site failed at once, and their jobs go one after another.

    `simulations` failed within `window`. `admitted`: this job is one of those that may go.
    """

    id: str
    opened_at: datetime
    simulations: int
    window: timedelta
    admitted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionFacts:
    """Everything that one decision rests on. Stored with `now`, it replays bit for bit.

    `by_person`: the attempt was begun by a person. `before_acting`: asked by the dispatch action,
    of the row in `handling`; then rules `handled`, `busy` and the merging do not speak.
    `deferrals` counts how often each rule deferred this trigger before, by rule name.
    `looks` are all that were made about this trigger, newest last.
    `failures` are the compute jobs of the simulation that failed, this one included, oldest first
    (for a post-processing job: the failed jobs of the same task).
    `progress_at` is the last 1100 or first sight of the highest period, or act of a person.
    `post_open`: a post-processing supervision of the simulation is unfinished.
    `incident`: the one that is open at the job's site.
    `credential_expires_at`: of the login's credential; None when it has none that expires.
    """

    trigger: Trigger
    job: JobFacts
    simulation: SimulationFacts
    by_person: bool = False
    before_acting: bool = False
    deferrals: dict[str, int] = field(default_factory=dict)
    handling: Handling | None = None
    fatal_of_job: bool = False
    later_starts: tuple[OtherJob, ...] = ()
    replacements: tuple[OtherSimulation, ...] = ()
    busy_with: str | None = None
    failures: tuple[JobFailure, ...] = ()
    progress_at: datetime | None = None
    post_open: bool = False
    holds: tuple[Hold, ...] = ()
    restarts: Restarts = field(default_factory=Restarts)
    incident: IncidentFacts | None = None
    credential_expires_at: datetime | None = None
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the policy answered: which rule spoke, in which sentence.

    `wake_at` None: final until a new fact reopens it. `ask`: the centre must be asked first; the
    engine looks and decides again. `tell_owner`: the owner gets one mail about it.
    `for_want`: refused for want of something that may still come. `level` is set on supervise.
    `submit_only`: the chain is broken between two jobs, so nothing must be cleaned.
    `tell_operator`: the operator gets one mail about it (a long silence, or giving up).
    """

    kind: VerdictKind
    rule: str
    sentence: str
    wake_at: datetime | None = None
    level: Level | None = None
    ask: bool = False
    tell_owner: bool = False
    for_want: bool = False
    submit_only: bool = False
    tell_operator: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a job lives, as far as it is known: site, login and submission directory."""

    site: str | None = None
    login: str | None = None
    directory: str | None = None
