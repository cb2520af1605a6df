"""Rules 10 and 11: what failed before, runs without progress, the first period."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from supervision.facts import (
    EndReason,
    JobFailure,
    JobKind,
    Mode,
    Policy,
    Sight,
    Task,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.policy import decide
from tests.factories import (
    JOB,
    NOW,
    OTHER_JOB,
    OTHER_SIMULATION,
    DecisionFactsFactory,
    LookFactory,
    PolicyFactory,
    RunCardFactory,
    SitePolicyFactory,
    ago,
)

TASK: Final = Task(name="pack", date="18591231")
POST: Final[dict[str, object]] = {
    "trigger__kind": TriggerKind.POST_PROCESSING,
    "job__kind": JobKind.POST_PROCESSING,
    "job__task": TASK,
    "job__period": None,
}
OWN: Final = JobFailure(job_uid=JOB, at=ago(minutes=20), period=7)
BEFORE: Final = JobFailure(job_uid=OTHER_JOB, at=ago(hours=6), period=7)
THIRD: Final = JobFailure(job_uid="third", at=ago(hours=9), period=6)
SECOND: Final = JobFailure(job_uid="second", at=ago(hours=7), period=6)
MAIL_ONLY: Final = PolicyFactory.build(sites=(SitePolicyFactory.build(mode=Mode.MAIL),))


def _decided(policy: Policy | None = None, /, **facts: object) -> Verdict:
    return decide(DecisionFactsFactory.build(**facts), policy or PolicyFactory.build(), NOW)


def test_a_run_that_blows_up_is_not_restarted_a_second_time() -> None:
    """(r) The period failed before under another job: a person must look."""
    verdict = _decided(failures=(BEFORE, OWN))
    expected = (VerdictKind.REFUSE, "again", True, None)
    assert expected == (verdict.kind, verdict.rule, verdict.tell_owner, verdict.wake_at)
    assert verdict.sentence == (
        f"period 7 failed again under job {JOB}, as under job {OTHER_JOB} at "
        "2015-03-18 06:00:00 UTC."
    )


@pytest.mark.parametrize(
    "other",
    [
        replace(BEFORE, period=6),
        replace(BEFORE, period=None),
        replace(BEFORE, job_uid=JOB),
        replace(BEFORE, at=ago(minutes=19)),
    ],
    ids=["other period", "unknown period", "same job", "later"],
)
def test_only_an_earlier_failure_of_the_same_period_under_another_job_counts(
    other: JobFailure,
) -> None:
    """Retries of a job's own supervision are not another job."""
    assert _decided(failures=(other, OWN)).rule == "supervise"


def test_the_period_of_run_card_stands_in_where_no_1001_told_it() -> None:
    """Generations A and B: the period is learned by a look, and the rule asked again."""
    unknown = {"job__period": None, "failures": (BEFORE, replace(OWN, period=None))}
    assert _decided(**unknown).ask
    assert _decided(**unknown, looks=(LookFactory.build(),)).rule == "again"
    other = LookFactory.build(run_card=RunCardFactory.build(period=8))
    assert _decided(**unknown, looks=(other,)).rule == "supervise"


def test_the_newest_run_card_that_tells_a_period_of_ours_counts() -> None:
    """Neither an empty one nor another simulation's tells anything."""
    looks = (
        LookFactory.build(at=ago(minutes=3), run_card=RunCardFactory.build(period=6)),
        LookFactory.build(at=ago(minutes=2)),
        LookFactory.build(at=ago(minutes=1), run_card=None),
    )
    verdict = _decided(job__period=None, failures=(BEFORE, OWN), looks=looks)
    assert verdict.rule == "again"
    foreign = RunCardFactory.build(simulation_uid=OTHER_SIMULATION)
    strange = (LookFactory.build(run_card=foreign),)
    assert _decided(job__period=None, failures=(BEFORE, OWN), looks=strange).rule == "ask"


def test_three_jobs_that_failed_without_progress_are_enough() -> None:
    """Two are not: different periods, so that nothing else speaks."""
    verdict = _decided(failures=(THIRD, SECOND, OWN))
    assert (VerdictKind.REFUSE, "no-progress", True) == (
        verdict.kind,
        verdict.rule,
        verdict.tell_owner,
    )
    assert _decided(failures=(SECOND, OWN)).rule == "supervise"


def test_this_job_counts_also_where_the_failures_do_not_list_it_yet() -> None:
    """And a job that failed twice is one job."""
    assert _decided(failures=(THIRD, SECOND)).rule == "no-progress"
    twice = (SECOND, replace(SECOND, at=ago(hours=6)), OWN)
    assert _decided(failures=twice).rule == "supervise"


def test_failures_before_the_last_progress_or_at_its_moment_do_not_count() -> None:
    """An 1100, a later period, or a person's act begins the count anew."""
    failures = {"failures": (THIRD, SECOND, OWN)}
    assert _decided(progress_at=ago(hours=9), **failures).rule == "supervise"
    verdict = _decided(progress_at=ago(hours=9, seconds=1), **failures)
    assert verdict.rule == "no-progress"
    assert "since the last progress at 2015-03-18 02:59:59 UTC" in verdict.sentence


