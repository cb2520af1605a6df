"""What goes to a centre and what comes back, and the row that stands for it: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from supervision.facts_jobs import Task
from supervision.facts_words import AnswerKind, JobKind, Level, TriggerKind
from supervision.fsm.states import ExecutionStatus, State


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A script, ready to be stored and sent: base64 text and the SHA-256 of what it decodes to."""

    content: str
    sha256: str
    encoding: str = "base64"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptFacts:
    """Everything that a script is built from.

    `restarted_period`: the period that an earlier job's supervision restarted (None: no check,
    which is so for the first one and for a person's attempt). `post_failures`: post-processing
    failures of the simulation are open. `submit_only`: nothing must be cleaned.
    """

    supervision_id: str
    attempt: int
    kind: JobKind
    trigger: TriggerKind
    simulation_uid: str
    job_uid: str
    job_name: str
    login: str
    directory: str
    scheduler_id: str | None = None
    task: Task | None = None
    restarted_period: int | None = None
    post_failures: bool = False
    submit_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """What a remote act is known by, here and in the agent's journal."""

    supervision_id: str
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One submit: what the agent is to run, where, and until when it may still begin.

    `interpreter` is a program's name or absolute path; `expires_at` is the end of the claim's
    lease on the service's clock (the transport carries it over to the agent's).
    """

    key: Key
    directory: str
    script: Script
    interpreter: str
    expires_at: datetime
    timeout: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the agent said of one key. For an end: exit code, the script's last line, its tail.

    `report` is the JSON object of the script's last line: what was done, `period`,
    `scheduler_id`; empty where there was none.
    """

    key: Key
    kind: AnswerKind
    detail: str = ""
    journal_id: str | None = None
    exit_code: int | None = None
    scheduler_id: str | None = None
    period: int | None = None
    report: dict[str, str | int | list[str] | None] = field(default_factory=dict)
    output_tail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What a `look` is about. Without a scheduler id a job is found by name and directory."""

    ref: str
    name: str
    directory: str
    kind: JobKind
    scheduler_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a person asked for while the agent could not be asked: cancel or retry."""

    event: str
    actor: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Supervision:
    """One row of tbl_simulation_supervision, as it was read. Columns mean what they mean there.

    `version` and `wake_at` are the guard: what is written back is written only where the row
    still has this version.
    """

    id: str
    simulation_uid: str
    job_uid: str
    decision_id: str | None
    site: str
    login: str
    directory: str
    kind: JobKind
    trigger: TriggerKind
    level: Level
    attempt: int
    state: State
    execution_status: ExecutionStatus
    by_person: bool = False
    submit_only: bool = False
    noted_trigger: TriggerKind | None = None
    script_content: str | None = None
    script_content_encoding: str = "base64"
    script_sha256: str | None = None
    dispatch_try_count: int = 0
    dispatch_error: str | None = None
    journal_id: str | None = None
    scheduler_id: str | None = None
    exit_code: int | None = None
    period: int | None = None
    output_tail: str | None = None
    looked: str | None = None
    cause: str | None = None
    reason: str | None = None
    wanted: Wish | None = None
    recovered_at: datetime | None = None
    wake_at: datetime | None = None
    not_before: datetime | None = None
    lease_until: datetime | None = None
    version: int = 0
    claim_count: int = 0
    backoff: int = 0
    created_at: datetime
    acted_at: datetime | None = None
    dispatched_at: datetime | None = None
    executed_at: datetime | None = None
    ended_at: datetime | None = None
    told_at: datetime | None = None

    @property
    def key(self) -> Key:
        """What this attempt is known by at the centre."""
        return Key(supervision_id=self.id, attempt=self.attempt)

    @property
    def script(self) -> Script:
        """The stored script; only where there is one, from formatted on."""
        if self.script_content is None or self.script_sha256 is None:
            raise ValueError(f"supervision {self.id} has no script")
        return Script(
            content=self.script_content,
            sha256=self.script_sha256,
            encoding=self.script_content_encoding,
        )

    def changed(self, **changes: Any) -> Supervision:  # noqa: ANN401
        """Make this row with other values; what `dataclasses.replace` does, at a third of its cost.

        Each row is changed twice on its way through a stage. Raises AttributeError for what is no
        field.
        """
        new = object.__new__(Supervision)
        for fill, value in zip(_FILLERS, _values(self), strict=True):
            fill(new, value)
        for name, value in changes.items():
            object.__setattr__(new, name, value)
        return new


_FIELDS: Final = tuple(each.name for each in fields(Supervision))
_FILLERS: Final = tuple(getattr(Supervision, name).__set__ for name in _FIELDS)
_values: Final = attrgetter(*_FIELDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """What proves a login to a centre, as its files were when they were read.

    `mark` tells two contents apart (a digest); None while there is nothing to read. `expires_at`
    None: it does not expire, or nobody can tell, and `problem` says why. A proxy is made anew
    every day or so.
    """

    site: str
    login: str
    path: str | None = None
    mark: str | None = None
    valid_from: datetime | None = None
    expires_at: datetime | None = None
    proxy: bool = False
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """One mail, ready to be sent. `message_id` is made of what it is about, so a repeat is one.

    `attachments` are (file name, text).
    """

    message_id: str
    to: str
    subject: str
    text: str
    attachments: tuple[tuple[str, str], ...] = ()
