"""Facts and wake-ups in the envelopes of the queues: there and back, from us and from strangers."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervision.errors import DecodeError, InvalidValue, NotFound
from supervision.fsm.states import Queue
from supervision.messages import MONITORING_CODES, Envelope, MonitoringMessage, WakeUp
from supervision.wire import (
    ENVELOPE_LIMIT,
    decode_line,
    decode_monitoring,
    decode_monitoring_envelope,
    decode_wakeup,
    monitoring_envelope,
    wakeup_envelope,
)
from supervision.wire_text import SIZE_LIMIT

CONSTRUCTED = Path(__file__).parents[1] / "data" / "messages" / "constructed.json"

FATAL = {
    "msgApplication": "monitoring",
    "msgProducer": "libigcm",
    "cumulPeriod": "",
    "simuid": "71105649-17e8-491a-8f8f-4ee26a22524d",
    "jobuid": "42B49183-B8A8-4CD1-9C5C-6E2B7BD0F8E1",
    "msgCode": "9999",
    "msgUID": "1D0C3A5E-3D7F-4B8E-9C39-0F5D7C6C2A11",
    "msgTimestamp": "2015-03-18T09:48:48.902943114+0100",
}


def text(*left_out: str, **changes: object) -> bytes:
    """Write a fatal message with some fields changed, added or left out."""
    message = {**FATAL, **changes}
    return json.dumps({key: message[key] for key in message if key not in left_out}).encode()


SIMULATION = "71105649-17e8-491a-8f8f-4ee26a22524d"
JOB = "42b49183-b8a8-4cd1-9c5c-6e2b7bd0f8e1"
SUPERVISION = "6f9ea2b7-0c52-4e6b-a0b1-6cf4b7b4bd7c"
NOW = datetime(2015, 3, 18, 8, 50, 0, 5, tzinfo=UTC)


def envelope(body: bytes = b"{}", **changes: object) -> Envelope:
    """Give the envelope of a fatal message as a plain client sends it, with some changes."""
    plain = Envelope(
        queue="in-monitoring-9999",
        body=body,
        message_id="1d0c3a5e-3d7f-4b8e-9c39-0f5d7c6c2a11",
        type="9999",
        app_id="monitoring",
        timestamp=NOW,
        headers={"correlation_id_1": SIMULATION, "correlation_id_2": JOB},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def constructed() -> list[MonitoringMessage]:
    """Decode every constructed message that has a queue."""
    entries = [entry for code in json.loads(CONSTRUCTED.read_text()).values() for entry in code]
    messages = [decode_monitoring(json.dumps(entry["message"]).encode()) for entry in entries]
    return [message for message in messages if message.code in MONITORING_CODES]


def test_every_constructed_message_survives_its_queue() -> None:
    """All but the text of the body comes back, and a second journey changes nothing at all."""
    for message in constructed():
        first = decode_monitoring_envelope(monitoring_envelope(message))
        assert replace(message, body=first.body) == first
        assert first == decode_monitoring_envelope(monitoring_envelope(first))
        assert replace(first, mailed_at=None) == decode_monitoring(first.body.encode())


def test_an_envelope_carries_what_the_contract_names() -> None:
    """Properties hold who, what and when; the body the fields that do not begin with msg."""
    expected = Envelope(
        queue="in-monitoring-9999",
        body=json.dumps({"cumulPeriod": "", "simuid": SIMULATION, "jobuid": FATAL["jobuid"]})
        .replace(" ", "")
        .encode(),
        message_id="1d0c3a5e-3d7f-4b8e-9c39-0f5d7c6c2a11",
        type="9999",
        app_id="monitoring",
        timestamp=datetime(2015, 3, 18, 8, 48, 48, 902943, tzinfo=UTC),
        headers={
            "producer_id": "libigcm",
            "producer_version": "2.8.1",
            "correlation_id_1": SIMULATION,
            "correlation_id_2": JOB,
            "emitted_as": "2015-03-18T09:48:48.902943114+0100",
            "mailed_at": "2015-03-18T08:50:00.000005+00:00",
        },
    )
    message = decode_monitoring(text(msgProducerVersion="2.8.1"), mailed_at=NOW)
    assert expected == monitoring_envelope(message)


def test_a_config_card_travels_in_the_body() -> None:
    """It may be larger than a broker's header frame; beside it the message stays complete."""
    card = "#- été\n[UserChoices]\n" * 10_000
    message = decode_monitoring(text(msgCode="0000"), mailed_at=NOW, config_card=card)
    read = decode_monitoring_envelope(monitoring_envelope(message))
    assert replace(message, body=read.body) == read


