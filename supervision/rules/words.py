"""The words in which rules speak to people: times, spans, triggers, jobs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from supervision.facts import Trigger, TriggerKind

TRIGGERS: Final = {
    TriggerKind.FATAL: "failed",
    TriggerKind.POST_PROCESSING: "failed",
    TriggerKind.LATE: "is silent for too long",
    TriggerKind.STALLED: "ended, and no next job has started",
    TriggerKind.COMMAND: "reported a failed command",
}
"""What a trigger says of its job, after the job's name."""

_UNITS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def utc(at: datetime) -> str:
    """Spell an aware time in UTC, to the second: `2015-03-18 08:48:48 UTC`."""
    offset = at.utcoffset()
    plain = at.replace(tzinfo=None) - (offset or timedelta())
    return plain.isoformat(" ", "seconds") + " UTC"


def span(length: timedelta) -> str:
    """Spell a span in the largest unit that divides its whole seconds: `5 d`, `90 min`, `0 s`."""
    seconds = int(length.total_seconds())
    unit, size = next((u, s) for u, s in _UNITS if seconds % s == 0 and (seconds or s == 1))
    return f"{seconds // size} {unit}"


def what_happened(uid: str, trigger: Trigger) -> str:
    """Say what a trigger tells of job `uid`, with its time: the beginning of many a sentence."""
    return f"job {uid} {TRIGGERS[trigger.kind]} ({utc(trigger.at)})"
