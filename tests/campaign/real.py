"""The real campaign: the service as people run it, on real servers, while all of it breaks.

    python -m tests.campaign.real --faults 300 --seed 7

It ends with a table, and with 1 when anything was lost, done twice, or stuck.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final, NoReturn

import psycopg2
from pika.exceptions import AMQPError

from tests.campaign import real_settings
from tests.campaign.real_audit import Evidence, Findings, judge
from tests.campaign.real_evidence import Witness
from tests.campaign.real_faults import Faults
from tests.campaign.real_feed import Feed
from tests.campaign.real_plan import Kind, plan
from tests.campaign.real_table import Result, as_json, as_text
from tests.campaign.real_world import World, a_world
from tests.integration.end_to_end_kit import topology_is_there, until

SETTLED_SECONDS: Final = 60.0
"""After the last fault everything is finished, or parked with an alarm, within so long."""

_AT_ONCE: Final = 8
_CALM_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 1.0
_RARE: Final = 50
_MOST_OPEN: Final = 30
_FEW_OPEN: Final = 10
_LAST: Final = 20
_PATIENCE_SECONDS: Final = 10.0
_STEP_SECONDS: Final = 0.1
_TERMINATED: Final = 143
_NOW: Final = Event()


def main() -> int:
    """Run a campaign; 0 when it found nothing."""
    options = _options()
    signal.signal(signal.SIGTERM, _ended)  # servers and mounts go with us
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    sys.stderr.write(f"campaign of {options.faults} faults, seed {seed}\n")
    with a_world(keep=options.keep) as world:
        result = run(world, seed, options.faults)
        if options.keep:
            sys.stderr.write(f"kept: {world.folder}\n")
    sys.stdout.write(as_text(result))
    if options.json:
        options.json.write_text(as_json(result) + "\n")
    return 0 if result.passed else 1


def _ended(*_: object) -> NoReturn:
    sys.stderr.write("ended from outside: no verdict\n")
    sys.exit(_TERMINATED)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=300, help="how many (300)")
    parser.add_argument("--seed", type=int, help="repeats the plan of an earlier campaign")
    parser.add_argument("--json", type=Path, help="also write the table there, for programs")
    parser.add_argument("--keep", action="store_true", help="keep logs and traces")
    return parser.parse_args()


def run(world: World, seed: int, count: int) -> Result:
    """Break things, wait until they are well again, and judge."""
    until(lambda: topology_is_there(world.rabbit.url), "the service has begun")
    began = monotonic()
    faults = Faults(world)
    with closing(Feed(world.mailbox, world.campuses, seed)) as feed:
        injected = _break(seed, count, feed, faults)
        last = monotonic()
        witness = Witness(world, feed, faults)
        settled = _settle(witness, world, last + SETTLED_SECONDS)
        settled_seconds = None if settled is None else round(settled - last, 1)
        feed.close()  # what restarted jobs still tell would be on its way while we judge
        _NOW.wait(_CALM_SECONDS)  # whoever would do it twice gets the time to do so
        _settle(witness, world, monotonic() + SETTLED_SECONDS)
        evidence = _watched_to_the_end(witness)
        return _result(
            seed=seed,
            injected=injected,
            faults=faults,
            world=world,
            feed=feed,
            evidence=evidence,
            times=(monotonic() - began, settled_seconds),
        )


def _break(seed: int, count: int, feed: Feed, faults: Faults) -> Counter[Kind]:
    """Inject the whole plan; returns when the last fault is healed."""
    injected: Counter[Kind] = Counter()
    begun: list[tuple[Kind, Future[bool]]] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, fault in enumerate(plan(seed, count), start=1):
            most = _MOST_OPEN if number + _LAST < count else _FEW_OPEN
            _wait_for_the_slow(feed, faults, most)
            feed.begin(fault)
            begun.append((fault.kind, pool.submit(faults.inject, fault)))
            _NOW.wait(fault.pause_seconds)
            if number % _RARE == 0:
                sys.stderr.write(f"{number} faults, {len(feed.stories)} simulations\n")
    for kind, done in begun:
        injected[kind] += int(done.result())
    return injected


def _wait_for_the_slow(feed: Feed, faults: Faults, most: int) -> None:
    """Feed no faster than this machine works, but do not wait for ever either.

    Towards the end less is left open: what follows the last fault is measured.
    """
    deadline = monotonic() + _PATIENCE_SECONDS
    while feed.behind - faults.kills >= most and monotonic() < deadline:
        _NOW.wait(_STEP_SECONDS)


def _settle(witness: Witness, world: World, deadline: float) -> float | None:
    """Wait until nothing is open; tells when that was, None when it was not in time."""
    while monotonic() < deadline:
        if world.mailbox.waiting == 0 and judge(_evidence(witness)).at_rest:
            return monotonic()
        _NOW.wait(_LOOK_SECONDS)
    return None


def _watched_to_the_end(witness: Witness) -> Evidence:
    """Wait for what is watched: a script may have been killed before it submitted, for one."""
    deadline = monotonic() + real_settings.watch_seconds()
    evidence = _evidence(witness)
    waits = bool(judge(evidence).parked)
    while waits and not judge(evidence).clean and monotonic() < deadline:
        _NOW.wait(_LOOK_SECONDS)
        evidence = _evidence(witness)
    return evidence


def _evidence(witness: Witness) -> Evidence:
    while True:
        try:
            return witness.evidence()
        except (psycopg2.Error, AMQPError):
            _NOW.wait(_LOOK_SECONDS)


def _result(
    *,
    seed: int,
    injected: Counter[Kind],
    faults: Faults,
    world: World,
    feed: Feed,
    evidence: Evidence,
    times: tuple[float, float | None],
) -> Result:
    findings: Findings = judge(evidence)
    return Result(
        seed=seed,
        faults=injected,
        left_out=faults.left_out,
        tales=Counter(story.tale.value for story in feed.stories.values()),
        supervisions=Counter(row.state for row in evidence.rows),
        attempts=sum(row.attempt for row in evidence.rows),
        facts=len(world.mailbox.confirmed),
        again=faults.again,
        restarts=sum(evidence.restarts.values()),
        own_ends=world.fleet.own_ends(),
        findings=findings,
        seconds=times[0],
        settled_seconds=times[1],
        slowest_seconds=feed.slowest(world.mailbox.confirmed),
    )


if __name__ == "__main__":
    sys.exit(main())
