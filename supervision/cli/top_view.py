"""How `supervision top` looks: tables for a terminal, what wants somebody in red."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from supervision import topology
from supervision.cli.common import plain, short, span, utc
from supervision.fsm.engine.reading_now import Act, Picture, Recovery, SiteNow

_ALARM = "bold red"
_SOFT = "dim"
Row = tuple[str | Text, ...]


def drawn(
    picture: Picture,
    depths: Mapping[str, int] | str,
    *,
    limits: Mapping[str, int],
    recoveries: Sequence[Recovery],
) -> Group:
    """Draw everything; `limits` are the sessions that each site grants."""
    now = picture.at
    states = [
        (crowd.state, str(crowd.count), str(crowd.awake), _age(crowd.since, now))
        for crowd in picture.crowds
    ]
    verdicts = [(verdict, rule, str(count)) for verdict, rule, count in picture.verdicts]
    return Group(
        Text(f"supervision, {utc(now)}", style="bold"),
        _late(picture),
        Columns(
            [
                _table("Rows", ("STATE", "ROWS", "WAITING", "OLDEST SINCE"), states),
                _table("Verdicts of the last hour", ("VERDICT", "RULE", "COUNT"), verdicts),
                _queues(depths),
            ],
            padding=(0, 3),
        ),
        _table(
            "Sites",
            ("SITE", "UNFINISHED", "SESSIONS", "INCIDENT", "CANNOT BE ASKED"),
            [_site(site, limits) for site in picture.sites],
        ),
        _table(
            "Holds",
            ("SCOPE", "BY", "SINCE", "REASON"),
            [(it.scope, it.actor, _age(it.since, now), it.reason) for it in picture.holds],
        ),
        _table(
            "Recovered, of what failed in the last 7 days",
            ("RESTARTED BY", "COUNT", "HALF WITHIN", "90% WITHIN"),
            [
                (it.restarted_by, str(it.count), span(it.median), span(it.ninth_decile))
                for it in recoveries
            ],
        ),
        _table(
            "Last acts",
            ("AGO", "ID", "EVENT", "TO", "SITE", "LOGIN", "BY"),
            [_act(act, now) for act in picture.acts],
        ),
    )


def away(problem: str) -> Text:
    """Say that nothing can be seen now."""
    return Text(f"{plain(problem)}\nIt is asked again.", style=_ALARM)


def _late(picture: Picture) -> Text:
    if not picture.late:
        return Text("No alarm is late.", style="green")
    age = _age(picture.late_since, picture.at)
    return Text(
        f"{picture.late} alarms are late, the oldest by {age}: does `supervision run` run, with "
        "every stage?",
        style=_ALARM,
    )


def _queues(depths: Mapping[str, int] | str) -> Table | Text:
    if isinstance(depths, str):
        return Text(plain(depths), style=_SOFT)
    rows: list[Row] = [
        (_marked(name, alarm=name.startswith(topology.DEAD_PREFIX)), str(count))
        for name, count in depths.items()
        if count
    ]
    return _table("Queues that are not empty", ("QUEUE", "MESSAGES"), rows)


def _site(site: SiteNow, limits: Mapping[str, int]) -> Row:
    put_off = "; ".join(
        f"{it.login} ({it.count}): {it.problem or 'no reason is known'}" for it in site.put_off
    )
    return (
        site.name,
        str(site.unfinished),
        f"{site.sessions} of {limits.get(site.name, '?')}",
        _marked(site.incident or "-", alarm=site.incident is not None),
        _marked(put_off or "-", alarm=bool(put_off)),
    )


def _act(act: Act, now: datetime) -> Row:
    return (
        _age(act.at, now), short(act.supervision_id), act.event, act.target, act.site, act.login,
        act.actor,
    )  # fmt: skip


def _marked(text: str, *, alarm: bool) -> Text:
    return Text(plain(text).replace("\n", " "), style=_ALARM if alarm else "")


def _table(title: str, headings: Iterable[str], rows: Sequence[Row]) -> Table | Text:
    if not rows:
        return Text(f"{title}: none", style=_SOFT)
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, no_wrap=heading in {"STATE", "SITE", "ID", "AGO", "QUEUE"})
    for row in rows:
        table.add_row(
            *(cell if isinstance(cell, Text) else Text(plain(cell).replace("\n", " "))
              for cell in row)
        )  # fmt: skip
    return table


def _age(since: datetime | None, now: datetime) -> str:
    return "-" if since is None else span(now - since)
