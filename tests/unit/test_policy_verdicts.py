"""The order of the rules, the last word, attempts of persons, and the moment before acting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone
from typing import Final

import pytest

from supervision.facts import (
    DecisionFacts,
    Hold,
    IncidentFacts,
    JobFailure,
    JobKind,
    Level,
    Mode,
    OtherJob,
    OtherSimulation,
    Policy,
    Restarts,
    TriggerKind,
    Verdict,
    VerdictKind,
    Window,
)
from supervision.fsm.states import State
from supervision.policy import RULES, act_not_before, before_acting, decide
from tests.factories import (
    JOB,
    NOW,
    OTHER_JOB,
    OTHER_SIMULATION,
    SUPERVISION,
    DecisionFactsFactory,
    HandlingFactory,
    PolicyFactory,
    SitePolicyFactory,
    UserPolicyFactory,
    ago,
)

HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
WORST: Final = PolicyFactory.build(
    sites=(
        SitePolicyFactory.build(
            retired=True, maintenance=(Window(start=NOW - HOUR, end=NOW + HOUR),)
        ),
    ),
    users=(),
)
"""Everything that settings can speak against a trigger."""

EVERYTHING: Final[dict[str, object]] = {
    "trigger__at": ago(days=6),
    "simulation__deleted_at": ago(minutes=1),
    "handling": HandlingFactory.build(state=State.EXECUTED),
    "simulation__complete_at": ago(minutes=1),
    "job__ended_at": ago(minutes=1),
    "later_starts": (OtherJob(uid=OTHER_JOB, at=ago(minutes=1)),),
    "replacements": (OtherSimulation(uid=OTHER_SIMULATION, announced_at=ago(minutes=1)),),
    "busy_with": SUPERVISION,
    "failures": (
        JobFailure(job_uid="third", at=ago(days=9), period=1),
        JobFailure(job_uid="second", at=ago(days=8), period=1),
    ),
    "job__period": 1,
    "holds": (Hold(scope="site:curie", actor="op", reason="why", since=ago(days=1)),),
    "incident": IncidentFacts(id="i-1", opened_at=NOW, simulations=12, window=10 * MINUTE),
    "restarts": Restarts(simulation=(NOW,) * 3),
    "credential_expires_at": ago(days=1),
}
"""Everything that facts can speak against a fatal."""

LIFTED: Final[tuple[tuple[str, dict[str, object], dict[str, object]], ...]] = (
    ("too-old", {"trigger__at": ago(minutes=20)}, {}),
    ("deleted", {"simulation__deleted_at": None}, {}),
    ("where-and-who", {}, {"sites": "not retired"}),
    ("consent", {}, {"users": (UserPolicyFactory.build(),)}),
    ("handled", {"handling": None}, {}),
    ("complete", {"simulation__complete_at": None}, {}),
    ("ended", {"job__ended_at": None}, {}),
    ("superseded", {"later_starts": ()}, {}),
    ("replaced", {"replacements": ()}, {}),
    ("busy", {"busy_with": None}, {}),
    ("again", {"job__period": 2}, {}),
    ("no-progress", {"failures": (), "job__period": 1}, {}),
    ("first-period", {"job__period": 2}, {}),
    ("hold", {"holds": ()}, {}),
    ("maintenance", {}, {"sites": (SitePolicyFactory.build(),)}),
    ("incident", {"incident": None}, {}),
    ("cap", {"restarts": Restarts()}, {}),
    ("credential", {"credential_expires_at": None}, {}),
    ("supervise", {}, {}),
)
"""Which rule speaks first, and what silences it: facts and settings."""


def _decided(policy: Policy | None = None, /, **facts: object) -> Verdict:
    return decide(DecisionFactsFactory.build(**facts), policy or PolicyFactory.build(), NOW)


def _silenced(policy: Policy, changes: dict[str, object]) -> Policy:
    if changes.get("sites") == "not retired":
        return replace(policy, sites=(replace(policy.sites[0], retired=False),))
    return replace(policy, **changes)  # type: ignore[arg-type]


def test_the_rules_speak_in_the_order_of_the_contract() -> None:
    """Everything speaks against it; rule after rule is silenced, and the next one is heard."""
    facts, policy, heard = dict(EVERYTHING), WORST, []
    for _, of_facts, of_policy in LIFTED:
        heard.append(_decided(policy, **facts).rule)
        facts |= of_facts
        policy = _silenced(policy, of_policy)
    assert [rule for rule, _, _ in LIFTED] == heard


def test_the_table_of_rules_is_the_order_of_the_contract() -> None:
    """A rule's verdicts bear the name of its function; the last one is never silent."""
    expected = [
        *("too_old", "deleted", "where_and_who", "consent", "handled", "complete", "ended"),
        *("superseded", "replaced", "busy", "again", "no_progress", "first_period", "hold"),
        *("maintenance", "incident", "cap", "credential", "lone_command", "ask", "unknown_kind"),
        "supervise",
    ]
    assert expected == [getattr(rule.speak, "__name__", "") for rule in RULES]


