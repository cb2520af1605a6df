"""`supervision settings`: what is in force, wherever it came from; and whether a file may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervision.cli.common import (
    Invocation,
    as_json_option,
    echo_json,
    examples,
    pass_invocation,
    plain,
)
from supervision.errors import SettingsError

if TYPE_CHECKING:  # `--help` imports none of these
    from supervision.settings import Settings
    from supervision.settings_changes import Changes


@click.command(
    epilog=examples(
        "supervision --config /etc/supervision.toml settings | grep policy.grace",
        "supervision settings --check new.toml && mv new.toml supervision.toml",
    )
)
@as_json_option
@click.option(
    "--check",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Examine FILE instead, as if it lay in the place of the present one.",
)
@pass_invocation
def settings(invocation: Invocation, *, as_json: bool, check: Path | None) -> None:
    """Show every setting that is in force.

    One a line, by its dotted name, defaults included; passwords are masked. A mistake in the file
    is told with its key, and what is allowed; the exit code is then 2.

    With --check nothing is shown but what FILE would change, and what of it a running service
    could only take over by a restart. Nothing is changed.
    """
    if check is not None:
        _check(invocation, check, as_json=as_json)
        return
    shown = invocation.settings().shown()
    if as_json:
        echo_json(shown)
        return
    for name, value in shown.items():
        click.echo(f"{name} = {plain(value)}")


def _check(invocation: Invocation, file: Path, *, as_json: bool) -> None:
    from supervision import settings, settings_changes  # noqa: PLC0415 - `--help` goes without

    present = _present(invocation)
    new = settings.load(file, invocation.environ, instead_of=present.source if present else None)
    changes = settings_changes.between(present, new) if present else settings_changes.Changes()
    if as_json:
        echo_json({"changes": changes.words, "restart": changes.restart})
        return
    for line in _told(file, changes):
        click.echo(plain(line))


def _present(invocation: Invocation) -> Settings | None:
    """The settings in use; None where these have a mistake themselves, which is said."""
    try:
        return invocation.settings()
    except SettingsError as error:
        click.echo(f"the present settings cannot be compared with:\n{plain(str(error))}", err=True)
        return None


def _told(file: Path, changes: Changes) -> Iterator[str]:
    yield f"{file} has no mistake."
    yield from (f"  {word}" for word in changes.words)
    yield from (f"  {key}: needs a restart" for key in changes.restart)
