"""Bytes <-> the values of `messages.py`: libIGCM's JSON, lines of mails, and the queues' envelopes.

Everything that no row may ever hold is refused here, with a DecodeError that says why and keeps
the raw bytes; nobody further on looks at a message's shape again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from supervision.errors import DecodeError, InvalidValue
from supervision.fsm.states import Queue
from supervision.messages import (
    MONITORING_QUEUE_PREFIX,
    Envelope,
    MonitoringMessage,
    WakeUp,
    monitoring_queue,
)
from supervision.wire_text import (
    SIZE_LIMIT,
    Unreadable,
    decode_text,
    dumped,
    from_base64,
    moment_of,
    parsed,
    uuid_of,
)

ENVELOPE_LIMIT: Final = 4 << 20
"""Bytes that a body on a queue may have: a message and its config.card."""

UNTRACED: Final[Mapping[str, str]] = MappingProxyType({})

_CARD: Final = "config_card"
_MUST: Final = {
    Queue.LATE_JOBS: ("job_uid",),
    Queue.DETECT: ("job_uid",),
    Queue.FORMAT: ("supervision_id",),
    Queue.DISPATCH: ("supervision_id",),
    Queue.EXECUTION: ("supervision_id",),
}
_MAY: Final = {Queue.DETECT: ("simulation_uid",)}  # unknown where the job's simuid was damaged
_SPELLINGS: Final = {"sim-uid": "simulation_uid", "job-uid": "job_uid"}


def decode_monitoring(
    raw: bytes, *, mailed_at: datetime | None = None, config_card: str | None = None
) -> MonitoringMessage:
    """Read the JSON text of one message, in any of libIGCM's generations.

    `mailed_at` is aware UTC. `config_card` is kept by a 0000 and by no other code, so a caller may
    give it with every message of a mail. Raises DecodeError, with the reason, for whatever no row
    may ever hold. A msgTimestamp of the oldest form has no zone and is taken as Europe/Paris (in
    the hour that occurs twice: the first).
    """
    try:
        return decode_text(raw, mailed_at, config_card)
    except Unreadable as error:
        raise DecodeError(str(error), raw) from error


def decode_line(
    line: bytes, *, mailed_at: datetime | None = None, config_card: str | None = None
) -> MonitoringMessage:
    """Read one line of a mail: base64 of the JSON text, or the JSON text itself.

    Line ends around it are tolerated, nothing else is. Raises DecodeError with the line as `raw`.
    """
    text = line.strip(b"\r\n")
    try:
        raw = text if text.startswith(b"{") else from_base64(text)
        return decode_text(raw, mailed_at, config_card)
    except Unreadable as error:
        raise DecodeError(str(error), line) from error


def monitoring_envelope(message: MonitoringMessage) -> Envelope:
    """Put a fact into the envelope that its queue carries; `decode_monitoring_envelope` undoes it.

    What comes back is equal but for `body`, which is then JSON rebuilt from body and properties.
    Raises NotFound for a code that has no queue.
    """
    payload = parsed(message.body.encode(), SIZE_LIMIT)[0]
    body = {key: value for key, value in payload.items() if not key.startswith("msg")}
    if message.config_card is not None:
        body[_CARD] = message.config_card
    return Envelope(
        queue=monitoring_queue(message.code),
        body=dumped(body),
        message_id=message.uid,
        type=message.code,
        app_id="monitoring",
        timestamp=message.emitted_at,
        headers=_headers(message, payload),
    )


def decode_monitoring_envelope(envelope: Envelope) -> MonitoringMessage:
    """Read a fact from a queue, from us or from any AMQP client.

    What the body lacks comes from the properties: msgUID from message_id, msgCode from type, else
    from the queue's name, msgTimestamp from header emitted_as, else from timestamp, simuid and
    jobuid from the correlation headers. What the body has wins. `body` of the result is complete,
    so that `decode_monitoring` can read it again. Raises DecodeError with the envelope's body.
    """
    try:
        payload, text = parsed(envelope.body, ENVELOPE_LIMIT)
        card = _card(payload)
        lacking = _lacking(envelope, payload)
        if lacking or card is not None:
            payload.pop(_CARD, None)
            text = dumped(lacking | payload).decode()
        return decode_text(text.encode(), _mailed_at(envelope), card)
    except Unreadable as error:
        raise DecodeError(str(error), envelope.body) from error


def wakeup_envelope(
    wakeup: WakeUp, *, message_id: str, now: datetime, traced: Mapping[str, str] = UNTRACED
) -> Envelope:
    """Put a hint into its queue's envelope; raises InvalidValue where an id that it needs lacks.

    `traced` are the headers that tell from which step it came.
    """
    ids = {name: getattr(wakeup, name) for name in _names(wakeup.queue)}
    for name in _MUST[wakeup.queue]:
        if ids[name] is None:
            raise InvalidValue(f"a wake-up for {wakeup.queue} needs {name}")
    headers = {
        "correlation_id_1": wakeup.simulation_uid,
        "correlation_id_2": wakeup.job_uid,
        "producer_id": "supervision",
        **traced,
    }
    return Envelope(
        queue=wakeup.queue,
        body=dumped({name: value for name, value in ids.items() if value is not None}),
        message_id=message_id,
        type=wakeup.queue.name.lower().replace("_", "-"),
        app_id="supervision",
        timestamp=now,
        headers={name: value for name, value in headers.items() if value is not None},
    )


def decode_wakeup(envelope: Envelope) -> WakeUp:
    """Read a hint; `sim-uid` and `job-uid` are accepted spellings, unknown keys are ignored.

    A detect may lack simulation_uid. Raises DecodeError for a queue that carries no wake-ups, and
    for a body that does not hold the UUIDs which the queue needs.
    """
    try:
        return _wakeup(envelope)
    except Unreadable as error:
        raise DecodeError(str(error), envelope.body) from error


def _headers(message: MonitoringMessage, payload: Mapping[str, object]) -> dict[str, str]:
    mailed_at = message.mailed_at
    headers = {
        "producer_id": str(payload.get("msgProducer", "libigcm")),
        "producer_version": message.producer_version,
        "correlation_id_1": message.simulation_uid,
        "correlation_id_2": message.job_uid,
        "emitted_as": message.emitted_as,
        "mailed_at": None if mailed_at is None else mailed_at.isoformat(),
    }
    return {name: value for name, value in headers.items() if value is not None}


def _lacking(envelope: Envelope, payload: Mapping[str, object]) -> dict[str, object]:
    """List what the properties add to a body; a complete body needs nothing of them."""
    headers = envelope.headers
    known: dict[str, object] = {
        "msgApplication": "monitoring",
        "msgProducer": headers.get("producer_id"),
        "msgProducerVersion": None if "msgCode" in payload else headers.get("producer_version"),
        "simuid": headers.get("correlation_id_1"),
        "jobuid": headers.get("correlation_id_2"),
        "msgCode": envelope.type or envelope.queue.removeprefix(MONITORING_QUEUE_PREFIX),
        "msgUID": envelope.message_id,
        "msgTimestamp": headers.get("emitted_as") or envelope.timestamp.isoformat(),
    }
    if not (payload.get("msgUID") or envelope.message_id):
        raise Unreadable("message_id is missing")
    return {name: value for name, value in known.items() if value and name not in payload}


def _card(payload: Mapping[str, object]) -> str | None:
    card = payload.get(_CARD)
    if card is not None and not isinstance(card, str):
        raise Unreadable(f"wrong type: {_CARD!r} is no string but {type(card).__name__}")
    return card


def _mailed_at(envelope: Envelope) -> datetime | None:
    text = envelope.headers.get("mailed_at")
    return moment_of(text, "header mailed_at") if text else None


def _names(queue: Queue) -> tuple[str, ...]:
    return _MUST[queue] + _MAY.get(queue, ())


def _wakeup(envelope: Envelope) -> WakeUp:
    try:
        queue = Queue(envelope.queue)
    except ValueError as error:
        raise Unreadable(f"{envelope.queue!r} carries no wake-ups") from error
    payload = parsed(envelope.body, SIZE_LIMIT)[0]
    named = {_SPELLINGS.get(key, key): value for key, value in payload.items()}
    needed = [*_MUST[queue], *(name for name in _MAY.get(queue, ()) if named.get(name) is not None)]
    return WakeUp(queue=queue, **{name: uuid_of(named, name) for name in needed})
