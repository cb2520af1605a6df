"""How the demonstration looks: a live picture on a terminal, plain lines elsewhere, and its end."""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from typing import Final, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from supervision.cli import why_words
from supervision.cli.common import plain, short
from supervision.cli.demo_roles import Scene
from supervision.cli.demo_story import Happening

_LINES: Final = 16
_HEADINGS: Final = ("SIMULATION", "WHAT HAPPENS TO IT", "PERIOD", "JOB", "SUPERVISION")
_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STYLES: Final = {
    "message": "default",
    "policy": "cyan",
    "service": "yellow",
    "agent": "magenta",
    "demo": "bold red",
}
_MARKS: Final = {True: "as it should", False: "NOT as it should"}


class View(Protocol):
    """Shows a demonstration as it goes on."""

    def show(self, scenes: Sequence[Scene], fresh: Sequence[Happening]) -> None:
        """Show how the simulations are, and what is new."""


class Times:
    """Seconds since the first thing that happened."""

    def __init__(self) -> None:
        self._begin: datetime | None = None

    def of(self, at: datetime) -> str:
        """Spell the seconds; what came before the first is told as 0."""
        self._begin = self._begin or at
        return f"{max((at - self._begin).total_seconds(), 0.0):6.1f} s"


class PlainView:
    """One line for each thing that happens."""

    def __init__(self, times: Times) -> None:
        self._times = times

    def show(self, scenes: Sequence[Scene], fresh: Sequence[Happening]) -> None:
        """Print what is new."""
        del scenes
        for each in fresh:
            print(_line(each, self._times), flush=True)


class LiveView:
    """A table of the simulations above the last things that happened."""

    def __init__(self, live: Live, times: Times) -> None:
        self._live = live
        self._times = times
        self._lines: deque[Text] = deque(maxlen=_LINES)

    def show(self, scenes: Sequence[Scene], fresh: Sequence[Happening]) -> None:
        """Draw it anew."""
        for each in fresh:
            line = _line(each, self._times)
            style = _STYLES[each.who]
            self._lines.append(Text(line, style=style, no_wrap=True, overflow="ellipsis"))
        self._live.update(Group(_table(scenes), *self._lines))


def _line(each: Happening, times: Times) -> str:
    return f"{times.of(each.at)}  {each.name:<11} {each.who:<8} {_short(each.text)}"


def _short(text: str) -> str:
    """Put a text on one line, with ids as people read them."""
    return _UID.sub(lambda found: short(found[0]), plain(text).replace("\n", " "))


@contextmanager
def watching(times: Times) -> Iterator[View]:
    """Give the view that fits: live where somebody watches, else plain."""
    if not sys.stdout.isatty():
        yield PlainView(times)
        return
    with Live(console=Console(), refresh_per_second=8, transient=True) as live:
        yield LiveView(live, times)


def _table(scenes: Sequence[Scene]) -> Table:
    table = Table(
        "SIMULATION", "WHAT HAPPENS TO IT", "PERIOD", "JOB", "SUPERVISION", box=SIMPLE_HEAD
    )
    for scene in scenes:
        job = scene.status.job
        ended = f" ({job.reason})" if job and job.reason else ""
        table.add_row(
            scene.role.name,
            scene.role.what,
            f"{scene.status.period or '-'}/{scene.role.periods}",
            f"{job.id} {job.state}{ended}" if job else "-",
            Text(_state_of(scene), style="green" if scene.ended else "default"),
        )
    return table


def _state_of(scene: Scene) -> str:
    if scene.ended:
        return "recovered, complete" if scene.role.recovers else "left alone"
    if not scene.supervisions:
        return "-"
    row, _ = scene.supervisions[-1]
    return f"{short(row.id)} {row.state}"


def finale(scenes: Sequence[Scene], story: Sequence[Happening], times: Times) -> None:
    """Print the end: what became of each, why two were left alone, the timeline, the picture."""
    out = Console(width=None if sys.stdout.isatty() else 110, highlight=False, soft_wrap=True)
    _heading(out, "What became of them")
    for scene in scenes:
        out.print(Text(f"  {scene.role.name:<11} {_became(scene)}"))
    _heading(out, "Why two of them were left alone, in the words of `supervision why`")
    for scene in scenes:
        if not scene.role.recovers:
            _print_why(out, scene)
    _heading(out, "Timeline")
    for scene in scenes:
        _print_timeline(out, scene, story, times)
    _heading(out, "The states that a supervision goes through")
    out.print(Text(f"  {_picture()}"))


def _heading(out: Console, text: str) -> None:
    out.print(Text(f"\n{text}", style="bold"))


def _became(scene: Scene) -> str:
    span = scene.time_to_recover
    since = "its failure" if scene.role.name != "killed" else "it was due"
    recovered = "" if span is None else f", recovered {span.total_seconds():.1f} s after {since}"
    restarts = {0: "never restarted", 1: "restarted once"}.get(
        scene.restarts, f"restarted {scene.restarts} times"
    )
    end = "complete (0100)" if scene.complete else "left alone, its owner was told"
    return f"{_MARKS[scene.ended]}: {scene.role.what}; {restarts}{recovered}; {end}."


def _print_why(out: Console, scene: Scene) -> None:
    if scene.refusal is not None:
        out.print(Text(indent(plain("\n".join(why_words.decision(scene.refusal))), "  ")))
    for row, _ in scene.supervisions:
        if scene.declined and row.reason:
            out.print(Text(f"  supervision {row.id} was declined: {plain(row.reason)}"))


def _print_timeline(out: Console, scene: Scene, story: Sequence[Happening], times: Times) -> None:
    out.print(Text(f"  {scene.role.name}", style="bold"))
    for each in sorted(story, key=lambda happening: happening.at):
        if each.name == scene.role.name and each.milestone:
            out.print(Text(f"    {times.of(each.at)}  {_short(each.text)}"))


def _picture() -> str:
    spec = find_spec("supervision")
    root = Path(spec.origin).parent.parent if spec and spec.origin else Path()
    page = root / "docs" / "state-machine.md"
    command = "supervision diagram --format svg --output states.svg"
    return f"{page}, or draw it: {command}" if page.exists() else f"draw it: {command}"
