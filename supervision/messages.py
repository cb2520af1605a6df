"""Messages as frozen values, and what libIGCM's codes and fields mean. Bytes: see `wire.py`.

What the generations of libIGCM mean by a code is settled here and nowhere else: the rest of the
house reads `Meaning`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from supervision.errors import NotFound
from supervision.facts import Task
from supervision.fsm.states import Queue

MONITORING_QUEUE_PREFIX: Final = "in-monitoring-"
MONITORING_CODES: Final = (
    "0000", "0100", "1000", "1001", "1100", "1900", "1999", "2000", "2100", "2900", "2999",
    "3000", "3100", "3900", "3999", "4900", "7000", "7010", "7100", "8888", "9000", "9999",
)  # fmt: skip
"""Every code that has a queue of its own. 4000 and 4100 have none: they are never forwarded."""


class Meaning(StrEnum):
    """What a monitoring message says, whatever its generation calls it."""

    SIMULATION_START = "simulation-start"
    COMPUTE_START = "compute-start"
    PERIOD_START = "period-start"
    COMPUTE_END = "compute-end"
    SIMULATION_END = "simulation-end"
    FATAL = "fatal"
    COMMAND_FAILED = "command-failed"
    POST_START = "post-start"
    POST_END = "post-end"
    POST_FAILED = "post-failed"
    DELETED = "deleted"
    ACCOUNTING = "accounting"  # 7010: its figures are kept on the job
    IGNORED = "ignored"  # counted, never stored


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """One message on its way: a body and the properties that the contract names."""

    queue: str
    body: bytes
    message_id: str
    type: str
    app_id: str
    timestamp: datetime
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitoringMessage:
    """One decoded monitoring message: a fact.

    `uid`, `simulation_uid`, `job_uid` are lower-case UUIDs; `simulation_uid` is None when the
    message carries an empty simuid (it is then not correlatable: kept, never guessed), `job_uid`
    is None where the code has none (8888). `emitted_as` is msgTimestamp as sent, `emitted_at` the
    same in UTC. `fields` are the libIGCM fields that do not begin with `msg`, absent ones left
    out ("null", "NONE", "" count as absent, but for simuid). `body` is what the message's row
    keeps: the JSON text as it came. `mailed_at` is the Date of the mail that brought it.
    """

    uid: str
    code: str
    generation: str
    meaning: Meaning
    simulation_uid: str | None
    job_uid: str | None
    emitted_as: str
    emitted_at: datetime
    fields: Mapping[str, str]
    body: str
    producer_version: str | None = None
    mailed_at: datetime | None = None
    config_card: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LateCheck:
    """A fact of the clock: the alarm of this job, or of the next start after it, may be due."""

    job_uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WakeUp:
    """A hint to look at a row. `queue` tells which verb; exactly the ids it needs are set."""

    queue: Queue
    supervision_id: str | None = None
    simulation_uid: str | None = None
    job_uid: str | None = None


ABSENT: Final = frozenset({"", "null", "NONE"})
"""How libIGCM spells a value that it does not have."""

_DEFAULT_DELAY: Final = timedelta(days=1)
_LONGEST_DELAY: Final = timedelta(days=366)
_LARGEST_PERIOD: Final = 2**31 - 1

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_STAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[+-][0-9]{2}:?[0-9]{2}|Z)"
)
_OLDEST_STAMP: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})-([0-9:]{8})-([0-9]{9})")
_YEARS: Final = range(1970, 2200)  # outside, sums of times would overflow further on

SHORT: Final = 63
FIELD_LIMITS: Final = {
    **dict.fromkeys(("startDate", "endDate", "PeriodDateBegin", "PeriodDateEnd"), SHORT),
    **dict.fromkeys(("postProcessingDate", "msgProducerVersion"), SHORT),
    **dict.fromkeys(("activity", "name", "experiment", "space", "model", "login"), 511),
    **dict.fromkeys(("centre", "machine", "accountingProject", "jobSchedulerID"), 511),
    **dict.fromkeys(("postProcessingName", "postProcessingDimn"), 511),
    **dict.fromkeys(("postProcessingComp", "postProcessingFile"), 511),
    "jobSubmissionPath": 4095,
}
"""Characters that the columns hold, none fewer than SHORT; other fields have no column."""

_MEANINGS: Final = {
    "0000": Meaning.SIMULATION_START,
    "0100": Meaning.SIMULATION_END,
    "1000": Meaning.COMPUTE_START,
    "1001": Meaning.PERIOD_START,
    "1100": Meaning.COMPUTE_END,
    "1900": Meaning.COMMAND_FAILED,
    "1999": Meaning.FATAL,
    "2000": Meaning.POST_START,
    "2100": Meaning.POST_END,
    "2900": Meaning.POST_FAILED,
    "2999": Meaning.POST_FAILED,
    "3000": Meaning.POST_START,
    "3100": Meaning.POST_END,
    "3900": Meaning.POST_FAILED,
    "3999": Meaning.POST_FAILED,
    "4000": Meaning.IGNORED,
    "4100": Meaning.IGNORED,
    "4900": Meaning.COMMAND_FAILED,
    "7000": Meaning.IGNORED,
    "7010": Meaning.ACCOUNTING,
    "7100": Meaning.IGNORED,
    "8888": Meaning.DELETED,
    "9000": Meaning.COMMAND_FAILED,
    "9999": Meaning.FATAL,
}
CODES: Final = tuple(_MEANINGS)
"""Every code that is known, of all generations."""

_MEANINGS_WITH_COMMAND: Final = {
    "2000": Meaning.IGNORED,  # A: push of the call stack
    "3000": Meaning.IGNORED,  # A: pop of the call stack
    "2900": Meaning.COMMAND_FAILED,  # C: the job itself says 2999
    "3900": Meaning.COMMAND_FAILED,  # C: the job itself says 3999
}
_ONLY_C: Final = frozenset({"1001", "1900", "1999", "2999", "3999"})


def meaning_of(code: str, fields: Mapping[str, str]) -> Meaning | None:
    """Say what a code means beside these fields (as sent, absent values kept); None: unknown code.

    A field `command`, whatever its value, tells a failed or entered command from a job's own word.
    """
    if "command" in fields and code in _MEANINGS_WITH_COMMAND:
        return _MEANINGS_WITH_COMMAND[code]
    return _MEANINGS.get(code)


def generation_of(code: str, fields: Mapping[str, str]) -> str:
    """Tell the generation (A, B, C) that a message itself proves; B, the design's own, if none."""
    with_command = "command" in fields
    if with_command and code in {"2000", "3000"}:
        return "A"
    if code in _ONLY_C or fields.get("msgProducerVersion", "") not in ABSENT:
        return "C"
    if with_command and code in {"2900", "3900"}:
        return "C"
    return "A" if code == "9000" else "B"


