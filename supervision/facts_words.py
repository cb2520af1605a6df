"""The words that the rooms share: enums, and how the exit codes of scripts are classed."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final


class JobKind(StrEnum):
    """A compute job runs periods of the model; a post-processing job works on its output."""

    COMPUTE = "compute"
    POST_PROCESSING = "post-processing"


class TriggerKind(StrEnum):
    """Why somebody should look at a job. The order of `strength` decides which is heard first."""

    FATAL = "fatal"
    POST_PROCESSING = "post-processing"
    LATE = "late"
    STALLED = "stalled"
    COMMAND = "command"

    @property
    def strength(self) -> int:
        """3 for a failure that was told, 2 for silence, 1 for a lone failed command."""
        return _STRENGTH[self]


_STRENGTH: Final = {
    TriggerKind.FATAL: 3,
    TriggerKind.POST_PROCESSING: 3,
    TriggerKind.LATE: 2,
    TriggerKind.STALLED: 2,
    TriggerKind.COMMAND: 1,
}


class VerdictKind(StrEnum):
    """What the policy answers to a trigger."""

    SUPERVISE = "supervise"
    REFUSE = "refuse"
    DEFER = "defer"
    MERGE = "merge"


class Mode(StrEnum):
    """What the service may do at a site: only decide, write to the owner, or act."""

    OBSERVE = "observe"
    MAIL = "mail"
    ACT = "act"


class Level(IntEnum):
    """What a supervision does: nothing (observed), a script by mail, or by itself."""

    NOTHING = 0
    MAIL = 1
    AUTOMATIC = 2


class Silence(StrEnum):
    """What a site allows when a job is merely gone: `mail` caps the level at 1, `act` does not."""

    MAIL = "mail"
    ACT = "act"


class IncidentState(StrEnum):
    """How far an incident is: one job is tried at a time; more and more go; it is over."""

    OPEN = "open"
    RECOVERING = "recovering"
    CLOSED = "closed"


class Sight(StrEnum):
    """A scheduler's word about a job. UNKNOWN is a value: nobody knows, nobody guesses."""

    QUEUED = "queued"
    RUNNING = "running"
    HELD = "held"
    ENDED = "ended"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class EndReason(StrEnum):
    """How a job ended, where the scheduler tells."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    NODE_FAIL = "node_fail"
    OUT_OF_MEMORY = "out_of_memory"
    UNKNOWN = "unknown"


class AnswerKind(StrEnum):
    """What the agent says of a key. See behaviour: each leads the row somewhere."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    EXECUTED = "executed"
    DECLINED = "declined"
    FAILED = "failed"
    NEVER_SEEN = "never-seen"
    LOST = "lost"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    BUSY = "busy"  # a lower attempt is still running, or (to `cancel`) this one is
    OPTED_OUT = "opted-out"  # NO_SUPERVISION in the directory, .no_supervision in the home
    STALE = "stale"  # the attempt is lower than one seen, or it was cancelled
    FENCED = "fenced"  # to `cancel`: this and every lower attempt will never start
    REFUSED = "refused"  # unsigned, altered, another login's, too large
    CONFLICT = "conflict"  # same key, other script
    FOREIGN_JOURNAL = "foreign-journal"


class FailureCause(StrEnum):
    """Why an attempt failed; policy reads it to choose the next try."""

    NOT_YET = "not-yet"
    SCRIPT = "script"
    JOURNAL_LOST = "journal-lost"
    LOST = "lost"
    CONFLICT = "conflict"
    REFUSED = "refused"
    CRASH_LOOP = "crash-loop"
    EXPIRED = "expired"
    NEW_JOB_GONE = "new-job-gone"
    RENDER = "render"
    FORCED = "forced"

    @property
    def hopeless(self) -> bool:
        """Whether trying again could only repeat it: such a failure gives up at once."""
        return self in _HOPELESS


_HOPELESS: Final = {
    FailureCause.JOURNAL_LOST,
    FailureCause.LOST,
    FailureCause.CONFLICT,
    FailureCause.REFUSED,
    FailureCause.CRASH_LOOP,
    FailureCause.EXPIRED,
    FailureCause.RENDER,
    FailureCause.FORCED,
}


class CancelCause(StrEnum):
    """Why a supervision was cancelled; rule `handled` reads it."""

    PERSON = "person"
    OBSERVED = "observed"
    POLICY = "policy"
    DECLINED = "declined"
    DECLINED_POST = "declined-post"  # the chain was stopped by post-processing


DECLINED_CODES: Final = range(10, 40)


NOT_YET_CODES: Final = range(40, 60)


class ExitCode(IntEnum):
    """How a supervision script ends. 10 to 39 is declined, 40 to 59 not yet, the rest failed."""

    ACTED = 0
    OTHER_SIMULATION = 10
    COMPLETED = 11
    STOPPED_BY_POST = 12
    ON_QUEUE_WITH_JOB = 13
    PERIOD_RESTARTED = 14
    OTHER_JOB = 15
    OTHER_JOB_APPEARED = 16
    RUNNING_AGAIN = 17
    NOT_WRITABLE = 40
    JOB_LEAVING = 41
    SUBMIT_REFUSED = 42
    DIRECTORY_LOCKED = 43
    SCHEDULER_SILENT = 44
    NO_LIBIGCM = 60
    LIBIGCM_SILENT = 61
    NO_RUN_CARD = 62
    UNKNOWN_QUESTION = 63
    CLEAN_FAILED = 64
    NO_DIRECTORY = 65
    UNEXPECTED = 66
    TIMED_OUT = 124

    @property
    def declined(self) -> bool:
        """Nothing was touched, and for a good reason."""
        return self in DECLINED_CODES

    @property
    def not_yet(self) -> bool:
        """Nothing was touched; the same attempt's successor may find it possible."""
        return self in NOT_YET_CODES
