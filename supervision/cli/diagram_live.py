"""What `supervision diagram` reads for its pictures of what is now and of what was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from supervision.cli.common import Invocation, opened, plain, short, span, utc
from supervision.cli.lookup import supervision_of
from supervision.errors import NotFound
from supervision.fsm.diagram_live import (
    Move,
    Standing,
    live_dot,
    live_mermaid,
    path_dot,
    path_mermaid,
)
from supervision.fsm.engine.reading import History, One
from supervision.fsm.engine.reading_now import Now

Sources = tuple[Callable[[], str], Callable[[], str]]


def all_of(invocation: Invocation) -> Sources:
    """Read how many rows are in each state, and draw it: Mermaid, Graphviz."""
    with opened(invocation) as made:
        picture = made.engine.read(Now(acts=0))
    standings = {
        it.state: Standing(
            count=it.count,
            waiting=it.awake,
            age=None if it.since is None else picture.at - it.since,
        )
        for it in picture.crowds
    }
    words = (standings, span, f"Supervisions at {utc(picture.at)}")
    return partial(live_mermaid, *words), partial(live_dot, *words)


def path_of(invocation: Invocation, target: str) -> Sources:
    """Read the history of one supervision, and draw it: Mermaid, Graphviz; raises NotFound."""
    with opened(invocation) as made:
        found = supervision_of(made, target)
        row, _ = made.engine.read(One(supervision_id=found))
        steps = made.engine.read(History(supervision_id=found))
    if not steps:
        raise NotFound(f"no history of supervision {found} is kept any more")
    moves = [
        Move(
            number=number,
            at=step.at,
            actor=plain(step.actor),
            event=step.event,
            source=step.source,
            target=step.target,
        )
        for number, step in enumerate(steps, 1)
    ]
    title = (
        f"Supervision {short(row.id)} of job {short(row.job_uid)} at {plain(row.site)}: "
        f"{row.state}, attempt {row.attempt}. Times are UTC"
    )
    return partial(path_mermaid, moves, title), partial(path_dot, moves, title)
