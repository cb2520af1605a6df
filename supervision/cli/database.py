"""`supervision db`: upgrade, clean, and the rights of PostgreSQL's roles."""

from __future__ import annotations

import click

from db import roles as rights
from supervision import app
from supervision.cli import schema
from supervision.cli.common import (
    Invocation,
    as_json_option,
    echo_json,
    examples,
    opened,
    pass_invocation,
    unprepared,
)


@click.group(epilog=examples("supervision db upgrade"))
def db() -> None:
    """Look after the database."""


@db.command(epilog=examples("supervision db upgrade"))
@pass_invocation
def upgrade(invocation: Invocation) -> None:
    """Bring the tables up to this version. Idempotent; nothing is lost.

    SQLite is upgraded by whatever command comes first. PostgreSQL, which many processes share, is
    upgraded here and nowhere else: stop what runs the version before, if its notes say so.
    """
    with unprepared(invocation) as made:
        before = made.engine.read(schema.Revision())  # says so when the database is away
        app.prepare(made.settings)
        after = made.engine.read(schema.Revision())
    click.echo(
        f"The database is at revision {after}" + (", as before." if before == after else ".")
    )


@db.command(epilog=examples("supervision db clean"))
@as_json_option
@pass_invocation
def clean(invocation: Invocation, *, as_json: bool) -> None:
    """Delete what is past its retention, never what is unfinished.

    The running service does so every hour. How long things are kept is set by
    retention.raw_bodies and retention.rest.
    """
    with opened(invocation) as made:
        gone = made.engine.clean(made.settings.retention)
    if as_json:
        echo_json(gone)
        return
    for table, count in gone.items():
        click.echo(f"{count} from {table}")


@db.command(epilog=examples("supervision db roles > roles.sql"))
@click.option("--owner", default="supervision_owner", show_default=True, help="Who upgrades.")
@click.option("--service", default="supervision", show_default=True, help="Who works.")
@click.option("--reader", default="supervision_reader", show_default=True, help="Who reads.")
def roles(owner: str, service: str, reader: str) -> None:
    """Print the SQL that gives PostgreSQL's roles the least rights that do.

    Nothing is changed: read it, then run its two halves as it says, the second one again after
    each upgrade. Passwords are set by hand, see PostgreSQL's ALTER ROLE.
    """
    names = rights.Roles(owner=owner, service=service, reader=reader)
    click.echo("-- 1. Once, by a superuser who is connected to the service's database:")
    click.echo("".join(f"{line};\n" for line in rights.creation(names)))
    click.echo(f"-- 2. By {owner}, after each `supervision db upgrade` as {owner}:")
    click.echo("".join(f"{line};\n" for line in rights.grants(names)), nl=False)
