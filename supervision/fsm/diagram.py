"""The state machine as a picture: drawn from the table itself, so it cannot be wrong.

What lives in it is drawn upon it: `diagram_live.py`. The page about it: `diagram_page.py`.
"""

from __future__ import annotations

import html
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Final, Literal

from supervision.errors import NotFound, RenderError
from supervision.fsm.machine import TABLE, sources
from supervision.fsm.states import STATES, Event, State

_FORCE: Final = "force_"
_DRAWING_SECONDS: Final = 30.0
_LINE_LENGTH: Final = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What is drawn upon a state: lines of words, and colours in place of its own."""

    words: tuple[str, ...]
    fill: str
    line: str


Marks = Mapping[State, Mark]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """How a state is drawn: its place and that of the box "any state" beside it, in inches."""

    place: tuple[float, float]
    forced_from: tuple[float, float] | None = None
    fill: str = "#dbeafe"
    line: str = "#2563eb"


_LOOKS: Final = {
    State.DETECTED: _Look(place=(0, 0), forced_from=(-1.9, -1.2)),
    State.FORMATTED: _Look(place=(3.2, 0)),
    State.DISPATCHED: _Look(place=(6.4, 0)),
    State.EXECUTED: _Look(place=(10, 0), forced_from=(10, 1.9), fill="#dcfce7", line="#16a34a"),
    State.FAILED: _Look(place=(5, -2.6), forced_from=(8.6, -2.6), fill="#fee2e2", line="#dc2626"),
    State.CANCELLED: _Look(
        place=(3.2, 2.4), forced_from=(6.6, 2.4), fill="#f1f5f9", line="#64748b"
    ),
}
_INK: Final = "#0f172a"
_SOFT: Final = "#475569"
_FORCED: Final = "#a16207"
_NONE: Final[Marks] = {}
_LABEL: Final = '"dashed: forced by a person, from whatever state"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """One arrow of the picture. `source` None: it leads there from whatever state."""

    event: Event
    source: State | None
    target: State

    @property
    def tail(self) -> str:
        """Name of the box that it leaves from."""
        return self.source.value if self.source else _any(self.target)


def _any(target: State) -> str:
    """Name the box "any state" beside a target: one a target, so that no arrow crosses another."""
    return f"any_{target}"


def arrows() -> list[Arrow]:
    """All of the table, in its order; an event that leads there from every state is one arrow."""
    found = (
        Arrow(event=event, source=None if everywhere(event) else source, target=target)
        for event, source, target in TABLE
    )
    return list(dict.fromkeys(found))


def everywhere(event: Event) -> bool:
    """Whether an event is possible from every state."""
    return set(sources(event)) == set(State)


def _collapsed() -> list[State]:
    return [arrow.target for arrow in arrows() if arrow.source is None]


def _words(state: State, marks: Marks) -> str:
    """What a mark says, else what is true in a state, in short lines; HTML that both read."""
    mark = marks.get(state)
    lines = mark.words if mark else wrap(STATES[state].true, _LINE_LENGTH)
    return "<br/>".join(html.escape(line) for line in lines)


def _colours(state: State, marks: Marks) -> tuple[str, str]:
    """How the box of a state is filled and framed."""
    chosen = marks.get(state) or _LOOKS[state]
    return chosen.fill, chosen.line


def mermaid(marks: Marks = _NONE) -> str:
    """Draw the machine as a Mermaid flowchart, which the usual hosts of git show as a picture.

    Forced transitions are dashed, and those of one event are one arrow. Ends with a line feed.
    """
    lines = ["flowchart LR", '  begin(( )) -- "supervise" --> detected']
    lines += [f'  {state}("<b>{state}</b><br/>{_words(state, marks)}")' for state in State]
    lines += [f'  {_any(target)}(["any state"])' for target in _collapsed()]
    lines += [_mermaid_arrow(arrow) for arrow in arrows()]
    lines += [_mermaid_style(state, *_colours(state, marks)) for state in _LOOKS]
    dashed = ",stroke-dasharray:4"
    lines += [_mermaid_style(_any(at), "#ffffff", _FORCED) + dashed for at in _collapsed()]
    return "\n".join(lines) + "\n"


def _mermaid_arrow(arrow: Arrow) -> str:
    line = f'-. "{arrow.event}" .->' if _is_forced(arrow) else f'-- "{arrow.event}" -->'
    return f"  {arrow.tail} {line} {arrow.target}"


def _mermaid_style(name: str, fill: str, line: str) -> str:
    return f"  style {name} fill:{fill},stroke:{line},color:{_INK}"


def _is_forced(arrow: Arrow) -> bool:
    return arrow.event.startswith(_FORCE)


_HEAD: Final = f"""\
digraph supervision {{
  // Places are given: any of Graphviz's programs draws it with the layout that is named here.
  graph [layout=neato, splines=true, outputorder=edgesfirst, bgcolor=white, pad=0.3,
         fontname="Helvetica", fontsize=12, fontcolor="{_FORCED}", labelloc=b, labeljust=r,
         label=LABEL]
  node [shape=box, style="rounded,filled", penwidth=1.6, margin="0.16,0.09",
        fontname="Helvetica", fontcolor="{_INK}"]
  edge [fontname="Helvetica", fontsize=12, penwidth=1.4, arrowsize=0.8,
        color="{_SOFT}", fontcolor="{_SOFT}"]
  begin [shape=circle, label="", width=0.18, fixedsize=true, color="{_INK}", fillcolor="{_INK}",
         pos="-2.2,0!"]
"""


def dot(marks: Marks = _NONE, label: str = _LABEL) -> str:
    """Draw the machine in Graphviz's language: the same boxes and arrows as `mermaid`."""
    lines = [_dot_box(state, look, marks) for state, look in _LOOKS.items()]
    lines += [_dot_any(target) for target in _collapsed()]
    lines += [f"  begin -> detected [label={_dot_label('supervise')}]"]
    lines += [_dot_arrow(arrow) for arrow in arrows()]
    return _HEAD.replace("LABEL", label) + "\n".join(lines) + "\n}\n"


def _dot_box(state: State, look: _Look, marks: Marks) -> str:
    fill, line = _colours(state, marks)
    small = f'<font point-size="11" color="{_SOFT}">{_words(state, marks)}</font>'
    label = f'<b><font point-size="16">{state}</font></b><br/>{small}'
    place = f'pos="{look.place[0]},{look.place[1]}!"'
    return f'  {state} [{place}, color="{line}", fillcolor="{fill}", label=<{label}>]'


def _dot_any(target: State) -> str:
    x, y = _LOOKS[target].forced_from or _LOOKS[target].place
    shape = 'style="rounded,dashed", penwidth=1.2, height=0.3, margin="0.1,0.04", fontsize=12'
    colour = f'color="{_FORCED}", fontcolor="{_FORCED}"'
    return f'  {_any(target)} [pos="{x},{y}!", label="any state", {shape}, {colour}]'


def _dot_arrow(arrow: Arrow) -> str:
    words = [f"label={_dot_label(arrow.event)}"]
    if _is_forced(arrow):
        words += ["style=dashed", f'color="{_FORCED}"', f'fontcolor="{_FORCED}"']
    if arrow.source is arrow.target:
        words += ["tailport=e", "headport=e"]
    if arrow.event is Event.RETRY and arrow.source:
        # On the outer side, so that it does not cross the arrow that leads the other way.
        above = _LOOKS[arrow.source].place[1] > _LOOKS[arrow.target].place[1]
        words += ["tailport=w", f"headport={'n' if above else 's'}"]
    return f"  {arrow.tail} -> {arrow.target} [{', '.join(words)}]"


def _dot_label(text: str) -> str:
    """White behind the word and a clear margin around: where it lies on a line, it can be read."""
    cell = f'<tr><td bgcolor="white">{text}</td></tr>'
    return f'<<table border="0" cellborder="0" cellspacing="4" cellpadding="0">{cell}</table>>'


def picture(
    format: Literal["svg", "png"],  # noqa: A002 - the word that people type
    source: str | None = None,
) -> bytes:
    """Render the machine, or another `source`, with Graphviz; returns an SVG or PNG file's bytes.

    Raises NotFound, naming the Debian package, where no `dot` is on the PATH, and RenderError with
    Graphviz's own words where it fails.
    """
    program = shutil.which("dot")
    if program is None:
        raise NotFound(
            "the program dot is not on the PATH; Debian's package graphviz brings it "
            "(apt-get install graphviz). The formats mermaid and dot do without"
        )
    dots_per_inch = {"svg": 72, "png": 144}[format]
    return _drawn([program, f"-T{format}", f"-Gdpi={dots_per_inch}"], source or dot())


def _drawn(command: list[str], source: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - Graphviz, as found on the PATH, fed our own text
            command,
            input=source.encode(),
            capture_output=True,
            check=True,
            timeout=_DRAWING_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said: bytes = getattr(error, "stderr", None) or str(error).encode()
        raise RenderError(f"dot draws nothing: {said.decode(errors='replace').strip()}") from error
    return done.stdout