def test_a_message_without_a_simulation_survives_its_queue() -> None:
    """An empty simuid stays empty: the headers do not name what is not known."""
    sent = monitoring_envelope(decode_monitoring(text(simuid="")))
    read = decode_monitoring_envelope(sent)
    assert (False, None) == ("correlation_id_1" in sent.headers, read.simulation_uid)


@pytest.mark.parametrize("code", ["4000", "4100"])
def test_what_has_no_queue_gets_no_envelope(code: str) -> None:
    """Pushes and pops are never forwarded."""
    with pytest.raises(NotFound):
        monitoring_envelope(decode_monitoring(text(msgCode=code)))


def test_a_plain_client_may_send_the_properties_alone() -> None:
    """Ids come from the correlation headers, the time from the timestamp property."""
    read = decode_monitoring_envelope(envelope())
    assert (SIMULATION, JOB, "9999", NOW) == (
        read.simulation_uid,
        read.job_uid,
        read.code,
        read.emitted_at,
    )


@pytest.mark.parametrize("missing", [{"type": ""}, {"message_id": ""}, {"headers": {}}])
def test_a_complete_body_needs_no_properties(missing: dict[str, object]) -> None:
    """The whole of libIGCM's JSON is read as it is, and kept as it came."""
    assert decode_monitoring(text()) == decode_monitoring_envelope(envelope(text(), **missing))


def test_a_complete_body_wins_over_the_properties() -> None:
    """A client's own message id or version must not make another message of a repeated one."""
    sent = envelope(
        text(),
        message_id=SUPERVISION,
        type="1000",
        headers={"producer_version": "9.9", "correlation_id_1": JOB, "emitted_as": "never"},
    )
    assert decode_monitoring(text()) == decode_monitoring_envelope(sent)


def test_a_missing_type_is_taken_from_the_queue() -> None:
    """The queue's name ends with the code."""
    read = decode_monitoring_envelope(envelope(queue="in-monitoring-1999", type=""))
    assert ("1999", "C") == (read.code, read.generation)


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("message_id is missing", envelope(message_id="")),
        ("message_id is missing", envelope(b'{"msgUID":""}', message_id="")),
        ("msgUID is not a UUID", envelope(message_id="1")),
        ("unknown code 'urgent'", envelope(type="urgent")),
        ("unknown code 'letters'", envelope(queue="letters", type="")),
        ("simuid is missing", envelope(headers={"correlation_id_2": JOB})),
        ("jobuid is missing", envelope(headers={"correlation_id_1": SIMULATION})),
        ("jobuid is not a UUID", envelope(b'{"jobuid":""}')),
        ("msgTimestamp is no time", envelope(timestamp=NOW.replace(tzinfo=None))),
        (
            "msgTimestamp is no time",
            envelope(text("msgTimestamp"), headers={"emitted_as": "yesterday"}),
        ),
        ("header mailed_at is no time", envelope(text(), headers={"mailed_at": "today"})),
        ("wrong type: 'config_card'", envelope(b'{"config_card":1}', type="0000")),
        ("'config.card' holds a NUL", envelope(b'{"config_card":"\\u0000"}', type="0000")),
        ("'name' holds half of a surrogate", envelope(b'{"name":"\\ud800"}')),
        ("wrong type: 'name'", envelope(b'{"name":7}')),
        ("not JSON", envelope(b"")),
        ("not a JSON object", envelope(b"[]")),
        ("too large", envelope(b" " * (ENVELOPE_LIMIT + 1))),
    ],
)
def test_an_envelope_that_holds_no_message_is_refused(reason: str, sent: Envelope) -> None:
    """Its body is kept unchanged for the dead letter."""
    with pytest.raises(DecodeError) as caught:
        decode_monitoring_envelope(sent)
    assert (reason, sent.body) == (str(caught.value)[: len(reason)], caught.value.raw)


WAKEUPS = [
    ("late-jobs", WakeUp(queue=Queue.LATE_JOBS, job_uid=JOB)),
    ("detect", WakeUp(queue=Queue.DETECT, job_uid=JOB, simulation_uid=SIMULATION)),
    ("detect", WakeUp(queue=Queue.DETECT, job_uid=JOB)),
    ("format", WakeUp(queue=Queue.FORMAT, supervision_id=SUPERVISION)),
    ("dispatch", WakeUp(queue=Queue.DISPATCH, supervision_id=SUPERVISION)),
    ("execution", WakeUp(queue=Queue.EXECUTION, supervision_id=SUPERVISION)),
]


@pytest.mark.parametrize(("stage", "wakeup"), WAKEUPS)
def test_a_wakeup_survives_its_queue(stage: str, wakeup: WakeUp) -> None:
    """Each queue carries the ids that its verb needs, and its stage as type."""
    sent = wakeup_envelope(wakeup, message_id="m-1", now=NOW)
    assert (wakeup, stage, "supervision") == (decode_wakeup(sent), sent.type, sent.app_id)


