"""What the shell may offer for an argument: sites and logins of the settings, ids of the database.

Somebody presses a key in the middle of a line: whatever is wrong, nothing is offered and nothing is
said. Nothing is made either: where there is no database yet, there are no ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

from supervision.cli.common import SHORT_ID, Invocation

if TYPE_CHECKING:  # a command that is only run imports none of these
    from supervision.facts import Supervision
    from supervision.settings import Settings

_MOST: Final = 50
"""So many of the newest supervisions are looked through: a screen holds no more."""


def sites(ctx: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the names of sites."""
    found: dict[str, str] = {}
    with suppress(Exception), _settings(ctx) as settings:
        found = {site.name: site.mode.value for site in settings.policy.sites}
    return _offered(found, text)


def logins(ctx: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the logins of users."""
    found: dict[str, str] = {}
    with suppress(Exception), _settings(ctx) as settings:
        found = {user.login: f"level {user.level}" for user in settings.policy.users}
    return _offered(found, text)


def scopes(ctx: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer what can be held: sites, logins of sites, simulations of the newest supervisions."""
    found: dict[str, str] = {}
    with suppress(Exception), _settings(ctx) as settings:
        for site in settings.policy.sites:
            found[f"site:{site.name}"] = site.mode.value
            names = (f"login:{site.name}/{user.login}" for user in settings.policy.users)
            found.update(dict.fromkeys(names, ""))
    if text.startswith("simulation:"):
        found = {f"simulation:{row.simulation_uid}": _told(row) for row in _rows(ctx)}
    return _offered(found, text)


def ids(ctx: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the newest supervisions, shortened as people read them."""
    length = None if len(text) > SHORT_ID else SHORT_ID
    return _offered({row.id[:length]: _told(row) for row in _rows(ctx)}, text.lower())


def simulations(ctx: click.Context, _parameter: click.Parameter, text: str) -> list[CompletionItem]:
    """Offer the simulations of the newest supervisions, in the same way."""
    length = None if len(text) > SHORT_ID else SHORT_ID
    found = {row.simulation_uid[:length]: f"{row.login} at {row.site}" for row in _rows(ctx)}
    return _offered(found, text.lower())


def _offered(found: dict[str, str], text: str) -> list[CompletionItem]:
    fit = ((word, told) for word, told in found.items() if word.startswith(text))
    return [CompletionItem(word, help=told) for word, told in fit]


def _told(row: Supervision) -> str:
    return f"{row.state} ({row.trigger}) for {row.login} at {row.site}"


@contextmanager
def _settings(ctx: click.Context) -> Iterator[Settings]:
    """Read the settings that the line so far stands for; nothing is logged meanwhile."""
    said = ctx.find_root().params
    invocation = Invocation(config=said.get("config"), verbose=False)
    invocation.log(json=False, quiet_level="critical")
    yield invocation.settings()


def _rows(ctx: click.Context) -> list[Supervision]:
    with suppress(Exception), _settings(ctx) as settings:
        return _read(settings)
    return []


def _read(settings: Settings) -> list[Supervision]:
    from supervision import app  # noqa: PLC0415 - a command that is only run does not pay for it
    from supervision.cli import schema  # noqa: PLC0415 - the same
    from supervision.fsm.engine.reading import Show  # noqa: PLC0415 - the same

    if not schema.is_made(settings):
        return []
    made = app.build(replace(settings, broker_url=app.MEMORY_URL))
    try:
        return made.engine.read(Show(limit=_MOST))
    finally:
        made.close()
