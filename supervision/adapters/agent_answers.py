"""What the agent's answers mean: lines into frozen values, everything checked on the way.

The other half of `agent_protocol.py`. Raises ProtocolError for whatever an agent of ours never
says; no `Any` gets past. Single fields and their bounds are in `agent_values.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from supervision.adapters.agent_values import (
    INTEGER,
    LARGE,
    NAME_LENGTH,
    cleaned,
    counted,
    job_of,
    number_of,
    text_of,
    time_of,
    told,
)
from supervision.errors import ProtocolError, SiteUnavailable
from supervision.facts import Answer, AnswerKind, EndReason, Key, Look, RunCard, Sight


class Health(StrEnum):
    """How one thing is that an agent needs."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What `doctor` found about one thing: good, doubtful or bad; the words say what to do."""

    check: str
    state: Health
    words: str


_HIGHEST_EXIT_CODE: Final = 255
_MOST_REPORTED: Final = 1000
_ERROR_LENGTH: Final = 2000


def reply_of(line: bytes) -> dict[str, object]:
    """Read one line; raises ProtocolError when it is no JSON object."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the peer is no agent; it said {line[:200]!r}") from error
    if not isinstance(reply, dict):
        raise ProtocolError(f"the peer is no agent; it said {line[:200]!r}")
    return reply


def raise_error(reply: Mapping[str, object]) -> None:
    """Raise what an error answer means: SiteUnavailable for `later`, else ProtocolError."""
    if "error" not in reply:
        return
    said = cleaned(str(reply["error"]), _ERROR_LENGTH)
    if reply.get("later") is True:
        raise SiteUnavailable(f"the agent could not: {said}")
    raise ProtocolError(f"the agent refused the request: {said}")


def rows_of(reply: Mapping[str, object], name: str, count: int) -> list[dict[str, object]]:
    """Read a list of exactly `count` objects; raises ProtocolError for anything else."""
    rows = reply.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ProtocolError(f"the answer has no list of {name}")
    if len(rows) != count:
        raise ProtocolError(f"the answer has {len(rows)} {name}, not {count}")
    return rows


def answer_of(row: Mapping[str, object], key: Key, journal_id: str) -> Answer:
    """Read what the agent says of a key; raises ProtocolError for words that are not its own."""
    report = _report(row.get("report"))
    return Answer(
        key=key,
        kind=_answer_kind(row),
        detail=text_of(row, "detail"),
        journal_id=journal_id,
        exit_code=number_of(row, "exit_code", _HIGHEST_EXIT_CODE),
        scheduler_id=job_of(report.get("scheduler_id")),
        period=counted(report.get("period")),
        report=report,
        output_tail=text_of(row, "output_tail"),
    )


def _answer_kind(row: Mapping[str, object]) -> AnswerKind:
    try:
        return AnswerKind(text_of(row, "kind", NAME_LENGTH))
    except ValueError as error:
        raise ProtocolError(f"no such answer: {row.get('kind')!r}") from error


def _report(value: object) -> dict[str, str | int | list[str] | None]:
    """Read what a script said last. It may say anything: what has no place is kept as JSON text."""
    if not isinstance(value, dict):
        return {}
    kept = list(value.items())[:_MOST_REPORTED]
    return {cleaned(str(name)): _reported(said) for name, said in kept}


def _reported(said: object) -> str | int | list[str] | None:
    if said is None or (isinstance(said, int) and abs(said) <= INTEGER):
        return said
    if isinstance(said, list):
        return [_spoken(item) for item in said[:_MOST_REPORTED]]
    return _spoken(said)


def _spoken(said: object) -> str:
    return cleaned(said if isinstance(said, str) else json.dumps(said))


def look_of(row: Mapping[str, object], offset: timedelta) -> Look:
    """Read what was seen; `offset` is the agent's clock minus ours."""
    others = row.get("others")
    if not isinstance(others, bool | None):
        raise ProtocolError(f"others is neither yes, no nor unknown: {others!r}")
    return Look(
        at=time_of(row, "at") - offset,
        sight=_sight(row),
        reason=_reason(row, "reason"),
        scheduler_alive=row.get("scheduler_alive") is True,
        others=others,
        newest=_reason(row, "newest"),
        run_card=_run_card(row.get("run_card")),
        output_tail=text_of(row, "output_tail"),
        free_bytes=number_of(row, "free_bytes", LARGE),
        problem=text_of(row, "problem") or None,
    )


def findings_of(reply: Mapping[str, object]) -> list[Finding]:
    """Read what the agent found about itself and its place."""
    rows = reply.get("findings")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ProtocolError("the answer has no list of findings")
    return [_finding(row) for row in rows[:_MOST_REPORTED]]


def _finding(row: Mapping[str, object]) -> Finding:
    try:
        state = Health(text_of(row, "state", NAME_LENGTH))
    except ValueError as error:
        raise ProtocolError(f"no such finding: {row.get('state')!r:.80}") from error
    return Finding(
        check=text_of(row, "check", NAME_LENGTH), state=state, words=text_of(row, "words")
    )


def _sight(row: Mapping[str, object]) -> Sight:
    try:
        return Sight(text_of(row, "sight", NAME_LENGTH))
    except ValueError as error:
        raise ProtocolError(f"no such sight: {row.get('sight')!r}") from error


def _reason(row: Mapping[str, object], name: str) -> EndReason | None:
    try:
        return EndReason(text_of(row, name, NAME_LENGTH)) if row.get(name) is not None else None
    except ValueError as error:
        raise ProtocolError(f"no such reason: {row.get(name)!r}") from error


def _run_card(value: object) -> RunCard | None:
    """Read what stands in a file that its owner edits: what makes no sense there is not known."""
    if not isinstance(value, dict):
        return None
    return RunCard(
        simulation_uid=told(value.get("simulation_uid")),
        state=told(value.get("state")),
        period=counted(value.get("period")),
        begin=told(value.get("begin")),
    )