def test_a_wakeup_envelope_whole() -> None:
    """The body is the ids alone; the correlation headers repeat what they can."""
    expected = Envelope(
        queue="internal-supervision-detect",
        body=f'{{"job_uid":"{JOB}","simulation_uid":"{SIMULATION}"}}'.encode(),
        message_id="m-1",
        type="detect",
        app_id="supervision",
        timestamp=NOW,
        headers={
            "correlation_id_1": SIMULATION,
            "correlation_id_2": JOB,
            "producer_id": "supervision",
        },
    )
    wakeup = WakeUp(queue=Queue.DETECT, job_uid=JOB, simulation_uid=SIMULATION)
    assert expected == wakeup_envelope(wakeup, message_id="m-1", now=NOW)


@pytest.mark.parametrize("queue", list(Queue))
def test_a_wakeup_without_its_id_is_not_sent(queue: Queue) -> None:
    """The mistake is the sender's, and is found there."""
    with pytest.raises(InvalidValue, match=f"{queue} needs"):
        wakeup_envelope(WakeUp(queue=queue), message_id="m-1", now=NOW)


@pytest.mark.parametrize(
    ("queue", "body", "wakeup"),
    [
        (
            "internal-supervision-detect",
            {"sim-uid": SIMULATION.upper(), "job-uid": JOB.upper(), "extra": 1},
            WAKEUPS[1][1],
        ),
        ("internal-supervision-detect", {"simulation_uid": None, "job_uid": JOB}, WAKEUPS[2][1]),
        (
            "internal-supervision-format",
            {"supervision_id": SUPERVISION, "job_uid": JOB},
            WAKEUPS[3][1],
        ),
    ],
)
def test_other_spellings_of_a_wakeup(queue: str, body: dict[str, object], wakeup: WakeUp) -> None:
    """The older names are understood, and what the queue does not need is left out."""
    assert wakeup == decode_wakeup(envelope(json.dumps(body).encode(), queue=queue))


@pytest.mark.parametrize(
    ("reason", "queue", "body"),
    [
        ("'in-monitoring-9999' carries no wake-ups", "in-monitoring-9999", b"{}"),
        ("job_uid is missing", "internal-supervision-detect", b"{}"),
        ("job_uid is missing", "internal-monitoring-late-jobs", b'{"job_uid":null}'),
        ("job_uid is missing, or no string", "internal-supervision-detect", b'{"job_uid":7}'),
        ("job_uid is not a UUID", "internal-supervision-detect", b'{"job_uid":"7"}'),
        (
            "simulation_uid is not a UUID",
            "internal-supervision-detect",
            f'{{"job_uid":"{JOB}","sim-uid":""}}'.encode(),
        ),
        ("supervision_id is missing", "out-supervision-dispatch", b'{"job_uid":"7"}'),
        ("supervision_id is not a UUID", "in-supervision-execution", b'{"supervision_id":"1"}'),
        ("not JSON", "internal-supervision-format", b"nonsense"),
        ("not UTF-8", "internal-supervision-format", b"\xff"),
        ("too large", "internal-supervision-format", b" " * (SIZE_LIMIT + 1)),
    ],
)
def test_a_wakeup_that_names_no_row_is_refused(reason: str, queue: str, body: bytes) -> None:
    """A hint that nobody can follow is a dead letter, with its reason."""
    with pytest.raises(DecodeError) as caught:
        decode_wakeup(envelope(body, queue=queue))
    assert (reason, body) == (str(caught.value)[: len(reason)], caught.value.raw)


NAMES = st.sampled_from(["name", "login", "experiment", "command", "CumulPeriod", "dirFrom"])
VALUES = st.text(alphabet='aé1 $"\\\n\U0001f30d', max_size=20) | st.sampled_from(["null", "NONE"])


@settings(deadline=None)
@given(st.sampled_from(MONITORING_CODES), st.dictionaries(NAMES, VALUES))
def test_any_fields_survive_line_and_queue(code: str, fields: dict[str, str]) -> None:
    """Line to value to envelope to value: nothing is lost, and absent stays absent."""
    raw = text(**{**fields, "msgCode": code})
    message = decode_line(base64.b64encode(raw), mailed_at=NOW, config_card="[UserChoices]")
    read = decode_monitoring_envelope(monitoring_envelope(message))
    assert replace(message, body=read.body) == read
    given_fields = {k: v for k, v in fields.items() if v not in {"", "null", "NONE"}}
    assert given_fields == {k: v for k, v in message.fields.items() if k in fields}
