"""The JSON text of messages: parsed with care, and every reason why a text is no message.

The inner half of `wire.py`, which is what others import.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from supervision.messages import (
    ABSENT,
    FIELD_LIMITS,
    SHORT,
    Meaning,
    MonitoringMessage,
    generation_of,
    lower_uuid,
    meaning_of,
    present,
    unstorable,
    utc,
)

SIZE_LIMIT: Final = 1 << 20
"""Bytes that the JSON text of one message may have; the longest real one has about 2,000."""

_FOLD: Final = 2047  # where mail relays were seen to break a line in two


class Unreadable(Exception):
    """Why a text is no message; whoever holds the raw bytes makes the DecodeError of it."""


def from_base64(text: bytes) -> bytes:
    """Undo base64, strictly; a line cut at 2047 characters is named as folded."""
    if len(text) > SIZE_LIMIT * 4 // 3 + 4:
        raise Unreadable(f"too large: a line of {len(text)} bytes")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        cut = len(text) == _FOLD
        folded = f" ({_FOLD} characters: folded on its way?)" if cut else ""
        raise Unreadable(f"not base64: {error}{folded}") from error


def decode_text(
    raw: bytes, mailed_at: datetime | None, config_card: str | None
) -> MonitoringMessage:
    """Read the JSON text of one message, of whatever generation."""
    payload, text = parsed(raw, SIZE_LIMIT)
    if "\\" in text:  # only an escape can bring in what text columns refuse
        _check_storable(payload)
    values = strings_of(payload)
    code, meaning = code_of(values)
    emitted_as = required(values, "msgTimestamp")
    version = values.get("msgProducerVersion", "")
    return MonitoringMessage(
        uid=uuid_of(values, "msgUID"),
        code=code,
        generation=generation_of(code, values),
        meaning=meaning,
        simulation_uid=None if required(values, "simuid") in ABSENT else uuid_of(values, "simuid"),
        job_uid=None if meaning is Meaning.DELETED else uuid_of(values, "jobuid"),
        emitted_as=emitted_as,
        emitted_at=moment_of(emitted_as, "msgTimestamp"),
        fields=present(values),
        body=text,
        producer_version=None if version in ABSENT else version,
        mailed_at=mailed_at,
        config_card=kept_card(meaning, config_card),
    )


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that occurs twice with different values: which one is meant, nobody knows."""
    payload = dict(pairs)
    if len(payload) != len(pairs):
        for key, value in pairs:
            if payload[key] != value:
                raise Unreadable(f"{key[:40]!r} occurs twice, with different values")
    return payload


_JSON: Final = json.JSONDecoder(object_pairs_hook=_once)


def parsed(raw: bytes, limit: int) -> tuple[dict[str, object], str]:
    """Parse a JSON object of at most `limit` bytes; returns it and its text."""
    if len(raw) > limit:
        raise Unreadable(f"too large: {len(raw)} bytes, at most {limit} are read")
    try:
        text = raw.decode().strip()
        payload = _JSON.decode(text)
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise Unreadable("not a JSON object")
    return payload, text


def dumped(payload: Mapping[str, object]) -> bytes:
    """Write JSON with escapes for all but ASCII: half surrogates reach the check, not a crash."""
    return json.dumps(payload, separators=(",", ":")).encode()


def strings_of(payload: Mapping[str, object]) -> dict[str, str]:
    """Keep the fields that are strings of a sensible length; only `arguments` may be a list."""
    values = {}
    for key, value in payload.items():
        if isinstance(value, str):
            if len(value) > SHORT and len(value) > FIELD_LIMITS.get(key, SIZE_LIMIT):
                raise Unreadable(f"{key} is too long: {len(value)} characters")
            values[key] = value
        else:
            _check_arguments(key, value)
    return values


def _check_arguments(key: str, value: object) -> None:
    if key != "arguments" or not isinstance(value, list):
        raise Unreadable(f"wrong type: {key[:40]!r} is no string but {type(value).__name__}")
    if not all(isinstance(item, str) for item in value):
        raise Unreadable("wrong type: 'arguments' holds more than strings")


def _check_storable(payload: Mapping[str, object]) -> None:
    for key, value in payload.items():
        items = value if isinstance(value, list) else (value,)
        for text in (key, *items):
            if isinstance(text, str) and (refused := unstorable(text)):
                raise Unreadable(f"{key[:40]!a} holds {refused}")


def required(values: Mapping[str, str], name: str) -> str:
    """Read a field that must be there."""
    value = values.get(name)
    if value is None:
        raise Unreadable(f"{name} is missing")
    return value


def uuid_of(values: Mapping[str, object], name: str) -> str:
    """Read a field that must be a UUID, in lower case."""
    value = values.get(name)
    if not isinstance(value, str):
        raise Unreadable(f"{name} is missing, or no string")
    uuid = lower_uuid(value)
    if uuid is None:
        raise Unreadable(f"{name} is not a UUID: {value[:63]!a}")
    return uuid


def code_of(values: Mapping[str, str]) -> tuple[str, Meaning]:
    """Read the code, and what it means beside the other fields."""
    code = required(values, "msgCode")
    meaning = meaning_of(code, values)
    if meaning is None:
        raise Unreadable(f"unknown code {code[:40]!a}")
    return code, meaning


def kept_card(meaning: Meaning, card: str | None) -> str | None:
    """Keep the config.card for the one message that it belongs to."""
    if card is None or meaning is not Meaning.SIMULATION_START:
        return None
    _check_storable({"config.card": card})
    return card


def moment_of(stamp: str, name: str) -> datetime:
    """Read a time as aware UTC."""
    try:
        return utc(stamp)
    except ValueError as error:
        raise Unreadable(f"{name} is no time: {stamp[:63]!a}") from error
