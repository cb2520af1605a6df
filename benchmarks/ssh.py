"""How many supervisions a second leave over a warm ssh session, beside one ssh command for each.

Both sides in one run, through the same private sshd: ours to the real agent, which writes every
script down before its receipt leaves, and runs it; the naive one as a loop of `ssh HOST bash -s`,
which remembers nothing. Scripts are as long as real ones and do next to nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter

from supervision.adapters.ssh import SshTransport
from supervision.facts import Answer, AnswerKind, Key, Order
from tests.agent_kit import SITE, make_order
from tests.services.programs import program
from tests.services.sshd import generate
from tests.ssh_kit import ME, Centre

SCRIPT = "true\n" + "# as long as a script that restarts a job\n" * 520
"""21 KB, 29 KB in base64."""
AT_ONCE = 4
"""Naive connections at a time: the `max_sessions` of a site."""
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one way of sending cost: of `count` scripts, by the second, and each one's wait."""

    way: str
    count: int
    per_second: float
    p50_ms: float
    p99_ms: float


def measured(way: str, began: float, waits: Sequence[float]) -> Result:
    """Work out the figures of scripts that were sent since `began`."""
    seconds = perf_counter() - began
    in_order = sorted(waits)
    return Result(
        way=way,
        count=len(waits),
        per_second=round(len(waits) / seconds, 1),
        p50_ms=round(in_order[len(waits) // 2] * 1000, 2),
        p99_ms=round(in_order[int(len(waits) * 0.99)] * 1000, 2),
    )


def timed(act: Callable[[], object]) -> float:
    """Tell how many seconds it took."""
    began = perf_counter()
    act()
    return perf_counter() - began


class Ours:
    """A warm session to the real agent. Every order has a directory of its own, as jobs have."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self._transport: SshTransport = centre.connect(seconds=120)
        self.keys: list[Key] = []
        centre.status(self._transport)  # warm

    def one_by_one(self, count: int) -> Result:
        """Each submit in a call of its own: what one supervision waits for its receipt."""
        orders = self._orders("single", count)
        began = perf_counter()
        waits = [timed(lambda order=order: self._submit([order])) for order in orders]  # type: ignore[misc]
        return measured("ours, one a call", began, waits)

    def at_once(self, count: int) -> Result:
        """All in one call: the wait is that of a burst, the last one waits for all others."""
        orders = self._orders("burst", count)
        began = perf_counter()
        self._submit(orders)
        return measured("ours, a burst", began, [perf_counter() - began] * count)

    def finished(self) -> float:
        """Wait until every script has run; tells how many seconds that took from now."""
        began = perf_counter()
        pause = Event()
        while not all(answer.kind is AnswerKind.EXECUTED for answer in self._status()):
            if perf_counter() - began > PATIENCE_SECONDS:
                raise SystemExit("the scripts did not end")
            pause.wait(0.5)
        return perf_counter() - began

    def _status(self) -> Sequence[Answer]:
        return self._transport.status(SITE, ME, self.keys)

    def _submit(self, orders: Sequence[Order]) -> None:
        answers = self._transport.submit(SITE, ME, orders)
        if any(answer.kind is not AnswerKind.ACCEPTED for answer in answers):
            raise SystemExit(f"not accepted: {answers[0]}")

    def _orders(self, name: str, count: int) -> list[Order]:
        keys = [Key(supervision_id=f"{name}-{number}", attempt=1) for number in range(count)]
        self.keys += keys
        return [self._order(key) for key in keys]

    def _order(self, key: Key) -> Order:
        directory = self._centre.run / key.supervision_id
        directory.mkdir()
        return make_order(key, directory, clock=self._centre.clock, text=SCRIPT)


class Naive:
    """OpenSSH's client, a connection and a shell for each script."""

    def __init__(self, centre: Centre) -> None:
        key = generate(centre.path / "naive")
        centre.node.authorize(key, "bash -s")
        known = f"UserKnownHostsFile={centre.path}/known_hosts"
        where = ["-p", str(centre.node.port), "-i", str(key), "-o", known, "-o", "BatchMode=yes"]
        ssh = Path(program("ssh-keygen")).with_name("ssh")
        self._line = [str(ssh), "-F", "none", *where, f"{ME}@{centre.node.address}"]

    def send(self, count: int, *, at_once: int) -> Result:
        """Run as many scripts, some at a time."""
        began = perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            waits = list(pool.map(lambda _: timed(self._run), range(count)))
        return measured(f"one ssh each, {at_once} at a time", began, waits)

    def _run(self) -> None:
        subprocess.run(self._line, input=SCRIPT.encode(), check=True, capture_output=True)


def main() -> int:
    """Measure, and print a table; the ratio is of the two rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submits", type=int, default=1000, help="in one call, and one a call")
    parser.add_argument("--naive", type=int, default=100, help="its connections; 0: leave it out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        centre = Centre.opened(Path(folder))
        try:
            results, drained = measure(centre, arguments.submits, arguments.naive)
        finally:
            centre.close()
    python = platform.python_version()
    print(f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {python}")
    for result in results:
        print(result)
    print(f"scripts still to run when the last receipt was there took {drained:.1f} s")
    if arguments.naive:
        print(f"ratio: {results[1].per_second / results[-1].per_second:.1f}")
    return 0


def measure(centre: Centre, submits: int, naive: int) -> tuple[list[Result], float]:
    """Send both ways; before the next figure is taken, the scripts of the one before have ended."""
    ours = Ours(centre)
    single = ours.one_by_one(submits)
    ours.finished()
    burst = ours.at_once(submits)
    drained = ours.finished()
    if not naive:
        return [single, burst], drained
    other = Naive(centre)
    return [single, burst, *(other.send(naive, at_once=some) for some in (1, AT_ONCE))], drained


if __name__ == "__main__":
    sys.exit(main())
