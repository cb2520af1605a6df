"""Settings that decisions and the engine depend on, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from supervision.facts_words import Level, Mode, Silence


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A span of time, end excluded."""

    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Cap:
    """A number of restarts, or of failing simulations, within a span of time."""

    count: int
    window: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class LoginAlias:
    """A login that was renamed: messages say `announced`, the centre knows `login`."""

    announced: str
    login: str
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SitePolicy:
    """One machine of a centre: how messages name it, and what may be done there.

    `machines` are shell patterns (fnmatch) for the message's machine, compared without case like
    `centres`. `directory_pattern` is filled with {login}, {model} and {name} where messages carry
    no directory.
    """

    name: str
    centres: tuple[str, ...]
    machines: tuple[str, ...]
    mode: Mode = Mode.OBSERVE
    retired: bool = False
    successor: str | None = None
    absent: Silence = Silence.MAIL
    stalled: Silence = Silence.MAIL
    ask: bool = False
    scheduler: str = "slurm"
    interpreter: str = "ksh"
    libigcm: str | None = None
    directory_pattern: str | None = None
    logins: tuple[LoginAlias, ...] = ()
    maintenance: tuple[Window, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class UserPolicy:
    """What one user allowed, where, until when; who recorded it.

    Empty `sites`, `spaces` or `simulations` mean all. `mail_to` None: there is no address.
    """

    login: str
    level: Level = Level.NOTHING
    sites: tuple[str, ...] = ()
    spaces: tuple[str, ...] = ()
    simulations: tuple[str, ...] = ()
    until: date | None = None
    mail_to: str | None = None
    wants_mail: bool = True
    set_by: str | None = None
    set_on: date | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Every setting that a decision depends on. `digest` names the exact text it came from.

    `incident`: so many simulations of a site that fail within so long are one incident.
    """

    digest: str
    sites: tuple[SitePolicy, ...] = ()
    users: tuple[UserPolicy, ...] = ()
    max_age: timedelta = timedelta(days=5)
    future_tolerance: timedelta = timedelta(hours=1)
    grace: timedelta = timedelta(minutes=10)
    site_cap: Cap = Cap(count=20, window=timedelta(hours=1))
    simulation_cap: Cap = Cap(count=3, window=timedelta(days=1))
    user_cap: Cap = Cap(count=5, window=timedelta(hours=1))
    incident: Cap = Cap(count=10, window=timedelta(minutes=10))
    incident_pause: timedelta = timedelta(minutes=10)
    incident_proof: timedelta = timedelta(minutes=30)
    incident_patience: timedelta = timedelta(hours=1)
    incident_again: timedelta = timedelta(hours=1)
    want_delay: timedelta = timedelta(minutes=5)
    want_tries: int = 3
    want_again: timedelta = timedelta(days=1)
    merge_again: timedelta = timedelta(hours=1)
    busy_again: timedelta = timedelta(hours=1)
    hold_again: timedelta = timedelta(days=1)
    maintenance_margin: timedelta = timedelta(hours=2)
    credential_again: timedelta = timedelta(hours=1)
    command_wait: timedelta = timedelta(minutes=10)
    unknown_kind_wait: timedelta = timedelta(minutes=10)
    no_progress_jobs: int = 3
    look_apart: timedelta = timedelta(minutes=10)
    look_again: timedelta = timedelta(days=1)
    unreachable_delay: timedelta = timedelta(minutes=5)
    unreachable_cap: timedelta = timedelta(hours=1)
    unreachable_tell: timedelta = timedelta(days=1)
    not_yet_delay: timedelta = timedelta(minutes=5)
    not_yet_tries: int = 6
    not_yet_window: timedelta = timedelta(days=1)
    failure_delay: timedelta = timedelta(minutes=30)
    failure_tries: int = 2
    mail_late_wait: timedelta = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """The rhythm of the work: leases, deadlines, alarms and how they back off, sizes of sets.

    A lease outlasts every deadline, or a worker that is alive would be presumed dead. The operator
    is warned so long before a certificate or proxy expires, and gets the day's list at `daily_at`,
    UTC.
    """

    lease: timedelta = timedelta(seconds=120)
    deadline: timedelta = timedelta(seconds=60)
    rewake_first: timedelta = timedelta(seconds=60)
    rewake_cap: timedelta = timedelta(hours=1)
    transport_backoff_first: timedelta = timedelta(seconds=30)
    transport_backoff_cap: timedelta = timedelta(minutes=15)
    status_first: timedelta = timedelta(seconds=10)
    status_cap: timedelta = timedelta(minutes=5)
    watch_first: timedelta = timedelta(minutes=10)
    watch_cap: timedelta = timedelta(hours=6)
    watch_gone_after: timedelta = timedelta(hours=1)
    mail_supervision_expiry: timedelta = timedelta(days=14)
    dispatched_tell: timedelta = timedelta(hours=24)
    dispatched_fail: timedelta = timedelta(days=14)
    late_margin: timedelta = timedelta(hours=1)
    late_without_start: timedelta = timedelta(hours=24)
    next_start_check: timedelta = timedelta(hours=24)
    script_timeout: timedelta = timedelta(minutes=30)
    sweep_interval: timedelta = timedelta(seconds=1)
    sweep_limit: int = 1000
    outage_first: timedelta = timedelta(seconds=1)
    outage_cap: timedelta = timedelta(seconds=60)
    batch: int = 400
    certificate_warnings: tuple[timedelta, ...] = (timedelta(days=7), timedelta(days=1))
    proxy_warnings: tuple[timedelta, ...] = (timedelta(hours=2),)
    credentials_every: timedelta = timedelta(seconds=10)
    daily_at: time = time(6)
    claim_alone_above: int = 3
    crash_loop_above: int = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class RetentionSettings:
    """How long what is finished is kept; what is unfinished is never deleted."""

    raw_bodies: timedelta = timedelta(days=30)
    rest: timedelta = timedelta(days=400)
