"""The credential horizon: work is parked before it fails, goes on by itself, and people are warned.

Credentials are values of a double here; their files are in test_credential_files.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import pytest

from db import dao_credentials
from supervision.adapters.ssh_standing import Refusal
from supervision.app_ssh import DatabaseRefusals
from supervision.errors import MailRefused, MailUnavailable
from supervision.fsm.engine.reading import Holds
from supervision.fsm.states import State
from supervision.testing_credentials import CredentialsDouble
from tests.factories import NOW
from tests.integration.flows_kit import GRACE, another_worker, executions, hold, rewire
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    LOGIN,
    MINUTE,
    OPERATOR,
    OWNER,
    SITE,
    Bench,
    bench,
    failing_chain,
)

YEAR: Final = 365 * DAY
PARKED: Final = f"credential:{SITE}/{LOGIN}"


@contextmanager
def parked(
    url: str, expires_at: datetime | None = NOW - DAY
) -> Iterator[tuple[Bench, CredentialsDouble]]:
    """A service whose only login has a credential until then, and that knows it."""
    with bench(url) as made:
        credentials = CredentialsDouble()
        credentials.put(SITE, LOGIN, expires_at)
        rewire(made, credentials=credentials)
        made.engine.watch_credentials()
        yield made, credentials


def test_an_expired_credential_parks_and_a_new_one_lets_go_on(database_url: str) -> None:
    """Nobody is contacted and no attempt is counted; a new file is enough, in its own minute."""
    with parked(database_url) as (made, credentials):
        made.feed(*failing_chain())
        made.live(2 * HOUR, step=10 * MINUTE)
        decision = made.ledger()["fatal"]
        assert ("defer", "credential") == (decision.verdict, decision.rule)
        assert f"the credential of '{LOGIN}' at {SITE} expired at" in str(decision.sentence)
        assert ([], []) == (made.rows(), made.agent.calls)
        credentials.put(SITE, LOGIN, NOW + YEAR)
        assert 1 == made.engine.watch_credentials()
        made.settle()
        assert (State.EXECUTED, 1) == (made.row().state, made.row().attempt)
        assert True is made.ledger()["fatal"].replays
        assert [1] == executions(made.agent)


def test_a_credential_that_expires_before_the_act_stops_it(sqlite_url: str) -> None:
    """Between decision and act the hour struck: the row stays formatted, as the same attempt."""
    with parked(sqlite_url, NOW + 5 * MINUTE) as (made, credentials):
        row = made.to_formatted()
        made.wait(GRACE)
        waiting = made.row()
        assert (State.FORMATTED, "credential", 1, 0) == (
            waiting.state,
            waiting.cause,
            waiting.attempt,
            waiting.dispatch_try_count,
        )
        assert [] == made.agent.calls
        credentials.put(SITE, LOGIN, NOW + YEAR)
        made.engine.watch_credentials()
        made.settle()
        assert (State.EXECUTED, row.id) == (made.row().state, made.row().id)


def test_what_was_sent_waits_for_a_new_credential_too(sqlite_url: str) -> None:
    """Neither a status nor the watch's look is asked with an expired one; both go on at once."""
    with parked(sqlite_url, NOW + 15 * MINUTE) as (made, credentials):
        made.to_dispatched()
        made.wait(5 * MINUTE)
        asked = len(made.agent.calls)
        made.live(50 * MINUTE, step=10 * MINUTE)
        assert (State.DISPATCHED, asked) == (made.row().state, len(made.agent.calls))
        made.agent.outcome(made.row().id, scheduler_id="41300")
        credentials.put(SITE, LOGIN, NOW + YEAR)
        made.engine.watch_credentials()
        made.settle()
        assert State.EXECUTED is made.row().state
        credentials.put(SITE, LOGIN, NOW)
        made.engine.watch_credentials()
        asked = len(made.agent.calls)
        made.wait(10 * MINUTE)
        assert ("credential", asked) == (made.row().cause, len(made.agent.calls))
        credentials.put(SITE, LOGIN, NOW + YEAR)
        made.engine.watch_credentials()
        made.settle()
        assert asked + 1 == len(made.agent.calls)


def test_a_file_that_is_gone_changes_nothing(sqlite_url: str) -> None:
    """A process that cannot read the file, or reads while it is replaced, knows nothing new."""
    with parked(sqlite_url) as (made, credentials):
        made.feed(*failing_chain())
        made.settle()
        credentials.put(SITE, LOGIN, None, mark=None, problem="there is no file")
        assert 0 == made.engine.watch_credentials()
        made.wait(2 * HOUR)
        assert "credential" == made.ledger()["fatal"].rule


