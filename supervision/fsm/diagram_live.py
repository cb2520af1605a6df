"""What lives in the state machine, as pictures: where rows are and for how long; one row's path."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from supervision.fsm.diagram import Mark, dot, mermaid
from supervision.fsm.states import State

Spell = Callable[[timedelta], str]
"""How a span is told to people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The rows of a state: `waiting` ones have an alarm; `age`: of the oldest waiting one there."""

    count: int
    waiting: int = 0
    age: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shade:
    """A colour, and what it says. `below` None: however long."""

    says: str
    fill: str
    line: str
    below: timedelta | None = None


_EMPTY: Final = _Shade(says="no rows", fill="#ffffff", line="#94a3b8")
_DONE: Final = _Shade(says="rows, none of them waits", fill="#e2e8f0", line="#64748b")
_SHADES: Final = (
    _Shade(says="under 10 min", fill="#bbf7d0", line="#16a34a", below=timedelta(minutes=10)),
    _Shade(says="under 1 h", fill="#fef08a", line="#ca8a04", below=timedelta(hours=1)),
    _Shade(says="under 1 d", fill="#fdba74", line="#ea580c", below=timedelta(days=1)),
    _Shade(says="longer", fill="#fca5a5", line="#dc2626"),
)
_LEGEND: Final = (_EMPTY, _DONE, *_SHADES)
_WAITS: Final = "the oldest waits: "


def _shade(standing: Standing) -> _Shade:
    if not standing.count:
        return _EMPTY
    age = standing.age
    if age is None:
        return _DONE
    return next(each for each in _SHADES if each.below is None or age < each.below)


def _marks(standings: Mapping[State, Standing], spell: Spell) -> dict[State, Mark]:
    return {
        state: Mark(
            words=_told(each, spell), fill=_shade(each).fill, line=_shade(each).line
        )
        for state, each in standings.items()
    }  # fmt: skip


def _told(standing: Standing, spell: Spell) -> tuple[str, ...]:
    rows = f"{standing.count} row{'' if standing.count == 1 else 's'}"
    if standing.age is None:
        return (rows,)
    return (f"{rows}, {standing.waiting} waiting", f"the oldest for {spell(standing.age)}")


def live_dot(standings: Mapping[State, Standing], spell: Spell, title: str) -> str:
    """Draw the machine in Graphviz's language, coloured by its rows, with a legend."""
    cells = "".join(
        f'<td bgcolor="{it.fill}" color="{it.line}">{_dark(_says(it))}</td>' for it in _LEGEND
    )
    title_row = f'<tr><td border="0" colspan="{len(_LEGEND)}">{_dark(title)}</td></tr>'
    frame = 'border="0" cellborder="1" cellspacing="6" cellpadding="5"'
    label = f"<<table {frame}>{title_row}<tr>{cells}</tr></table>>"
    return dot(_marks(standings, spell), label)


def _dark(text: str) -> str:
    return f'<font color="#0f172a">{html.escape(text)}</font>'


def live_mermaid(standings: Mapping[State, Standing], spell: Spell, title: str) -> str:
    """Draw the same as a Mermaid flowchart."""
    lines = [f"---\ntitle: {title}\n---", mermaid(_marks(standings, spell)).rstrip()]
    lines += ["  subgraph legend"]
    lines += [f'    legend{n}["{_says(it)}"]' for n, it in enumerate(_LEGEND)]
    lines += ["  end"]
    lines += [
        f"  style legend{n} fill:{it.fill},stroke:{it.line},color:#0f172a"
        for n, it in enumerate(_LEGEND)
    ]
    return "\n".join(lines) + "\n"


def _says(shade: _Shade) -> str:
    return f"{_WAITS}{shade.says}" if shade in _SHADES else shade.says


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One transition of the row that is drawn; `source` None: it came to be."""

    number: int
    at: datetime
    actor: str
    event: str
    source: str | None
    target: str


_MOST_TOLD: Final = 5
_PATH_HEAD: Final = """\
digraph path {
  graph [rankdir=LR, bgcolor=white, pad=0.3, nodesep=0.7, ranksep=0.9, fontname="Helvetica",
         fontsize=12, fontcolor="#475569", labelloc=b, label=LABEL]
  node [shape=box, style="rounded,filled", penwidth=1.4, margin="0.2,0.12", fontsize=16,
        fontname="Helvetica", color="#64748b", fillcolor="#f1f5f9", fontcolor="#0f172a"]
  edge [fontname="Helvetica", fontsize=11, penwidth=1.4, arrowsize=0.8, color="#2563eb",
        fontcolor="#0f172a"]
  begin [shape=circle, label="", width=0.18, fixedsize=true, color="#0f172a", fillcolor="#0f172a"]
"""
_NOW: Final = ("#fde68a", "#b45309")


def path_dot(moves: Sequence[Move], title: str) -> str:
    """Draw the way of one row in Graphviz's language: the states it was in, its moves numbered.

    Moves between the same states by the same event are one arrow, with a line for each. The state
    in which it is now has a thick frame.
    """
    lines = [_path_box(state, now=state == moves[-1].target) for state in _visited(moves)]
    for (source, event, target), told in _ways(moves).items():
        words = "<br align='left'/>".join(html.escape(line) for line in told)
        label = f"<<b>{html.escape(event)}</b><br align='left'/>{words}<br align='left'/>>"
        lines.append(f"  {source} -> {target} [label={label}]")
    head = _PATH_HEAD.replace("LABEL", f"<{html.escape(title)}>")
    return head + "\n".join(lines) + "\n}\n"


def path_mermaid(moves: Sequence[Move], title: str) -> str:
    """Draw the same as a Mermaid flowchart."""
    lines = [f"---\ntitle: {title}\n---", "flowchart LR", "  begin(( ))"]
    lines += [f'  {state}("{state}")' for state in _visited(moves)]
    for (source, event, target), told in _ways(moves).items():
        words = "<br/>".join(html.escape(line) for line in (event, *told))
        lines.append(f'  {source} -- "{words}" --> {target}')
    fill, line = _NOW
    lines.append(f"  style {moves[-1].target} fill:{fill},stroke:{line},stroke-width:4px")
    return "\n".join(lines) + "\n"


def _visited(moves: Sequence[Move]) -> list[str]:
    ends = {end for move in moves for end in (move.source, move.target) if end}
    return [state.value for state in State if state in ends]


def _path_box(state: str, *, now: bool) -> str:
    fill, line = _NOW
    mark = f', penwidth=4, color="{line}", fillcolor="{fill}"' if now else ""
    return f"  {state} [label=<<b>{state}</b>>{mark}]"


def _ways(moves: Sequence[Move]) -> dict[tuple[str, str, str], list[str]]:
    """Fold moves into arrows: a line for each move, the first ones where there are many."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for move in moves:
        way = (move.source or "begin", move.event, move.target)
        found.setdefault(way, []).append(f"{move.number}. {move.at:%Y-%m-%d %H:%M:%S} {move.actor}")
    return {
        way: [
            *told[:_MOST_TOLD],
            *([f"and {len(told) - _MOST_TOLD} more"] * (len(told) > _MOST_TOLD)),
        ]
        for way, told in found.items()
    }
