"""The operator's list: what is on it, once a day, over any number of sweepers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from supervision.errors import BrokerUnavailable, MailRefused, MailUnavailable
from supervision.facts import AnswerKind, Level
from supervision.fsm.engine.daily import Daily, Listed
from supervision.fsm.engine.tools import Tools
from supervision.testing_credentials import CredentialsDouble
from tests.factories import DIRECTORY, NOW, SIMULATION
from tests.integration.flows_kit import (
    BY_MAIL,
    GRACE,
    Chain,
    another_worker,
    hold,
    policy,
    reload,
    rewire,
)
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    LOGIN,
    MINUTE,
    OLD_JOB,
    OPERATOR,
    SITE,
    Bench,
    bench,
    failing_chain,
    message,
)


def _listed(made: Bench) -> dict[str, tuple[str, ...]]:
    listed: Listed = made.engine.read(Daily())
    return {each.title: each.lines for each in listed.sections if each.lines}


def _lists(made: Bench) -> list[str]:
    """The texts of the lists that were sent."""
    return [mail.text for mail in made.notifier.mails if "<daily." in mail.message_id]


def test_what_waits_for_something_that_may_still_come(database_url: str) -> None:
    """No 0000 came in: the simulation is on the list, with how many of its jobs failed."""
    with bench(database_url) as made:
        made.feed(message("1999", at=NOW), message("1999", at=NOW, job=OLD_JOB))
        made.live(HOUR, step=5 * MINUTE)
        listed = _listed(made)
    line = (
        f"a simulation ({SIMULATION}), nobody's so far, 2 jobs: no 0000 of "
        f"simulation {SIMULATION} came in: nobody knows where it runs."
    )
    assert {"Refused for want of something that may still come": (line,)} == listed


def test_what_was_too_old(sqlite_url: str) -> None:
    """A failure of last week that came today."""
    with bench(sqlite_url) as made:
        made.feed(*Chain(number=1).failing(NOW - 6 * DAY))
        made.settle()
        (line,) = _listed(made)["Too old when they were decided"]
    assert line.startswith(f"CPL01 ({Chain(number=1).simulation}), {LOGIN} at TGCC/curie, 1 job: ")


def test_failures_of_those_who_never_asked_for_help(sqlite_url: str) -> None:
    """Level 0 and nobody at all: three simulations are three lines, however often each failed."""
    with bench(sqlite_url, policy=policy(level=Level.NOTHING)) as made:
        for number in range(3):
            made.feed(*Chain(number=number).failing())
        made.settle()
        lines = _listed(made)["Failures of users at level 0, and of unknown users"]
    assert ["CPL00", "CPL01", "CPL02"] == [line.partition(" ")[0] for line in lines]


def test_what_was_declined_at_the_centre(sqlite_url: str) -> None:
    """With the reason, and the supervision that a retry would name."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.opted_out_directories.add(DIRECTORY)
        made.wait(GRACE)
        (line,) = _listed(made)["Declined at the centre"]
    assert line.startswith(f"CPL01 ({SIMULATION}), {LOGIN} at {SITE}, supervision {row.id}: ")


def test_what_expired(sqlite_url: str) -> None:
    """A script by mail that nobody used in two weeks."""
    with bench(sqlite_url, policy=BY_MAIL) as made:
        made.feed(*failing_chain())
        made.settle()
        made.live(15 * DAY, step=DAY)
        (listed,) = (made.engine.read(Daily(since=NOW)).sections[3],)
    assert ("Expired", 1) == (listed.title, len(listed.lines))
    assert listed.lines[0].endswith("the mailed script was not used in time")


def test_who_is_parked_and_why(sqlite_url: str) -> None:
    """A refused credential, and one that expired; a person's hold is no parked login."""
    with bench(sqlite_url) as made:
        credentials = CredentialsDouble()
        credentials.put("curie", "abc", NOW - HOUR)
        rewire(made, credentials=credentials)
        made.engine.watch_credentials()
        made.engine.record_hold(hold("site:curie"))
        made.engine.record_hold(hold("credential:curie/xyz"))
        assert (
            "curie/xyz, since 2015-03-18 12:00 UTC: quiet please",
            "curie/abc: its credential expired at 2015-03-18 11:00 UTC",
        ) == _listed(made)["Parked logins"]


def test_mails_that_nobody_takes(sqlite_url: str) -> None:
    """The owner's address is dead."""
    with bench(sqlite_url) as made:
        made.notifier.fail_with(MailRefused("550 no such user"))
        made.to_executed()
        (line,) = _listed(made)["Mails that the mail server refused"]
    assert "p86user1@example.org: [supervision] CPL01 was restarted: 550 no such user" == line


def test_dead_letters_are_counted_by_queue(sqlite_url: str) -> None:
    """Those that are there now; a broker that is away says so and spoils no list."""
    with bench(sqlite_url) as made:
        made.tools = _counting(made, {"dead-in-monitoring-1999": 3, "dead-in-monitoring-0000": 0})
        rewire(made)
        assert {"Dead letters": ("dead-in-monitoring-1999 holds 3",)} == _listed(made)
        made.tools = _counting(made, None)
        rewire(made)
        assert {"Dead letters": ("the broker cannot be asked: away",)} == _listed(made)


