"""Many simulations of a site fail at once: all wait, one goes first, the others in steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from db import dao_incidents
from supervision.errors import MailUnavailable
from supervision.facts import Cap, IncidentState, Level, Mode, Policy
from supervision.fsm.engine.reading import Why
from supervision.fsm.engine.reading_incidents import Incidents
from supervision.fsm.states import State
from tests.factories import NOW, PolicyFactory, UserPolicyFactory
from tests.integration.cli_kit import a_desk, failure
from tests.integration.flows_kit import Chain
from tests.unit.engine_kit import ALICE, HOUR, MINUTE, OPERATOR, Bench, bench

CROWD: Final = [Chain(number=number) for number in range(12)]
LOGINS: Final = ("p86user1", "p86user2", "p86user3")
WIDE: Final = Cap(count=1000, window=timedelta(hours=1))


def _policy(**changes: object) -> Policy:
    """Three users, caps that are no obstacle, and a crowd of ten as an incident."""
    users = tuple(
        UserPolicyFactory.build(login=each, mail_to=f"{each}@example.org") for each in LOGINS
    )
    wide = PolicyFactory.build(users=users, site_cap=WIDE, user_cap=WIDE, simulation_cap=WIDE)
    return replace(wide, **changes)  # type: ignore[arg-type]


def _login(chain: Chain) -> str:
    return LOGINS[chain.number % len(LOGINS)]


def _fail(made: Bench, chains: Sequence[Chain]) -> None:
    """Let these fail now, all of them, and do what is due."""
    at = made.clock.now()
    for chain in chains:
        made.feed(*chain.failing(at, login=_login(chain)))
    made.settle()


def _restarted(made: Bench) -> int:
    return len(made.table("tbl_supervision_restart"))


def _recover(made: Bench, chains: Sequence[Chain]) -> None:
    """What acted gets going again: a new job starts, and reaches a later period."""
    acted = {row.job_uid: row for row in made.rows(State.EXECUTED)}
    for chain in chains:
        row = acted.get(chain.job)
        if row is not None and row.recovered_at is None:
            at = made.clock.now()
            new = chain.job.replace(chain.job[:4], "beef")
            made.feed(
                chain.says("1000", at, new, jobSchedulerID=row.scheduler_id or ""),
                chain.says("1001", at, new, CumulPeriod="8"),
            )


def test_a_crowd_is_held_and_one_goes_first(database_url: str) -> None:
    """Twelve fail within a minute: after the grace one restart was begun, eleven jobs wait."""
    with bench(database_url, policy=_policy()) as made:
        _fail(made, CROWD)
        made.live(15 * MINUTE)
        assert 1 == _restarted(made)
        rules = [made.ledger(chain.job)["fatal"].rule for chain in CROWD]
        assert {"supervise": 1, "incident": 11} == {rule: rules.count(rule) for rule in set(rules)}


def test_fewer_are_no_incident(sqlite_url: str) -> None:
    """Nine simulations are nine failures."""
    with bench(sqlite_url, policy=_policy()) as made:
        _fail(made, CROWD[:9])
        made.live(15 * MINUTE)
        assert (9, []) == (_restarted(made), made.table("tbl_incident"))


def test_the_news_of_a_week_is_no_incident(sqlite_url: str) -> None:
    """They failed at different times, and are only heard of together."""
    with bench(sqlite_url, policy=_policy()) as made:
        for chain in CROWD:
            made.feed(*chain.failing(NOW - chain.number * HOUR, login=_login(chain)))
        made.settle()
        assert [] == made.table("tbl_incident")


def test_every_user_and_the_operator_get_one_mail(sqlite_url: str) -> None:
    """Each user's names all of theirs that wait; the operator's says what to look at."""
    with bench(sqlite_url, policy=_policy()) as made:
        _fail(made, CROWD)
        made.live(5 * MINUTE)
        told = [mail for mail in made.notifier.mails if ".begun." in mail.message_id]
        mine = [mail for mail in made.notifier.mails if mail.to == "p86user2@example.org"]
        assert [OPERATOR] == [mail.to for mail in told]
        assert 4 == len(made.notifier.mails)
        names = {f"CPL{chain.number:02d}" for chain in CROWD if _login(chain) == "p86user2"}
        assert names == {name for name in names if name in mine[0].text}


@pytest.mark.parametrize("before", [0, 9], ids=["at once", "nine were about to act"])
def test_when_one_recovers_the_others_follow_in_steps(sqlite_url: str, before: int) -> None:
    """One, two, four, the rest; then the incident ends by itself, and the operator hears of it."""
    with bench(sqlite_url, policy=_policy()) as made:
        _fail(made, CROWD[:before])
        _fail(made, CROWD[before:])
        seen = []
        for _ in range(90):
            made.live(MINUTE)
            _recover(made, CROWD)
            seen.append(_restarted(made))
        assert [0, 1, 3, 7, 12] == sorted(set(seen))
        assert {State.EXECUTED} == {row.state for row in made.rows()}
        assert ["closed"] == [row["state"] for row in made.table("tbl_incident")]
        assert 1 == sum(".over." in mail.message_id for mail in made.notifier.mails)


def test_a_canary_that_fails_is_followed_by_another_and_longer_pauses(sqlite_url: str) -> None:
    """The file system is still full: in three hours a handful were tried, not all."""
    with bench(sqlite_url, policy=_policy()) as made:
        _fail(made, CROWD)
        for _ in range(180):
            made.live(MINUTE)
            for row in made.rows(State.EXECUTED):
                chain = next(it for it in CROWD if it.job == row.job_uid)
                if not made.ledger(chain.job)["fatal"].restarted_at:
                    new, at = chain.job.replace(chain.job[:4], "beef"), made.clock.now()
                    made.feed(
                        chain.says("1000", at, new, jobSchedulerID=row.scheduler_id or ""),
                        chain.says("1999", at + timedelta(seconds=1), new),
                    )
        assert 3 <= _restarted(made) <= 7
        assert ["open"] == [row["state"] for row in made.table("tbl_incident")]


def test_rows_that_were_about_to_act_wait_as_well(sqlite_url: str) -> None:
    """Nine were decided before the tenth made it an incident: they stop before their first byte."""
    with bench(sqlite_url, policy=_policy()) as made:
        _fail(made, CROWD[:9])
        _fail(made, CROWD[9:])
        made.live(15 * MINUTE)
        assert 1 == _restarted(made)
        waiting = [row for row in made.rows(State.FORMATTED) if row.cause == "incident"]
        assert 12 == len(waiting) + 1 + sum(
            made.ledger(chain.job)["fatal"].rule == "incident" for chain in CROWD
        )


def test_a_person_closes_it_and_all_go(sqlite_url: str) -> None:
    """Within the caps; and what failed before is no new incident."""
    with bench(sqlite_url, policy=_policy()) as made:
        _fail(made, CROWD)
        (incident,) = made.engine.read(Incidents())
        assert made.engine.close_incident(incident.id, ALICE)
        assert not made.engine.close_incident(incident.id, ALICE)
        made.live(20 * MINUTE)
        assert (12, 1) == (_restarted(made), len(made.table("tbl_incident")))


def test_the_caps_hold_for_those_that_are_let_go(sqlite_url: str) -> None:
    """An incident that somebody closed is no way round them."""
    cap = Cap(count=5, window=timedelta(hours=1))
    with bench(sqlite_url, policy=_policy(site_cap=cap)) as made:
        _fail(made, CROWD)
        (incident,) = made.engine.read(Incidents())
        made.engine.close_incident(incident.id, ALICE)
        made.live(20 * MINUTE)
        assert 5 == _restarted(made)


def test_a_verdict_of_an_incident_replays(sqlite_url: str) -> None:
    """Its facts say how many failed, since when, and that it was not this job's turn."""
    with bench(sqlite_url, policy=_policy()) as made:
        _fail(made, CROWD)
        (explained,) = made.engine.read(Why(job_uid=CROWD[5].job))
        facts = json.loads(explained.facts or "{}")["facts"]["incident"]
        assert explained.replays
        assert (10, False) == (min(facts["simulations"], 10), facts["admitted"])


