"""`supervision top`: how everything is, at a glance, again and again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from threading import Event as Signal
from typing import Any

import click
from rich.live import Live

from supervision import topology
from supervision.app import App
from supervision.cli import top_view
from supervision.cli.common import (
    Invocation,
    as_json_option,
    console,
    echo_json,
    examples,
    opened,
    pass_invocation,
)
from supervision.errors import BrokerUnavailable, DatabaseUnavailable
from supervision.fsm.engine.reading_now import Now, Picture, Recoveries

_WIDE = 120


@click.command(
    epilog=examples("supervision top", "supervision top --once", "supervision top --json")
)
@click.option(
    "--every",
    metavar="SECONDS",
    type=click.FloatRange(min=0.5, max=3600),
    default=2.0,
    show_default=True,
    help="How often to look again.",
)
@click.option("--once", is_flag=True, help="Look once, and end.")
@as_json_option
@pass_invocation
def top(invocation: Invocation, *, every: float, once: bool, as_json: bool) -> None:
    """Watch how everything is: states, queues, alarms, verdicts, sites, the last acts.

    Ctrl-C ends it. It only reads, a few short statements each time; what is in red wants somebody.
    Where stdout is no terminal it looks once. A database that is away is said at once; one that
    goes away meanwhile is waited for.
    """
    with opened(invocation, broker=True) as made:
        if as_json:
            echo_json(_as_json(made))
        elif once or not sys.stdout.isatty():
            out = console()
            out.print(_drawn(made))
        else:
            _watch(made, every)


def _watch(made: App, every: float) -> None:
    never = Signal()
    with Live(_drawn(made), screen=True, auto_refresh=False) as live:
        while not never.wait(every):
            try:
                live.update(_drawn(made), refresh=True)
            except DatabaseUnavailable as error:
                live.update(top_view.away(str(error)), refresh=True)


def _drawn(made: App) -> Any:  # noqa: ANN401 - rich's own word for it is this wide
    picture = _picture(made)
    limits = {site.name: site.max_sessions for site in made.settings.sites}
    return top_view.drawn(
        picture, depths(made), limits=limits, recoveries=made.engine.read(Recoveries())
    )


def _picture(made: App) -> Picture:
    return made.engine.read(Now(sites=tuple(site.name for site in made.settings.sites)))


def depths(made: App) -> dict[str, int] | str:
    """Count what waits in each queue, dead letters too; or a sentence why nobody can tell."""
    if made.embedded:
        return "The queues are in the service's own memory."
    names: Sequence[str] = [
        *topology.WORK_QUEUES, *(topology.dead_queue(name) for name in topology.WORK_QUEUES)
    ]  # fmt: skip
    try:
        return {name: made.depths.depth(name) for name in names}
    except BrokerUnavailable as error:
        return f"The broker is away: {error}"


def _as_json(made: App) -> dict[str, Any]:
    waiting = depths(made)
    known = isinstance(waiting, dict)
    return {
        "now": asdict(_picture(made)),
        "recoveries": [asdict(each) for each in made.engine.read(Recoveries())],
        "queues": waiting if known else None,
        "queues_problem": None if known else waiting,
    }