def test_a_fatal_that_nothing_speaks_against_is_supervised() -> None:
    """At level 2, with a sentence that says what happened and what is done, for whom and where."""
    verdict = _decided()
    expected = Verdict(
        kind=VerdictKind.SUPERVISE,
        rule="supervise",
        sentence=(
            f"job {JOB} failed (2015-03-18 11:40:00 UTC); it is restarted, as p86user1 at curie."
        ),
        level=Level.AUTOMATIC,
    )
    assert expected == verdict


def test_sentences_speak_utc_whatever_zone_a_time_came_in() -> None:
    """The centres' clocks are local ones."""
    local = ago(minutes=20).astimezone(timezone(timedelta(hours=1)))
    assert "(2015-03-18 11:40:00 UTC)" in _decided(trigger__at=local).sentence


@pytest.mark.parametrize(
    ("mode", "level", "words"),
    [
        (Mode.OBSERVE, Level.NOTHING, "only observed, nothing is done"),
        (Mode.MAIL, Level.MAIL, "its owner gets the script by mail"),
        (Mode.ACT, Level.AUTOMATIC, "it is restarted"),
    ],
)
def test_the_verdict_carries_the_level_and_says_it(mode: Mode, level: Level, words: str) -> None:
    """Observed is level 0: decided like any other, and cancelled afterwards."""
    verdict = _decided(PolicyFactory.build(sites=(SitePolicyFactory.build(mode=mode),)))
    assert level is verdict.level
    assert words in verdict.sentence


UNKNOWN: Final[dict[str, object]] = {"job__kind": None, "trigger__kind": TriggerKind.COMMAND}


def test_a_job_of_unknown_kind_is_waited_for_and_then_refused() -> None:
    """Ten minutes, for a message that tells; nobody is asked meanwhile."""
    waits = _decided(**UNKNOWN)
    expected = (VerdictKind.DEFER, "unknown-kind", NOW + 10 * MINUTE, False)
    assert expected == (waits.kind, waits.rule, waits.wake_at, waits.ask)
    refused = _decided(**UNKNOWN, deferrals={"unknown-kind": 1})
    assert (VerdictKind.REFUSE, "unknown-kind", True, None) == (
        refused.kind,
        refused.rule,
        refused.tell_owner,
        refused.wake_at,
    )


def test_messages_that_wake_a_job_of_unknown_kind_do_not_shorten_its_wait() -> None:
    """Many a message can come within ten minutes."""
    recent = {
        "job__kind": None,
        "trigger__kind": TriggerKind.LATE,
        "deferrals": {"unknown-kind": 9},
    }
    assert _decided(**recent, trigger__arrived_at=ago(minutes=9.9)).kind is VerdictKind.DEFER
    assert _decided(**recent, trigger__arrived_at=ago(minutes=10)).kind is VerdictKind.REFUSE


@pytest.mark.parametrize("trigger", [TriggerKind.FATAL, TriggerKind.POST_PROCESSING])
def test_a_trigger_that_only_one_kind_of_job_has_tells_the_kind(trigger: TriggerKind) -> None:
    """Even where that message is the only one of its job."""
    verdict = _decided(job__kind=None, trigger__kind=trigger)
    assert verdict.kind is VerdictKind.SUPERVISE


PERSON: Final = "begun by a person"
MET_BY_PERSONS: Final = (
    *("deleted", "where-and-who", "consent", "complete", "superseded", "replaced", "busy"),
    *("hold", "maintenance", "cap", "credential", "supervise"),
)


def test_a_person_s_attempt_meets_only_the_rules_that_protect() -> None:
    """Rules 2, 3, 4, 6, 8, 9 and 12; age, history and questions are the person's own business."""
    facts, policy, heard = {**EVERYTHING, "by_person": True}, WORST, []
    for rule, of_facts, of_policy in LIFTED:
        if rule in MET_BY_PERSONS:
            heard.append(_decided(policy, **facts).rule)
            facts |= of_facts
            policy = _silenced(policy, of_policy)
    assert list(MET_BY_PERSONS) == heard


@pytest.mark.parametrize(
    "facts",
    [
        {"trigger__kind": TriggerKind.LATE},
        {"trigger__kind": TriggerKind.COMMAND, "fatal_of_job": True},
        {"trigger__kind": TriggerKind.COMMAND, "trigger__arrived_at": NOW},
        {"job__kind": None, "trigger__kind": TriggerKind.COMMAND},
        {"job__period": None},
    ],
    ids=str,
)
def test_a_person_s_attempt_is_neither_merged_nor_asked_about(facts: dict[str, object]) -> None:
    """Whoever says retry has looked."""
    assert _decided(**facts).kind is not VerdictKind.SUPERVISE
    assert _decided(**facts, by_person=True).kind is VerdictKind.SUPERVISE


