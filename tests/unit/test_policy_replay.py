"""Facts and policies as JSON: what was written is read again bit for bit, and decides the same."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervision.errors import InvalidValue
from supervision.facts import (
    AttemptFailure,
    DecisionFacts,
    FailureCause,
    Hold,
    JobFailure,
    LoginAlias,
    OtherJob,
    OtherSimulation,
    Policy,
    Restarts,
    Task,
    Window,
)
from supervision.policy import decide
from supervision.replay import (
    Question,
    dump,
    dump_policy,
    dump_question,
    load,
    load_policy,
    load_question,
)
from tests.factories import (
    NOW,
    OTHER_JOB,
    OTHER_SIMULATION,
    SUPERVISION,
    DecisionFactsFactory,
    HandlingFactory,
    LookFactory,
    PolicyFactory,
    SitePolicyFactory,
    UserPolicyFactory,
    ago,
)

ODD = datetime(2015, 3, 18, 8, 48, 48, 902943, tzinfo=UTC)


def _full_facts() -> DecisionFacts:
    """Every field has a value that differs from its default."""
    return DecisionFactsFactory.build(
        trigger__at=ODD,
        trigger__occurrences=301,
        job__task=Task(name="pack", date="18591231"),
        job__warning_delay=timedelta(seconds=7200, microseconds=1),
        simulation__name='Zürich "$(rm -rf ~)"\n',
        by_person=True,
        before_acting=True,
        deferrals={"where-and-who": 2, "ask": 1},
        handling=HandlingFactory.build(
            failures=(AttemptFailure(attempt=1, at=ODD, cause=FailureCause.NOT_YET),)
        ),
        fatal_of_job=True,
        later_starts=(OtherJob(uid=OTHER_JOB, at=ODD, ended_well=True),),
        replacements=(OtherSimulation(uid=OTHER_SIMULATION, announced_at=ODD),),
        busy_with=SUPERVISION,
        failures=(JobFailure(job_uid=OTHER_JOB, at=ODD, period=3),),
        progress_at=ODD,
        post_open=True,
        holds=(Hold(scope="site:curie", actor="op", reason="why", since=ODD),),
        restarts=Restarts(site=(ODD, NOW), simulation=(ODD,), user=(ODD,)),
        credential_expires_at=ODD,
        looks=(LookFactory.build(free_bytes=2**40), LookFactory.build(run_card=None)),
    )


def _full_policy() -> Policy:
    alias = LoginAlias(announced="old", login="new", since=date(2015, 1, 1))
    site = SitePolicyFactory.build(logins=(alias,), maintenance=(Window(start=ODD, end=NOW),))
    user = UserPolicyFactory.build(until=date(2016, 12, 31), set_by="op", set_on=date(2015, 1, 2))
    return PolicyFactory.build(
        sites=(site,), users=(user,), grace=timedelta(0), max_age=timedelta(days=5, microseconds=3)
    )


@pytest.mark.parametrize("facts", [_full_facts(), DecisionFactsFactory.build()])
def test_facts_are_read_again_bit_for_bit(facts: DecisionFacts) -> None:
    """The value, and the text of the value."""
    text = dump(facts)
    assert facts == load(text)
    assert text == dump(load(text))


def test_a_policy_is_read_again_bit_for_bit() -> None:
    """Every span and date of it."""
    policy = _full_policy()
    assert policy == load_policy(dump_policy(policy))
    assert dump_policy(policy) == dump_policy(load_policy(dump_policy(policy)))


@pytest.mark.parametrize(
    "facts",
    [
        DecisionFactsFactory.build(),
        DecisionFactsFactory.build(looks=(LookFactory.build(),), job__period=None),
        DecisionFactsFactory.build(simulation__announced_at=None),
        _full_facts(),
    ],
    ids=["supervise", "look", "want", "full"],
)
def test_a_stored_verdict_replays_bit_for_bit(facts: DecisionFacts) -> None:
    """Facts, moment and policy are all that a verdict rests on."""
    verdict = decide(facts, _full_policy(), NOW)
    stored = load_question(dump_question(facts, NOW))
    assert Question(facts=facts, now=NOW) == stored
    assert verdict == decide(stored.facts, load_policy(dump_policy(_full_policy())), stored.now)


@settings(max_examples=30, deadline=None)
@given(
    at=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.timezones()),  # noqa: DTZ001
    delay=st.timedeltas(timedelta(0), timedelta(days=36500)),
    name=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_time_span_and_text_survives(at: datetime, delay: timedelta, name: str) -> None:
    """Microseconds, zones and every character."""
    facts = DecisionFactsFactory.build(
        trigger__at=at.astimezone(UTC), job__warning_delay=delay, simulation__name=name
    )
    assert facts == load(dump(facts))


def test_equal_facts_give_equal_text() -> None:
    """Neither the order of a dict nor a time's zone makes a difference."""
    one = DecisionFactsFactory.build(deferrals={"ask": 1, "busy": 2}, progress_at=ODD)
    there = ODD.astimezone(timezone(timedelta(hours=1)))
    other = DecisionFactsFactory.build(deferrals={"busy": 2, "ask": 1}, progress_at=there)
    assert one == other
    assert dump(one) == dump(other)


