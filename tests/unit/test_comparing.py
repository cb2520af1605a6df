"""The count of whatif: what is a change, what is a restart, and what is only an estimate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from supervision.facts import Place
from supervision.fsm.engine.comparing import LISTED, Comparison, Said
from tests.factories import NOW

_HERE = Place(site="curie", login="abc", directory="/work")
_NO = Said(outcome="refuse", rule="consent", mails=1)
_YES = Said(outcome="restart", rule="supervise", mails=2)


@dataclass(frozen=True, kw_only=True)
class _Row:
    job_uid: str
    simulation_uid: str
    kind: str = "fatal"
    decided_at: datetime = NOW


def _taken(*rows: tuple[str, Said, Said]) -> Comparison:
    result = Comparison()
    for number, (simulation, before, after) in enumerate(rows):
        row = _Row(job_uid=f"job-{number}", simulation_uid=simulation)
        result.take(row, _HERE, before, after)
    return result


def test_what_follows_a_change_in_the_same_simulation_is_an_estimate() -> None:
    """The first one is certain, and so is the first one of another simulation."""
    result = _taken(("a", _NO, _YES), ("a", _NO, _YES), ("b", _NO, _YES))
    assert [False, True, False] == [change.estimate for change in result.changes]
    assert (3, 1) == (result.changed, result.estimates)


def test_another_rule_with_the_same_outcome_diverges_nowhere() -> None:
    """It is told, but what came after it is as it was."""
    other = Said(outcome="refuse", rule="too-old")
    result = _taken(("a", _NO, other), ("a", _NO, _YES))
    assert [False, False] == [change.estimate for change in result.changes]


def test_restarts_are_added_and_removed() -> None:
    """Both are counted, with the mails of both sides and the users of changes alone."""
    result = _taken(("a", _NO, _YES), ("b", _YES, _NO), ("c", _YES, _YES))
    assert (2, 2, 1, 1) == (
        *(result.restarts_before, result.restarts_after),
        *(result.added, result.removed),
    )
    assert (5, 5) == (result.mails_before, result.mails_after)
    assert {"abc"} == result.users
    assert {("curie", "added"): 1, ("curie", "removed"): 1} == dict(result.by_site)


def test_what_is_the_same_is_no_change() -> None:
    """Neither outcome nor rule differ."""
    assert (1, 0, []) == ((same := _taken(("a", _YES, _YES))).decisions, same.changed, same.changes)


def test_memory_is_bounded_but_the_count_is_not() -> None:
    """A month of changes is counted whole and listed in part."""
    result = _taken(*[(str(number), _NO, _YES) for number in range(LISTED + 5)])
    assert (LISTED + 5, LISTED) == (result.added, len(result.changes))
