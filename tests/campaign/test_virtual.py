"""The short virtual campaign: some thousand faults, and nothing lost, twice or stuck by them."""

from __future__ import annotations

import pytest

from tests.campaign.virtual import table, whole
from tests.campaign.virtual_run import Reckoning, run

FAULTS = 1000
SEEDS = (901, 902)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_of_faults_loses_nothing_and_does_nothing_twice(seed: int) -> None:
    """Whatever dies, is lost or comes twice: every failure is answered and every row ends."""
    result = run(seed, FAULTS)
    assert ([], [], [], []) == (result.lost, result.twice, result.stuck, result.broken)
    assert result.faults.total() >= FAULTS
    assert result.executed > 0, "a campaign in which nothing acts proves nothing"


def test_the_same_seed_plays_the_same_world() -> None:
    """A seed that is printed is a fault that can be looked at again."""
    assert run(SEEDS[0], 60) == run(SEEDS[0], 60)


def test_the_table_tells_what_went_wrong_and_where() -> None:
    """One sentence a finding, with the seed that plays it again."""
    bad = Reckoning(seed=7, lost=["job j failed"], stuck=["row r"])
    total = whole([bad, Reckoning(seed=8)])
    assert (["seed 7: job j failed"], ["seed 7: row r"]) == (total.lost, total.stuck)
    assert "| lost | 1 |" in table(total, 2, 1.0)
    assert not bad.sound
