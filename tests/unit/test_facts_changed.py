"""A row with other values: as `dataclasses.replace` makes it, which is slower."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from supervision.facts import Supervision
from tests.integration.desk_kit import formatted


@pytest.mark.parametrize("name", [each.name for each in fields(Supervision)])
def test_each_field_can_be_changed_and_the_row_stays(name: str) -> None:
    """Every other field is the same, and what was there before is as it was."""
    row, before = formatted(), formatted()
    change: dict[str, Any] = {name: "other"}
    assert replace(row, **change) == row.changed(**change)
    assert before == row


def test_what_is_no_field_is_refused() -> None:
    """A misspelt name is not kept beside the others."""
    with pytest.raises(AttributeError):
        formatted().changed(stat="formatted")