def test_an_unchanged_file_wakes_nobody(sqlite_url: str) -> None:
    """Looking at it a thousand times is no news."""
    with parked(sqlite_url) as (made, _):
        made.feed(*failing_chain())
        made.settle()
        due = made.ledger()["fatal"].wake_at
        assert [0] * 3 == [made.engine.watch_credentials() for _ in range(3)]
        assert due == made.ledger()["fatal"].wake_at


# Refused credentials.


def _refuse(made: Bench, mark: str = "mark-1") -> int:
    refusals = DatabaseRefusals(made.tools.database)
    refusal = Refusal(mark=mark, reason="curie1 refuses the credential", not_before=NOW)
    return refusals.note(SITE, LOGIN, refusal)


def test_a_refused_credential_parks_its_login_for_every_process(database_url: str) -> None:
    """Two refusals are a hold that every process and `holds` sees; a new file takes it back."""
    with parked(database_url, None) as (made, credentials):
        assert 1 == _refuse(made)
        assert () == made.engine.read(Holds())
        assert 2 == _refuse(made)
        assert [PARKED] == [each.scope for each in made.engine.read(Holds())]
        made.feed(*failing_chain())
        made.wait(GRACE)
        assert "hold" == made.ledger()["fatal"].rule
        assert "is parked since" in str(made.ledger()["fatal"].sentence)
        assert [] == made.agent.calls
        assert 0 == made.engine.watch_credentials()
        assert [PARKED] == [each.scope for each in made.engine.read(Holds())]
        credentials.put(SITE, LOGIN, None)
        assert 1 == made.engine.watch_credentials()
        made.settle()
        assert (State.EXECUTED, ()) == (made.row().state, made.engine.read(Holds()))
        assert None is DatabaseRefusals(made.tools.database).last(SITE, LOGIN)


def test_a_person_releases_a_parked_login(sqlite_url: str) -> None:
    """The centre mended its side: the same credential is shown again, and counted from new."""
    with parked(sqlite_url, None) as (made, _):
        for _ in range(2):
            _refuse(made)
        made.feed(*failing_chain())
        made.wait(GRACE)
        assert made.engine.record_release(PARKED)
        made.settle()
        assert State.EXECUTED is made.row().state
        assert 1 == _refuse(made)


def test_a_parked_login_and_a_person_s_hold_are_two_things(sqlite_url: str) -> None:
    """A new credential takes back what the service parked, and never what a person held."""
    with parked(sqlite_url, None) as (made, credentials):
        made.engine.record_hold(hold(f"login:{SITE}/{LOGIN}"))
        for _ in range(2):
            _refuse(made)
        credentials.put(SITE, LOGIN, None)
        made.engine.watch_credentials()
        assert [f"login:{SITE}/{LOGIN}"] == [each.scope for each in made.engine.read(Holds())]


def test_a_refusal_that_nobody_had_seen_the_file_of_stays(sqlite_url: str) -> None:
    """The first look at a file that was refused before is no new file."""
    with bench(sqlite_url) as made:
        for _ in range(2):
            _refuse(made)
        credentials = CredentialsDouble()
        credentials.put(SITE, LOGIN, None)
        rewire(made, credentials=credentials)
        made.engine.watch_credentials()
        assert [PARKED] == [each.scope for each in made.engine.read(Holds())]
        with made.tools.database.read() as session:
            row = dao_credentials.one(session, (SITE, LOGIN))
        assert row is not None
        assert 2 == row.refusals


def test_another_content_is_counted_from_one(sqlite_url: str) -> None:
    """What was refused was that key, not this one."""
    with parked(sqlite_url, None) as (made, _):
        assert [1, 2, 1] == [_refuse(made, mark) for mark in ("a", "a", "b")]


# Warnings.


