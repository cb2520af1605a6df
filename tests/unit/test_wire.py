"""What bytes are messages, on lines and on queues, and what is refused with which reason."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervision.errors import DecodeError
from supervision.wire import (
    decode_line,
    decode_monitoring,
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


def refusal(raw: bytes) -> str:
    """Give the reason why these bytes are no message; they must come back unchanged."""
    with pytest.raises(DecodeError) as caught:
        decode_monitoring(raw)
    assert raw == caught.value.raw
    return str(caught.value)


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "2015-03-18",
        "20150318T094848+0100",
        "2015-03-18T09:48:48.902943114",
        "2015-03-18 09:48:48.902943114+0100",
        "2015-02-30T09:48:48.902943114+0100",
        "2015-03-18T24:01:00.902943114+0100",
        "2015-03-18T09:48:48.902943114+9999",
        "2015-03-18T09:48:48.902943114+0100\n",
        "\u0662015-03-18T09:48:48.902943114+0100",
        "0001-01-01T00:00:00.000000000+0100",
        "1850-02-28T00:00:00.000000000+0100",
        "2200-01-01T00:00:00.000000000+0000",
        "9999-12-31T23:59:59.000000000-0100",
        "2014-13-15-10:53:06-626750180",
        "2014-09-15-::::::::-626750180",
        "2014-09-15-10:53:06",
    ],
)
def test_what_is_no_time_is_refused(stamp: str) -> None:
    """No zone, no such day, no such year: the reason names msgTimestamp."""
    assert refusal(text(msgTimestamp=stamp)).startswith("msgTimestamp is no time")


@pytest.mark.parametrize(
    ("reason", "raw"),
    [
        ("not JSON", b""),
        ("not JSON", b"{"),
        ("not JSON", text() + b"}"),
        ("not JSON", b'{"msgCode":9999x}'),
        ("not JSON", b'{"msgCode":unquoted}'),
        ("not JSON", b'{"command":"IGCM_\\sys"}'),
        ("not JSON", b'{"command":"two\nlines"}'),
        ("not JSON", b"[" * 100_000),
        ("not JSON", b'{"msgCode":' + b"1" * 5_000 + b"}"),
        ("not UTF-8", b'{"name":"\xe9t\xe9"}'),
        ("not UTF-8", text().decode().encode("utf-16")),
        ("not UTF-8", b'{"name":"\xed\xa0\x80"}'),
        ("not a JSON object", b"[]"),
        ("not a JSON object", b'"text"'),
        ("not a JSON object", b"null"),
        ("too large: 1048577 bytes", text() + b" " * (SIZE_LIMIT + 1 - len(text()))),
        ("'simuid' occurs twice", b'{"simuid":"a","simuid":"b"}'),
        ("wrong type: 'msgCode' is no string but int", text(msgCode=9999)),
        ("wrong type: 'nesting' is no string but int", text(nesting=1)),
        ("wrong type: 'simuid' is no string but NoneType", text(simuid=None)),
        ("wrong type: 'name' is no string but bool", text(name=True)),
        ("wrong type: 'name' is no string but float", b'{"name":NaN}'),
        ("wrong type: 'name' is no string but dict", text(name={"a": "\x00"})),
        ("wrong type: 'name' is no string but list", text(name=["a"])),
        ("wrong type: 'arguments' is no string but dict", text(arguments={})),
        ("wrong type: 'arguments' holds more than strings", text(arguments=["a", 1])),
        ("msgCode is missing", text("msgCode")),
        ("msgUID is missing", text("msgUID")),
        ("simuid is missing", text("simuid")),
        ("jobuid is missing", text("jobuid")),
        ("msgTimestamp is missing", text("msgTimestamp")),
        ("unknown code '1234'", text(msgCode="1234")),
        ("unknown code ''", text(msgCode="")),
        ("unknown code '9999 '", text(msgCode="9999 ")),
        ("msgUID is not a UUID: ''", text(msgUID="")),
        ("jobuid is not a UUID: ''", text(jobuid="")),
        ("jobuid is not a UUID", text(jobuid=FATAL["jobuid"] + "\n")),
        ("jobuid is not a UUID", text(jobuid=FATAL["jobuid"].replace("-", ""))),
        ("simuid is not a UUID", text(simuid="$(rm -rf ~)")),
        ("simuid is not a UUID", text(simuid="7110564\u0669-17e8-491a-8f8f-4ee26a22524d")),
        ("'name' holds a NUL character", text(name="a\x00b")),
        ("'a\\x00' holds a NUL character", text(**{"a\x00": "b"})),
        ("'arguments' holds a NUL character", text(arguments=["\x00"])),
        ("'name' holds half of a surrogate pair", text(name="\ud800")),
        ("'name' holds half of a surrogate pair", b'{"name":"\\udc00\\ud800"}'),
        ("name is too long: 512 characters", text(name="n" * 512)),
        ("startDate is too long: 64 characters", text(startDate="1" * 64)),
        ("msgProducerVersion is too long", text(msgProducerVersion="2" * 64)),
        ("jobSubmissionPath is too long: 4096", text(jobSubmissionPath="/" * 4096)),
    ],
)
def test_what_no_row_may_hold_is_refused_with_its_reason(reason: str, raw: bytes) -> None:
    """Every way in which bytes can fail to be a message has a reason of its own."""
    assert reason == refusal(raw)[: len(reason)]


def test_the_longest_values_that_columns_hold_are_taken() -> None:
    """The limits are the columns' own; a field without a column may be long."""
    fields = {"name": "é" * 511, "jobSubmissionPath": "/" * 4095, "command": "c" * 100_000}
    message = decode_monitoring(text(**fields))
    assert fields == {name: message.fields[name] for name in fields}


