"""A moment of a world, taken and put back: rows, queues, journals, clock, and the draw of ids."""

from __future__ import annotations

import pickle
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from supervision.topology import WORK_QUEUES
from tests.virtual.world import World

_CENTRE: Final = (
    *("directories", "runs", "troubles", "begun", "acts", "overlaps", "stepped_on"),
    *("executions", "unreachable", "_places", "_soon", "_count", "_journals", "_restored"),
)
"""What a centre remembers; the rest of it is programmed, and stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Everything outside the processes, as bytes: equal worlds give equal moments."""

    pages: bytes
    rest: bytes


def taken(world: World) -> Moment:
    """Take the moment; nobody may be inside a transaction."""
    queues = {name: world.broker.peek(name) for name in WORK_QUEUES if world.broker.depth(name)}
    rest: dict[str, Any] = {
        "centre": {name: getattr(world.centre, name) for name in _CENTRE},
        "queues": queues,
        "clock": vars(world.clock),
        "ids": world.ids._count,  # noqa: SLF001 - the double's only memory
    }
    return Moment(pages=_packed(world.save()), rest=pickle.dumps(rest))


@lru_cache(maxsize=16)
def _packed(pages: bytes) -> bytes:
    """Pack the pages; between two gates they are often the same, and are kept once."""
    return zlib.compress(pages, 1)


def put_back(world: World, moment: Moment) -> None:
    """Make the world what it was; processes are not touched, and see it from their next step on."""
    world.load(zlib.decompress(moment.pages))
    rest = pickle.loads(moment.rest)  # noqa: S301 - our own bytes
    for name, value in rest["centre"].items():
        setattr(world.centre, name, value)
    for name in WORK_QUEUES:
        world.broker.put(name, rest["queues"].get(name, ()))
    vars(world.clock).update(rest["clock"])
    world.ids._count = rest["ids"]  # noqa: SLF001 - as above
