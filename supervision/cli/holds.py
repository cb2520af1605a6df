"""Brakes that people pull: hold, release, and `holds`, which lists what is stopped and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import click
import structlog

from supervision.app import App
from supervision.cli import completion
from supervision.cli.asking import Wanted, agree, ordered
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    span,
    uid_of,
    utc,
)
from supervision.cli.lookup import simulation_of
from supervision.cli.sight import whose
from supervision.errors import NotFound
from supervision.facts import Hold
from supervision.fsm.engine.reading import Holds
from supervision.fsm.engine.reading_brakes import UnderWay, WhatIsHeld

_LOG = structlog.get_logger()

_SCOPE: Final = "SCOPE is site:NAME, login:SITE/NAME or simulation:UID (a prefix of it will do)."


@click.command(epilog=examples('supervision hold site:curie --reason "maintenance until Friday"'))
@click.argument("scope", shell_complete=completion.scopes)
@ordered
@pass_invocation
def hold(invocation: Invocation, scope: str, *, wanted: Wanted) -> None:
    """Stop acting at a site, for a login, for a simulation.

    SCOPE is site:NAME, login:SITE/NAME or simulation:UID (a prefix of it will do). From now on
    nothing is begun there: decisions wait until the hold is released. What was sent to the centre
    already goes on; see `cancel`.

    You are shown what is under way there, at the centre too, and asked. With --yes the centre is
    not asked: a brake has to work while it is away.
    """
    with opened(invocation) as made:
        where = _scope(made, scope)
        if where not in _standing(made):
            _show_under_way(made, where, wanted)
            agree(wanted, f"Hold {where}?")
        stop = Hold(scope=where, actor=wanted.actor, reason=wanted.reason, since=made.clock.now())
        new = made.engine.record_hold(stop)
        first = stop if new else _standing(made).get(where, stop)
    if wanted.as_json:
        echo_json({"done": new, **asdict(first)})
    elif new:
        click.echo(f"Held: {where}. Take it back with: supervision release {where} --reason ...")
    else:
        click.echo(f"{where} is held already, by {plain(first.actor)}: {plain(first.reason)}")
    click.get_current_context().exit(Exit.DONE if new else Exit.NOTHING)


def _show_under_way(made: App, scope: str, wanted: Wanted) -> None:
    """Tell what goes on all the same; asks the centre where somebody waits for it."""
    if wanted.as_json and wanted.yes:
        return
    found = made.engine.read(UnderWay(scope=scope, ask=not wanted.yes))
    if wanted.as_json:
        running = [live.row.id for live in found.running if live.row]
        under_way = {"states": dict(found.states), "running": running, "problems": found.problems}
        echo_json({"done": False, "scope": scope, "under_way": under_way})
        return
    click.echo(f"Under way there: {_counted(found.states)}. Nothing more is begun.")
    for live in found.running:
        click.echo(plain(f"  a script runs, and goes on: {whose(live)}"))
    for problem in found.problems:
        click.echo(plain(f"  the centre cannot be asked: {problem}"))


def _counted(states: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states) or "nothing"


@click.command(epilog=examples('supervision release site:curie --reason "the maintenance is over"'))
@click.argument("scope", shell_complete=completion.scopes)
@ordered
@pass_invocation
def release(invocation: Invocation, scope: str, *, wanted: Wanted) -> None:
    """Take a hold back.

    SCOPE is spelt as for `hold`. What waited for it is decided again at once; you are shown how
    much that is, and asked.
    """
    with opened(invocation) as made:
        standing = _standing(made)
        where = scope if scope in standing else _scope(made, scope)
        if where not in standing:
            there = ", ".join(standing) or "none at all"
            raise NotFound(f"there is no hold {where}; there are: {there}")
        _show_held(made, standing[where], wanted)
        agree(wanted, f"Release {where}?")
        if not made.engine.record_release(where):
            raise NotFound(f"the hold {where} was taken back meanwhile")
    _LOG.warning("hold.released", scope=where, actor=wanted.actor, reason=wanted.reason)
    if wanted.as_json:
        echo_json({"done": True, "scope": where})
    else:
        click.echo(f"Released: {where}.")


def _show_held(made: App, standing: Hold, wanted: Wanted) -> None:
    """Tell what waits for a release."""
    if wanted.as_json and wanted.yes:
        return
    decisions, rows = made.engine.read(WhatIsHeld())
    if wanted.as_json:
        waiting = {"decisions": decisions, "supervisions": rows}
        echo_json({"done": False, **asdict(standing), "waiting": waiting})
        return
    since = f"since {utc(standing.since)} by {standing.actor}: {standing.reason}"
    click.echo(plain(f"{standing.scope} is held {since}"))
    click.echo(
        f"Waiting for a brake, this one or another: {decisions} decisions, {rows} supervisions. "
        "They are decided again at once, by all the rules."
    )


def _standing(made: App) -> dict[str, Hold]:
    return {each.scope: each for each in made.engine.read(Holds())}


def _scope(made: App, text: str) -> str:
    """Spell a scope in full. A name that the settings do not have is a slip."""
    kind, _, name = text.partition(":")
    if kind == "simulation":
        return f"simulation:{simulation_of(made, uid_of(name))}"
    site, slash, login = name.partition("/")
    if (kind, bool(slash)) not in {("site", False), ("login", True)} or not (login or not slash):
        raise click.UsageError(f"{plain(text)!r} is no scope. {_SCOPE}")
    made.settings.site(site)  # raises NotFound, which names the sites that there are
    return text


@click.command(epilog=examples("supervision holds", "supervision holds --json | jq '.[].scope'"))
@as_json_option
@pass_invocation
def holds(invocation: Invocation, *, as_json: bool) -> None:
    """List what is on hold, by whom and why.

    A scope credential:SITE/LOGIN is the service's own: the login nodes refused that login's
    credential twice, so nobody shows it any more. A new file in its place takes it back, or you do:
    `supervision release SCOPE --reason ...`. The exit code is 1 when nothing is on hold.
    """
    with opened(invocation) as made:
        found = made.engine.read(Holds())
        now = made.clock.now()
    if as_json:
        echo_json([asdict(each) for each in found])
    else:
        for each in found:
            since = f"since {utc(each.since)} ({span(now - each.since)})"
            click.echo(f"{each.scope}  {since}, by {plain(each.actor)}: {plain(each.reason)}")
    if not found:
        click.echo("Nothing is on hold.", err=True)
        click.get_current_context().exit(Exit.NOTHING)
