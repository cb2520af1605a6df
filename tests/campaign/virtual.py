"""The virtual campaign: many worlds, each with its seed, until so many faults have been met.

`python -m tests.campaign.virtual --faults 100000` prints the table of docs/reliability.md and ends
with 1 when anything was lost, done twice or stuck, or a law was broken. One world is played again
by its seed: `--seed 17`.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Final

import structlog

from tests.campaign.virtual_run import FACTOR, Reckoning, run

WORLD_FAULTS: Final = 1000
"""The faults of one world: with more of them its first simulations would be long over."""


def campaign(faults: int, seeds: Sequence[int], *, processes: int) -> list[Reckoning]:
    """Play the worlds of these seeds, each with its share of the faults."""
    share = -(-faults // len(seeds))
    if processes == 1:
        return [run(seed, share) for seed in seeds]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_quiet) as pool:
        return list(pool.map(partial(_told, share), seeds))


def whole(results: Iterable[Reckoning]) -> Reckoning:
    """Add up what came of every world."""
    total = Reckoning(seed=0)
    for each in results:
        total = replace(
            total,
            faults=total.faults + each.faults,
            supervisions=total.supervisions + each.supervisions,
            executed=total.executed + each.executed,
            lost=total.lost + _seeded(each, each.lost),
            twice=total.twice + _seeded(each, each.twice),
            stuck=total.stuck + _seeded(each, each.stuck),
            broken=total.broken + _seeded(each, each.broken),
            stepped_on=total.stepped_on + each.stepped_on,
            settled=max(total.settled, each.settled),
            finished=max(total.finished, each.finished),
        )
    return total


def table(total: Reckoning, worlds: int, seconds: float) -> str:
    """Write the table, as the documentation shows it."""
    lines = ["| fault | times |", "|---|---:|"]
    lines += [f"| {name} | {count} |" for name, count in sorted(total.faults.items())]
    figures = {
        "faults": total.faults.total(),
        "worlds": worlds,
        "supervisions": total.supervisions,
        "executed": total.executed,
        "lost": len(total.lost),
        "executed twice": len(total.twice),
        "stuck": len(total.stuck),
        "laws broken otherwise": len(total.broken),
        "scripts that met a job of ours, and declined": total.stepped_on,
        "slowest to finished or parked, virtual": _rounded(total.settled),
        "slowest to finished, virtual": _rounded(total.finished),
        "delays of the engine divided by": FACTOR,
        "seconds on the wall": round(seconds),
    }
    lines += [
        "",
        "| | |",
        "|---|---:|",
        *(f"| {name} | {said} |" for name, said in figures.items()),
    ]
    return "\n".join(lines)


def _rounded(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))


def _seeded(result: Reckoning, sentences: Sequence[str]) -> list[str]:
    return [f"seed {result.seed}: {sentence}" for sentence in sentences]


def _quiet() -> None:
    """Ten million lines of log help nobody; a world is played again where one is wanted."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.disable()  # a world makes few cycles, and is collected whole after its end


def _told(share: int, seed: int) -> Reckoning:
    result = run(seed, share)
    gc.collect()
    verdict = "sound" if result.sound else "NOT SOUND"
    sys.stdout.write(f"seed {seed}: {result.faults.total()} faults, {verdict}\n")
    sys.stdout.flush()
    return result


def main() -> int:
    """Run the campaign that the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100_000)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seed", type=int, help="play this one world again")
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    asked = parser.parse_args()
    _quiet()
    count = max(asked.faults // WORLD_FAULTS, 1)
    seeds = [asked.seed] if asked.seed else range(asked.first_seed, asked.first_seed + count)
    faults = WORLD_FAULTS if asked.seed else asked.faults
    started = perf_counter()
    total = whole(campaign(faults, seeds, processes=1 if asked.seed else asked.processes))
    wrong = [*total.lost, *total.twice, *total.stuck, *total.broken]
    sys.stdout.write("\n".join([table(total, len(seeds), perf_counter() - started), *wrong, ""]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
