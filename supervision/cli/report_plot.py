"""The picture of a report: what became of failures, and how long until simulations went on.

The only room that knows matplotlib, which is an extra. Nothing of a screen is used: the picture is
computed and written, byte for byte the same for the same failures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from supervision.cli.common import plain, span
from supervision.errors import Refused
from supervision.fsm.engine.value import Became, Fate

_COLOURS: Final = {
    Became.BY_US: "#0072B2",
    Became.BY_HAND: "#E69F00",
    Became.ALONE: "#56B4E9",
    Became.REFUSED: "#BBBBBB",
    Became.OPEN: "#D55E00",
}
"""Okabe and Ito's, told apart by people who see few colours; from the bottom of a bar upwards."""

_WORDS: Final = {
    Became.BY_US: "recovered, restarted by us",
    Became.BY_HAND: "recovered, restarted by hand",
    Became.ALONE: "recovered alone",
    Became.REFUSED: "left alone by a rule",
    Became.OPEN: "not recovered yet",
}
_LOOK: Final[dict[Any, Any]] = {
    "font.size": 13,
    "axes.titlesize": 16,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "supervision report",
    "text.parse_math": False,
}
_INCHES: Final = (12.8, 7.2)  # a slide
_DOTS: Final = 150  # an inch: 1920 x 1080
_MARGIN: Final = 0.2  # inches
_DAYS_BY_DAY: Final = 45
_DAYS_BY_WEEK: Final = 750
_TICKS: Final = 12
_FEWEST_BARS: Final = 8  # that the width is made for: one failure is no wall of colour
_TIMES: Final = {
    "10 s": 10,
    "1 min": 60,
    "10 min": 600,
    "1 h": 3600,
    "6 h": 21600,
    "1 d": 86400,
    "1 week": 604800,
    "1 month": 2592000,
}


def draw(fates: Sequence[Fate], file: Path, about: str = "") -> None:
    """Write the picture, by the name's end as PNG or SVG; `fates` are not empty, oldest first.

    `about` says which failures these are. Raises Refused when the file cannot be written.
    """
    with rc_context(_LOOK):
        figure = Figure(
            figsize=_INCHES, dpi=_DOTS, layout=ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
        )
        upper, lower = figure.subplots(2, height_ratios=(3, 2), gridspec_kw={"hspace": 0.08})
        _failures(upper, fates, plain(about))
        _recoveries(lower, fates)
        figure.align_ylabels()
        form = file.suffix.lower().removeprefix(".")
        try:
            figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)
        except OSError as error:
            raise Refused(f"{file} cannot be written: {error.strerror}") from error


def _failures(axes: Axes, fates: Sequence[Fate], about: str) -> None:
    first, last = fates[0].at.date(), fates[-1].at.date()
    unit, begin_of = _unit((last - first).days)
    bins = _bins(first, last, begin_of)
    counts = Counter((begin_of(fate.at.date()), fate.became) for fate in fates)
    below = [0] * len(bins)
    for became, colour in _COLOURS.items():
        heights = [counts[begin, became] for begin in bins]
        if any(heights):
            label = f"{_WORDS[became]}: {sum(heights)}"
            bars = axes.bar(range(len(bins)), heights, 0.9, below, color=colour, label=label)
            for bar in bars:
                bar.set(edgecolor="white", linewidth=0.6)
        below = [low + high for low, high in zip(below, heights, strict=True)]
    many = "1 failure" if len(fates) == 1 else f"{len(fates)} failures"
    when = f"{first}" if first == last else f"{first} to {last}"
    what = f"{many} of compute jobs, {when}"
    axes.set_title(f"{what}, {about}" if about else what)
    axes.set_ylabel(f"failures a {unit}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, max(below) * 1.05)
    axes.set_xlim(-0.8, max(len(bins), _FEWEST_BARS) - 0.2)
    _name(axes, bins, unit)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, reverse=True)


def _unit(days: int) -> tuple[str, Callable[[date], date]]:
    """Choose how much time a bar has, and what tells when the bar of a day begins."""
    if days <= _DAYS_BY_DAY:
        return "day", lambda day: day
    if days <= _DAYS_BY_WEEK:
        return "week", lambda day: day - timedelta(days=day.weekday())
    return "month", lambda day: day.replace(day=1)


def _bins(first: date, last: date, begin_of: Callable[[date], date]) -> list[date]:
    days = ((last - first).days + 1) if last >= first else 1
    return list(dict.fromkeys(begin_of(first + timedelta(days=n)) for n in range(days)))


def _name(axes: Axes, bins: Sequence[date], unit: str) -> None:
    """Say on which day a bar begins; of many bars every so manieth."""
    step = -(-len(bins) // _TICKS)
    form = "%b\n%Y" if unit == "month" else "%d %b"
    places = range(0, len(bins), step)
    axes.set_xticks(list(places), [bins[place].strftime(form) for place in places])


def _recoveries(axes: Axes, fates: Sequence[Fate]) -> None:
    axes.set_title("Time until the simulation went on")
    axes.set_xscale("log")
    axes.set_ylabel("went on within")
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color="#DDDDDD")
    found = [_curve(axes, fates, by) for by in (Became.BY_US, Became.BY_HAND)]
    seconds = [second for each in found for second in each]
    _scale(axes, seconds)
    if seconds:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelspacing=0.9)
    else:
        axes.text(0.5, 0.5, "none has gone on yet", ha="center", transform=axes.transAxes)


def _curve(axes: Axes, fates: Sequence[Fate], by: Became) -> list[float]:
    """Draw which part went on within how long, and say when half had; returns the seconds."""
    spans = [fate.took for fate in fates if fate.became is by and fate.took is not None]
    seconds = sorted(max(each.total_seconds(), 1.0) for each in spans)
    if not seconds:
        return []
    parts = [rank / len(seconds) for rank in range(len(seconds) + 1)]
    half = median(seconds)
    label = f"{_WORDS[by]}:\nhalf within {span(timedelta(seconds=half))}"
    (line,) = axes.step([seconds[0], *seconds], parts, where="post", label=label)
    style = "-" if by is Became.BY_US else "--"
    line.set(color=_COLOURS[by], linestyle=style, linewidth=2.5)
    axes.plot(half, 0.5, "o", color=_COLOURS[by], markersize=9)
    return seconds


def _scale(axes: Axes, seconds: Sequence[float]) -> None:
    low, high = (min(seconds) / 1.5, max(seconds) * 1.5) if seconds else (60.0, 604800.0)
    axes.set_xlim(low, high)
    shown = {word: second for word, second in _TIMES.items() if low <= second <= high}
    axes.set_xticks(list(shown.values()), list(shown))
    axes.minorticks_off()
