"""The picture and the page of the state machine: all of the table, nothing else, and up to date."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from supervision.errors import NotFound, RenderError
from supervision.fsm import diagram, diagram_page
from supervision.fsm.machine import TABLE
from supervision.fsm.states import STATES, STATUS_PAIRS, Event, State

_PAGE: Final = Path(__file__).parents[2] / "docs" / "state-machine.md"
_COMMAND: Final = "python -m supervision.fsm.diagram_page > docs/state-machine.md"

_MERMAID_ARROW: Final = re.compile(r'^  (\w+) -[-.] "(\w+)" (-->|\.->) (\w+)$', re.MULTILINE)
_DOT_ARROW: Final = re.compile(r"^  (\w+) -> (\w+) \[(.*)\]$", re.MULTILINE)
_DOT_WORD: Final = re.compile(r">(\w+)<")

Arrow = tuple[str, str, str, bool]
"""Tail, event, head, and whether the line is dashed."""


def _expected() -> set[Arrow]:
    """Spell the table as arrows: what people force leaves from one box beside its target."""
    return {
        (
            f"any_{target}" if event.startswith("force_") else source.value,
            event.value,
            target.value,
            event.startswith("force_"),
        )
        for event, source, target in TABLE
    }


def _in_mermaid() -> list[Arrow]:
    found = _MERMAID_ARROW.findall(diagram.mermaid())
    return [(tail, event, head, line == ".->") for tail, event, line, head in found]


def _in_dot() -> list[Arrow]:
    found = _DOT_ARROW.findall(diagram.dot())
    return [
        (tail, _DOT_WORD.findall(words)[0], head, "style=dashed" in words)
        for tail, head, words in found
        if tail != "begin"
    ]


def test_the_page_in_the_documentation_is_what_the_table_says() -> None:
    """Whoever changes the table writes the page anew."""
    assert diagram_page.page() == _PAGE.read_text(), f"run: {_COMMAND}"


def test_the_page_says_how_it_is_written_anew() -> None:
    """The command stands where somebody who wants to edit the page sees it."""
    assert _COMMAND in diagram_page.page()


@pytest.mark.parametrize("drawn", [_in_mermaid, _in_dot], ids=["mermaid", "dot"])
def test_every_transition_is_one_arrow_and_no_other_is_drawn(
    drawn: Callable[[], list[Arrow]],
) -> None:
    """Both languages show the whole table; the forced transitions of an event are one arrow."""
    assert sorted(_expected()) == sorted(drawn())


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_box_that_says_what_is_true_in_it(state: State) -> None:
    """The words are those of states.py, broken into lines."""
    for text in (diagram.mermaid(), diagram.dot()):
        words = re.sub(r"<[^>]*>", " ", text)
        assert STATES[state].true in re.sub(r"\s+", " ", words)


@pytest.mark.parametrize("state", State)
def test_the_page_tells_the_queue_of_every_state(state: State) -> None:
    """A row of the first table: the state, what is true, the queue of its wake-ups."""
    row = next(
        line for line in diagram_page.page().splitlines() if line.startswith(f"| **{state}**")
    )
    assert STATES[state].true in row
    assert (STATES[state].queue or "| - |") in row


def test_the_page_tells_every_event_and_where_it_leads_from_and_to() -> None:
    """One row an event, and every event has one state that it leads to."""
    rows = re.findall(
        r"^\| `(\w+)` \| ([\w, ]+) \| (\w+) \| .+ \|$", diagram_page.page(), re.MULTILINE
    )
    expected = {
        event: (
            {source for each, source, _ in TABLE if each is event},
            {target for each, _, target in TABLE if each is event},
        )
        for event in Event
    }
    assert expected == {
        event: (set(State) if names == "any state" else set(names.split(", ")), {target})
        for event, names, target in rows
    }


def test_the_page_tells_every_pair_of_statuses() -> None:
    """The pairs are those that the database admits."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\w+) \|$", diagram_page.page(), re.MULTILINE)
    assert [(*pair, state) for pair, state in STATUS_PAIRS.items()] == rows


def test_graphviz_draws_what_dot_says() -> None:
    """The SVG is one, and every arrow of the table arrives in it."""
    drawn = ET.fromstring(diagram.picture("svg"))  # noqa: S314 - our own bytes
    titles = {each.text for each in drawn.iter("{http://www.w3.org/2000/svg}title")}
    assert {f"{tail}->{head}" for tail, _, head, _ in _expected()} <= {
        re.sub(r":\w+", "", title or "") for title in titles
    }


def test_a_png_is_a_png() -> None:
    """The bytes begin as every PNG does."""
    assert diagram.picture("png").startswith(b"\x89PNG\r\n\x1a\n")


def test_without_graphviz_the_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever lacks the program is told what to install, and what works without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match=r"apt-get install graphviz.*mermaid"):
        diagram.picture("svg")


def test_a_graphviz_that_fails_is_told_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installation that is broken says so; nothing half-drawn is returned."""
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho 'no layout engine' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RenderError, match="no layout engine"):
        diagram.picture("png")
