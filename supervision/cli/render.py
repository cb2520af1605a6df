"""`supervision render`: the script of a supervision, stored or as it would be built now."""

from __future__ import annotations

import difflib

import click

from supervision import policy, script
from supervision.app import App
from supervision.cli import completion
from supervision.cli.common import Invocation, examples, opened, pass_invocation, plain, uid
from supervision.cli.lookup import supervision_of
from supervision.errors import RenderError
from supervision.facts import ScriptFacts, Supervision
from supervision.fsm.engine.reading import One


@click.command(
    epilog=examples(
        "supervision render 5f4dcc3b > look-at-it.ksh",
        "supervision render 5f4dcc3b --rebuild > /dev/null",
    )
)
@click.argument("target", metavar="ID", callback=uid, shell_complete=completion.ids)
@click.option("--rebuild", is_flag=True, help="Build it anew, and tell how it differs, on stderr.")
@pass_invocation
def render(invocation: Invocation, target: str, *, rebuild: bool) -> None:
    """Show the script of a supervision.

    The one that is stored, which is what the centre got or will get. A supervision that has none
    yet has it built now. Nothing is sent anywhere.
    """
    with opened(invocation) as made:
        row, facts = made.engine.read(One(supervision_id=supervision_of(made, target)))
        stored = None if row.script_content is None else script.text_of(row.script)
        built = _built(made, row, facts) if rebuild or stored is None else None
    click.echo(built if built is not None else stored, nl=False, color=True)
    if rebuild:
        _compare(stored, built or "")
    elif stored is None:
        click.echo(f"supervision {row.id} is {row.state}: built now, not stored", err=True)


def _built(made: App, row: Supervision, facts: ScriptFacts) -> str:
    site = policy.site_named(made.settings.policy, row.site)
    if site is None:
        raise RenderError(f"site {row.site} is no longer in the settings")
    return script.text_of(script.build(facts, site))


def _compare(stored: str | None, built: str) -> None:
    if stored is None:
        click.echo("No script is stored: there is nothing to compare it with.", err=True)
    elif stored == built:
        click.echo("The stored script is the same, byte for byte.", err=True)
    else:
        click.echo("The stored script differs: settings or facts have changed since.", err=True)
        old, new = stored.splitlines(), built.splitlines()
        for line in difflib.unified_diff(old, new, "stored", "built now", lineterm=""):
            click.echo(plain(line), err=True)
