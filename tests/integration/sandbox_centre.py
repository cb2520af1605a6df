"""What the sandbox's tests share: a quick centre, and words for what happened in it.

The mail is taken by a few lines of shell; nothing of the service runs here.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from supervision.sandbox import builder, cards, emission, mail, plans, spool
from supervision.sandbox.centre import Centre, Pace
from supervision.sandbox.files import locked
from supervision.sandbox.plans import Plan

DEADLINE_SECONDS = 30

PACE = Pace(
    period_seconds=0.05,
    queue_seconds=0.05,
    echo_seconds=0.1,
    hang_seconds=60,
    failed_commands=300,
    mail_again_seconds=(0.05, 0.1),
)
INGEST = """\
test ! -e "$0.closed" || exit 1
test "$SUPERVISION_CONFIG" = "$PWD/supervision.toml"
"""


def until(true: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for something to become true; the test fails when it does not within the deadline."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        threading.Event().wait(0.02)


@contextmanager
def a_centre(tmp_path: Path) -> Iterator[Centre]:
    """Make a quick centre, in a directory whose name needs quoting; nothing of it survives."""
    ingest = tmp_path / "ingest"
    ingest.write_text(INGEST)
    made = builder.make_centre(
        tmp_path / "a centre's $HOME", ingest=("/bin/sh", str(ingest)), pace=PACE
    )
    yield made
    builder.stop(made)
    with locked(made.root / "mail.lock"):  # the last postman has gone home
        pass


def paced(centre: Centre, **changes: float) -> Centre:
    """Give the centre another pace, for its jobs as well."""
    changed = replace(centre, pace=replace(centre.pace, **changes))  # type: ignore[arg-type]
    changed.save()
    return changed


def start(centre: Centre, *faults: str, periods: int = 4, **more: object) -> Plan:
    """Start a simulation called demo that suffers these faults."""
    plan = Plan(
        name="demo",
        uid=emission.new_uid(),
        periods=periods,
        faults=tuple(plans.parse_fault(text) for text in faults),
        **more,  # type: ignore[arg-type]
    )
    builder.start_simulation(centre, plan)
    return plan


def jobs(centre: Centre) -> list[spool.Record]:
    """Every job that the scheduler knows."""
    return list(spool.queue(centre))


def ways(centre: Centre) -> list[tuple[str, str | None]]:
    """State and reason of every job."""
    return [(job.state, job.reason) for job in jobs(centre)]


def at_rest(centre: Centre) -> None:
    """Wait until no job is left and all mail has been taken."""
    until(lambda: all(job.state == spool.ENDED for job in jobs(centre)))
    until(lambda: not mail.waiting(centre))


def decoded(path: Path) -> list[dict[str, str]]:
    """The messages of one mail."""
    return [json.loads(base64.b64decode(line)) for line in path.read_text().splitlines()]


def mails(centre: Centre) -> list[list[dict[str, str]]]:
    """The mails that were taken, in the order in which they left."""
    return [decoded(path) for path in sorted(centre.sent.iterdir())]


def messages(centre: Centre) -> list[dict[str, str]]:
    """The messages that were taken, in the order in which they left."""
    return [message for one in mails(centre) for message in one]


def codes(centre: Centre) -> list[str]:
    """The codes of the messages that were taken."""
    return [message["msgCode"] for message in messages(centre)]


def card(centre: Centre) -> cards.RunCard:
    """What run.card says of demo."""
    found = cards.read_run_card(centre.directory_of("demo") / "run.card")
    assert found is not None
    return found


def command(
    centre: Centre, name: str, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one of the centre's own commands."""
    words = [str(centre.bin / name), *arguments]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=cwd or centre.root
    )