def test_a_key_that_is_merely_repeated_is_no_contradiction() -> None:
    """The same value twice says the same thing."""
    raw = text()[:-1] + b',"msgCode":"9999"}'
    assert "9999" == decode_monitoring(raw).code


def test_escapes_that_columns_can_hold_are_taken() -> None:
    """A whole surrogate pair is a character like another."""
    assert "\U0001f30d\n" == decode_monitoring(text(name="\U0001f30d\n")).fields["name"]


def test_arguments_stay_in_the_body_alone() -> None:
    """Lists are no fields; nothing but the body remembers them."""
    message = decode_monitoring(text(msgCode="2000", command="IGCM_sys_Cp", arguments=["a", "b"]))
    assert (False, ["a", "b"]) == (
        "arguments" in message.fields,
        json.loads(message.body)["arguments"],
    )


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("encode", [base64.b64encode, bytes])
def test_a_line_is_base64_or_json(end: bytes, encode: type[bytes]) -> None:
    """Both spellings of a line say the same, with and without line ends."""
    raw = text()
    line = encode(raw + end) + end if encode is base64.b64encode else raw + end
    assert decode_monitoring(raw) == decode_line(line)


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("not JSON", b""),
        ("not base64", b"\\" + base64.b64encode(text())),
        ("not base64", base64.b64encode(text(nesting="12")).rstrip(b"=")),
        ("not base64", b" " + base64.b64encode(text())),
        ("not base64", base64.b64encode(text())[:100] + b"\n" + base64.b64encode(text())[100:]),
        ("not base64", base64.b64encode(text(nesting="12")) + base64.b64encode(text())),
        ("not base64", base64.b64encode(text()).replace(b"e", b"\xe9")),
        ("not JSON", base64.b64encode(b'{"msgCode":9000,"command":IGCM_sys_Cp}\n')),
        ("not JSON", base64.b64encode(b'{"command":"C:\\scratch"}\n')),
        ("not UTF-8", base64.b64encode(b"\xff\xfe")),
        ("too large", b"A" * (2 * SIZE_LIMIT)),
        ("unknown code", text(msgCode="5000")),
    ],
)
def test_a_line_that_is_no_message_is_refused_whole(reason: str, line: bytes) -> None:
    """The reason is clear, and what is kept for the dead letter is the line, not its content."""
    with pytest.raises(DecodeError, match=f"^{reason}") as caught:
        decode_line(line)
    assert line == caught.value.raw


def test_both_halves_of_a_folded_line_are_refused_and_the_first_says_so() -> None:
    """A relay that breaks lines at 2047 characters leaves two that nobody can read."""
    line = base64.b64encode(text(msgCode="2000", command="c", arguments=["/ccc/work"] * 200))
    reasons = []
    for half in (line[:2047], line[2047:]):
        with pytest.raises(DecodeError) as caught:
            decode_line(half)
        reasons.append(str(caught.value))
    assert [True, False] == ["folded on its way?" in reason for reason in reasons]


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything_else(raw: bytes) -> None:
    """Random bytes, plain or in base64, end in DecodeError."""
    for line in (raw, b"{" + raw, base64.b64encode(raw)):
        with pytest.raises(DecodeError):
            decode_line(line)


TEXT = st.text(alphabet="aé1 \x00\ud800\U0001f30d", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*FATAL, "name", "arguments", "command"]), JSON))
def test_a_message_with_arbitrary_fields_is_read_or_refused(changes: dict[str, object]) -> None:
    """Whatever JSON stands in the fields: a storable value comes out, or DecodeError."""
    try:
        message = decode_monitoring(text(**changes))
    except DecodeError:
        return
    assert "\x00" not in "".join(message.fields.values()).encode().decode()
