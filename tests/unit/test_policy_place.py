"""The look-ups behind the rules: site, login, directory, user, level."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from supervision.facts import Level, LoginAlias, Mode, Place, Policy
from supervision.policy import level_of, resolve, site_named, user_of
from tests.factories import (
    DIRECTORY,
    NOW,
    PLACE,
    DecisionFactsFactory,
    JobFactsFactory,
    PolicyFactory,
    SitePolicyFactory,
    UserPolicyFactory,
)


def _with_site(**changes: object) -> Policy:
    return PolicyFactory.build(sites=(SitePolicyFactory.build(**changes),))


def _with_user(**changes: object) -> Policy:
    return PolicyFactory.build(users=(UserPolicyFactory.build(**changes),))


def _place(policy: Policy | None = None, *, job: object = None, **simulation: object) -> Place:
    facts = DecisionFactsFactory.build(
        job=job or JobFactsFactory.build(directory=None),
        **{f"simulation__{name}": value for name, value in simulation.items()},
    )
    return resolve(facts.simulation, facts.job, policy or PolicyFactory.build())


@pytest.mark.parametrize(("centre", "machine"), [("tgcc", "CURIE"), ("Ccrt", "curie-xlarge")])
def test_a_site_is_found_by_any_spelling_of_its_centre_and_machine(
    centre: str, machine: str
) -> None:
    """Messages spell both as they like: case, aliases and patterns."""
    assert _place(centre=centre, machine=machine).site == "curie"


def test_a_bracket_in_a_machine_of_a_message_is_no_pattern() -> None:
    """Only the settings hold patterns; a message matches literally."""
    assert _place(_with_site(machines=("curie",)), machine="c*").site is None


def test_the_first_site_that_fits_wins() -> None:
    """Settings are read from top to bottom."""
    wide = SitePolicyFactory.build(name="wide", machines=("*",))
    narrow = SitePolicyFactory.build()
    assert _place(PolicyFactory.build(sites=(narrow, wide))).site == "curie"
    assert _place(PolicyFactory.build(sites=(wide, narrow))).site == "wide"


@pytest.mark.parametrize(
    ("started", "expected"),
    [(date(2015, 1, 31), "p86user1"), (date(2015, 2, 1), "abc1"), (date(2015, 2, 28), "abc1"),
     (date(2015, 3, 1), "abc2")],
    ids=str,
)  # fmt: skip
def test_a_login_alias_holds_from_its_first_day_to_the_day_before_its_last(
    started: date, expected: str
) -> None:
    """Two aliases that touch never both hold."""
    first = LoginAlias(
        announced="p86user1", login="abc1", since=date(2015, 2, 1), until=date(2015, 3, 1)
    )
    second = LoginAlias(announced="p86user1", login="abc2", since=date(2015, 3, 1))
    at = NOW.replace(year=started.year, month=started.month, day=started.day)
    job = JobFactsFactory.build(started_at=at)
    assert _place(_with_site(logins=(first, second)), job=job).login == expected


def test_a_dated_alias_does_not_hold_where_no_day_is_known() -> None:
    """Without any time only an alias without dates can be right."""
    job = JobFactsFactory.build(started_at=None, first_at=None)
    dated = LoginAlias(announced="p86user1", login="abc1", since=date(2015, 2, 1))
    always = LoginAlias(announced="p86user1", login="abc2")
    place = _place(_with_site(logins=(dated, always)), job=job, announced_at=None)
    assert place.login == "abc2"


def test_the_directory_is_the_job_s_own_before_the_simulation_s() -> None:
    """A simulation that was moved runs where its latest start said."""
    job = JobFactsFactory.build(directory="/ccc/scratch/elsewhere")
    assert _place(job=job).directory == "/ccc/scratch/elsewhere"
    assert _place().directory == DIRECTORY


PATTERN = "/ccc/work/{login}/modipsl/config/{model}/{name}"


def test_the_site_s_pattern_stands_in_where_messages_carry_no_directory() -> None:
    """Generations A and B: filled with the login that the centre knows."""
    alias = LoginAlias(announced="p86user1", login="user1")
    place = _place(_with_site(directory_pattern=PATTERN, logins=(alias,)), directory=None)
    expected = Place(
        site="curie", login="user1", directory="/ccc/work/user1/modipsl/config/IPSLCM6/CPL01"
    )
    assert expected == place


@pytest.mark.parametrize("name", [None, "", ".", "..", "../../root", "a/b"], ids=repr)
def test_a_name_that_leads_out_of_the_pattern_fills_nothing(name: str | None) -> None:
    """Messages are not signed: such a directory is unknown, and refused for want."""
    assert (
        _place(_with_site(directory_pattern=PATTERN), directory=None, name=name).directory is None
    )


def test_a_name_with_braces_is_only_a_name() -> None:
    """What was filled in is not filled once more."""
    place = _place(_with_site(directory_pattern="/w/{name}"), directory=None, name="{login}")
    assert place.directory == "/w/{login}"


def test_an_unknown_site_still_tells_what_the_messages_told() -> None:
    """Login and directory are facts, whatever the settings know."""
    place = _place(centre="IDRIS")
    assert Place(site=None, login="p86user1", directory=DIRECTORY) == place


def test_a_known_place_is_resolved_whole() -> None:
    """Site, login and directory, as the sentences will name them."""
    assert _place() == PLACE


def test_a_user_s_entry_for_this_site_goes_before_the_one_for_all() -> None:
    """Whoever wants less at one site gets less there."""
    everywhere = UserPolicyFactory.build()
    here = UserPolicyFactory.build(sites=("curie",), level=Level.MAIL)
    policy = PolicyFactory.build(users=(everywhere, here))
    assert here == user_of(policy, "p86user1", "curie")
    assert everywhere == user_of(policy, "p86user1", "irene")
    assert user_of(policy, "nobody", "curie") is None


def test_a_site_is_found_by_its_name_or_not_at_all() -> None:
    """None is no site either."""
    policy = PolicyFactory.build()
    assert policy.sites[0] == site_named(policy, "curie")
    assert [None, None] == [site_named(policy, name) for name in ("CURIE", None)]


@pytest.mark.parametrize(
    ("mode", "level", "expected"),
    [
        (Mode.OBSERVE, Level.AUTOMATIC, Level.NOTHING),
        (Mode.MAIL, Level.AUTOMATIC, Level.MAIL),
        (Mode.ACT, Level.AUTOMATIC, Level.AUTOMATIC),
        (Mode.ACT, Level.MAIL, Level.MAIL),
        (Mode.ACT, Level.NOTHING, Level.NOTHING),
        (Mode.MAIL, Level.MAIL, Level.MAIL),
        (Mode.OBSERVE, Level.MAIL, Level.NOTHING),
    ],
)
def test_the_level_is_the_lesser_of_mode_and_consent(
    mode: Mode, level: Level, expected: Level
) -> None:
    """Neither the site nor the user can raise what the other allows."""
    policy = replace(_with_site(mode=mode), users=(UserPolicyFactory.build(level=level),))
    assert expected is level_of(PLACE, policy, NOW)


@pytest.mark.parametrize("place", [Place(), replace(PLACE, site=None), replace(PLACE, login="x")])
def test_an_unknown_place_or_person_has_no_level(place: Place) -> None:
    """Nothing is done where nobody knows for whom."""
    assert Level.NOTHING is level_of(place, PolicyFactory.build(), NOW)


def test_a_consent_that_is_over_has_no_level() -> None:
    """The day after the last one."""
    assert Level.NOTHING is level_of(PLACE, _with_user(until=date(2015, 3, 17)), NOW)
    assert Level.AUTOMATIC is level_of(PLACE, _with_user(until=date(2015, 3, 18)), NOW)
