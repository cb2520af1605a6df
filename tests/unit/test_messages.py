"""What libIGCM's messages mean, in all three generations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervision.errors import NotFound
from supervision.facts import Task
from supervision.messages import (
    MONITORING_CODES,
    Meaning,
    MonitoringMessage,
    late_seconds,
    monitoring_queue,
    period_of,
    present,
    task_of,
)
from supervision.wire import decode_monitoring

CONSTRUCTED = Path(__file__).parents[1] / "data" / "messages" / "constructed.json"

MEANINGS = {
    "0000 C": [Meaning.SIMULATION_START] * 2,
    "1000 C": [Meaning.COMPUTE_START] * 2,
    "1001 C": [Meaning.PERIOD_START],
    "1100 C": [Meaning.COMPUTE_END] * 2,
    "0100 C": [Meaning.SIMULATION_END] * 2,
    "1900 C": [Meaning.COMMAND_FAILED],
    "1999 C": [Meaning.FATAL],
    "2000 C": [Meaning.POST_START] * 3,
    "2000 A": [Meaning.IGNORED],
    "2100 C": [Meaning.POST_END],
    "2900 C": [Meaning.COMMAND_FAILED],
    "2900 B": [Meaning.POST_FAILED],
    "2999 C": [Meaning.POST_FAILED],
    "3900 C": [Meaning.COMMAND_FAILED],
    "3900 B": [Meaning.POST_FAILED],
    "3999 C": [Meaning.POST_FAILED],
    "4000 B": [Meaning.IGNORED],
    "4100 B": [Meaning.IGNORED],
    "4900 B": [Meaning.COMMAND_FAILED] * 2,
    "9999 B": [Meaning.FATAL] * 2,
    "9000 A": [Meaning.COMMAND_FAILED] * 2,
    "3000 A": [Meaning.IGNORED],
    "7000 C": [Meaning.IGNORED],
    "8888 C": [Meaning.DELETED],
}
"""Code and generation of every constructed message, and what each of them means."""

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


def constructed() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Give (code, generation, message) of every constructed message."""
    for code, entries in json.loads(CONSTRUCTED.read_text()).items():
        for entry in entries:
            yield code, entry["generation"], entry["message"]


def text(*left_out: str, **changes: object) -> bytes:
    """Write a fatal message with some fields changed, added or left out."""
    message = {**FATAL, **changes}
    return json.dumps({key: message[key] for key in message if key not in left_out}).encode()


def decoded(*left_out: str, **changes: object) -> MonitoringMessage:
    """Decode a fatal message with some fields changed, added or left out."""
    return decode_monitoring(text(*left_out, **changes))


def test_every_constructed_message_has_its_generation_and_meaning() -> None:
    """Each code means what the table of the generations says, for all 33 constructed messages."""
    found: dict[str, list[Meaning]] = {}
    for code, generation, message in constructed():
        read = decode_monitoring(json.dumps(message).encode())
        assert (code, generation) == (read.code, read.generation)
        found.setdefault(f"{code} {generation}", []).append(read.meaning)
    assert MEANINGS == found


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("3000", Meaning.POST_START),
        ("3100", Meaning.POST_END),
        ("7010", Meaning.ACCOUNTING),
        ("7100", Meaning.IGNORED),
        ("2000", Meaning.POST_START),
    ],
)
def test_codes_that_were_not_constructed(code: str, meaning: Meaning) -> None:
    """A post-processing job that a checker began is one, and accounting is kept."""
    assert meaning is decoded(msgCode=code).meaning


@pytest.mark.parametrize("version", [{}, {"msgProducerVersion": "2.8.1"}])
@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("2000", Meaning.IGNORED),
        ("3000", Meaning.IGNORED),
        ("2900", Meaning.COMMAND_FAILED),
        ("3900", Meaning.COMMAND_FAILED),
        ("9000", Meaning.COMMAND_FAILED),
        ("9999", Meaning.FATAL),
    ],
)
def test_a_field_command_decides_whatever_its_value(
    code: str, meaning: Meaning, version: dict[str, str]
) -> None:
    """Even an empty `command` tells a command's word from a job's own."""
    assert meaning is decoded(msgCode=code, command="", **version).meaning


def test_a_failed_command_without_a_name_is_still_one() -> None:
    """9000 was never anything but a failed command."""
    assert Meaning.COMMAND_FAILED is decoded(msgCode="9000").meaning


@pytest.mark.parametrize(
    ("generation", "fields"),
    [
        ("A", {"msgCode": "3000", "command": "IGCM_sys_Cp", "msgProducerVersion": "2.8.1"}),
        ("C", {"msgCode": "9999", "msgProducerVersion": "2.8.1"}),
        ("B", {"msgCode": "9999", "msgProducerVersion": "null"}),
        ("C", {"msgCode": "1999"}),
        ("C", {"msgCode": "2900", "command": "IGCM_sys_ncrcat"}),
        ("A", {"msgCode": "9000"}),
    ],
)
def test_the_generation_is_what_the_message_proves(
    generation: str, fields: dict[str, object]
) -> None:
    """A version proves C, a push or pop A; codes that only one generation has prove it too."""
    assert generation == decoded(**fields).generation