def test_without_a_mail_server_everybody_is_told_later(sqlite_url: str) -> None:
    """Perhaps twice, under the same name; never not at all."""
    with bench(sqlite_url, policy=_policy()) as made:
        made.notifier.fail_with(MailUnavailable("no answer"), times=2)
        _fail(made, CROWD)
        made.live(10 * MINUTE)
        told = {mail.to for mail in made.notifier.mails}
        assert {OPERATOR, *(f"{login}@example.org" for login in LOGINS)} == told


def test_a_tender_that_died_leaves_nothing_behind(sqlite_url: str) -> None:
    """Between the claim and the step: the alarm rings again after a lease, and it goes on."""
    with bench(sqlite_url, policy=_policy()) as made:
        at = made.clock.now()
        for chain in CROWD:
            made.feed(*chain.failing(at, login=_login(chain)))
        made.drain()
        with made.tools.database.write() as session:
            dao_incidents.take_due(session, at, at + timedelta(seconds=120))
        made.settle()
        (incident,) = made.engine.read(Incidents())
        assert (IncidentState.OPEN, 0) == (incident.state, incident.admitted)
        made.live(5 * MINUTE)
        (incident,) = made.engine.read(Incidents())
        assert 1 == incident.admitted


def test_a_site_that_is_only_watched_tells_the_operator_alone(sqlite_url: str) -> None:
    """There nobody else hears of us yet."""
    site = replace(_policy().sites[0], mode=Mode.OBSERVE)
    with bench(sqlite_url, policy=_policy(sites=(site,))) as made:
        _fail(made, CROWD)
        made.live(5 * MINUTE)
        assert {OPERATOR} == {mail.to for mail in made.notifier.mails}


