"""What the leases of a site's budget promise: in memory, and in each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import pytest

from db import session
from supervision.adapters.budget import Budget, Means, MemorySlots, Slots
from supervision.app_ssh import DatabaseSlots
from supervision.errors import SiteUnavailable
from supervision.settings import SiteSettings
from supervision.testing import FrozenClock, SeededIds

_LASTING = timedelta(minutes=3)
_SITE = SiteSettings(name="c" * 63, max_sessions=2)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Slots, and the clock that they are leased on."""

    slots: Slots
    clock: FrozenClock

    def lease(self, owner: str, *, scope: str = "curie", slots: int = 2) -> bool:
        """Lease for three minutes."""
        return self.slots.lease(scope, owner, lasting=_LASTING, slots=slots)

    def budget(self, seed: int = 0) -> Budget:
        """Give a process's budget of one site with the longest name."""
        means = Means(slots=self.slots, clock=self.clock, ids=SeededIds(seed), wait=self._wait)
        return Budget(_SITE, means)

    def _wait(self, seconds: float) -> object:
        return self.clock.advance(timedelta(seconds=seconds))


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """Lease in each kind of place in turn."""
    clock = FrozenClock()
    if request.param == "memory":
        yield Case(slots=MemorySlots(clock), clock=clock)
        return
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url = cast("str", request.getfixturevalue(fixture))
    database = session.Database(session.create(url), clock)
    yield Case(slots=DatabaseSlots(database), clock=clock)
    database.close()


def test_no_more_than_there_are(case: Case) -> None:
    """The third owner of two places is refused, until one is given back."""
    assert [True, True, False] == [case.lease(owner) for owner in "abc"]
    case.slots.free("a")
    assert [True, False] == [case.lease("c"), case.lease("a")]


def test_an_owner_renews_its_own_lease(case: Case) -> None:
    """Renewing takes no second place, and goes on counting from now."""
    assert [True, True] == [case.lease("a"), case.lease("a")]
    case.clock.advance(timedelta(minutes=2))
    assert [True, True] == [case.lease("a"), case.lease("b")]
    case.clock.advance(timedelta(minutes=2))
    assert not case.lease("c")


def test_a_lease_ends_by_itself(case: Case) -> None:
    """The places of a process that died are free when its leases are over."""
    case.lease("a")
    case.lease("b")
    case.clock.advance(_LASTING)
    assert [True, True] == [case.lease("c"), case.lease("d")]


def test_scopes_do_not_share(case: Case) -> None:
    """Each scope has its own places."""
    assert case.lease("a", slots=1)
    assert case.lease("b", scope="irene", slots=1)


def test_freeing_nothing_is_fine(case: Case) -> None:
    """Giving back twice, or what one never had, changes nothing."""
    case.lease("a", slots=1)
    case.slots.free("b")
    case.slots.free("b")
    assert not case.lease("c", slots=1)


def test_many_at_once(case: Case) -> None:
    """However many ask at the same moment, as many are granted as there are places."""
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(case.lease, [f"owner-{number}" for number in range(16)]))
    assert sum(granted) == 2


def test_two_processes_keep_one_pace(case: Case) -> None:
    """A connection of one process makes the other one wait for connect_every, or give up."""
    one, other = case.budget(1), case.budget(2)
    one.await_turn(timedelta(seconds=10))
    began = case.clock.now()
    with pytest.raises(SiteUnavailable, match="connect_every"):
        other.await_turn(timedelta(seconds=1))
    other.await_turn(timedelta(seconds=10))
    assert timedelta(seconds=2) <= case.clock.now() - began < timedelta(seconds=3)


def test_two_processes_leave_a_failed_node_alone(case: Case) -> None:
    """The pause is 30 s and at most half as much more, for all; other nodes stay usable."""
    one, other = case.budget(1), case.budget(2)
    one.failed("login1.example.org", "no route to host")
    for budget in (one, other):
        assert not budget.usable("login1.example.org")
        assert budget.usable("login2.example.org")
    assert one.why_paused("login1.example.org") == "no route to host"
    case.clock.advance(timedelta(seconds=30))
    case.clock.advance(timedelta(seconds=15))
    assert other.usable("login1.example.org")
