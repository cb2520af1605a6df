"""The large exploration: `python -m tests.model.explore --simulations 2 --faults 2 --limit 20000`.

Prints how many states there were, and ends with 1 when a law was broken or a state is a trap.
"""

from __future__ import annotations

import argparse
import logging
import sys
from time import perf_counter

import structlog

from tests.model.explorer import Explorer, small_world


def main() -> int:
    """Explore what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2)
    parser.add_argument("--faults", type=int, default=1, help="at most so many on any path")
    parser.add_argument("--limit", type=int, default=20_000, help="states to expand at most")
    parser.add_argument("--recover-every", type=int, default=10, help="1: from every state")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started = perf_counter()
    explorer = Explorer(
        small_world(asked.simulations),
        faults=asked.faults,
        limit=asked.limit,
        recover_every=asked.recover_every,
    )
    found = explorer.explore()
    wrong = [*found.broken, *found.trapped]
    lines = [f"{found}; {round(perf_counter() - started)} seconds", *wrong, ""]
    sys.stdout.write("\n".join(lines))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
