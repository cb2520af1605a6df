"""`supervision show`: supervisions as a table, or as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    console,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    short,
    span,
)
from supervision.cli.selection import Filter, filtered
from supervision.facts import Supervision
from supervision.fsm.engine.reading import One, Simulations
from supervision.fsm.states import STATUS_PAIRS

_NARROW: Final = 130  # a terminal below it shows fewer columns, so that ids are not cut
_REASON_LENGTH: Final = 60
_HEADINGS: Final = (
    "ID", "STATE", "SIMULATION", "JOB", "SITE", "LOGIN", "TRIGGER", "ATTEMPT", "AGE", "NEXT LOOK",
    "REASON",
)  # fmt: skip
_MAY_BE_CUT: Final = ("SIMULATION", "REASON")
_LEFT_OUT: Final = ("JOB", "SITE", "LOGIN", "ATTEMPT")


@click.command(
    epilog=examples(
        "supervision show --state failed",
        "supervision show --site curie --json | jq '.[].dispatch_error'",
    )
)
@filtered
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="At most so many, newest first.",
)
@as_json_option
@pass_invocation
def show(
    invocation: Invocation,
    *,
    chosen: Filter,
    limit: int,
    as_json: bool,
) -> None:
    """List supervisions, newest first.

    A supervision is one failed job that is looked after; a retry is another attempt of it. NEXT
    LOOK is when the service comes back to it by itself; `-` means that it is finished. The ids of
    the first column are good for `why`, `render`, `cancel`, `retry` and `force`.
    """
    with opened(invocation) as made:
        rows = made.engine.read(chosen.query(made, limit=limit))
        if as_json:  # with their scripts, which a list is read without
            rows = [made.engine.read(One(supervision_id=row.id))[0] for row in rows]
        simulations = made.engine.read(Simulations(uids=[row.simulation_uid for row in rows]))
        now = made.clock.now()
    if as_json:
        echo_json([columns(row) for row in rows])
    elif rows:
        _print(rows, simulations, now)
    else:
        click.echo("There is no such supervision.")
    if not rows:
        click.get_current_context().exit(Exit.NOTHING)


def columns(row: Supervision) -> dict[str, Any]:
    """Spell a row by the names of its columns in tbl_simulation_supervision, and its `state`."""
    values = asdict(row)
    values["dispatch_status"] = next(
        dispatch
        for (dispatch, execution), state in STATUS_PAIRS.items()
        if (state, execution) == (row.state, row.execution_status)
    )
    return values


def _print(
    rows: Sequence[Supervision], simulations: Mapping[str, Mapping[str, Any]], now: datetime
) -> None:
    out = console()
    shown = [name for name in _HEADINGS if out.width >= _NARROW or name not in _LEFT_OUT]
    names = [simulations.get(row.simulation_uid, {}).get("name") for row in rows]
    lines = [
        dict(zip(_HEADINGS, _cells(row, name, now), strict=True))
        for row, name in zip(rows, names, strict=True)
    ]
    table = Table(box=SIMPLE_HEAD)
    for heading in shown:
        needed = max(len(line[heading]) for line in lines)
        table.add_column(
            heading, no_wrap=True, min_width=None if heading in _MAY_BE_CUT else needed
        )
    for line in lines:
        table.add_row(*(Text(plain(line[heading]).replace("\n", " ")) for heading in shown))
    out.print(table)


def _cells(row: Supervision, name: str | None, now: datetime) -> tuple[str, ...]:
    return (
        short(row.id),
        row.state,
        name or short(row.simulation_uid),
        short(row.job_uid),
        row.site,
        row.login,
        row.trigger,
        str(row.attempt),
        span(now - row.created_at),
        _next_look(row, now),
        (row.reason or row.dispatch_error or "")[:_REASON_LENGTH],
    )


def _next_look(row: Supervision, now: datetime) -> str:
    if row.wake_at is None:
        return "-"
    return f"in {span(row.wake_at - now)}" if row.wake_at > now else "now"
