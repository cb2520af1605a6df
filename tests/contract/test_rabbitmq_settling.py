"""Which acknowledgements are sent for a set of tags, and how long a reconnect waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from supervision.adapters.rabbitmq_connection import Backoff
from supervision.adapters.rabbitmq_consumer import Unsettled
from supervision.testing import SeededIds


def unsettled(*tags: int) -> Unsettled:
    """Note deliveries."""
    made = Unsettled()
    for tag in tags:
        made.add(tag)
    return made


def test_a_whole_set_is_settled_by_one_frame() -> None:
    """The usual case: everything that was taken, in order, with more in the buffer behind it."""
    assert (3, []) == unsettled(1, 2, 3, 4, 5).settle([1, 2, 3])


def test_a_gap_is_never_jumped() -> None:
    """A message that is still in hand ends what one frame may settle."""
    assert (2, [4, 5]) == unsettled(1, 2, 3, 4, 5).settle([5, 4, 2, 1])


def test_without_the_oldest_each_goes_alone() -> None:
    """Settling up to a tag would settle the oldest too."""
    assert (0, [2, 3]) == unsettled(1, 2, 3).settle([2, 3])


def test_unknown_and_settled_tags_send_nothing() -> None:
    """RabbitMQ closes a channel that acknowledges a tag twice."""
    tags = unsettled(1, 2)
    assert (2, []) == tags.settle([1, 2])
    assert (0, []) == tags.settle([1, 2, 7])
    assert 1 not in tags


@given(st.lists(st.sets(st.integers(min_value=1, max_value=30)), max_size=6))
def test_exactly_what_was_asked_is_settled(asked: list[set[int]]) -> None:
    """Whatever the sets and their order, the broker settles each tag once, and no other."""
    tags, remaining = unsettled(*range(1, 31)), set(range(1, 31))
    for wanted in asked:
        upto, singles = tags.settle(wanted)
        settled = {tag for tag in remaining if tag <= upto} | set(singles)
        assert wanted & remaining == settled
        remaining -= settled


def test_reconnects_back_off_up_to_a_cap_and_spread() -> None:
    """Doubling from a quarter of a second to thirty; never below half of what is due."""
    backoff = Backoff(SeededIds())
    due = [min(30.0, 0.25 * 2.0**failures) for failures in range(40)]
    waits = [backoff.next_seconds() for _ in due]
    assert all(full / 2 <= wait <= full for full, wait in zip(due, waits, strict=True))
    assert len(set(waits)) == len(waits)
    backoff.reset()
    assert backoff.next_seconds() <= 0.25
