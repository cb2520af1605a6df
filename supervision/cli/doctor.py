"""`supervision doctor`: everything that has to be right before work can be done, examined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

import click

from supervision import app, app_doctor, app_doctor_sites
from supervision.app import App
from supervision.app_doctor import Finding, Health, ok, problem, warning
from supervision.cli import completion, schema
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    echo_json,
    examples,
    pass_invocation,
    plain,
)
from supervision.errors import SettingsError, SupervisionError
from supervision.fsm.engine.reading import Holds
from supervision.fsm.engine.tools import Tools
from supervision.settings import Settings

_SKEW: Final = timedelta(seconds=5)
_COLOURS: Final = {Health.OK: "green", Health.WARNING: "yellow", Health.PROBLEM: "red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Skew:
    """How far the database's clock is ahead of this machine's."""

    def answer(self, tools: Tools) -> timedelta:
        """Compare them."""
        return tools.database.skew(tools.ports.clock)


@click.command(
    epilog=examples(
        "supervision doctor", "supervision doctor curie --contact", "supervision doctor --json"
    )
)
@click.argument("names", metavar="[SITE]...", nargs=-1, shell_complete=completion.sites)
@click.option("--contact", is_flag=True, help="Also say hello to the agent of each login.")
@as_json_option
@pass_invocation
def doctor(invocation: Invocation, names: Sequence[str], *, contact: bool, as_json: bool) -> None:
    """Examine settings, database, broker, mail and the way to each site.

    Each finding is ok, a warning or a problem, and says what to do. Nothing is changed and no mail
    is sent; no centre is contacted without --contact. Credentials are listed with the day on which
    they expire. SITE limits it to some sites. The exit code is 1 when there is a problem.
    """
    findings = list(_examined(invocation, names, contact=contact))
    if as_json:
        echo_json([asdict(each) for each in findings])
    else:
        _print(findings)
    if _bad(findings):
        click.get_current_context().exit(Exit.NOTHING)


def _bad(findings: Sequence[Finding]) -> bool:
    return any(each.health is Health.PROBLEM for each in findings)


def _examined(invocation: Invocation, names: Sequence[str], *, contact: bool) -> Iterator[Finding]:
    try:
        settings = invocation.settings()
    except SettingsError as error:
        yield from (problem("settings", line) for line in str(error).splitlines())
        return
    for name in names:
        settings.site(name)  # raises NotFound, which names the sites that there are
    yield ok("settings", f"read from {settings.source or 'nowhere: these are the defaults'}")
    made = app.build(settings)
    try:
        yield from _parts(made, settings, names, contact=contact)
    finally:
        made.close()


def _parts(
    made: App, settings: Settings, names: Sequence[str], *, contact: bool
) -> Iterator[Finding]:
    database = list(_database(made))
    yield from database
    there = schema.is_made(settings) and not _bad(database)
    yield from app_doctor.broker(made)
    yield from app_doctor.mail(settings.mail, made.clock)
    held = made.engine.read(Holds()) if there else ()
    yield from app_doctor_sites.sites(made, names, held)
    if contact and there:
        yield from app_doctor_sites.contacts(made, names, held)
    elif contact:
        yield problem("agents", "not contacted: the database comes first")


def _database(made: App) -> Iterator[Finding]:
    if not schema.is_made(made.settings):
        yield warning("database", "no file yet: whatever command comes first makes it")
        return
    try:
        found, newest = made.engine.read(schema.Revision()), schema.revisions()[-1]
        skew = made.engine.read(Skew())
    except SupervisionError as error:
        yield problem("database", f"{error}: look at database_url, and whether it runs")
        return
    if found == newest:
        yield ok("database", f"reachable, at revision {found}")
    else:
        yield problem("database", f"at revision {found}, not {newest}: supervision db upgrade")
    if abs(skew) > _SKEW:
        seconds = skew.total_seconds()
        yield warning("database", f"its clock is {seconds:+.0f} s from ours: look at both NTPs")


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(each.about) for each in findings)
    for each in findings:
        word = click.style(f"{each.health:<8}", fg=_COLOURS[each.health])
        click.echo(f"{word} {plain(each.about):<{width}}  {plain(each.sentence)}")
