"""The ways to the sites may be others from one moment to the next; no call is cut off by that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from supervision.adapters.agent_answers import Finding
from supervision.adapters.routes import SiteRoutes
from supervision.errors import SiteUnavailable
from supervision.facts import Answer, Key
from supervision.testing import AgentDouble, FrozenClock


class WayDouble(AgentDouble):
    """Agents in memory; a test may do something while one of them is asked."""

    def __init__(self) -> None:
        super().__init__(FrozenClock())
        self.meanwhile: Callable[[], object] = lambda: None
        self.closings = 0

    def status(self, site: str, login: str, keys: Sequence[Key]) -> Sequence[Answer]:
        """Answer, after the test did what it wanted."""
        self.meanwhile()
        return super().status(site, login, keys)

    def doctor(self, site: str, login: str, directory: str | None = None) -> Sequence[Finding]:  # noqa: ARG002
        """Find nothing."""
        return ()

    def close(self) -> None:
        """Count it."""
        self.closings += 1


KEY = Key(supervision_id="s-1", attempt=1)


def test_a_way_that_is_left_out_is_closed_and_the_others_stay() -> None:
    """The site says why it cannot be asked; the way that is kept was never closed."""
    curie, irene = WayDouble(), WayDouble()
    routes = SiteRoutes({"curie": curie, "irene": irene}, {})
    routes.renew({"irene": irene}, {})
    assert (1, 0) == (curie.closings, irene.closings)
    with pytest.raises(SiteUnavailable, match="site curie is not in the settings"):
        routes.status("curie", "abc", [KEY])
    assert 1 == len(routes.status("irene", "abc", [KEY]))


def test_a_way_in_use_is_closed_when_its_calls_are_over() -> None:
    """The call that was under way is answered; the next one goes the new way."""
    old, new = WayDouble(), WayDouble()
    routes = SiteRoutes({"curie": old}, {})
    seen: list[int] = []

    def reload() -> None:
        old.meanwhile = lambda: None
        routes.renew({"curie": new}, {})
        routes.status("curie", "abc", [KEY])
        seen.append(old.closings)

    old.meanwhile = reload
    assert 1 == len(routes.status("curie", "abc", [KEY]))
    assert ([0], 1, 0) == (seen, old.closings, new.closings)
    assert (1, 1) == (len(old.calls), len(new.calls))


def test_a_call_that_fails_is_over_too() -> None:
    """What was left out meanwhile is closed all the same."""
    old = WayDouble()
    routes = SiteRoutes({"curie": old}, {})
    old.unreachable.add("curie")
    old.meanwhile = lambda: routes.renew({}, {"curie": "site curie: lacks a key"})
    with pytest.raises(SiteUnavailable):
        routes.status("curie", "abc", [KEY])
    assert 1 == old.closings
    with pytest.raises(SiteUnavailable, match="lacks a key"):
        routes.status("curie", "abc", [KEY])


def test_a_way_that_calls_come_and_go_over_stays() -> None:
    """Only a renewal ends it; the end of the process ends it as well."""
    way = WayDouble()
    routes = SiteRoutes({"curie": way, "other name": way}, {})
    for _ in range(3):
        routes.status("curie", "abc", [KEY])
    assert 0 == way.closings
    routes.close()
    assert 1 == way.closings
