"""Two ends of the protocol find the version that both speak, or say which of them is behind."""

from __future__ import annotations

import pytest

from hpc_agent import serve
from supervision.adapters.agent_versions import NEWEST, OLDEST, agreed
from supervision.errors import ProtocolError


@pytest.mark.parametrize(
    ("hello", "version"),
    [
        ({"version": 3, "oldest_version": 3}, 3),
        ({"version": 2, "oldest_version": 1}, 2),
        ({"version": 2}, 2),
        ({"version": 4, "oldest_version": 1}, 4),
        ({"version": 9, "oldest_version": 4}, 4),
    ],
)
def test_the_highest_common_version_is_spoken(hello: dict[str, object], version: int) -> None:
    """An older agent and a newer one are both understood while the ranges meet."""
    assert version == agreed(hello, oldest=2, newest=4)


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        ({"version": 1, "oldest_version": 1}, "too old .*speaks version 1, this service 2 to 4"),
        ({"version": 6, "oldest_version": 5}, "too new .*speaks version 5 to 6, this service 2"),
        ({"version": 6}, "too new for this service, update the service"),
        ({}, "no agent of ours"),
        ({"version": "1"}, "version is no whole number"),
        ({"version": 3, "oldest_version": "x"}, "oldest_version is no whole number"),
    ],
)
def test_without_a_common_version_the_sentence_says_who_is_behind(
    hello: dict[str, object], sentence: str
) -> None:
    """An old agent with a new service, the reverse, and what is no agent at all are told apart."""
    with pytest.raises(ProtocolError, match=sentence):
        agreed(hello, oldest=2, newest=4)


def test_the_agent_that_comes_with_the_service_speaks_its_version() -> None:
    """Both ends of one checkout agree on the newest version of both, and know the same range."""
    hello = {"version": serve.VERSION, "oldest_version": serve.OLDEST_VERSION}
    assert agreed(hello) == NEWEST == serve.VERSION
    assert serve.OLDEST_VERSION == OLDEST
