"""When failures are an incident, and who goes next in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pytest

from supervision.facts import Cap, IncidentFacts, IncidentState, VerdictKind
from supervision.policy import Fate, Situation, decide, many_failed, next_step
from tests.factories import NOW, DecisionFactsFactory, PolicyFactory

MINUTE: Final = timedelta(minutes=1)
LIMIT: Final = Cap(count=3, window=10 * MINUTE)
POLICY: Final = PolicyFactory.build()
INCIDENT: Final = IncidentFacts(id="i-1", opened_at=NOW, simulations=12, window=10 * MINUTE)
QUIET: Final = NOW - timedelta(days=1)


def _failed(*minutes: int) -> list[tuple[datetime, str]]:
    return [(NOW + each * MINUTE, f"s-{number}") for number, each in enumerate(minutes)]


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        ((), 0),
        ((0, 1), 0),
        ((0, 5, 10), 3),
        ((0, 5, 11), 0),
        ((30, 0, 31, 5, 32, 33), 4),
        ((0, 30, 31, 32, 60), 3),
    ],
)
def test_what_counts_is_how_many_failed_within_one_window(
    minutes: tuple[int, ...], expected: int
) -> None:
    """In whatever order the news came; fewer than the limit are no incident."""
    assert expected == many_failed(_failed(*minutes), LIMIT)


def test_one_simulation_that_fails_again_and_again_is_no_incident() -> None:
    """Simulations are counted, not failures."""
    assert many_failed([(NOW, "s-1")] * 50, LIMIT) == 0


def test_a_job_in_an_incident_waits_for_its_turn() -> None:
    """Its sentence says how many failed, since when, and what happens now."""
    verdict = decide(DecisionFactsFactory.build(incident=INCIDENT), POLICY, NOW)
    assert (VerdictKind.DEFER, "incident") == (verdict.kind, verdict.rule)
    assert "12 simulations failed at curie within 10 min, an incident since" in verdict.sentence
    assert verdict.wake_at == NOW + POLICY.incident_again


def test_a_job_that_was_let_go_meets_the_other_rules() -> None:
    """So does what a person begins: a person's trial is a trial as good as ours."""
    let_go = replace(INCIDENT, admitted=True)
    first = decide(DecisionFactsFactory.build(incident=let_go), POLICY, NOW)
    second = decide(DecisionFactsFactory.build(incident=INCIDENT, by_person=True), POLICY, NOW)
    assert ["supervise", "supervise"] == [first.rule, second.rule]


def _situation(state: IncidentState, *fates: Fate, minutes: int = 0, waiting: int = 9) -> Situation:
    return Situation(
        state=state,
        fates=fates,
        stepped_at=NOW - minutes * MINUTE,
        quiet_since=QUIET,
        waiting=waiting,
    )


_OPEN: Final = IncidentState.OPEN
_RECOVERING: Final = IncidentState.RECOVERING


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (_situation(_OPEN), (_OPEN, 1)),
        (_situation(_OPEN, Fate.PENDING, minutes=59), None),
        (_situation(_OPEN, Fate.PENDING, minutes=60), (_OPEN, 1)),
        (_situation(_OPEN, Fate.ACTED, minutes=59), None),
        (_situation(_OPEN, Fate.ACTED, minutes=60), (_OPEN, 1)),
        (_situation(_OPEN, Fate.FAILED, minutes=9), None),
        (_situation(_OPEN, Fate.FAILED, minutes=10), (_OPEN, 1)),
        (_situation(_OPEN, Fate.FAILED, Fate.FAILED, minutes=19), None),
        (_situation(_OPEN, Fate.FAILED, Fate.FAILED, minutes=20), (_OPEN, 1)),
        (_situation(_OPEN, *[Fate.FAILED] * 9, minutes=60), (_OPEN, 1)),
        (_situation(_OPEN, Fate.FAILED, Fate.RECOVERED), (_RECOVERING, 2)),
        (_situation(_RECOVERING, Fate.ACTED, Fate.ACTED, minutes=9), None),
        (_situation(_RECOVERING, Fate.ACTED, Fate.ACTED, minutes=10), (_RECOVERING, 4)),
        (_situation(_RECOVERING, Fate.ACTED, Fate.PENDING, minutes=10), (_RECOVERING, 4)),
        (_situation(_RECOVERING, Fate.PENDING, Fate.PENDING, minutes=99), None),
        (_situation(_RECOVERING, Fate.RECOVERED, Fate.FAILED, minutes=10), (_RECOVERING, 4)),
        (_situation(_RECOVERING, Fate.FAILED, Fate.FAILED), (_OPEN, 0)),
        (_situation(_OPEN, minutes=9, waiting=0), None),
        (_situation(_OPEN, minutes=10, waiting=0), (IncidentState.CLOSED, 0)),
        (_situation(_RECOVERING, Fate.ACTED, minutes=10, waiting=0), (IncidentState.CLOSED, 0)),
    ],
)
def test_who_goes_next(situation: Situation, expected: tuple[IncidentState, int] | None) -> None:
    """One by one until one recovers, then twice as many in each step; it ends when nobody waits."""
    step = next_step(situation, POLICY, NOW)
    assert expected == (step and (step.state, step.admit))


def test_an_incident_does_not_end_while_more_fail() -> None:
    """The last one joined just now."""
    it = replace(_situation(_OPEN, minutes=60, waiting=0), quiet_since=NOW - MINUTE)
    assert next_step(it, POLICY, NOW) is None
