"""What answers over ssh and is no agent of ours: missing, dead, old, or something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision.errors import ProtocolError, SiteUnavailable
from tests.agent_kit import command
from tests.ssh_kit import Centre


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with one login node."""
    centre = Centre.opened(tmp_path)
    yield centre
    centre.close()


def _refused(centre: Centre, sentence: str) -> None:
    """Assert that a new transport is not let in, and says why."""
    with pytest.raises(SiteUnavailable, match=sentence):
        centre.status(centre.connect())


def _agent(centre: Centre, text: str) -> None:
    """Put a program in the agent's place."""
    command(centre.path / "bin", "agent", text)
    (centre.node.folder / "authorized_keys").write_text("")
    centre.node.authorize(centre.key, str(centre.path / "bin" / "agent"))


def test_the_agent_is_missing(centre: Centre) -> None:
    """A forced command that is not there is told apart from a network that broke."""
    (centre.node.folder / "authorized_keys").write_text("")
    centre.node.authorize(centre.key, "/nowhere/agent serve")
    _refused(centre, "no agent can be run there; install it: .*/nowhere/agent")


def test_the_agent_dies_at_once(centre: Centre) -> None:
    """Its exit code and last words are in the sentence."""
    _agent(centre, "echo no python here >&2; exit 3")
    _refused(centre, "the agent ended with 3: no python here")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            '{"id": 1, "version": 0}',
            "too old for this service: it speaks version 0, .*service 1; .*agent install curie",
        ),
        ('{"id": 1, "version": 9, "oldest_version": 7}', "too new .*speaks version 7 to 9, "),
        ("Welcome to the machine!", "is no agent; it said .*Welcome.*agent install curie"),
        ('{"id": 1, "error": "no such verb"}', "no such verb.*agent install curie"),
    ],
)
def test_what_answers_is_no_agent_of_this_version(centre: Centre, line: str, sentence: str) -> None:
    """An old agent, and a start-up file that prints, are named; the node is left alone after it."""
    _agent(centre, f"read hello; echo '{line}'; cat > /dev/null")
    transport = centre.connect()
    with pytest.raises(ProtocolError, match=sentence):
        centre.status(transport)
    with pytest.raises(SiteUnavailable, match="left alone"):
        centre.status(transport)


def test_the_agents_home_is_not_prepared(centre: Centre) -> None:
    """An agent that will not serve says why."""
    (Path(centre.home.root) / "agent.json").unlink()
    with pytest.raises(ProtocolError, match=r"not prepared.*agent install curie"):
        centre.status(centre.connect())


def test_what_answers_never_stops_talking(centre: Centre) -> None:
    """A login node that was taken over cannot fill our memory: it is cut off, and told of."""
    _agent(centre, "read hello; exec tr '\\0' x </dev/zero")
    _refused(centre, "never stops talking; it was cut off")
