"""The words of libIGCM's monitoring messages, in generations B and C, as they leave a job.

Which field stands where was read from real mails of 2014 and 2015 (B) and from libIGCM 2.8 (C).
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from supervision.sandbox.plans import Generation

SIMULATION_START: Final = "0000"
SIMULATION_END: Final = "0100"
JOB_START: Final = "1000"
PERIOD_START: Final = "1001"
JOB_END: Final = "1100"
POST_START: Final = "2000"
POST_END: Final = "2100"

_PRODUCER_VERSION: Final = "2.8.1"
_BILLION: Final = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Codes:
    """The codes that moved between the generations; `periods` tells whether 1001 is sent."""

    command: str
    fatal: str
    post_command: str
    post_fatal: str
    periods: bool


CODES: Final[Mapping[Generation, Codes]] = {
    Generation.B: Codes(
        command="4900", fatal="9999", post_command="4900", post_fatal="2900", periods=False
    ),
    Generation.C: Codes(
        command="1900", fatal="1999", post_command="2900", post_fatal="2999", periods=True
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """Whose messages these are. `simulation_uid` is "" where run.card is damaged."""

    generation: Generation
    simulation_uid: str
    job_uid: str

    @property
    def codes(self) -> Codes:
        """The codes of its generation."""
        return CODES[self.generation]


def stamp(nanoseconds: int) -> str:
    """Spell a time (since the epoch) with nine decimals and the local offset without a colon."""
    whole, rest = divmod(nanoseconds, _BILLION)
    local = time.localtime(whole)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{rest:09d}%z", local)


def new_uid() -> str:
    """Give a random UUID, lower case."""
    return str(uuid.uuid4())


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """A code's own fields, by the place where libIGCM puts them.

    `announced`: who and where, before simuid (0000 only). `begun`: before msgUID (the starts of
    generation C). `told`: after msgUID.
    """

    announced: Mapping[str, str] = field(default_factory=dict)
    begun: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)


def message(voice: Voice, code: str, words: Words, *, nanoseconds: int) -> dict[str, str]:
    """Build one message with its keys in libIGCM's order; the time is since the epoch."""
    return {
        **_head(voice.generation, words.announced),
        "simuid": voice.simulation_uid,
        "jobuid": voice.job_uid,
        "msgCode": code,
        **words.begun,
        "msgUID": new_uid(),
        **words.told,
        "msgTimestamp": stamp(nanoseconds),
    }


def _head(generation: Generation, announced: Mapping[str, str]) -> dict[str, str]:
    head = {"msgApplication": "monitoring", "msgProducer": "libigcm"}
    if generation is Generation.C:
        return {**head, "msgProducerVersion": _PRODUCER_VERSION, **announced}
    return {**head, **_with_cumul_period(announced)}


def _with_cumul_period(announced: Mapping[str, str]) -> dict[str, str]:
    """Place generation B's ever empty field: after the name, or alone."""
    if not announced:
        return {"cumulPeriod": ""}
    first = ("activity", "name")
    rest = {key: value for key, value in announced.items() if key not in first}
    return {**{key: announced[key] for key in first}, "cumulPeriod": "", **rest}


def line(values: Mapping[str, str]) -> str:
    """Spell a message as it travels: base64 of its JSON text and a newline, on one line."""
    text = json.dumps(values, separators=(",", ":")) + "\n"
    return base64.b64encode(text.encode()).decode()
