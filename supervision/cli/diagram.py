"""`supervision diagram`: the state machine as a picture, alone or with what lives in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click

from supervision.cli import completion
from supervision.cli.common import Invocation, examples, pass_invocation, uid
from supervision.errors import Refused
from supervision.fsm import diagram as drawing


@click.command(
    epilog=examples(
        "supervision diagram",
        "supervision diagram --live --format png --output now.png",
        "supervision diagram --of 2f47b2b5 --format svg --output path.svg",
    )
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "svg", "png"]),
    default="mermaid",
    show_default=True,
    help="svg and png need the program dot, of Graphviz.",
)
@click.option("--live", is_flag=True, help="Coloured by the rows in each state, as they are now.")
@click.option(
    "--of",
    "target",
    metavar="ID|JOB_UID",
    callback=uid,
    shell_complete=completion.ids,
    help="The path of one supervision; the beginning of its id will do.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; stdout unless told otherwise.",
)
@pass_invocation
def diagram(
    invocation: Invocation, *, form: str, live: bool, target: str | None, output: Path | None
) -> None:
    """Draw the state machine.

    The picture is made from the table that the service runs by, so it is never out of date. With
    --live each state tells how many rows are in it, and its colour how long the oldest of those
    that somebody has to come back to has been there. With --of it is the way of one supervision:
    its moves are numbered, with time and actor, and the state where it is now has a thick frame.
    """
    if live and target is not None:
        raise click.UsageError("--live is about all supervisions, --of about one: take one of them")
    if form == "png" and output is None and sys.stdout.isatty():
        raise click.UsageError("a PNG is no text for a terminal: say --output FILE")
    _write(_content(form, *_sources(invocation, live=live, target=target)), output)


Sources = tuple[Callable[[], str], Callable[[], str]]
"""What writes Mermaid, and what writes Graphviz's language."""


def _sources(invocation: Invocation, *, live: bool, target: str | None) -> Sources:
    if not live and target is None:
        return drawing.mermaid, drawing.dot
    from supervision.cli import diagram_live  # noqa: PLC0415 - the plain picture needs no database

    if target is not None:
        return diagram_live.path_of(invocation, target)
    return diagram_live.all_of(invocation)


def _content(form: str, mermaid: Callable[[], str], dot: Callable[[], str]) -> bytes:
    if form == "mermaid":
        return mermaid().encode()
    if form == "dot":
        return dot().encode()
    chosen: Literal["png", "svg"] = "png" if form == "png" else "svg"
    return drawing.picture(chosen, dot())


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise Refused(f"{output} cannot be written: {error.strerror}") from error
