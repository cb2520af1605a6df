"""`supervision report`: what the service was worth, in figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from supervision.cli import completion
from supervision.cli.common import (
    Exit,
    Invocation,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    span,
)
from supervision.fsm.engine.value import Fate, Value, Worth

_DAYS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
_FIRST: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - click's times are naive; UTC is added below
_LAST: Final = datetime(9999, 1, 1)  # noqa: DTZ001 - the same
_PICTURES: Final = (".png", ".svg")


def _picture(_ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Take the name of a picture that can be drawn here, before anything is counted."""
    if value is None:
        return None
    if value.suffix.lower() not in _PICTURES:
        raise click.BadParameter("must end with .png or .svg", param=parameter)
    try:
        from supervision.cli import report_plot  # noqa: F401, PLC0415 - an extra, and slow to load
    except ImportError as error:
        problem = "needs matplotlib: pip install 'prodiguer-supervision[plot]'"
        raise click.BadParameter(problem, param=parameter) from error
    return value


@click.command(
    epilog=examples(
        "supervision report --since 2026-01-01",
        "supervision report --site irene --format csv > irene.csv",
        "supervision report --since 2026-01-01 --plot winter.png",
    )
)
@click.option("--since", type=click.DateTime(_DAYS), default=_FIRST, help="From when on, UTC.")
@click.option("--until", type=click.DateTime(_DAYS), default=_LAST, help="Before when, UTC.")
@click.option(
    "--site",
    metavar="SITE",
    shell_complete=completion.sites,
    help="Only failures at this site.",
)
@click.option(
    "--user",
    metavar="LOGIN",
    shell_complete=completion.logins,
    help="Only failures of this login.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "csv", "json"]), default="text", help="How."
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_picture,
    help="Draw it too, as .png or .svg; needs the extra `plot`.",
)
@pass_invocation
def report(
    invocation: Invocation,
    *,
    since: datetime,
    until: datetime,
    site: str | None,
    user: str | None,
    form: str,
    plot: Path | None,
) -> None:
    """Tell what became of failures, and how long they lasted.

    Counted by the failed job: supervised, refused by a rule, or not decided yet; recovered after a
    restart of ours, after one by hand, or alone. US and HAND are the median and the 90th percentile
    of the time from the failure to the first sign of progress.

    SUCCESS: of the failures of compute jobs that are supervised, at whatever level, those that
    recovered after a restart of ours. What is only observed or mailed, is under way, or was given
    up counts against it; post-processing does not count: nobody follows how it goes on.

    Core-hours are told where the 0000 came with a config.card that names cores. LOST: cores x time
    from the beginning of the failed period (of the job, where it told of no period) to the failure,
    for fatal failures. SAVED: cores x (median time to recover by hand, of all in this report, less
    the time to recover), for those recovered by us: hours for which a simulation did not stand
    still, had a person taken as long as usual.

    The exit code is 1 when nothing failed.
    """
    begin, end = since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)
    if begin >= end:
        raise click.UsageError("--since must be before --until")
    with opened(invocation) as made:
        told = made.engine.read(Worth(since=begin, until=end, site=site, login=user))
    _say(told.values, form)
    if plot is not None:
        _draw(told.fates, plot, _about(site, user))
    if not told.values:
        click.get_current_context().exit(Exit.NOTHING)


def _draw(fates: Sequence[Fate], plot: Path, about: str) -> None:
    if not fates:
        click.echo("No compute job failed: nothing is drawn.", err=True)
        return
    from supervision.cli import report_plot  # noqa: PLC0415 - as above

    report_plot.draw(fates, plot, about)


def _about(site: str | None, user: str | None) -> str:
    names = {"site": site, "user": user}
    return ", ".join(f"{word} {name}" for word, name in names.items() if name is not None)


def _say(values: Sequence[Value], form: str) -> None:
    if form == "json":
        echo_json([asdict(value) for value in values])
    else:
        click.echo(_csv(values) if form == "csv" else _text(values), nl=False)


def _csv(values: Sequence[Value]) -> str:
    """Write spans in seconds, nothing for none; names that a spreadsheet would run are defused."""
    names = [each.name for each in fields(Value)]
    written = io.StringIO()
    sheet = csv.writer(written, lineterminator="\n")
    sheet.writerow(names)
    sheet.writerows([[_cell(getattr(value, name)) for name in names] for value in values])
    return written.getvalue()


def _cell(value: str | float | timedelta | None) -> str | float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@" else value


_COUNTS: Final = ("FAILED", "SUPERVISED", "REFUSED", "OPEN", "BY US", "BY HAND", "ALONE")
_HEADING: Final = ("", "", *_COUNTS, "SUCCESS", "US", "HAND")
_WIDTHS: Final = (8, 18, 7, 11, 8, 5, 6, 8, 6, 8, 22, 22)
_CORE_HEADING: Final = ("Core-hours", "", "LOST", "KNOWN OF", "SAVED", "KNOWN OF")
_CORE_WIDTHS: Final = (10, 18, 12, 9, 12, 9)


def _text(values: Sequence[Value]) -> str:
    if not values:
        return "Nothing failed.\n"
    counted = [value for value in values if value.lost_known or value.saved_known]
    text = "".join(_line(row, _WIDTHS) for row in (_HEADING, *map(_row, values)))
    if counted:
        rows = (_CORE_HEADING, *map(_core_row, counted))
        text += "\n" + "".join(_line(row, _CORE_WIDTHS) for row in rows)
    return text


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return (
        " ".join(f"{cell:<{wide}}" for cell, wide in zip(row, widths, strict=True)).rstrip() + "\n"
    )


def _row(value: Value) -> tuple[str, ...]:
    counts = (value.failures, value.supervised, value.refused, value.undecided)
    recovered = (value.by_us, value.by_hand, value.alone)
    success = "-" if value.success is None else f"{value.success:.0%}"
    us = _both(value.us_median, value.us_p90)
    hand = _both(value.hand_median, value.hand_p90)
    return (value.group, plain(value.name), *map(str, (*counts, *recovered)), success, us, hand)


def _core_row(value: Value) -> tuple[str, ...]:
    lost, saved = _hours(value.core_hours_lost), _hours(value.core_hours_saved)
    known = (str(value.lost_known), str(value.saved_known))
    return (value.group, plain(value.name), lost, known[0], saved, known[1])


def _hours(hours: float | None) -> str:
    return "-" if hours is None else f"{hours:,.0f}"


def _both(middle: timedelta | None, p90: timedelta | None) -> str:
    return f"{span(middle)} / {span(p90)}" if middle is not None and p90 is not None else "-"
