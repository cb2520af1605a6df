"""Which versions of the agent's protocol are spoken here, and whether two ends meet.

Each end tells a range. They speak the highest version that both know; without one, the sentence
says which end is behind and what mends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from supervision.adapters.agent_values import number_of
from supervision.errors import ProtocolError

OLDEST: Final = 1
NEWEST: Final = 1


def agreed(hello: Mapping[str, object], *, oldest: int = OLDEST, newest: int = NEWEST) -> int:
    """Name the version that both ends speak; raises ProtocolError when there is none.

    `oldest` and `newest` are this end's. An agent that tells no oldest version speaks one only.
    """
    theirs = number_of(hello, "version")
    if theirs is None:
        raise ProtocolError("the peer tells no version of the protocol: it is no agent of ours")
    their_oldest = number_of(hello, "oldest_version")
    their_oldest = theirs if their_oldest is None else min(their_oldest, theirs)
    if theirs >= oldest and their_oldest <= newest:
        return min(theirs, newest)
    spoken = (
        f"it speaks version {_range(their_oldest, theirs)}, this service {_range(oldest, newest)}"
    )
    if theirs < oldest:
        raise ProtocolError(f"the agent is too old for this service: {spoken}")
    raise ProtocolError(f"the agent is too new for this service, update the service: {spoken}")


def _range(oldest: int, newest: int) -> str:
    return str(newest) if oldest == newest else f"{oldest} to {newest}"
