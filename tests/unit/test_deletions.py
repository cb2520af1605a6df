"""The deletions that a test must notice: each still takes away what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deletions.deletions import Deletion, deletions

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("deletion", deletions(), ids=lambda each: each.name)
def test_what_is_taken_away_is_there_once(deletion: Deletion) -> None:
    """A deletion whose text has moved on would take nothing away, and prove nothing."""
    counts = [(_ROOT / name).read_text().count(old) for name, old, _ in deletion.changes]
    assert [1] * len(counts) == counts
    for test in deletion.tests:
        file, _, function = test.partition("::")
        assert f"def {function}" in (_ROOT / file).read_text()
