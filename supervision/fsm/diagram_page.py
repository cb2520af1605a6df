"""The page of the state machine in the documentation: written from the table itself.

`python -m supervision.fsm.diagram_page > docs/state-machine.md` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from supervision.fsm.diagram import arrows, everywhere, mermaid
from supervision.fsm.machine import sources
from supervision.fsm.states import STATES, STATUS_PAIRS, Event

HAPPENED: Final[dict[Event, str]] = {
    Event.FORMAT: "the script is built and stored",
    Event.DISPATCH: "the agent has it in its journal, or the mail server took the mail",
    Event.EXECUTE: "the script acted; from executed: the watch over the new job is over",
    Event.FAIL: "the attempt is over without success; from executed: the new job is gone",
    Event.CANCEL: "there is nothing to be done, or nobody wants it",
    Event.RETRY: "the next attempt begins; its script is built anew",
    Event.FORCE_DETECTED: "a person began the next attempt, which fences the one before",
    Event.FORCE_EXECUTED: "a person said that it was done",
    Event.FORCE_FAILED: "a person said that it failed",
    Event.FORCE_CANCELLED: "a person said that it is not wanted",
}
"""What has come true when an event is confirmed."""

_PAGE: Final = """\
# The state machine

<!-- Written by: python -m supervision.fsm.diagram_page > docs/state-machine.md -->

This page is written from the transition table itself, `supervision/fsm/machine.py`, and from
`supervision/fsm/states.py`. Do not edit it: change the table, then run
`python -m supervision.fsm.diagram_page > docs/state-machine.md`. A test compares the two.

A supervision is one row of `tbl_simulation_supervision`, for one job, for ever. A retry is the next
attempt of the same row. The dashed arrows are forced by a person, from whatever state.

```mermaid
{mermaid}```

`supervision diagram --format svg --output states.svg` draws it as a file.

## States

{states}

*Unfinished* means detected, formatted or dispatched. An unfinished row always has an alarm
(`wake_at`): the database refuses one without. Executed has one while the new job is watched, failed
has one until policy has answered. When the alarm is due, the sweeper sends a wake-up to the queue
of the state. A wake-up carries an id and nothing else: it may be lost, doubled or late.

No state is a trap, and none is final for a person: every one can be forced.

## Events

{events}

No force leads to formatted or dispatched: these are earned by a script that is there, and by a
receipt of the agent. An event for a row that is elsewhere by now has no effect and is no error.

Each transition is one guarded update: the row must still have the version that was claimed. The
history, `tbl_supervision_transition`, gets its line in the same transaction.

## The two columns

The state is kept in two columns. `dispatch_status` tells how far the script has come on its way to
the centre, `execution_status` what is known of its run there. The database admits these pairs only:

{pairs}

So a failed or cancelled row still tells whether its script had reached the centre: then
`dispatch_status` stays dispatched. `unknown` is a value: nobody knows, and nobody guesses.
"""


def page() -> str:
    """Write docs/state-machine.md: the picture, the states, the events, the pairs of statuses."""
    states = [
        (f"**{state}**", info.true, "yes" if info.unfinished else "no", _code(info.queue))
        for state, info in STATES.items()
    ]
    goals = {arrow.event: arrow.target for arrow in arrows()}  # each event leads to one state
    events = [(_code(each), _from(each), goals[each], HAPPENED[each]) for each in goals]
    pairs = [(_code(sent), _code(run), state) for (sent, run), state in STATUS_PAIRS.items()]
    return _PAGE.format(
        mermaid=mermaid(),
        states=_table(("state", "true in it", "unfinished", "its wake-up goes to"), states),
        events=_table(("event", "from", "to", "what has come true"), events),
        pairs=_table(("dispatch_status", "execution_status", "state"), pairs),
    )


def _from(event: Event) -> str:
    return "any state" if everywhere(event) else ", ".join(sources(event))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _code(text: str | None) -> str:
    return f"`{text}`" if text else "-"


if __name__ == "__main__":
    sys.stdout.write(page())
