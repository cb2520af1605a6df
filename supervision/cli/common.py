"""What commands share: this call's settings, an open service, exit codes, words for a screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from supervision.errors import IllegalTransition, InvalidValue, Refused, SettingsError, Transient

if TYPE_CHECKING:  # `--help` imports none of these
    from rich.console import Console

    from supervision.app import App
    from supervision.settings import Settings

SHORT_ID: Final = 8
_HEX: Final = frozenset("0123456789abcdef-")
_UID_LENGTH: Final = 36
_ACTOR_LENGTH: Final = 100
_REASON_LENGTH: Final = 2000
_WIDE: Final = 250

F = TypeVar("F", bound=Callable[..., Any])


class Exit(IntEnum):
    """How a command ends; `EXITS` tells people."""

    DONE = 0
    NOTHING = 1
    BAD_USE = 2
    AWAY = 3
    REFUSED = 4
    WISHED = 5
    UNFORESEEN = 70
    INTERRUPTED = 130


EXITS: Final = {
    Exit.DONE: "done",
    Exit.NOTHING: "nothing: nothing found, nothing read, or it turned out otherwise",
    Exit.BAD_USE: "bad use, or a mistake in the settings",
    Exit.AWAY: "the database, the broker or a centre is away: try again later",
    Exit.REFUSED: "refused, with the reason",
    Exit.WISHED: "not done yet: the centre cannot be asked, so the wish was stored",
    Exit.UNFORESEEN: "a mistake of ours: please report it",
    Exit.INTERRUPTED: "interrupted",
}
"""What each exit code says: in the help, and in the documentation."""


def code_of(error: Exception) -> Exit:
    """Tell how a command ends that raised this."""
    if isinstance(error, Transient):
        return Exit.AWAY
    if isinstance(error, SettingsError | InvalidValue):
        return Exit.BAD_USE
    if isinstance(error, Refused | IllegalTransition):
        return Exit.REFUSED
    return Exit.NOTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """One call of `supervision`: what was said before the subcommand's name.

    `environ` stands in for the process's own environment; None: that one.
    """

    config: Path | None
    verbose: bool
    environ: Mapping[str, str] | None = None

    def settings(self) -> Settings:
        """Read the settings; raises SettingsError."""
        from supervision import settings  # noqa: PLC0415 - `--help` does not pay for it

        return settings.load(self.config, self.environ)

    def log_for_people(self) -> None:
        """Log to stderr what people at a screen should know: warnings, or all with --verbose."""
        self.log(json=False, quiet_level="warning")

    def log(self, *, json: bool, quiet_level: str) -> None:
        """Set logs up: all with --verbose, else from `quiet_level` on."""
        from supervision import logs  # noqa: PLC0415 - the same

        logs.configure(json=json, level="debug" if self.verbose else quiet_level)


pass_invocation: Final = click.make_pass_decorator(Invocation)


@contextmanager
def opened(invocation: Invocation, *, broker: bool = False) -> Iterator[App]:
    """Compose the service for one command, on a database that has every table.

    Without `broker` none is connected: what only reads, or whose wake-ups the running service's
    sweeper sends, works while the broker is away.
    """
    from supervision.cli import schema  # noqa: PLC0415 - `--help` does not pay for it

    with unprepared(invocation, broker=broker) as made:
        schema.ensure(made)
        yield made


@contextmanager
def unprepared(invocation: Invocation, *, broker: bool = False) -> Iterator[App]:
    """Compose the service, whatever tables the database has; a SQLite file is made."""
    from supervision import app  # noqa: PLC0415 - the same
    from supervision.cli import schema  # noqa: PLC0415

    settings = invocation.settings()
    schema.make_file(settings)
    made = app.build(settings if broker else replace(settings, broker_url=app.MEMORY_URL))
    try:
        yield made
    finally:
        made.close()


def examples(*lines: str) -> str:
    """Write the end of a command's help; its lines are kept as they are."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(("\b", title, *(f"  {line}" for line in lines)))


def uid(_ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Take an id of 36 characters, or the beginning of one; in lower case."""
    return None if value is None else uid_of(value, parameter)


def uid_of(value: str, parameter: click.Parameter | None = None) -> str:
    """Check that a text can be an id, or the beginning of one; raises BadParameter."""
    text = value.strip().lower()
    if not text or len(text) > _UID_LENGTH or not _HEX.issuperset(text):
        problem = f"{plain(value)!r} is no id, and no beginning of one"
        raise click.BadParameter(problem, param=parameter)
    return text


def _filled(limit: int, _ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """Take a sentence as people type it: not empty, on one line, of printable characters."""
    text = " ".join((value or "").split())
    if not text:
        raise click.BadParameter("must not be empty", param=parameter)
    if len(text) > limit or not text.isprintable():
        raise click.BadParameter(f"must be at most {limit} printable characters", param=parameter)
    return text


def _actor(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    if value is None:
        from supervision.sandbox.builder import present_user  # noqa: PLC0415 - only when asked

        value = present_user()
    return _filled(_ACTOR_LENGTH, ctx, parameter, value)


def by_a_person(command: F) -> F:
    """Give a command the options --reason, which it needs, and --actor."""
    reason = click.option(
        "--reason",
        required=True,
        metavar="TEXT",
        callback=partial(_filled, _REASON_LENGTH),
        help="Why, in your words; it is kept with what you do.",
    )
    actor = click.option(
        "--actor",
        metavar="NAME",
        callback=_actor,
        help="Who does it; the present user unless told otherwise.",
    )
    return reason(actor(command))


def console() -> Console:
    """Open stdout for tables: as wide as the terminal, and where nobody watches, no line is cut."""
    from rich.console import Console  # noqa: PLC0415 - only who draws a table pays for it

    return Console(width=None if sys.stdout.isatty() else _WIDE)


as_json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="For programs: JSON on stdout."
)


def echo_json(value: object) -> None:
    """Print a value as indented JSON: times in ISO format, spans in seconds."""
    click.echo(json.dumps(value, indent=2, default=_json))


def _json(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def plain(text: str) -> str:
    """Make text from elsewhere fit for a terminal: what would drive it becomes a question mark."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def short(uid: str | None) -> str:
    """Shorten an id as people read it; `-` for none."""
    return uid[:SHORT_ID] if uid else "-"


def utc(at: datetime | None) -> str:
    """Spell a time in UTC, to the second; `-` for none."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def span(length: timedelta) -> str:
    """Spell a span in its two largest units, for people: `3 d 4 h`, `12 s`."""
    seconds = max(int(length.total_seconds()), 0)
    words = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words[:2]) or "0 s"
