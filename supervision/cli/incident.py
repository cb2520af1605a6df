"""`supervision incident`: many failures of a site at once: list, show, close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from supervision.cli import completion
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    by_a_person,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    short,
    utc,
)
from supervision.fsm.engine.commanding import Person
from supervision.fsm.engine.reading_incidents import Incident, Incidents, Member, OneIncident

_SHOWN = 20


@click.group(
    epilog=examples("supervision incident show curie", "supervision incident close curie --help")
)
def incident() -> None:
    """See and end incidents: many simulations of a site that failed at once.

    While one is open nothing is restarted at the site, but for one job that is tried first. When
    its simulation recovers the others follow in steps, each twice as large as the one before.
    """


@incident.command("list", epilog=examples("supervision incident list --json"))
@as_json_option
@pass_invocation
def list_(invocation: Invocation, *, as_json: bool) -> None:
    """List incidents, newest first."""
    with opened(invocation) as made:
        found = made.engine.read(Incidents())
    if as_json:
        echo_json([asdict(each) for each in found])
    elif not found:
        click.echo("There has been no incident.")
    else:
        for each in found:
            click.echo(_line(each))
    if not found:
        click.get_current_context().exit(Exit.NOTHING)


@incident.command(epilog=examples("supervision incident show curie"))
@click.argument("incident_id", metavar="ID|SITE", shell_complete=completion.sites)
@as_json_option
@pass_invocation
def show(invocation: Invocation, incident_id: str, *, as_json: bool) -> None:
    """Show an incident and its jobs: who was let go, and who waits, in their order.

    Name it by its id, by the beginning of that, or by the site at which it is open.
    """
    with opened(invocation) as made:
        found, members = made.engine.read(OneIncident(text=incident_id.strip()))
    if as_json:
        echo_json({**asdict(found), "jobs": [asdict(each) for each in members]})
        return
    click.echo(_line(found))
    click.echo(f"Its last step, at {utc(found.stepped_at)}: {plain(found.sentence)}.")
    if found.closed_by:
        click.echo(f"Closed at {utc(found.closed_at)} by {plain(found.closed_by)}: {found.reason}")
    _list_jobs("Let go", [each for each in members if each.admitted_at])
    _list_jobs("Waiting", [each for each in members if not each.admitted_at])


@incident.command(epilog=examples('supervision incident close curie --reason "the disk is back"'))
@click.argument("incident_id", metavar="ID|SITE", shell_complete=completion.sites)
@by_a_person
@pass_invocation
def close(invocation: Invocation, incident_id: str, *, reason: str, actor: str) -> None:
    """End an incident: all jobs that wait may go at once, within the caps.

    What failed before now makes no new one. To keep them from going, place a hold instead.
    """
    with opened(invocation) as made:
        found, _ = made.engine.read(OneIncident(text=incident_id.strip()))
        closed = made.engine.close_incident(found.id, Person(actor=actor, reason=reason))
    if not closed:
        click.echo(f"The incident {found.id} at {found.site} was over already.")
        click.get_current_context().exit(Exit.NOTHING)
    click.echo(f"Closed: {found.id} at {found.site}; {found.waiting} jobs are decided again now.")


def _line(it: Incident) -> str:
    minutes = round(it.window.total_seconds() / 60)
    return (
        f"{it.id}  {it.site}  {it.state}  since {utc(it.opened_at)}: {it.simulations} simulations "
        f"failed within {minutes} min; {it.admitted} jobs let go, {it.waiting} wait"
    )


def _list_jobs(title: str, members: Sequence[Member]) -> None:
    click.echo(f"{title} ({len(members)}):")
    for each in members[:_SHOWN]:
        step = f"  step {each.batch}" if each.batch else ""
        click.echo(f"  job {short(each.job_uid)}  {plain(each.login)}  {utc(each.at)}{step}")
    if len(members) > _SHOWN:
        click.echo(f"  and {len(members) - _SHOWN} more: --json lists them all")
