"""`supervision history`: what happened to one supervision, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from supervision.cli import completion
from supervision.cli.common import (
    Invocation,
    as_json_option,
    console,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    span,
    uid,
    utc,
)
from supervision.cli.lookup import supervision_of
from supervision.facts import Supervision
from supervision.fsm.engine.reading import History, One, Step

_HEADINGS = ("#", "AT", "AFTER", "ATTEMPT", "EVENT", "TO", "ACTOR", "MESSAGE", "REASON")
_WIDE = 250


@click.command(
    epilog=examples(
        "supervision history 2f47b2b5",
        "supervision history 2f47b2b5 --json | jq '.[].actor'",
    )
)
@click.argument("target", metavar="ID|JOB_UID", callback=uid, shell_complete=completion.ids)
@as_json_option
@pass_invocation
def history(invocation: Invocation, target: str, *, as_json: bool) -> None:
    """Tell what happened to a supervision, in order.

    Each transition with its time, who did it and why. AFTER is how long the row had been where it
    was; MESSAGE is the monitoring message that set it off, where one did. The id of the job will
    do, and the beginning of either.
    """
    with opened(invocation) as made:
        found = supervision_of(made, target)
        row, _ = made.engine.read(One(supervision_id=found))
        steps = made.engine.read(History(supervision_id=found))
    if as_json:
        echo_json([asdict(step) for step in steps])
        return
    _tell(row, steps)


def _tell(row: Supervision, steps: Sequence[Step]) -> None:
    click.echo(
        f"Supervision {row.id} of job {plain(row.job_uid)}: {row.state}, attempt {row.attempt}, "
        f"at {plain(row.site)} as {plain(row.login)}."
    )
    table = Table(box=SIMPLE_HEAD)
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=heading != "REASON")
    for number, (step, before) in enumerate(zip(steps, [None, *steps], strict=False), 1):
        table.add_row(*(Text(plain(cell)) for cell in _cells(number, step, before)))
    console().print(table)


def _cells(number: int, step: Step, before: Step | None) -> tuple[str, ...]:
    return (
        str(number),
        utc(step.at),
        "-" if before is None else span(step.at - before.at),
        str(step.attempt),
        step.event,
        step.target,
        step.actor,
        "-" if step.message_uid is None else step.message_uid[:8],
        (step.reason or step.cause or "-").replace("\n", " "),
    )
