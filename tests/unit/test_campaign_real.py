"""The real campaign's judge finds what it is for, and its plan follows from the seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

import pytest

from tests.campaign.real_audit import Evidence, Expected, Ledger, Row, judge
from tests.campaign.real_plan import Kind, plan
from tests.campaign.real_table import Result, as_json, as_text

ROW: Final = Row(
    id="s-1", job_uid="j-1", state="executed", attempt=1, alarm_seconds=60.0, cause=None, told=True
)
GIVEN_UP: Final = replace(ROW, state="failed", alarm_seconds=None, cause="lost")
LEDGER: Final = Ledger(job_uid="j-1", kind="fatal", verdict="supervise", alarm_seconds=None)
WELL: Final = Evidence(
    expected=(
        Expected(name="a", job_uid="j-1", restarts=1, triggered=True),
        Expected(name="b", job_uid="j-2", restarts=0, triggered=False),
    ),
    rows=(ROW,),
    ledger=(LEDGER,),
    restarts={"a": 1},
    executions={"s-1/1": 1},
)


def test_a_campaign_that_went_well_is_clean() -> None:
    """One restart where one had to be, each script begun once, an alarm that is still to come."""
    assert judge(WELL).clean


@pytest.mark.parametrize(
    "evidence",
    [
        replace(WELL, ledger=()),
        replace(WELL, restarts={}),
        replace(WELL, unrecorded=("uid",)),
        replace(WELL, buried=("in-monitoring-1999: failed",)),
        replace(WELL, spared=("poison 1",)),
        replace(WELL, restarts={}, rows=()),
        replace(WELL, restarts={}, rows=(GIVEN_UP,)),
        replace(WELL, restarts={}, rows=(replace(GIVEN_UP, told=False),), kills=1),
        replace(WELL, restarts={}, rows=(replace(GIVEN_UP, cause="render"),), kills=1),
        replace(WELL, restarts={}, rows=(replace(ROW, state="cancelled"),)),
    ],
)
def test_what_is_lost(evidence: Evidence) -> None:
    """A fact, a failure, or a restart that is missing is found, and nothing else is said of it."""
    findings = judge(evidence)
    assert (True, (), ()) == (bool(findings.lost), findings.twice, findings.stuck)


def test_a_restart_that_a_person_was_told_to_make_is_not_lost() -> None:
    """Where a runner was killed nobody can know what it did: one kill excuses one such end."""
    findings = judge(replace(WELL, restarts={}, rows=(GIVEN_UP,), kills=1))
    assert (True, Counter(lost=1)) == (findings.clean, findings.given_up)


def test_what_is_watched_is_parked_until_its_alarm_has_rung() -> None:
    """It is at rest within its minute, and lost all the same if it ends like that."""
    waits = judge(replace(WELL, restarts={}))
    assert (True, False, 1) == (waits.at_rest, waits.clean, len(waits.parked))
    forgotten = judge(replace(WELL, restarts={}, rows=(replace(ROW, alarm_seconds=None),)))
    assert (False, ()) == (forgotten.at_rest, forgotten.parked)


def test_a_decision_that_comes_up_again_is_parked_until_then() -> None:
    """A centre that nobody could see, or claims that broke off: the ledger's own alarm stands."""
    refused = replace(LEDGER, verdict="refuse", alarm_seconds=60.0)
    waits = judge(replace(WELL, restarts={}, rows=(), ledger=(refused,)))
    assert (True, False, 1) == (waits.at_rest, waits.clean, len(waits.parked))


@pytest.mark.parametrize(
    "evidence",
    [
        replace(WELL, restarts={"a": 2}),
        replace(WELL, restarts={"a": 1, "b": 1}),
        replace(WELL, executions={"s-1/1": 2}),
        replace(WELL, rows=(ROW, replace(ROW, id="s-2"))),
    ],
)
def test_what_is_done_twice(evidence: Evidence) -> None:
    """A second restart, a restart that was not wanted, a script begun again, a second row."""
    findings = judge(evidence)
    assert ((), True, ()) == (findings.lost, bool(findings.twice), findings.stuck)


@pytest.mark.parametrize(
    "evidence",
    [
        replace(WELL, rows=(replace(ROW, state="dispatched"),)),
        replace(WELL, rows=(replace(ROW, state="detected", alarm_seconds=None),)),
        replace(WELL, rows=(replace(ROW, state="failed", cause="script"),)),
        replace(WELL, rows=(replace(ROW, alarm_seconds=-60.0),)),
        replace(WELL, ledger=(replace(LEDGER, verdict=None),)),
        replace(WELL, ledger=(replace(LEDGER, alarm_seconds=-60.0),)),
    ],
)
def test_what_is_stuck(evidence: Evidence) -> None:
    """A row that is not finished, a failed one that waits, an alarm for which nobody came."""
    findings = judge(evidence)
    assert ((), (), True) == (findings.lost, findings.twice, bool(findings.stuck))


def test_the_same_seed_gives_the_same_plan() -> None:
    """Victims, durations and pauses included."""
    assert plan(7, 300) == plan(7, 300)
    assert plan(7, 300) != plan(8, 300)


def test_every_kind_of_fault_is_in_a_plan_that_has_room() -> None:
    """No kind is left out by chance."""
    assert (300, set(Kind)) == (len(plan(1, 300)), {fault.kind for fault in plan(1, 300)})


def _result(evidence: Evidence, settled_seconds: float | None) -> Result:
    return Result(
        seed=7,
        faults=Counter({Kind.KILLED: 3}),
        left_out={Kind.DISK_FULL: "no tmpfs here"},
        tales=Counter(fatal=1),
        supervisions=Counter(executed=1),
        attempts=1,
        facts=9,
        again=0,
        restarts=1,
        own_ends=Counter(),
        findings=judge(evidence),
        seconds=10.0,
        settled_seconds=settled_seconds,
        slowest_seconds=4.0,
    )


@pytest.mark.parametrize(
    ("evidence", "settled_seconds", "passed"),
    [(WELL, 3.0, True), (WELL, None, False), (replace(WELL, restarts={"a": 2}), 3.0, False)],
)
def test_a_campaign_passes_only_clean_and_in_time(
    evidence: Evidence,
    settled_seconds: float | None,
    passed: bool,  # noqa: FBT001
) -> None:
    """The last line of the table and the exit code say the same."""
    result = _result(evidence, settled_seconds)
    assert passed is result.passed
    assert as_text(result).endswith("PASSED\n" if passed else "FAILED\n")


def test_a_kind_that_could_not_be_injected_is_named() -> None:
    """Nothing is left out in silence: the table and the JSON say which, and why."""
    result = _result(WELL, 3.0)
    assert "NOT RUN  disk full under the journal: no tmpfs here" in as_text(result)
    assert '"disk_full": "no tmpfs here"' in as_json(result)
