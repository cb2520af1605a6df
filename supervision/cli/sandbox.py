"""Commands that make and use a sandbox centre: a directory that behaves like an HPC centre.

What a centre is stands in `supervision/sandbox`; here it is tied to this service: settings file,
key, agent.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from supervision import settings
from supervision.adapters.agent_protocol import derive_key
from supervision.adapters.system import SystemClock
from supervision.cli.common import examples
from supervision.errors import Refused, SupervisionError
from supervision.sandbox import builder, emission, mail, plans, toml
from supervision.sandbox.builder import Status
from supervision.sandbox.centre import Centre, open_centre
from supervision.sandbox.plans import FaultKind, Generation, Plan

_BAD_USE = 2
_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_KINDS = "|".join(FaultKind)

SETTINGS_FILE: Final = "supervision.toml"
"""The file in a centre's directory that SUPERVISION_CONFIG is to name."""


class _Sentence(click.ClickException):
    """What cannot be done, in a sentence; exit code 2."""

    exit_code = _BAD_USE


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except SupervisionError as error:
        raise _Sentence(str(error)) from error


@click.group()
def sandbox() -> None:
    """Play with a make-believe centre: its jobs really run, fail and are restarted."""


@sandbox.command(epilog=examples("supervision sandbox new centre"))
@_DIRECTORY
def new(directory: Path) -> None:
    """Make a sandbox centre in DIR, and DIR/supervision.toml, the settings that use it.

    DIR must be empty or new. The service then acts there at level 2 for you, with all delays in
    seconds. The pace of the centre itself stands in DIR/sandbox.json.

    The settings take over SUPERVISION_DATABASE_URL and SUPERVISION_BROKER_URL where they are set
    now: the centre's jobs report to that service, whoever starts them.
    """
    with _sentences():
        path = make(directory, settings.set_outside()).root / SETTINGS_FILE
    place = shlex.quote(str(directory))
    click.echo("The centre is ready. Now, in this order:\n")
    click.echo(f"  export SUPERVISION_CONFIG={shlex.quote(str(path))}")
    click.echo("  supervision run &")
    click.echo(f"  supervision sandbox simulate {place} demo --periods 4 --fail error:3")


def make(directory: Path, urls: Mapping[str, str]) -> Centre:
    """Make a centre that this service can use; raises Refused, and leaves nothing then.

    `urls` are the keys `database_url` and `broker_url` of its settings file, where they are not
    the usual ones.
    """
    centre = builder.make_centre(directory)
    try:
        _tie(centre, urls)
    except SupervisionError:
        builder.discard(centre)  # or the next try would find the directory not empty
        raise
    return centre


