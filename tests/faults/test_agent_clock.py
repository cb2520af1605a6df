"""The centre's clock is set in mid-session: leases end and looks are dated as our clock says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from supervision.adapters.agent_protocol import Conversation, Login
from supervision.adapters.system import SystemClock
from supervision.facts import AnswerKind, JobKind, Key, Subject
from supervision.testing import FrozenClock
from tests.agent_kit import KEY, LOGIN, SITE, MemoryLine, make_home, make_order

FIRST = Key(supervision_id="s-1", attempt=1)
STEP = timedelta(hours=2)


@pytest.fixture
def clock() -> FrozenClock:
    """Give our own clock, which agrees with the centre's when the session begins."""
    return FrozenClock(SystemClock().now())


@pytest.fixture
def conversation(tmp_path: Path, clock: FrozenClock) -> Conversation:
    """Begin a session with an agent in this process."""
    line = MemoryLine(make_home(tmp_path))
    return Conversation(line, Login(site=SITE, login=LOGIN, key=KEY), clock)


def test_a_clock_that_was_put_forward_stops_no_script_for_good(
    conversation: Conversation, clock: FrozenClock, tmp_path: Path
) -> None:
    """The first submit has expired by the centre's clock; the next one carries its expiry over."""
    clock.set(clock.now() - STEP)  # seen from here, theirs went forward
    order = make_order(FIRST, tmp_path / "run", clock=clock)
    kinds = [conversation.submit([order])[0].kind for _ in range(2)]
    assert [AnswerKind.EXPIRED, AnswerKind.ACCEPTED] == kinds


@pytest.mark.parametrize("step", [STEP, -STEP])
def test_two_looks_are_as_far_apart_as_our_clock_says(
    conversation: Conversation, clock: FrozenClock, tmp_path: Path, step: timedelta
) -> None:
    """A step between them would make absence of a moment look like one of hours."""
    subject = Subject(ref="j", name="CPL01", directory=str(tmp_path / "run"), kind=JobKind.COMPUTE)
    (before,) = conversation.look([subject])
    clock.set(clock.now() + step)
    (after,) = conversation.look([subject])
    assert abs(after.at - before.at - step) < timedelta(seconds=30)