def test_a_whole_message() -> None:
    """Ids come in lower case, the time in UTC, the text as it came, absent fields not at all."""
    raw = b"  " + text(nesting="null", command="NONE") + b"\n"
    mailed_at = datetime(2015, 3, 18, 8, 49, 59, tzinfo=UTC)
    expected = MonitoringMessage(
        uid="1d0c3a5e-3d7f-4b8e-9c39-0f5d7c6c2a11",
        code="9999",
        generation="B",
        meaning=Meaning.FATAL,
        simulation_uid="71105649-17e8-491a-8f8f-4ee26a22524d",
        job_uid="42b49183-b8a8-4cd1-9c5c-6e2b7bd0f8e1",
        emitted_as="2015-03-18T09:48:48.902943114+0100",
        emitted_at=datetime(2015, 3, 18, 8, 48, 48, 902943, tzinfo=UTC),
        fields={"simuid": FATAL["simuid"], "jobuid": FATAL["jobuid"]},
        body=raw.decode().strip(),
        mailed_at=mailed_at,
    )
    assert expected == decode_monitoring(raw, mailed_at=mailed_at, config_card="[UserChoices]")


@pytest.mark.parametrize("simuid", ["", "null", "NONE"])
def test_a_damaged_simuid_is_kept_and_never_guessed(simuid: str) -> None:
    """A run.card that lost its simuid gives a fact that belongs to no simulation."""
    message = decoded(simuid=simuid)
    assert (None, simuid) == (message.simulation_uid, message.fields["simuid"])


@pytest.mark.parametrize("jobuid", ["", "d23f0824-128b-4f33-8c5c-7fd0a6a3a450"])
def test_a_deletion_belongs_to_no_job(jobuid: str) -> None:
    """8888 is about a simulation, whatever it carries as jobuid."""
    assert None is decoded(msgCode="8888", jobuid=jobuid).job_uid


def test_a_config_card_stays_with_the_start_of_its_simulation() -> None:
    """Of a mail that brings a card, only the 0000 keeps it."""
    kept = [
        decode_monitoring(text(msgCode=code), config_card="[UserChoices]").config_card
        for code in ("0000", "1000")
    ]
    assert ["[UserChoices]", None] == kept


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        ("2016-08-20T09:15:02.331229838+0200", "2016-08-20T07:15:02.331229+00:00"),
        ("2014-12-17T23:31:35.162050095-0500", "2014-12-18T04:31:35.162050+00:00"),
        ("2015-03-18T09:48:48+01:00", "2015-03-18T08:48:48+00:00"),
        ("2015-03-18T09:48:48.5Z", "2015-03-18T09:48:48.500000+00:00"),
        ("2014-09-15-10:53:06-626750180", "2014-09-15T08:53:06.626750+00:00"),
        ("2014-12-15-10:53:06-000000999", "2014-12-15T09:53:06+00:00"),
        ("2014-10-26-02:30:00-000000000", "2014-10-26T00:30:00+00:00"),
    ],
)
def test_times_of_both_forms_become_utc(stamp: str, moment: str) -> None:
    """Offsets are applied; the oldest form, without one, is Paris time, summer and winter."""
    assert datetime.fromisoformat(moment) == decoded(msgTimestamp=stamp).emitted_at


@settings(deadline=None)
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30)),  # noqa: DTZ001 - zone comes next
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_every_time_with_an_offset_is_the_same_moment(local: datetime, minutes: int) -> None:
    """The offset is subtracted, and no more than nanoseconds are lost."""
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    stamp = f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond:06d}789{sign}{hours:02d}{rest:02d}"
    expected = local.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    assert expected == decoded(msgTimestamp=stamp).emitted_at


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [
        (3600, "3600"),
        (86400, "086400"),
        (31_622_400, "31622400"),
        *((86400, text) for text in ("", "0", "00", "NONE", "null", "garbage", "-1", "1.5")),
        *((86400, text) for text in ("1e3", "31622401", "9" * 5000, "\u0661\u0662", "²")),
    ],
)
def test_the_delay_after_which_a_job_is_late(seconds: int, delay: str) -> None:
    """A number of seconds up to a year, else the day that the contract names."""
    assert timedelta(seconds=seconds) == late_seconds({"jobWarningDelay": delay})


def test_a_job_that_names_no_delay_has_a_day() -> None:
    """Generations A and B carry none."""
    assert timedelta(days=1) == late_seconds({})


@pytest.mark.parametrize(
    ("period", "given_as"),
    [
        (13, "13"),
        (2147483647, "2147483647"),
        *((None, text) for text in ("2147483648", "0", "-1", "x", "", "null")),
    ],
)
def test_the_period_is_a_number_that_a_column_holds(period: int | None, given_as: str) -> None:
    """CumulPeriod counts from 1; anything else says nothing."""
    assert (period, None) == (period_of({"CumulPeriod": given_as}), period_of({}))


def test_the_tasks_of_the_constructed_starts() -> None:
    """A part of a task that is left out comes as "null"; a push is no start and has no task."""
    tasks = [
        task_of(decode_monitoring(json.dumps(message).encode()).fields)
        for code, _, message in constructed()
        if code == "2000"
    ]
    assert [
        Task(name="pack_output", date="18591231"),
        Task(name="create_ts", date="19891231", component="ATM", file="histmth"),
        Task(name="create_ts", date="19891231", dimension="2D"),
        None,
    ] == tasks


def test_a_task_of_absent_parts_is_none() -> None:
    """Fields as sent, with every part absent, name no task."""
    parts = {"postProcessingName": "null", "postProcessingDate": "", "postProcessingFile": "NONE"}
    assert (None, {}) == (task_of(parts), present(parts))


@pytest.mark.parametrize("code", MONITORING_CODES)
def test_every_forwarded_code_has_its_queue(code: str) -> None:
    """The queue's name ends with the code."""
    assert f"in-monitoring-{code}" == monitoring_queue(code)


@pytest.mark.parametrize("code", ["4000", "4100", "1234", ""])
def test_what_is_never_forwarded_has_no_queue(code: str) -> None:
    """Pushes, pops and unknown codes have none, and the error offers those that have."""
    with pytest.raises(NotFound, match=r"there is one for .*'0000'"):
        monitoring_queue(code)