def test_the_text_is_compact_json_with_plain_words() -> None:
    """Times in UTC with microseconds, spans in seconds, enums by value."""
    text = dump(_full_facts())
    written = json.loads(text)
    assert text == json.dumps(written, separators=(",", ":"), ensure_ascii=False)
    assert written["trigger"]["at"] == "2015-03-18T08:48:48.902943+00:00"
    assert written["trigger"]["kind"] == "fatal"
    assert written["job"]["warning_delay"] == 7200.000001
    assert written["handling"]["level"] == 2
    assert json.loads(dump_policy(_full_policy()))["users"][0]["until"] == "2016-12-31"


def test_a_field_that_came_later_takes_its_default() -> None:
    """Decisions of an older version are still read."""
    written = json.loads(dump(DecisionFactsFactory.build()))
    del written["post_open"], written["looks"]
    assert DecisionFactsFactory.build() == load(json.dumps(written))


def test_defaults_are_written_too() -> None:
    """A default that changes one day must not change what was decided."""
    written = json.loads(dump_policy(PolicyFactory.build()))
    assert (432000.0, 3) == (written["max_age"], written["want_tries"])


def _spoilt(old: str, new: str) -> str:
    text = dump(DecisionFactsFactory.build(deferrals={"ask": 1}))
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        _spoilt('"kind":"fatal"', '"kind":"other"'),
        _spoilt('"occurrences":1', '"occurrences":"1"'),
        _spoilt('"occurrences":1', '"occurrences":true'),
        _spoilt('"by_person":false', '"by_person":0'),
        _spoilt('"by_person":false', '"by_person":false,"unheard_of":1'),
        _spoilt("+00:00", ""),
        _spoilt("2015-03-18T11:40:00.000000+00:00", "yesterday"),
        _spoilt("86400.0", "1e300"),
        _spoilt("86400.0", "NaN"),
        _spoilt("86400.0", '"a day"'),
        _spoilt('"name":"CPL01"', '"name":7'),
        _spoilt('"looks":[]', '"looks":[7]'),
        _spoilt('"uid":"3195c4c1-2278-4fd3-9c97-19091a26e3b6"', '"uid":null'),
    ],
    ids=lambda text: text[:20],
)
def test_what_holds_no_facts_is_one_error_of_ours(text: str) -> None:
    """Nothing is made to fit, and no library's error escapes."""
    with pytest.raises(InvalidValue, match="no DecisionFacts can be read"):
        load(text)


def test_what_holds_no_policy_or_question_is_the_same_error() -> None:
    """Facts are neither."""
    text = dump(DecisionFactsFactory.build())
    with pytest.raises(InvalidValue, match="no Policy can be read"):
        load_policy(text)
    with pytest.raises(InvalidValue, match="no Question can be read"):
        load_question(text)


def test_a_time_without_a_zone_is_never_written() -> None:
    """It would replay differently on another machine."""
    facts = DecisionFactsFactory.build(progress_at=ago().replace(tzinfo=None))
    with pytest.raises(InvalidValue, match="without a zone"):
        dump(facts)
