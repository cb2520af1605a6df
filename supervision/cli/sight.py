"""How it is now, and what an order would do: shown before anybody is asked whether to do it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from supervision.cli.common import Exit, console, plain, short
from supervision.cli.why_words import seen
from supervision.fsm.engine.reading_live import Live
from supervision.fsm.states import UNFINISHED, Event

_IN_WORDS: Final = 3
_IN_TABLE: Final = 20
_HEADINGS: Final = ("ID", "JOB", "SIMULATION", "STATE", "ATTEMPT", "AGENT", "SCHEDULER", "WOULD BE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What is to be done about one, and, afterwards, how it ended: `code` and `sentence`.

    `refusal` is why it would be refused, as far as that can be told beforehand.
    """

    live: Live
    will: str
    refusal: str | None
    code: Exit | None = None
    sentence: str = ""


def intention(event: Event, live: Live) -> str:
    """Say what an event would do."""
    target = live.target(event)
    if live.row is None:
        return "a supervision is begun, if the rules let it"
    if target is None:
        return f"it stays {live.row.state}"
    way = f"{live.row.state} -> {target}"
    if event is Event.RETRY:
        return f"{way}, attempt {live.row.attempt + 1}, if the rules let it"
    if event is Event.FORCE_DETECTED:
        return f"{way}, attempt {live.row.attempt + 1}; no older one can start any more"
    sent = live.row.state in UNFINISHED and live.row.dispatch_try_count > 0
    return f"{way}; the agent is told first" if sent else way


def whose(live: Live) -> str:
    """Name one in a line."""
    name = f" of {live.name}" if live.name else ""
    if live.row is None:
        return f"job {live.job_uid}{name}"
    return f"supervision {live.row.id} (job {short(live.job_uid)}{name})"


def show(plan: Sequence[Step]) -> None:
    """Print a few in words, many as a table with the first of them."""
    if len(plan) <= _IN_WORDS:
        for step in plan:
            click.echo("\n".join(plain(line) for line in _words(step)))
        return
    table = Table(box=SIMPLE_HEAD)
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=True)
    for step in plan[:_IN_TABLE]:
        table.add_row(*(Text(plain(cell)) for cell in _cells(step)))
    console().print(table)
    if len(plan) > _IN_TABLE:
        click.echo(f"  and {len(plan) - _IN_TABLE} more")
    counted = Counter(f"refused: {step.refusal}" if step.refusal else step.will for step in plan)
    for words, count in counted.most_common():
        click.echo(plain(f"{count:6} {words}"))


def _words(step: Step) -> list[str]:
    live, row = step.live, step.live.row
    state = "never supervised" if row is None else f"{row.state}, attempt {row.attempt}"
    where = "" if row is None else f", at {row.site} as {row.login}"
    lines = [f"{whose(live)}: {state}{where}"]
    if live.problem is not None:
        lines.append(f"  The centre cannot be asked: {live.problem}")
    if live.answer is not None:
        detail = f" ({live.answer.detail})" if live.answer.detail else ""
        lines.append(f"  The agent says of this attempt: {live.answer.kind}{detail}")
    elif row is not None and row.dispatch_try_count == 0:
        lines.append("  Nothing of this attempt was sent to the centre.")
    if live.look is not None and live.look.reachable:
        lines.append(f"  The centre shows: {seen(live.look)}")
    lines.append(f"  It would be refused: {step.refusal}" if step.refusal else f"  {step.will}")
    return lines


def _cells(step: Step) -> tuple[str, ...]:
    live, row = step.live, step.live.row
    return (
        "-" if row is None else short(row.id),
        short(live.job_uid),
        live.name or "-",
        "-" if row is None else row.state.value,
        "-" if row is None else str(row.attempt),
        "-" if live.answer is None else live.answer.kind.value,
        "no answer" if live.look is None or not live.look.reachable else live.look.sight.value,
        "refused" if step.refusal else step.will,
    )


def values(step: Step) -> dict[str, Any]:
    """Spell a step for programs."""
    live, row = step.live, step.live.row
    look = live.look if live.look is not None and live.look.reachable else None
    return {
        "id": None if row is None else row.id,
        "job_uid": live.job_uid,
        "simulation": live.name,
        "state": None if row is None else row.state.value,
        "attempt": None if row is None else row.attempt,
        "agent": None if live.answer is None else live.answer.kind.value,
        "scheduler": None if look is None else look.sight.value,
        "others": None if look is None else look.others,
        "problem": live.problem,
        "would": step.will,
        "refusal": step.refusal,
        "exit_code": step.code,
        "sentence": step.sentence or None,
    }
