"""What people order of supervisions: retry, cancel, force. Each keeps who said so, and why.

First they are shown how it is now, at the centre too, and what would be done. What is shown may
have changed a moment later: the engine asks again before it moves anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click

from supervision.app import App
from supervision.cli import sight
from supervision.cli.asking import Wanted, agree, ordered
from supervision.cli.common import (
    Exit,
    Invocation,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    short,
)
from supervision.cli.selection import Whom, aimed
from supervision.errors import NotFound, Refused
from supervision.fsm.engine.commanding import Obedience, Obeyed, Person
from supervision.fsm.engine.reading_live import HowIsIt, Live
from supervision.fsm.states import UNFINISHED, Event, State

_CODES: Final = {
    Obeyed.DONE: Exit.DONE,
    Obeyed.OTHERWISE: Exit.NOTHING,
    Obeyed.WISHED: Exit.WISHED,
}
_WORST_FIRST: Final = (Exit.REFUSED, Exit.WISHED, Exit.NOTHING)
_FORCED: Final = {
    "detected": Event.FORCE_DETECTED,
    "cancelled": Event.FORCE_CANCELLED,
    "failed": Event.FORCE_FAILED,
    "executed": Event.FORCE_EXECUTED,
}
_BEGINNING: Final = frozenset({Event.RETRY, Event.FORCE_DETECTED})
_BAR_FROM: Final = 10
_IN_THE_WAY: Final = "the job, or another one of its name, is in the queue or runs"
"""The one refusal that the engine does not repeat: it does not look at the scheduler."""

_despite_running = click.option(
    "--despite-running",
    is_flag=True,
    help="Also while a script, or the job itself, runs at the centre.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """One kind of order: its event, where a filter looks for it, and how the engine is told."""

    event: Event
    states: tuple[State, ...]
    give: Callable[[App, Live], Obedience]
    insists: bool


@click.command(
    epilog=examples(
        'supervision retry 3195c4c1 --reason "the quota was raised"',
        'supervision retry --site curie --state failed --reason "repaired" --dry-run',
    )
)
@aimed
@_despite_running
@ordered
@pass_invocation
def retry(
    invocation: Invocation,
    *,
    whom: Whom,
    despite_running: bool,
    wanted: Wanted,
) -> None:
    """Begin another attempt at jobs.

    ID is a supervision that failed or was cancelled; JOB_UID a job of which it was decided to do
    nothing; prefixes will do. Or a filter names many. The rules that protect the simulation are
    asked all the same (a newer job, a complete simulation, a hold): what they say is the refusal.

    You are shown how it is now, at the centre too, and asked. Refused while the job runs there.
    """
    person = Person(actor=wanted.actor, reason=wanted.reason)
    order = _Order(
        event=Event.RETRY,
        states=(State.FAILED, State.CANCELLED),
        give=lambda made, live: made.engine.retry(live.job_uid, person),
        insists=despite_running,
    )
    _obey(invocation, order, whom, wanted)


@click.command(
    epilog=examples(
        'supervision cancel 5f4dcc3b --reason "I restarted it by hand"',
        'supervision cancel --site curie --login p86abc --reason "his disk is being moved"',
    )
)
@aimed
@_despite_running
@ordered
@pass_invocation
def cancel(
    invocation: Invocation,
    *,
    whom: Whom,
    despite_running: bool,
    wanted: Wanted,
) -> None:
    """Give up supervisions that are under way.

    Name them by id, by their job's uid, or by a filter. The centre is told first, so that a script
    that has not begun never will. One that runs is left to itself, and you are told how to stop it.
    When the centre cannot be asked your wish is stored, nothing is sent any more, and the exit code
    is 5.

    You are shown how it is now, at the centre too, and asked.
    """
    order = _moving(Event.CANCEL, wanted, insists=despite_running)
    _obey(invocation, order, whom, wanted)


@click.command(
    epilog=examples(
        'supervision force 5f4dcc3b --to executed --reason "done by hand, job 41234 runs"'
    )
)
@aimed
@click.option(
    "--to", "state", type=click.Choice(list(_FORCED)), required=True, help="The state to put it in."
)
@_despite_running
@ordered
@pass_invocation
def force(
    invocation: Invocation,
    *,
    whom: Whom,
    state: str,
    despite_running: bool,
    wanted: Wanted,
) -> None:
    """Put supervisions into another state.

    For operators, when the row says what is not so. `detected` begins a new attempt that fences
    the one before; `executed` says that somebody did it by hand; `failed` and `cancelled` end it.
    Formatted and dispatched are earned, nothing is forced there.

    You are shown how it is now, at the centre too, and asked. Refused while a script runs there.
    """
    order = _moving(_FORCED[state], wanted, insists=despite_running)
    _obey(invocation, order, whom, wanted)


def _moving(event: Event, wanted: Wanted, *, insists: bool) -> _Order:
    person = Person(actor=wanted.actor, reason=wanted.reason, insists=insists)

    def give(made: App, live: Live) -> Obedience:
        if live.row is None:
            raise NotFound(f"there is no supervision of job {live.job_uid}")
        return made.engine.order(event, live.row.id, person)

    states = UNFINISHED if event is Event.CANCEL else tuple(State)
    return _Order(event=event, states=states, give=give, insists=insists)


def _obey(invocation: Invocation, order: _Order, whom: Whom, wanted: Wanted) -> None:
    with opened(invocation, broker=True) as made:
        jobs = whom.jobs(made, order.states, supervised=order.event is not Event.RETRY)
        lives = made.engine.read(HowIsIt(job_uids=jobs))
        plan = [_planned(order, live) for live in lives]
        if not wanted.as_json:
            sight.show(plan)
        elif wanted.dry_run:
            echo_json([sight.values(step) for step in plan])
        if wanted.dry_run:
            refused = any(step.refusal is not None for step in plan)
            click.get_current_context().exit(Exit.REFUSED if refused else Exit.DONE)
        if any(step.refusal is None for step in plan):
            agree(wanted, f"{_counted(plan)}: do it?")
        done: list[sight.Step] = []
        try:
            done.extend(_done(made, order, step) for step in _with_progress(plan))
        finally:  # where the database goes away in the middle, what was done is told all the same
            _tell(done, wanted)
    codes = {step.code for step in done}
    code = next((code for code in _WORST_FIRST if code in codes), Exit.DONE)
    click.get_current_context().exit(code)


def _tell(done: Sequence[sight.Step], wanted: Wanted) -> None:
    if wanted.as_json:
        echo_json([sight.values(step) for step in done])
        return
    for step in done:
        click.echo(plain(step.sentence), err=step.code is Exit.REFUSED)


def _planned(order: _Order, live: Live) -> sight.Step:
    """Say what would be done to one, or why it would be refused."""
    will = sight.intention(order.event, live)
    problem, state = None, "nothing" if live.row is None else live.row.state
    if live.target(order.event) is None:
        problem = f"{order.event} is not possible from {state}"
    elif live.script_runs and not order.insists:
        problem = "its script runs at the centre"
    elif live.job_is_there and order.event in _BEGINNING and not order.insists:
        problem = _IN_THE_WAY
    return sight.Step(live=live, will=will, refusal=problem)


def _done(made: App, order: _Order, step: sight.Step) -> sight.Step:
    """Do it, or tell why not; the engine has the last word, also about what was refused here."""
    live = step.live
    if step.refusal == _IN_THE_WAY:
        sentence = f"{sight.whose(live)}: {step.refusal}; --despite-running insists"
        return replace(step, code=Exit.REFUSED, sentence=sentence)
    try:
        obeyed = order.give(made, live)
    except (Refused, NotFound) as error:
        return replace(step, code=Exit.REFUSED, sentence=str(error))
    return replace(step, code=_CODES[obeyed.how], sentence=obeyed.sentence)


def _counted(plan: Sequence[sight.Step]) -> str:
    hindered = sum(step.refusal is not None for step in plan)
    ready = len(plan) - hindered
    words = "one supervision" if ready == 1 else f"{ready} supervisions"
    return f"{words}, {hindered} refused" if hindered else words


def _with_progress(plan: Sequence[sight.Step]) -> Iterator[sight.Step]:
    if len(plan) < _BAR_FROM or not sys.stderr.isatty():
        yield from plan
        return
    with click.progressbar(plan, file=sys.stderr, item_show_func=_shown) as bar:
        yield from bar


def _shown(step: sight.Step | None) -> str:
    return "" if step is None else short(step.live.job_uid)