def _counting(made: Bench, counts: dict[str, int] | None) -> Tools:
    def count() -> dict[str, int]:
        if counts is None:
            raise BrokerUnavailable("away")
        return counts

    return replace(made.tools, dead_letters=count)


def test_the_list_is_sent_once_a_day_at_its_hour(database_url: str) -> None:
    """At six, by whoever sweeps first; a restart and another process repeat nothing."""
    with bench(database_url) as made:
        made.feed(message("1999", at=NOW))
        made.live(HOUR, step=5 * MINUTE)
        assert made.engine.tell_daily()
        with another_worker(made) as other:
            assert not other.tell_daily()
        for _ in range(16):
            made.clock.advance(HOUR)
            made.settle()
            assert not made.engine.tell_daily(), made.clock.now()
        made.live(8 * HOUR, step=15 * MINUTE)
        assert made.engine.tell_daily()
        first, second = [mail for mail in made.notifier.mails if "<daily." in mail.message_id]
    assert (OPERATOR, "<daily.2015-03-18.0@example.org>") == (first.to, first.message_id)
    assert "[supervision] 2015-03-19: 1 to look at" == second.subject


def test_nothing_to_tell_sends_nothing(sqlite_url: str) -> None:
    """A quiet day is remembered as told, and no mail."""
    with bench(sqlite_url) as made:
        assert made.engine.tell_daily()
        assert not made.engine.tell_daily()
        assert [] == made.notifier.mails


def test_what_is_decided_while_the_list_is_made_is_on_the_next(sqlite_url: str) -> None:
    """A list ends a lease ago, and the next begins there: nothing falls between two lists."""
    with bench(sqlite_url, policy=policy(level=Level.NOTHING)) as made:
        made.feed(*failing_chain())
        made.settle()
        made.clock.advance(timedelta(seconds=10))
        assert made.engine.tell_daily()
        assert [] == _lists(made)
        made.clock.advance(DAY)
        assert made.engine.tell_daily()
        assert 1 == len(_lists(made))
        made.clock.advance(DAY)
        made.engine.tell_daily()
        assert 1 == len(_lists(made))


def test_after_an_outage_of_days_the_list_covers_them_all(sqlite_url: str) -> None:
    """It begins where the last one ended."""
    with bench(sqlite_url, policy=policy(level=Level.NOTHING)) as made:
        made.engine.tell_daily()
        made.clock.advance(HOUR)
        made.feed(*failing_chain())
        made.settle()
        made.clock.advance(5 * DAY)
        made.engine.tell_daily()
        assert 1 == len(_lists(made))


def test_the_list_waits_for_the_mail_server(sqlite_url: str) -> None:
    """It comes later on the same day, and holds what it would have held."""
    with bench(sqlite_url, policy=policy(level=Level.NOTHING)) as made:
        made.feed(*failing_chain())
        made.settle()
        made.clock.advance(HOUR)
        made.notifier.fail_with(MailUnavailable("away"))
        with pytest.raises(MailUnavailable):
            made.engine.tell_daily()
        assert not made.engine.tell_daily()
        made.clock.advance(3 * MINUTE)
        assert made.engine.tell_daily()
        assert 1 == len(_lists(made))


def test_a_person_s_look_at_the_list_takes_nothing_off_it(sqlite_url: str) -> None:
    """Reading it is not sending it."""
    with bench(sqlite_url, policy=policy(level=Level.NOTHING)) as made:
        made.feed(*failing_chain())
        made.settle()
        assert _listed(made) == _listed(made)
        made.clock.advance(HOUR)
        made.engine.tell_daily()
        assert 1 == len(_lists(made))


def test_a_stuck_act_is_on_no_list(sqlite_url: str) -> None:
    """What goes its way is nobody's to look at."""
    with bench(sqlite_url) as made:
        row = made.to_formatted()
        made.agent.outcome(row.id, kind=AnswerKind.RUNNING)
        made.wait(GRACE)
        assert {} == _listed(made)


def test_a_list_without_a_reader_is_not_made(sqlite_url: str) -> None:
    """Without an operator nothing is claimed; once there is one, the first list covers a day."""
    with bench(sqlite_url, operator=None) as made:
        assert not made.engine.tell_daily()
        assert [] == made.table("tbl_notice")


def test_settings_that_name_what_was_missing_empty_the_list(sqlite_url: str) -> None:
    """The site is known now: the failure is helped, and no longer on tomorrow's list."""
    unknown = policy(site={"machines": ("other",)})
    with bench(sqlite_url, policy=unknown) as made:
        made.feed(*failing_chain())
        made.settle()
        assert ["Refused for want of something that may still come"] == list(_listed(made))
        reload(made, replace(policy(), digest="f" * 64))
        made.settle()
        assert {} == _listed(made)