def _tie(centre: Centre, urls: Mapping[str, str]) -> None:
    """Write key, agent's home and settings file; the settings are read back before anybody else."""
    master = secrets.token_bytes(32)
    _write_secret(centre.root / toml.KEY_FILE, master)
    _prepare_agent(centre, derive_key(master, toml.SITE, centre.login))
    path = centre.root / SETTINGS_FILE
    # as secret as the key: a URL may hold a password
    _write_secret(path, toml.settings_text(centre, SystemClock().now().date(), urls).encode())
    settings.load(path)


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _prepare_agent(centre: Centre, key: bytes) -> None:
    places = ["--home", str(centre.root / "home"), "--bin", str(centre.bin)]
    names = ["--site", toml.SITE, "--login", centre.login, "--scheduler", "sandbox"]
    pace = ["--query-interval-seconds", "0"]  # its scheduler suffers no load
    done = subprocess.run(  # noqa: S603 - our own agent, under the interpreter that runs us
        [centre.python, "-P", "-m", "hpc_agent", "init", *places, *names, *pace],
        input=key.hex(),
        env=mail.environment(centre),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Refused(f"the agent's home could not be made: {done.stderr.strip()}")


@sandbox.command(
    epilog=examples(
        "supervision sandbox simulate centre demo --periods 4 --fail error:3",
        "supervision sandbox simulate centre wild --periods 6 --fail silent:2 --fail nan:5",
    )
)
@_DIRECTORY
@click.argument("name")
@click.option("--periods", type=click.IntRange(min=1), required=True, help="Length, in months.")
@click.option(
    "--fail",
    "faults",
    multiple=True,
    metavar="KIND:PERIOD",
    help=f"What goes wrong in which period; may be given again. KIND is one of {_KINDS}.",
)
@click.option("--end-delayed", is_flag=True, help="A job's end leaves with the next job's mail.")
@click.option(
    "--generation",
    type=click.Choice([generation.value for generation in Generation]),
    default=Generation.C.value,
    show_default=True,
    help="Numbering of the message codes: C since 2015, B before.",
)
def simulate(
    directory: Path,
    name: str,
    *,
    periods: int,
    faults: Sequence[str],
    end_delayed: bool,
    generation: str,
) -> None:
    """Start the simulation NAME in DIR; prints its uid. Its messages go where DIR's settings say.

    NAME may hold A-Z a-z 0-9 . _ and - (not as the first character: . or -). Every fault strikes
    once, but nan, which strikes every time.
    """
    with _sentences():
        plan = Plan(
            name=name,
            uid=emission.new_uid(),
            periods=periods,
            faults=tuple(plans.parse_fault(text) for text in faults),
            end_delayed=end_delayed,
            generation=Generation(generation),
        )
        builder.start_simulation(open_centre(directory), plan)
    click.echo(plan.uid)


@sandbox.command(epilog=examples("supervision sandbox rerun centre demo"))
@_DIRECTORY
@click.argument("name")
def rerun(directory: Path, name: str) -> None:
    """Restart NAME by hand, as its owner would: clean, then submit; prints the new job's id."""
    with _sentences():
        click.echo(builder.rerun(open_centre(directory), name))


@sandbox.command(epilog=examples("supervision sandbox stop centre"))
@_DIRECTORY
def stop(directory: Path) -> None:
    """Cancel every job of DIR that is queued or running; prints their ids."""
    with _sentences():
        for job_id in builder.stop(open_centre(directory)):
            click.echo(job_id)


@sandbox.command(epilog=examples("supervision sandbox status centre"))
@_DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def status(directory: Path, *, as_json: bool) -> None:
    """Tell how the simulations of DIR are, and how much mail nobody has taken."""
    with _sentences():
        centre = open_centre(directory)
        rows = [_row(entry) for entry in builder.status(centre)]
        undelivered = builder.undelivered(centre)
    if as_json:
        click.echo(json.dumps({"simulations": rows, "undelivered": undelivered}, indent=2))
    else:
        _show(rows, undelivered)


def _row(entry: Status) -> dict[str, str | int | None]:
    """Spell one simulation: `job_reason` is null until its last compute job has ended."""
    return {
        "name": entry.plan.name,
        "uid": entry.plan.uid,
        "state": entry.state,
        "period": entry.period,
        "periods": entry.plan.periods,
        "job": entry.job.id if entry.job else None,
        "job_state": entry.job.state if entry.job else None,
        "job_reason": entry.job.reason if entry.job else None,
    }


def _show(rows: Sequence[dict[str, str | int | None]], undelivered: int) -> None:
    table = [("NAME", "PERIOD", "STATE", "JOB", "QUEUE", "UID"), *map(_cells, rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    for cells in table:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        click.echo("  ".join(padded).rstrip())
    if undelivered:
        click.echo(f"{undelivered} mails wait in the outbox; mail.log says why.")


def _cells(row: dict[str, str | int | None]) -> tuple[str, ...]:
    ended = f" ({row['job_reason']})" if row["job_reason"] else ""
    return (
        str(row["name"]),
        f"{row['period'] or '-'}/{row['periods']}",
        str(row["state"]),
        str(row["job"] or "-"),
        f"{row['job_state'] or '-'}{ended}",
        str(row["uid"]),
    )