@pytest.mark.parametrize("level", [Level.NOTHING, Level.MAIL])
def test_who_would_not_act_goes_last(sqlite_url: str, level: Level) -> None:
    """The one that is tried first is one that really acts."""
    users = tuple(
        UserPolicyFactory.build(
            login=each,
            mail_to=f"{each}@example.org",
            level=Level.AUTOMATIC if each == "p86user3" else level,
        )
        for each in LOGINS
    )
    with bench(sqlite_url, policy=_policy(users=users)) as made:
        _fail(made, CROWD)
        made.live(15 * MINUTE)
        assert 1 == _restarted(made)


def test_incidents_are_listed_shown_and_closed(tmp_path: Path, sqlite_url: str) -> None:
    """By the site, or the beginning of an id; what is over, or not there, is said so."""
    with a_desk(tmp_path, sqlite_url) as desk:
        assert 1 == desk.give("incident", "list").code
        for number in range(10):
            desk.hear(failure(simuid=str(uuid4()), jobuid=str(uuid4()), name=f"CPL{number}"))
        desk.work()
        (found,) = desk.give("incident", "list", "--json").json
        shown = desk.give("incident", "show", "curie")
        assert (0, True) == (shown.code, "10 simulations failed within 10 min" in shown.out)
        assert 10 == len(desk.give("incident", "show", found["id"][:8], "--json").json["jobs"])
        close = ("incident", "close", "curie", "--reason", "the disk is back", "--actor", "alice")
        assert (0, True) == (desk.give(*close).code, "closed" in desk.give("incident", "list").out)
        again = desk.give("incident", "close", found["id"], "--reason", "again")
        assert (1, True) == (again.code, "was over already" in again.out)
        assert 1 == desk.give("incident", "show", "nowhere").code