@pytest.mark.parametrize(
    ("changes", "life", "told"),
    [
        ({}, YEAR, [7 * DAY, DAY]),
        ({}, 4 * DAY, [DAY]),
        ({}, DAY, []),
        ({"proxy": True}, 12 * HOUR, [2 * HOUR]),
        ({"proxy": True}, 7 * DAY, [2 * HOUR]),
        ({"proxy": True}, HOUR, []),
    ],
)
def test_each_warning_comes_once_and_in_time(
    sqlite_url: str, changes: dict[str, object], life: timedelta, told: list[timedelta]
) -> None:
    """7 days and 1 day before for a certificate, 2 hours for a proxy; none on its first day."""
    with bench(sqlite_url) as made:
        end = NOW + min(life, 8 * DAY)
        credentials = CredentialsDouble()
        credentials.put(SITE, LOGIN, end, valid_from=end - life, **changes)
        rewire(made, credentials=credentials)
        found = []
        while made.clock.now() < end:
            before = len(made.notifier.mails)
            made.engine.watch_credentials()
            found += [end - made.clock.now()] * (len(made.notifier.mails) - before)
            made.clock.advance(HOUR)
    assert told == found


def test_a_warning_that_was_missed_is_not_told_after_the_next(sqlite_url: str) -> None:
    """The service was away for a week: the mail of the last day comes, and no other."""
    with parked(sqlite_url, NOW + HOUR) as (made, _):
        made.engine.watch_credentials()
        (mail,) = made.notifier.mails
    assert OPERATOR == mail.to
    assert f"The certificate of {LOGIN} at {SITE} expires on" in mail.text


def test_a_new_credential_is_warned_of_anew(sqlite_url: str) -> None:
    """Another file, another warning; the Message-ID names which."""
    with parked(sqlite_url, NOW + HOUR) as (made, credentials):
        credentials.put(SITE, LOGIN, NOW + 2 * HOUR)
        made.engine.watch_credentials()
        ids = [mail.message_id for mail in made.notifier.mails]
    assert ids == [
        f"<credential.{SITE}.{LOGIN}.mark-{number}.86400.0@example.org>" for number in (1, 2)
    ]


def test_a_restart_and_another_sweeper_repeat_no_warning(database_url: str) -> None:
    """What was told is remembered in the database."""
    with parked(database_url, NOW + HOUR) as (made, credentials):
        with another_worker(made, credentials=credentials) as other:
            other.watch_credentials()
        made.clock.advance(30 * MINUTE)
        made.engine.watch_credentials()
        assert 1 == len(made.notifier.mails)


def test_a_warning_waits_for_the_mail_server(sqlite_url: str) -> None:
    """It is tried again once the lease is over, with the same Message-ID."""
    with parked(sqlite_url, None) as (made, credentials):
        credentials.put(SITE, LOGIN, NOW + HOUR)
        made.notifier.fail_with(MailUnavailable("away"))
        with pytest.raises(MailUnavailable):
            made.engine.watch_credentials()
        made.engine.watch_credentials()
        assert [] == made.notifier.mails
        made.clock.advance(3 * MINUTE)
        made.engine.watch_credentials()
        assert 1 == len(made.notifier.mails)


def test_a_process_that_dies_after_the_mail_repeats_the_very_same_one(sqlite_url: str) -> None:
    """Between the mail and the word that it was sent: twice, and never not at all."""
    with parked(sqlite_url, None) as (made, credentials):
        credentials.put(SITE, LOGIN, NOW + HOUR)

        class Dying:
            def send(self, mail: object) -> None:
                made.notifier.mails.append(mail)  # type: ignore[arg-type]
                raise KeyboardInterrupt

        with (
            another_worker(made, credentials=credentials, notifier=Dying()) as other,
            pytest.raises(KeyboardInterrupt),
        ):
            other.watch_credentials()
        made.clock.advance(3 * MINUTE)
        made.engine.watch_credentials()
        first, second = made.notifier.mails
    assert first == second


def test_without_an_operator_nobody_is_warned(sqlite_url: str) -> None:
    """And nothing is claimed for later."""
    with bench(sqlite_url, operator=None) as made:
        credentials = CredentialsDouble()
        credentials.put(SITE, LOGIN, NOW + HOUR)
        rewire(made, credentials=credentials)
        made.engine.watch_credentials()
        assert ([], []) == (made.notifier.mails, made.table("tbl_notice"))


def test_a_mail_that_the_server_never_takes_is_kept(sqlite_url: str) -> None:
    """The owner's address is dead: the row goes on, and the operator's list has it."""
    with bench(sqlite_url) as made:
        made.notifier.fail_with(MailRefused("550 no such user"))
        made.to_executed()
        (kept,) = made.table("tbl_refused_mail")
    assert (OWNER, "550 no such user") == (kept["recipient"], kept["problem"])