def test_late_before_n_failures_is_not_restarted_for_ever() -> None:
    """(r) A late job that is found dead meets the same rules as a fatal."""
    late = {"trigger__kind": TriggerKind.LATE, "failures": (THIRD, SECOND)}
    assert _decided(**late).ask
    dead = LookFactory.build()
    assert _decided(**late, looks=(dead,)).rule == "no-progress"


def test_a_late_job_that_merely_runs_slowly_has_not_failed() -> None:
    """Its owner would be told of a failure that is none."""
    running = LookFactory.build(sight=Sight.RUNNING, reason=None)
    late = {"trigger__kind": TriggerKind.LATE, "failures": (BEFORE, THIRD, SECOND)}
    assert _decided(**late, looks=(running,)).rule == "ask"


def test_a_late_job_that_is_gone_has_failed_once_two_looks_agree() -> None:
    """A single one may be wrong."""
    first, second = (
        LookFactory.build(at=ago(minutes=m), sight=Sight.ABSENT, reason=None) for m in (10, 0)
    )
    late = {"trigger__kind": TriggerKind.LATE, "failures": (BEFORE,)}
    assert _decided(**late, looks=(second,)).rule == "ask"
    assert _decided(**late, looks=(first, second)).rule == "again"


def test_where_nobody_may_ask_silence_counts_as_failure() -> None:
    """A mail with a script would be sent again and again."""
    late = {"trigger__kind": TriggerKind.LATE}
    assert _decided(MAIL_ONLY, **late, failures=(THIRD, SECOND)).rule == "no-progress"
    assert _decided(MAIL_ONLY, **late, failures=(BEFORE,)).rule == "again"
    assert _decided(MAIL_ONLY, **late).rule == "supervise"


@pytest.mark.parametrize("failures", [(BEFORE,), (THIRD, SECOND)], ids=["again", "no progress"])
def test_a_failed_command_is_no_failed_job(failures: tuple[JobFailure, ...]) -> None:
    """Beside its fatal it would only send a second mail about one incident."""
    command = {"trigger__kind": TriggerKind.COMMAND, "failures": failures}
    assert _decided(**command, fatal_of_job=True).kind is VerdictKind.MERGE
    assert _decided(**command).ask
    found = _decided(**command, looks=(LookFactory.build(reason=EndReason.FAILED),))
    assert found.rule in {"again", "no-progress"}


@pytest.mark.parametrize("kind", [TriggerKind.COMMAND, TriggerKind.LATE])
def test_a_fatal_that_came_meanwhile_is_heard_before_acting(kind: TriggerKind) -> None:
    """The row was begun about something weaker; nothing merges any more."""
    facts = {"trigger__kind": kind, "failures": (BEFORE, OWN), "before_acting": True}
    assert _decided(**facts, fatal_of_job=True).rule == "again"
    assert _decided(**facts, fatal_of_job=False).rule == "ask"


def test_a_stalled_simulation_s_last_job_did_not_fail() -> None:
    """Its period had failed under an earlier job, and was done by this one."""
    stalled = {"trigger__kind": TriggerKind.STALLED, "failures": (BEFORE, THIRD, SECOND)}
    assert _decided(MAIL_ONLY, **stalled).rule == "supervise"


def test_a_post_processing_task_that_failed_twice_is_left_to_a_person() -> None:
    """This failure is the second one."""
    verdict = _decided(failures=(replace(BEFORE, period=None), OWN), **POST)
    expected = (VerdictKind.REFUSE, "again", True)
    assert expected == (verdict.kind, verdict.rule, verdict.tell_owner)
    assert verdict.sentence == "pack of 18591231 failed 2 times."
    assert _decided(failures=(OWN,), **POST).rule == "supervise"


@pytest.mark.parametrize("task", [None, Task(name="pack"), Task(date="18591231")], ids=repr)
def test_a_task_without_name_and_date_equals_no_other(task: Task | None) -> None:
    """Nobody knows whether it failed before."""
    facts = {**POST, "job__task": task}
    assert _decided(failures=(BEFORE, OWN), **facts).rule == "supervise"


def test_post_processing_never_counts_as_a_run_without_progress() -> None:
    """Only compute jobs carry the simulation on."""
    facts = {**POST, "job__task": None}
    assert _decided(failures=(THIRD, SECOND, OWN), **facts).rule == "supervise"


def test_a_failure_in_the_first_period_is_left_to_a_person() -> None:
    """The set-up is wrong; cleaning would also ask whether to delete run.card."""
    verdict = _decided(job__period=1)
    expected = (VerdictKind.REFUSE, "first-period", True, None)
    assert expected == (verdict.kind, verdict.rule, verdict.tell_owner, verdict.wake_at)
    assert _decided(job__period=2).rule == "supervise"


def test_the_first_period_is_also_learned_from_run_card() -> None:
    """At level 2 a fatal of unknown period asks once for it."""
    look = LookFactory.build(run_card=RunCardFactory.build(period=1))
    assert _decided(job__period=None, looks=(look,)).rule == "first-period"


def test_an_unknown_period_is_not_the_first() -> None:
    """At level 1 nobody asks, and the owner gets the script."""
    assert _decided(MAIL_ONLY, job__period=None).rule == "supervise"


def test_post_processing_of_the_first_period_is_helped() -> None:
    """The rule is about compute jobs."""
    assert _decided(**{**POST, "job__period": 1}).rule == "supervise"
