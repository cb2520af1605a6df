"""`sbx-queue` and `sbx-cancel`, and how every command of the centre starts and says no."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from supervision.errors import Refused, SupervisionError
from supervision.sandbox import spool
from supervision.sandbox.centre import Centre, open_centre

Command = Callable[[Centre, Sequence[str]], int]


def run(command: Command, root: str, arguments: Sequence[str]) -> int:
    """Run one command for the centre at `root`; what it refuses is a sentence and exit code 1."""
    try:
        return command(open_centre(root), arguments)
    except SupervisionError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def queue(centre: Centre, arguments: Sequence[str]) -> int:
    """`sbx-queue`: every job ever taken, one JSON object a line, ended ones included."""
    if arguments:
        raise Refused("sbx-queue takes no arguments: it tells all jobs")
    lines = "".join(record.shown() + "\n" for record in spool.queue(centre))
    sys.stdout.buffer.write(lines.encode(errors="surrogateescape"))  # any name a directory has
    return 0


def cancel(centre: Centre, arguments: Sequence[str]) -> int:
    """`sbx-cancel ID`: the job is over when this ends; an ended job is left as it was."""
    if len(arguments) != 1:
        raise Refused("use: sbx-cancel ID")
    spool.cancel(centre, arguments[0])
    return 0
