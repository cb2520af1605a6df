"""Before something is done: who wants it and why, a look only, or the question whether to do it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, cast

import click

from supervision.cli.common import Exit, F, as_json_option, by_a_person


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What every order says beside whom it is about."""

    actor: str
    reason: str
    yes: bool
    dry_run: bool
    as_json: bool

    @property
    def asks(self) -> bool:
        """Whether a person looks on, and has a say."""
        return not (self.yes or self.dry_run)


_OPTIONS: Final[tuple[Callable[[F], F], ...]] = (
    by_a_person,
    click.option("--yes", is_flag=True, help="Do it without asking."),
    click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing."),
    as_json_option,
)
_NAMES: Final = ("actor", "reason", "yes", "dry_run", "as_json")


def ordered(command: F) -> F:
    """Give a command the options of every order, which it takes as `wanted`."""

    @wraps(command)
    def wrapped(*args: Any, **options: Any) -> Any:  # noqa: ANN401
        wanted = Wanted(**{name: options.pop(name) for name in _NAMES})
        if wanted.as_json and wanted.asks:
            raise click.UsageError("--json asks nobody: add --yes or --dry-run")
        return command(*args, wanted=wanted, **options)

    made = cast("F", wrapped)
    for option in reversed(_OPTIONS):
        made = option(made)
    return made


def watched() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty()


def agree(wanted: Wanted, question: str) -> None:
    """Return where it is to be done; else the command ends here, and nothing was changed."""
    ctx = click.get_current_context()
    if wanted.dry_run:
        ctx.exit(Exit.DONE)
    if wanted.yes:
        return
    if not watched():
        raise click.UsageError(
            "nobody can be asked here: add --yes to do it, or --dry-run to only look"
        )
    if not click.confirm(question, err=True):
        click.echo("Nothing was changed.", err=True)
        ctx.exit(Exit.NOTHING)
