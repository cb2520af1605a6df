"""`supervision why`: what was decided, by which rule, on which facts; and whether it replays."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import click

from supervision.app import App
from supervision.cli import completion, why_words
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    uid,
)
from supervision.cli.lookup import of_job, of_simulation
from supervision.cli.show import columns
from supervision.errors import NotFound
from supervision.facts import Supervision
from supervision.fsm.engine.reading import Explained, Find, History, One, Step, Why


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """All that is known about what was asked: decisions, and supervisions with their histories."""

    decisions: list[Explained]
    supervisions: list[tuple[Supervision, list[Step]]]

    @property
    def lies(self) -> list[Explained]:
        """Decisions whose replay gives another verdict than the ledger has."""
        return [each for each in self.decisions if each.replays is False]


@click.command(
    epilog=examples(
        "supervision why 3195c4c1",
        "supervision why 71105649-17e8-491a-8f8f-4ee26a22524d --json | jq '.decisions[].rule'",
    )
)
@click.argument(
    "target", metavar="JOB_UID|SIMULATION_UID|ID", callback=uid, shell_complete=completion.ids
)
@as_json_option
@pass_invocation
def why(invocation: Invocation, target: str, *, as_json: bool) -> None:
    """Tell what was decided about a job or simulation, and why.

    In sentences: every decision with its rule and the facts that it rests on, and what has come of
    it. Each decision is replayed on its own facts and policy, which must give the same verdict;
    and once more by today's policy, which may decide otherwise. The beginning of an id will do.

    The exit code is 1 when nothing was decided, and when a replay differs: please report that.
    """
    with opened(invocation) as made:
        account = account_of(made, target)
    if as_json:
        echo_json(_as_json(account))
    else:
        _tell(account, target)
    if account.lies:
        for each in account.lies:
            click.echo(plain(why_words.alarm(each)), err=True)
        click.get_current_context().exit(Exit.NOTHING)


def account_of(made: App, text: str) -> Account:
    """Read what there is about an id, or a prefix of one; raises NotFound."""
    found = made.engine.read(Find(text=text))
    if found.supervision_id is not None:
        row, _ = made.engine.read(One(supervision_id=found.supervision_id))
        rows, decisions = [row], made.engine.read(Why(job_uid=row.job_uid))
    elif found.job_uid is not None:
        row_of_job = of_job(made, found.job_uid)
        rows = [] if row_of_job is None else [row_of_job]
        decisions = made.engine.read(Why(job_uid=found.job_uid))
    else:
        rows = of_simulation(made, found.simulation_uid or "")
        decisions = made.engine.read(Why(simulation_uid=found.simulation_uid))
    if not rows and not decisions:
        raise NotFound(f"nothing was decided about {text}: no message of it asked for anything")
    histories = [(row, made.engine.read(History(supervision_id=row.id))) for row in rows]
    return Account(decisions=decisions, supervisions=histories)


def _tell(account: Account, target: str) -> None:
    lines: list[str] = []
    for decision in account.decisions:
        lines += why_words.decision(decision)
    for row, steps in account.supervisions:
        lines += why_words.supervision(row, steps, chosen=row.id.startswith(target))
    click.echo(plain("\n".join(lines)).rstrip())


def _as_json(account: Account) -> dict[str, Any]:
    return {
        "decisions": [_decision(each) for each in account.decisions],
        "supervisions": [
            {**columns(row), "history": [asdict(step) for step in steps]}
            for row, steps in account.supervisions
        ],
    }


def _decision(each: Explained) -> dict[str, Any]:
    values = asdict(each)
    values["facts"] = None if each.facts is None else json.loads(each.facts)
    return {**values, "replays": each.replays}