def _acting(policy: Policy | None = None, /, **facts: object) -> Verdict:
    handling = HandlingFactory.build(state=State.FORMATTED)
    return _decided(policy, **{"handling": handling, **facts}, before_acting=True)


def test_before_acting_the_row_s_own_supervision_does_not_speak() -> None:
    """Nor do busy and merging: the row that asks is the one that they are about."""
    assert before_acting(_acting()) == "act"
    assert before_acting(_acting(busy_with=SUPERVISION)) == "act"
    command = {"trigger__kind": TriggerKind.COMMAND, "fatal_of_job": True}
    assert _acting(**command).kind is not VerdictKind.MERGE


@pytest.mark.parametrize(
    ("facts", "rule", "disposition"),
    [
        ({"trigger__at": ago(days=6)}, "too-old", "expire"),
        ({"simulation__deleted_at": NOW}, "deleted", "cancel"),
        ({"simulation__login": None}, "where-and-who", "wait"),
        ({"simulation__announced_at": None}, "where-and-who", "wait"),
        ({"simulation__space": "DEVT"}, "consent", "cancel"),
        ({"simulation__complete_at": NOW}, "complete", "cancel"),
        ({"job__ended_at": NOW}, "ended", "cancel"),
        ({"later_starts": (OtherJob(uid=OTHER_JOB, at=NOW),)}, "superseded", "cancel"),
        ({"job__period": 1}, "first-period", "cancel"),
        ({"restarts": Restarts(simulation=(NOW,) * 3)}, "cap", "wait"),
        ({"credential_expires_at": NOW}, "credential", "wait"),
        ({"trigger__kind": TriggerKind.LATE}, "ask", "wait"),
    ],
)
def test_before_acting_each_verdict_has_its_disposition(
    facts: dict[str, object], rule: str, disposition: str
) -> None:
    """What may pass waits, what is too old expires, what is needless is cancelled."""
    policy = PolicyFactory.build(users=(UserPolicyFactory.build(spaces=("PROD",)),))
    verdict = _acting(policy, **facts)
    assert (rule, disposition) == (verdict.rule, before_acting(verdict))


def test_before_acting_a_retired_site_cancels() -> None:
    """It is refused for good, not for want."""
    policy = PolicyFactory.build(sites=(SitePolicyFactory.build(retired=True),))
    assert before_acting(_acting(policy)) == "cancel"


def test_a_merge_before_acting_would_wait() -> None:
    """No rule merges there; if one ever did, nothing would be lost."""
    merged = _decided(handling=HandlingFactory.build())
    assert (VerdictKind.MERGE, "wait") == (merged.kind, before_acting(merged))


def test_a_person_s_attempt_before_acting_is_spared_by_both() -> None:
    """Too old, handled and busy at once."""
    old = {"trigger__at": ago(days=60), "busy_with": SUPERVISION, "by_person": True}
    assert before_acting(_acting(**old)) == "act"


def _facts(**facts: object) -> DecisionFacts:
    return DecisionFactsFactory.build(**facts)


def test_an_act_at_level_2_waits_the_grace_after_the_trigger() -> None:
    """Mails come late, owners act, the failed job leaves the queue."""
    policy = PolicyFactory.build()
    assert ago(minutes=10) == act_not_before(_facts().trigger, policy)
    sandbox = replace(policy, grace=timedelta())
    assert ago(minutes=20) == act_not_before(_facts().trigger, sandbox)


def test_a_mail_goes_at_once_but_about_a_late_job_after_a_day() -> None:
    """Most late jobs are heard of within the day."""
    policy, late = PolicyFactory.build(), _facts(trigger__kind=TriggerKind.LATE)
    assert ago(minutes=20) == act_not_before(_facts().trigger, policy, level=Level.MAIL)
    assert ago(minutes=20) + 24 * HOUR == act_not_before(late.trigger, policy, level=Level.MAIL)
    assert ago(minutes=10) == act_not_before(late.trigger, policy, level=Level.AUTOMATIC)
    assert ago(minutes=20) == act_not_before(late.trigger, policy, level=Level.NOTHING)


def test_a_trigger_from_the_future_does_not_put_off_the_act() -> None:
    """It counts as its arrival, as for its age."""
    facts = _facts(trigger__at=NOW + 5 * HOUR, trigger__arrived_at=NOW)
    assert NOW + 10 * MINUTE == act_not_before(facts.trigger, PolicyFactory.build())


def test_deciding_leaves_no_trace() -> None:
    """Pure: asked twice, the answer is the same, and the facts are what they were."""
    facts, before = _facts(deferrals={"ask": 1}), _facts(deferrals={"ask": 1})
    policy = PolicyFactory.build()
    assert decide(facts, policy, NOW) == decide(facts, policy, NOW)
    assert before == facts


def test_a_post_processing_job_is_helped_like_any_other() -> None:
    """Its own trigger, its own kind."""
    kind = {"trigger__kind": TriggerKind.POST_PROCESSING, "job__kind": JobKind.POST_PROCESSING}
    assert _decided(**kind).level is Level.AUTOMATIC
