"""`supervision daily`: the operator's list, now."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

import click

from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
)
from supervision.fsm.engine.daily import Daily

_DAYS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@click.command(epilog=examples("supervision daily", "supervision daily --since 2026-01-15 --json"))
@click.option(
    "--since",
    type=click.DateTime(_DAYS),
    help="From when on, UTC; else from the end of the last list that was sent.",
)
@as_json_option
@pass_invocation
def daily(invocation: Invocation, *, since: datetime | None, as_json: bool) -> None:
    """Show what is on the operator's list now.

    The same list goes to mail.operator once a day, at engine.daily_at: what nobody else was told,
    and what waits for a person. Looking at it takes nothing off it. The exit code is 1 when there
    is nothing on it.
    """
    begin = since.replace(tzinfo=UTC) if since else None
    with opened(invocation, broker=True) as made:
        listed = made.engine.read(Daily(since=begin))
    if as_json:
        echo_json({**asdict(listed), "day": listed.day})
    else:
        click.echo(plain(listed.text), nl=False)
    if listed.is_empty:
        click.get_current_context().exit(Exit.NOTHING)
