"""What is decided again because the settings are others: new ones, or ones that come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from supervision.facts import Cap, Level, Mail, Mode, Policy, Window
from supervision.fsm.states import State
from supervision.testing import RecordingNotifier
from tests.factories import JOB, NOW
from tests.integration.flows_kit import GRACE, Chain, policy, reload, rewire
from tests.unit.engine_kit import ALICE, DAY, HOUR, OWNER, Bench, bench, failing_chain

FULL: Final = replace(policy(), digest="f" * 64)
UNKNOWN: Final = replace(policy(), digest="1" * 64, sites=())
"""The site is missing."""
UNASKED: Final = replace(policy(level=Level.NOTHING), digest="2" * 64)
"""The user did not consent."""


def _fatal(made: Bench) -> tuple[str | None, str | None]:
    """The verdict about the fatal, and the policy that it was made with, by its first digit."""
    found = made.ledger()["fatal"]
    return found.verdict, found.policy_digest and found.policy_digest[0]


def _failed_under(made: Bench, chosen: Policy) -> None:
    """Have a simulation fail while these settings are in force."""
    reload(made, chosen)
    made.feed(*failing_chain())
    made.settle()


def test_a_user_who_is_raised_to_level_2_is_helped_from_then_on(sqlite_url: str) -> None:
    """What was refused for lack of his consent stays so; a person may retry it."""
    with bench(sqlite_url, policy=FULL) as made:
        _failed_under(made, UNASKED)
        reload(made, FULL)
        made.wait(GRACE)
        assert ("refuse", "2") == _fatal(made)
        made.engine.retry(JOB, ALICE)
        made.settle()
        assert State.EXECUTED is made.row().state


def test_a_policy_that_comes_back_wakes_what_another_one_refused_for_want(
    database_url: str,
) -> None:
    """Its digest has been seen before; what counts is the one that the decision was made with."""
    with bench(database_url, policy=FULL) as made:
        made.engine.record_policy()
        _failed_under(made, UNKNOWN)
        assert ("refuse", "1") == _fatal(made)
        reload(made, FULL)
        made.settle()
        assert ("supervise", "f") == _fatal(made)


@pytest.mark.parametrize("chosen", [UNKNOWN, UNASKED], ids=["for want", "consent"])
def test_the_same_policy_once_more_wakes_nothing(sqlite_url: str, chosen: Policy) -> None:
    """A process that starts, or a second one that reloads, decides nothing anew."""
    with bench(sqlite_url, policy=chosen) as made:
        _failed_under(made, chosen)
        assert 0 == made.engine.record_policy()


def test_what_was_cancelled_as_observed_stays_so(sqlite_url: str) -> None:
    """A site that may act from now on acts on what fails from now on."""
    observing = replace(policy(site={"mode": Mode.OBSERVE}), digest="4" * 64)
    with bench(sqlite_url, policy=FULL) as made:
        _failed_under(made, observing)
        assert State.CANCELLED is made.row().state
        reload(made, FULL)
        made.wait(GRACE)
        assert (State.CANCELLED, {}) == (made.row().state, made.agent.executions)


@pytest.mark.parametrize(
    ("stop", "rule"),
    [
        (lambda it: replace(it, sites=()), "where-and-who"),
        (lambda it: _closed(it, NOW + 3 * DAY), "maintenance"),
    ],
    ids=["the site is gone", "maintenance"],
)
def test_a_row_waits_for_its_site_and_goes_on_when_it_is_back(
    sqlite_url: str, stop: Callable[[Policy], Policy], rule: str
) -> None:
    """Its script was ready: it stays, says why it waits, and acts once the settings let it."""
    with bench(sqlite_url, policy=FULL) as made:
        made.to_formatted()
        reload(made, replace(stop(FULL), digest="5" * 64))
        made.wait(GRACE)
        row = made.row()
        assert (State.FORMATTED, rule, True) == (row.state, row.cause, bool(row.reason))
        assert {} == made.agent.executions
        reload(made, FULL)
        made.settle()
        assert State.EXECUTED is made.row().state


def _closed(open_one: Policy, until: Any) -> Policy:  # noqa: ANN401
    window = Window(start=NOW - HOUR, end=until)
    return replace(open_one, sites=(replace(open_one.sites[0], maintenance=(window,)),))


def test_a_row_whose_site_is_gone_for_good_ends_in_its_time(sqlite_url: str) -> None:
    """It waits by the day, then by the minute, never without a pause, until it is too old."""
    with bench(sqlite_url, policy=FULL) as made:
        made.to_formatted()
        reload(made, UNKNOWN)
        made.live(4 * DAY + 12 * HOUR, step=6 * HOUR)
        assert State.FORMATTED is made.row().state
        assert made.row().wake_at is not None
        assert made.clock.now() < (made.row().wake_at or NOW)
        made.live(DAY, step=HOUR)
        assert (State.FAILED, "expired") == (made.row().state, made.row().cause)
        assert {} == made.agent.executions


def test_a_wider_cap_lets_go_at_once(sqlite_url: str) -> None:
    """Who waited for a place does not wait for the end of the former window."""
    narrow = replace(FULL, digest="6" * 64, user_cap=Cap(count=1, window=DAY))
    with bench(sqlite_url, policy=narrow) as made:
        made.feed(*Chain(number=1).failing())
        made.settle()
        made.wait(GRACE)
        second = Chain(number=2)
        made.feed(*second.failing(made.clock.now()))
        made.settle()
        assert "cap" == made.ledger(second.job)["fatal"].rule
        reload(made, FULL)
        made.settle()
        made.wait(GRACE)
        assert State.EXECUTED is made.row(second.job).state


class Reloading(RecordingNotifier):
    """A notifier during whose first mail a test does something."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile: list[Callable[[], object]] = [meanwhile]

    def send(self, mail: Mail) -> None:
        """Do it, then record the mail."""
        if self._meanwhile:
            self._meanwhile.pop()()
        super().send(mail)


def test_what_is_being_decided_during_a_reload_goes_by_one_policy(sqlite_url: str) -> None:
    """The former one, to the end: with its digest, and it replays. A lease later it is woken."""
    with bench(sqlite_url, policy=FULL) as made:
        in_force = [replace(made.tools.basis, policy=UNKNOWN)]
        made.tools = replace(made.tools, in_force=lambda: in_force[0])
        woken: list[int] = []

        def meanwhile() -> None:
            in_force[0] = replace(in_force[0], policy=FULL)
            woken.append(made.engine.record_policy())

        rewire(made, notifier=Reloading(meanwhile))
        made.feed(*failing_chain())
        made.settle()
        assert ([0], ("refuse", "1")) == (woken, _fatal(made))
        assert made.ledger()["fatal"].replays
        made.clock.advance(timedelta(minutes=2))
        assert 1 == made.engine.record_policy()
        made.settle()
        assert ("supervise", "f") == _fatal(made)
        assert made.ledger()["fatal"].replays


def test_who_was_told_of_a_want_is_not_told_again(sqlite_url: str) -> None:
    """Settings that do not help either: the same answer, and no second mail."""
    nowhere = policy(site={"name": "irene", "machines": ("irene",)})
    with bench(sqlite_url, policy=FULL) as made:
        _failed_under(made, UNKNOWN)
        told = [mail for mail in made.mails() if mail[0] == OWNER]
        reload(made, replace(nowhere, digest="7" * 64))
        made.settle()
        assert ("refuse", "7") == _fatal(made)
        assert told == [mail for mail in made.mails() if mail[0] == OWNER]
