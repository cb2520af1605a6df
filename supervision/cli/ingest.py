"""`supervision ingest`: monitoring messages out of mails and files, into the service."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from supervision.adapters import mailfiles
from supervision.adapters.mailfiles import Progress
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    examples,
    opened,
    pass_invocation,
    plain,
    unprepared,
)
from supervision.cli.intake import Tally, Way, committing, publishing, take_in
from supervision.errors import Transient

_LISTED: Final = 1000
_WORDS: Final = {
    "new": "new",
    "duplicate": "known already",
    "published": "published",
    "ignored": "not of use",
    "uncorrelated": "of no simulation",
    "undecodable": "unreadable",
}


@click.command(
    epilog=examples(
        "supervision ingest ~/Maildir",
        "supervision ingest --history archive-2014.mbox",
        "supervision ingest --json mail.eml | jq .new",
    )
)
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--history",
    is_flag=True,
    help=(
        "Store without triggering anything: for old mail. Goes straight to the database, also "
        "where there is a RabbitMQ, for a queue cannot carry that a message is history."
    ),
)
@as_json_option
@pass_invocation
def ingest(invocation: Invocation, paths: Sequence[Path], *, history: bool, as_json: bool) -> None:
    """Take monitoring messages out of mails and files.

    PATH is a mail (.eml), a mailbox (mbox), a Maildir, a file of lines (base64 or JSON), or a
    directory of any of these. Every message counts once, however often it is given: giving a
    whole Maildir again and again is fine.

    With a RabbitMQ the messages are published to in-monitoring-*; without one they are stored at
    once, and the running service finds them within a second. What cannot be read is listed with
    file and line; the exit code is 1 when nothing could be read at all.
    """
    tally = Tally()
    with _entrance(invocation, history=history) as way:
        try:
            with _shown(paths) as progress:
                take_in(mailfiles.read(paths, progress=progress), way, tally)
        except Transient as error:
            raise type(error)(f"{error}. {_half(tally)}") from error
    _report(tally, as_json=as_json)
    if tally.read == tally.counts["undecodable"]:
        click.echo("supervision: no message could be read", err=True)
        click.get_current_context().exit(Exit.NOTHING)


@contextmanager
def _entrance(invocation: Invocation, *, history: bool) -> Iterator[Way]:
    """Open the way in. Where there are queues the database is not asked: it may be away."""
    if history or invocation.settings().broker_url.startswith("memory://"):
        with opened(invocation) as made:
            yield committing(made.engine, history=history)
    else:
        with unprepared(invocation, broker=True) as made:
            yield publishing(made.broker)


def _half(tally: Tally) -> str:
    """Nothing is reported of a half: the counts of the next time are the true ones."""
    return f"{tally.safe} messages are safe; give the same paths again, each message counts once"


@contextmanager
def _shown(paths: Sequence[Path]) -> Iterator[Progress | None]:
    """Draw a bar where somebody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - mail programs that call us do not pay for it
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=mailfiles.total_bytes(paths))
        yield lambda count: bar.advance(task, count)


def _report(tally: Tally, *, as_json: bool) -> None:
    for problem in tally.problems[:_LISTED]:
        click.echo(plain(problem).replace("\n", " "), err=True)
    if len(tally.problems) > _LISTED:
        click.echo(f"... and {len(tally.problems) - _LISTED} more", err=True)
    if as_json:
        import json  # noqa: PLC0415

        click.echo(json.dumps({"read": tally.read, **tally.counts}))
        return
    words = ", ".join(f"{count} {_WORDS[name]}" for name, count in tally.counts.items())
    click.echo(f"{tally.read} read: {words}")
