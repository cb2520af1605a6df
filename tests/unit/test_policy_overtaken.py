"""Rules 6 to 9: complete, ended, superseded, replaced, busy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from supervision.facts import (
    JobKind,
    OtherJob,
    OtherSimulation,
    Task,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.policy import decide
from tests.factories import (
    DIRECTORY,
    JOB,
    NOW,
    OTHER_JOB,
    OTHER_SIMULATION,
    SIMULATION,
    SUPERVISION,
    DecisionFactsFactory,
    PolicyFactory,
    SitePolicyFactory,
    ago,
)

POST: Final[dict[str, object]] = {
    "trigger__kind": TriggerKind.POST_PROCESSING,
    "job__kind": JobKind.POST_PROCESSING,
    "job__task": Task(name="create_ts", date="18591231", dimension="2D", component="ATM"),
    "job__period": None,
}


def _decided(**facts: object) -> Verdict:
    return decide(DecisionFactsFactory.build(**facts), PolicyFactory.build(), NOW)


def _later(hours: float, *, ended_well: bool = False, uid: str = OTHER_JOB) -> dict[str, object]:
    return {"later_starts": (OtherJob(uid=uid, at=ago(hours=hours), ended_well=ended_well),)}


def _replacement(hours: float, directory: str | None = None) -> dict[str, object]:
    other = OtherSimulation(
        uid=OTHER_SIMULATION, announced_at=ago(hours=hours), directory=directory
    )
    return {"replacements": (other,)}


def test_a_complete_simulation_is_left_alone() -> None:
    """Its 0100 came after the last start and after this job's first message."""
    verdict = _decided(simulation__complete_at=ago(hours=1))
    assert (VerdictKind.REFUSE, "complete", None) == (verdict.kind, verdict.rule, verdict.wake_at)
    assert SIMULATION in verdict.sentence


@pytest.mark.parametrize(("last_start", "first"), [(1, 9), (9, 1), (2, 9), (9, 2)], ids=str)
def test_prolonged_simulations_fail_too(last_start: int, first: int) -> None:
    """(r) A start or a job after the 0100, or of its very moment, means that it goes on."""
    verdict = _decided(
        simulation__complete_at=ago(hours=2),
        simulation__last_start_at=ago(hours=last_start),
        job__first_at=ago(hours=first),
    )
    assert verdict.rule == "supervise"


def test_the_last_create_ts_runs_after_0100_and_is_helped() -> None:
    """(r) A complete simulation still has post-processing to come."""
    assert _decided(simulation__complete_at=ago(hours=1), **POST).rule == "supervise"


def test_a_job_that_ended_well_needs_no_help() -> None:
    """Command failures after the end are a finished run being cleaned up."""
    verdict = _decided(job__ended_at=ago(hours=1))
    assert (VerdictKind.REFUSE, "ended", None) == (verdict.kind, verdict.rule, verdict.wake_at)
    assert verdict.sentence == f"job {JOB} ended well at 2015-03-18 11:00:00 UTC."


def test_a_stalled_simulation_s_last_job_ended_well_and_is_no_reason_to_refuse() -> None:
    """The end of that job is what the trigger is about."""
    verdict = _decided(job__ended_at=ago(hours=30), trigger__kind=TriggerKind.STALLED)
    assert (VerdictKind.DEFER, "ask") == (verdict.kind, verdict.rule)


def test_a_later_compute_start_supersedes_a_compute_job() -> None:
    """Whoever restarted it, it runs."""
    verdict = _decided(**_later(1))
    assert (VerdictKind.REFUSE, "superseded") == (verdict.kind, verdict.rule)
    assert verdict.sentence == f"job {OTHER_JOB} started later, at 2015-03-18 11:00:00 UTC."


@pytest.mark.parametrize("hours", [4, 5])
def test_a_start_that_is_not_later_supersedes_nothing(hours: int) -> None:
    """By the centre's clock; the same moment is not later."""
    assert _decided(**_later(hours)).rule == "supervise"


def test_without_a_start_the_first_message_of_a_job_is_compared() -> None:
    """The 1000 of a job may be lost."""
    known = {"job__started_at": None, "job__first_at": ago(hours=2)}
    assert _decided(**_later(1), **known).rule == "superseded"
    assert _decided(**_later(3), **known).rule == "supervise"


def test_the_job_itself_is_no_other_job() -> None:
    """A 1000 that came twice, with two times, supersedes nothing."""
    assert _decided(**_later(1, uid=JOB)).rule == "supervise"


def test_the_end_of_the_previous_job_does_not_supersede_its_successor() -> None:
    """A 1000 can come some seconds before the previous job's 1100."""
    assert _decided(**_later(3.99, ended_well=True)).rule == "supervise"


