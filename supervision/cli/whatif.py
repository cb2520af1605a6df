"""`supervision whatif`: another policy over what was recorded, and what would be different."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from supervision import app_whatif, settings
from supervision.app_whatif import Rehearsal
from supervision.cli.common import (
    Exit,
    Invocation,
    as_json_option,
    echo_json,
    examples,
    opened,
    pass_invocation,
    plain,
    short,
    utc,
)
from supervision.fsm.engine.comparing import Change, Comparison, Said

_DAYS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
_SHOWN: Final = 20
ESTIMATE: Final = (
    "What comes after the first change in a simulation is an estimate (marked ~): another act "
    "would have led to other messages. Of other simulations the caps are as they were."
)


@click.command(
    epilog=examples(
        "supervision whatif --policy new.toml",
        "supervision whatif --policy new.toml --since 2026-01-01 --json | jq .restarts",
    )
)
@click.option(
    "--policy",
    "file",
    required=True,
    metavar="NEW.toml",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A settings file; its sites, users, policy and engine count, its database does not.",
)
@click.option("--since", type=click.DateTime(_DAYS), help="From when on, UTC; else from the first.")
@as_json_option
@pass_invocation
def whatif(invocation: Invocation, file: Path, *, since: datetime | None, as_json: bool) -> None:
    """Tell what another policy would have decided.

    Each decision of the ledger is judged once more, on the facts of its moment. Simulations that
    the ledger does not know, as after `ingest --history`, are rehearsed: their messages live once
    more on a scratch database, by their own clock. Nobody is contacted and nothing is changed.

    Decisions are compared, not acts: a person who was faster is not seen. The exit code is 1 when
    there is nothing to judge.
    """
    wanted = settings.load(file, invocation.environ)
    begin = since.replace(tzinfo=UTC) if since else None
    with (
        opened(invocation) as made,
        _shown(lambda: app_whatif.size(made, begin)) as progress,
    ):
        result, rehearsal = app_whatif.compare(made, wanted, since=begin, progress=progress)
    if as_json:
        echo_json(_as_json(result, rehearsal))
    else:
        click.echo(plain("\n".join(_told(result, rehearsal))))
    if not result.decisions:
        click.get_current_context().exit(Exit.NOTHING)


@contextmanager
def _shown(total: Callable[[], int]) -> Iterator[Callable[[], object]]:
    """Draw a bar where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody watches
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("judging", total=total())
        yield lambda: bar.advance(task)


def _told(result: Comparison, rehearsal: Rehearsal) -> Iterator[str]:
    yield f"{result.decisions} decisions judged, {result.changed} come out otherwise."
    if rehearsal.messages:
        yield f"{rehearsal.messages} messages, never judged before, were rehearsed."
    if result.unread or rehearsal.unread:
        yield f"Not judged, no facts: {result.unread} decisions, {rehearsal.unread} messages."
    yield ""
    yield (
        f"restarts  {result.restarts_before} -> {result.restarts_after}"
        f"  ({result.added} added, {result.removed} removed)"
    )
    yield f"mails     {result.mails_before} -> {result.mails_after}"
    yield f"users     {len(result.users)}: {', '.join(sorted(result.users)) or '-'}"
    if result.by_site:
        yield "\nRestarts by site:"
        yield from (f"  {site}: {n} {what}" for (site, what), n in sorted(result.by_site.items()))
    if result.changed:
        yield "\nBy rule:"
        yield from (f"  {n:5d}  {a} -> {b}" for (a, b), n in result.by_rule.most_common())
        yield "\nThe first changes:"
        yield from map(_line, result.changes[:_SHOWN])
    if result.asked:
        yield f"\n{result.asked} would first ask the centre; what it would have seen is not known."
    if result.changed:
        yield f"\n{ESTIMATE}"


def _line(change: Change) -> str:
    mark = "~" if change.estimate else " "
    who = f"{change.login or '-'} at {change.site or '-'}"
    what = f"{_spelled(change.before)} -> {_spelled(change.after)}"
    return f"{mark} {utc(change.at)}  {short(change.job_uid)}  {change.kind}, {who}: {what}"


def _spelled(said: Said) -> str:
    return said.outcome if said.rule == "-" else f"{said.outcome} ({said.rule})"


def _as_json(result: Comparison, rehearsal: Rehearsal) -> dict[str, Any]:
    return {
        "decisions": result.decisions,
        "changed": result.changed,
        "estimates": result.estimates,
        "not_judged": {"decisions": result.unread, "messages": rehearsal.unread},
        "rehearsed_messages": rehearsal.messages,
        "restarts": {
            "before": result.restarts_before,
            "after": result.restarts_after,
            "added": result.added,
            "removed": result.removed,
        },
        "mails": {"before": result.mails_before, "after": result.mails_after},
        "users": sorted(result.users),
        "would_ask": result.asked,
        "by_rule": [
            {"before": a, "after": b, "count": n} for (a, b), n in result.by_rule.most_common()
        ],
        "by_site": [
            {"site": site, "restarts": what, "count": n}
            for (site, what), n in sorted(result.by_site.items())
        ],
        "changes": [_change(each) for each in result.changes],
        "note": ESTIMATE,
    }


def _change(each: Change) -> dict[str, Any]:
    return {
        "at": each.at,
        "job_uid": each.job_uid,
        "simulation_uid": each.simulation_uid,
        "kind": each.kind,
        "site": each.site,
        "login": each.login,
        "before": {"outcome": each.before.outcome, "rule": each.before.rule},
        "after": {"outcome": each.after.outcome, "rule": each.after.rule},
        "estimate": each.estimate,
    }
