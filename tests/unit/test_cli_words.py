"""The words that commands share, and the count of what `ingest` reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from supervision.adapters.mailfiles import Line
from supervision.cli import common
from supervision.cli.intake import Became, Tally, Way, take_in
from supervision.errors import BrokerUnavailable
from supervision.messages import MonitoringMessage


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(), "0 s"),
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(minutes=61), "1 h 1 min"),
        (timedelta(days=3, hours=4, minutes=5, seconds=6), "3 d 4 h"),
        (timedelta(days=1, seconds=1), "1 d 1 s"),
    ],
)
def test_a_span_is_told_in_two_units(length: timedelta, words: str) -> None:
    """Enough for people; what lies in the past is 0."""
    assert words == common.span(length)


def test_a_time_is_told_in_utc() -> None:
    """None is a dash."""
    at = datetime(2015, 3, 18, 8, 48, 48, 902943, tzinfo=UTC)
    assert ("2015-03-18 08:48:48 UTC", "-") == (common.utc(at), common.utc(None))


@pytest.mark.parametrize("text", ["", " ", "g", "abc*", "a" * 37, "\udcff", "1\x00"])
def test_what_can_be_no_id_is_refused(text: str) -> None:
    """Before any database is asked."""
    with pytest.raises(click.BadParameter, match="is no id"):
        common.uid_of(text)


def test_the_beginning_of_an_id_is_taken_as_people_type_it() -> None:
    """In any case, with blanks around it."""
    assert "3195c4c1-22" == common.uid_of(" 3195C4C1-22 ")


def line(number: int, raw: bytes) -> Line:
    """One line of a file."""
    return Line(origin="file", number=number, raw=raw)


def refusing(count: int) -> Way:
    """A way in that breaks after so many sets."""
    left = [count]

    def take(messages: list[MonitoringMessage]) -> list[Became]:
        if not left[0]:
            raise BrokerUnavailable("gone")
        left[0] -= 1
        return [Became(name="new") for _ in messages]

    return Way(names=("new", "undecodable"), take=take)  # type: ignore[arg-type]


def fatal(number: int) -> bytes:
    """One message, told from the others by its uid."""
    return (
        b'{"simuid": "71105649-17e8-491a-8f8f-4ee26a22524d", "jobuid": '
        b'"3195c4c1-2278-4fd3-9c97-19091a26e3b6", "msgCode": "9999", "msgTimestamp": '
        b'"2015-03-18T09:48:48.902943114+0100", "msgUID": "00000000-0000-4000-8000-%012d"}' % number
    )


def test_messages_go_in_in_sets() -> None:
    """Some lines are no messages; every other one is in exactly one set, in order."""
    lines = [line(n, fatal(n) if n % 10 else b"no message") for n in range(1, 1101)]
    tally = Tally()
    take_in(lines, refusing(2), tally)
    assert (1100, {"new": 990, "undecodable": 110}) == (tally.read, tally.counts)
    assert (990, 110) == (tally.safe, len(tally.problems))
    assert tally.problems[0].startswith("file:10: ")


def test_what_was_safe_before_an_outage_is_known() -> None:
    """The set that did not go in is not counted."""
    tally = Tally()
    with pytest.raises(BrokerUnavailable):
        take_in([line(n, fatal(n)) for n in range(1, 1101)], refusing(1), tally)
    assert 500 == tally.safe == tally.counts["new"]