@pytest.mark.parametrize(("ended_well", "how"), [(False, "started"), (True, "ended well")])
def test_the_same_task_started_or_ended_again_supersedes_a_post_processing_job(
    ended_well: bool,  # noqa: FBT001  a parameter of the test
    how: str,
) -> None:
    """Somebody repeated it by hand."""
    verdict = _decided(**_later(1, ended_well=ended_well), **POST)
    assert verdict.rule == "superseded"
    assert verdict.sentence == f"job {OTHER_JOB} {how} later, at 2015-03-18 11:00:00 UTC."


def test_a_post_processing_job_that_came_through_after_all_is_left_alone() -> None:
    """Its own good end after the trigger is an end of the same task; one before it is none."""
    assert _decided(job__ended_at=ago(minutes=10), **POST).rule == "superseded"
    assert _decided(job__ended_at=ago(minutes=20), **POST).rule == "supervise"


@pytest.mark.parametrize("facts", [{}, POST], ids=["compute", "post-processing"])
def test_a_simulation_of_the_same_name_replaces_the_earlier_one(facts: dict[str, object]) -> None:
    """Its run.card is another one's by now."""
    unknown = {"job__directory": None, "simulation__directory": DIRECTORY}
    verdict = _decided(**_replacement(1), **unknown, **facts)
    assert (VerdictKind.REFUSE, "replaced", None) == (verdict.kind, verdict.rule, verdict.wake_at)
    assert OTHER_SIMULATION in verdict.sentence


@pytest.mark.parametrize(
    ("directory", "rule"),
    [
        (None, "replaced"),
        (DIRECTORY, "replaced"),
        (DIRECTORY + "/", "replaced"),
        (DIRECTORY + "b", "supervise"),
    ],
)
def test_only_two_known_and_different_directories_keep_a_name_apart(
    directory: str | None, rule: str
) -> None:
    """The same name elsewhere is another experiment; a slash at the end is no elsewhere."""
    assert rule == _decided(**_replacement(1, directory)).rule


def test_a_directory_that_only_the_job_told_keeps_a_name_apart_too() -> None:
    """The job's start is as good a witness as the simulation's."""
    facts = {**_replacement(1, DIRECTORY + "b"), "simulation__directory": None}
    assert _decided(**facts).rule == "supervise"


@pytest.mark.parametrize("hours", [240, 241])
def test_an_earlier_simulation_of_the_same_name_replaces_nothing(hours: int) -> None:
    """It is the one that was replaced."""
    assert _decided(**_replacement(hours)).rule == "supervise"


FIRST_0000: Final = datetime(2015, 3, 18, 8, 44, 25, 342268, tzinfo=UTC)
SECOND_0000: Final = datetime(2015, 3, 18, 8, 46, 42, 343274, tzinfo=UTC)


@pytest.mark.parametrize(
    ("announced_at", "other_at", "rule"),
    [(FIRST_0000, SECOND_0000, "replaced"), (SECOND_0000, FIRST_0000, "supervise")],
)
def test_curie_2015_fatal_helps_the_second_simulation_of_the_name_and_not_the_first(
    announced_at: datetime, other_at: datetime, rule: str
) -> None:
    """(r) Two 0000s of one name within three minutes, and a 9999: generation B, no directories."""
    site = SitePolicyFactory.build(directory_pattern="/ccc/work/{login}/{model}/{name}")
    verdict = decide(
        DecisionFactsFactory.build(
            trigger__at=datetime(2015, 3, 18, 8, 48, 48, 902943, tzinfo=UTC),
            job__directory=None,
            job__started_at=announced_at,
            job__first_at=announced_at,
            simulation__name="CPL6V5.10x00F",
            simulation__directory=None,
            simulation__announced_at=announced_at,
            simulation__last_start_at=announced_at,
            replacements=(OtherSimulation(uid=OTHER_SIMULATION, announced_at=other_at),),
        ),
        PolicyFactory.build(sites=(site,)),
        NOW,
    )
    assert rule == verdict.rule


def test_a_simulation_that_is_being_restarted_makes_another_job_wait() -> None:
    """Two restarts of one simulation would be two chains."""
    verdict = _decided(busy_with=SUPERVISION)
    expected = (VerdictKind.DEFER, "busy", NOW + timedelta(hours=1))
    assert expected == (verdict.kind, verdict.rule, verdict.wake_at)


def test_post_processing_never_waits_for_a_compute_restart() -> None:
    """It touches neither run.card nor the compute job."""
    assert _decided(busy_with=SUPERVISION, **POST).rule == "supervise"


@pytest.mark.parametrize(
    "facts",
    [
        {"simulation__complete_at": ago(hours=1)},
        {"job__ended_at": ago(hours=1)},
        {"busy_with": SUPERVISION},
        _later(1),
    ],
    ids=["complete", "ended", "busy", "superseded"],
)
def test_a_job_of_unknown_kind_is_not_judged_as_a_compute_job(facts: dict[str, object]) -> None:
    """It might be the post-processing that runs after the end."""
    unknown = {"job__kind": None, "trigger__kind": TriggerKind.COMMAND}
    assert _decided(**unknown, **facts).rule == "unknown-kind"