def monitoring_queue(code: str) -> str:
    """Name the queue of a code; raises NotFound for one that is never forwarded (4000, 4100)."""
    if code not in MONITORING_CODES:
        raise NotFound(f"no queue for code {code[:40]!r}; there is one for {MONITORING_CODES}")
    return MONITORING_QUEUE_PREFIX + code


def lower_uuid(text: str) -> str | None:
    """Give a UUID in lower case; None for any other text."""
    return text.lower() if _UUID.fullmatch(text) else None


def utc(stamp: str) -> datetime:
    """Read a msgTimestamp as aware UTC, cut to microseconds; raises ValueError.

    The oldest form has no zone and is taken as Europe/Paris, where the centres are; in the hour
    that autumn repeats, as the first one. A year that no clock of a centre can mean is refused.
    """
    try:
        moment = _local(stamp).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(stamp) from error
    if moment.year not in _YEARS:
        raise ValueError(stamp)
    return moment


def unstorable(text: str) -> str | None:
    """Name what PostgreSQL's text would refuse in this one: NUL, or half of a surrogate pair."""
    if "\x00" in text:
        return "a NUL character"
    return "half of a surrogate pair" if any("\ud800" <= c <= "\udfff" for c in text) else None


def present(fields: Mapping[str, str]) -> dict[str, str]:
    """Keep the fields that say something and do not begin with `msg`; an empty simuid stays."""
    return {
        name: value
        for name, value in fields.items()
        if not name.startswith("msg") and (value not in ABSENT or name == "simuid")
    }


def late_seconds(fields: Mapping[str, str]) -> timedelta:
    """Read jobWarningDelay, after which a job is late: above 0, at most 366 days.

    One day where it is absent or no such number: libIGCM sends "", "0" and "NONE" as well.
    """
    seconds = _number(fields.get("jobWarningDelay"), int(_LONGEST_DELAY.total_seconds()))
    return timedelta(seconds=seconds) if seconds else _DEFAULT_DELAY


def period_of(fields: Mapping[str, str]) -> int | None:
    """Read CumulPeriod, which counts from 1; None where it is absent or no such number."""
    return _number(fields.get("CumulPeriod"), _LARGEST_PERIOD) or None


def task_of(fields: Mapping[str, str]) -> Task | None:
    """Read what a post-processing job works on; None where the message does not tell."""
    name, day, dimension, component, file = (
        None if (value := fields.get(f"postProcessing{part}")) in ABSENT else value
        for part in ("Name", "Date", "Dimn", "Comp", "File")
    )
    task = Task(name=name, date=day, dimension=dimension, component=component, file=file)
    return None if task == Task() else task


def _number(text: str | None, largest: int) -> int | None:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > len(str(largest)):
        return None
    return number if (number := int(text)) <= largest else None


def _local(stamp: str) -> datetime:
    if _STAMP.fullmatch(stamp):
        return datetime.fromisoformat(stamp)
    if oldest := _OLDEST_STAMP.fullmatch(stamp):
        moment = datetime.fromisoformat("{}T{}.{}".format(*oldest.groups()))
        return moment.replace(tzinfo=ZoneInfo("Europe/Paris"))
    raise ValueError(stamp)
