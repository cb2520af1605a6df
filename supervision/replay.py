"""Facts and policies as compact JSON, so that a verdict can be given again, bit for bit.

Times are ISO texts in UTC with microseconds, spans seconds, enums their values. Nothing is left
out, so a default that changes later changes no old decision; a field that is new takes its default.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import partial
from typing import Final, TypeVar

from cattrs import Converter
from cattrs.errors import ForbiddenExtraKeysError

from supervision.errors import InvalidValue
from supervision.facts import DecisionFacts, Look, Policy

T = TypeVar("T")

RACED: Final = "raced"
CRASH_LOOP: Final = "crash-loop"
UNREPLAYED: Final = frozenset({RACED, CRASH_LOOP})
"""Rules of the engine, not of the policy: no facts give them again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a verdict was given on, but for the policy: the facts and the moment, aware UTC."""

    facts: DecisionFacts
    now: datetime


_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dump(facts: DecisionFacts) -> str:
    """Write facts as JSON; equal facts give equal text. Raises InvalidValue for a naive time."""
    return _encode(_CONVERTER.unstructure(facts))


def load(text: str) -> DecisionFacts:
    """Read what `dump` wrote; raises InvalidValue for any other text."""
    return _loaded(text, DecisionFacts)


def dump_question(facts: DecisionFacts, now: datetime) -> str:
    """Write facts together with the moment of their verdict, as the ledger keeps them."""
    return _encode(_CONVERTER.unstructure(Question(facts=facts, now=now)))


def load_question(text: str) -> Question:
    """Read what `dump_question` wrote; raises InvalidValue for any other text."""
    return _loaded(text, Question)


def dump_looks(looks: tuple[Look, ...]) -> str:
    """Write what was seen at the centre, newest last, as the ledger keeps it between decisions."""
    return _encode(_CONVERTER.unstructure(looks, tuple[Look, ...]))


def load_looks(text: str) -> tuple[Look, ...]:
    """Read what `dump_looks` wrote; raises InvalidValue for any other text."""
    return _loaded(text, tuple[Look, ...])


def dump_policy(policy: Policy) -> str:
    """Write a policy as JSON; equal policies give equal text. Raises InvalidValue as `dump`."""
    return _encode(_CONVERTER.unstructure(policy))


def load_policy(text: str) -> Policy:
    """Read what `dump_policy` wrote; raises InvalidValue for any other text."""
    return _loaded(text, Policy)


def _loaded(text: str, kind: type[T]) -> T:
    try:
        return _CONVERTER.structure(json.loads(text), kind)
    except _UNREADABLE as error:
        raise InvalidValue(
            f"no {getattr(kind, '__name__', kind)} can be read from this text: {error!r}"
        ) from error


_UNREADABLE: Final = (
    AttributeError,
    ForbiddenExtraKeysError,
    LookupError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


def _time_text(at: datetime) -> str:
    if at.tzinfo is not UTC:  # what comes from the database is in UTC
        if at.utcoffset() is None:
            raise InvalidValue(f"a time without a zone cannot be replayed: {at.isoformat()}")
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")


def _time(text: str, _kind: type) -> datetime:
    at = datetime.fromisoformat(text)
    if at.utcoffset() is None:
        raise ValueError(f"a time without a zone: {text}")
    return at.astimezone(UTC)


def _exactly(basic: type, value: object, kind: Callable[[object], T]) -> T:
    """Nothing is made to fit: an id that is null must not become the text "None"."""
    if type(value) is not basic:
        raise TypeError(f"{value!r} is no {basic.__name__}")
    return kind(value)


def _is_counts(kind: object) -> bool:
    return kind == dict[str, int]


def _sorted(counts: dict[str, int]) -> dict[str, int]:
    """Equal dicts may differ in their order; equal texts may not."""
    return dict(sorted(counts.items()))


def _converter() -> Converter:
    converter = Converter(detailed_validation=False, forbid_extra_keys=True)
    converter.register_unstructure_hook(datetime, _time_text)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    converter.register_unstructure_hook_func(_is_counts, _sorted)
    # The enums are texts and numbers already, which is what the encoder writes.
    converter.register_unstructure_hook(Enum, lambda value: value)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(date, lambda text, _: date.fromisoformat(text))
    converter.register_structure_hook(timedelta, lambda value, _: timedelta(seconds=value))
    for basic in (str, int, bool):
        converter.register_structure_hook(basic, partial(_exactly, basic))
    return converter


_CONVERTER: Final = _converter()
