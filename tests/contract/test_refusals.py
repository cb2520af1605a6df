"""What the register of refused credentials promises: in memory, and in each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final, cast

import pytest

from db import session
from supervision.adapters.ssh_standing import MemoryRefusals, Refusal, Refusals
from supervision.app_ssh import DatabaseRefusals
from supervision.testing import FrozenClock
from tests.factories import NOW

WHOSE: Final = ("curie", "abc")
LATER: Final = NOW + timedelta(seconds=30)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def refusals(request: pytest.FixtureRequest) -> Iterator[Refusals]:
    """Keep refusals in each kind of place in turn."""
    if request.param == "memory":
        yield MemoryRefusals()
        return
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url = cast("str", request.getfixturevalue(fixture))
    database = session.Database(session.create(url), FrozenClock(NOW))
    yield DatabaseRefusals(database)
    database.close()


def _note(refusals: Refusals, mark: str = "m", reason: str = "no") -> int:
    return refusals.note(*WHOSE, Refusal(mark=mark, reason=reason, not_before=LATER))


def test_of_a_login_that_was_never_refused_nothing_is_known(refusals: Refusals) -> None:
    """Nor of one whose neighbour was."""
    refusals.note("curie", "other", Refusal(mark="m", reason="no", not_before=LATER))
    assert None is refusals.last(*WHOSE)


def test_the_same_content_is_counted_and_another_begins_anew(refusals: Refusals) -> None:
    """What counts is how often this very credential was refused in a row."""
    assert [1, 2, 3, 1, 1] == [_note(refusals, mark) for mark in "mmmnm"]


def test_the_last_refusal_is_known_whole(refusals: Refusals) -> None:
    """With its reason, and until when everybody keeps away."""
    _note(refusals)
    _note(refusals, reason="still no")
    expected = Refusal(mark="m", reason="still no", not_before=LATER, count=2)
    assert expected == refusals.last(*WHOSE)


def test_what_is_forgotten_is_counted_from_one(refusals: Refusals) -> None:
    """An accepted credential, or a person's word; to forget what is not there is nothing."""
    refusals.forget(*WHOSE)
    _note(refusals)
    refusals.forget(*WHOSE)
    assert None is refusals.last(*WHOSE)
    assert 1 == _note(refusals)


def test_an_empty_content_is_one_too(refusals: Refusals) -> None:
    """Two refusals of what the ssh-agent holds, whose file is gone by then."""
    assert [1, 2] == [_note(refusals, ""), _note(refusals, "")]
