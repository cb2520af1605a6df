"""The credential horizon: when each credential expires is known before anybody connects.

What is known is kept in tbl_credential, where every decision and every act reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from db import dao_credentials, dao_letters
from db.types_credentials import CredentialRow
from supervision import mails_operator
from supervision.facts import Credential, EngineSettings
from supervision.fsm.engine import holding
from supervision.fsm.engine.telling import tell_once
from supervision.fsm.engine.tools import Tools

_LOG = structlog.get_logger()

_AT_ONCE: Final = 2  # mails of one turn: a slow mail server keeps the caretaker for a minute
_MARK: Final = 16  # of a digest: enough to tell the contents of one file apart


def watch(tools: Tools) -> int:
    """Keep how credentials are; a new content wakes what waited for it. Then warn.

    What cannot be read at all changes nothing: a file that is being replaced, or a process on a
    machine without it, says nothing about the credential. Returns how many had changed.
    """
    found = [each for each in tools.ports.credentials.read() if each.mark is not None]
    with tools.database.read() as session:
        known = dao_credentials.every(session)
        now = tools.database.now(session)
    changed = [each for each in found if _is_news(each, known)]
    if changed:
        _renew(tools, changed)
    _warn(tools, found, now)
    return len(changed)


def _is_news(found: Credential, known: dict[tuple[str, str], CredentialRow]) -> bool:
    row = known.get((found.site, found.login))
    return row is None or (row.mark, row.expires_at) != (found.mark, found.expires_at)


def _renew(tools: Tools, changed: Sequence[Credential]) -> None:
    with tools.database.write() as session:
        refused = {login: row.refused_mark for login, row in dao_credentials.every(session).items()}
        for site, login in dao_credentials.note(session, [_row(each) for each in changed]):
            mark = next(each.mark for each in changed if (each.site, each.login) == (site, login))
            if refused.get((site, login)) != mark:
                holding.release(tools, session, holding.parked_scope(site, login))
            _LOG.info("credential.changed", site=site, login=login)


def _row(each: Credential) -> dict[str, Any]:
    return {
        "site": each.site,
        "login": each.login,
        "mark": each.mark,
        "expires_at": each.expires_at,
    }


def _warn(tools: Tools, found: Sequence[Credential], now: datetime) -> None:
    operator = tools.addresses.operator
    if operator is None:
        return
    spans = [(each, _due(each, tools.settings, now)) for each in found]
    due = {_about(each, span): each for each, span in spans if span is not None}
    if not due:
        return
    with tools.database.read() as session:
        told = dao_letters.told(session, list(due))
    for about in [about for about in due if about not in told][:_AT_ONCE]:
        mail = mails_operator.expiring(
            due[about], now=now, about=about, to=operator, domain=tools.addresses.domain
        )
        tell_once(tools, about, [mail])


def _about(each: Credential, ahead: timedelta) -> str:
    seconds = int(ahead.total_seconds())
    return f"credential.{each.site}.{each.login}.{(each.mark or '')[:_MARK]}.{seconds}"


def _due(each: Credential, settings: EngineSettings, now: datetime) -> timedelta | None:
    """The nearest warning whose time has come: one that was missed is not told after the next.

    A warning that would come in the first half of a credential's life is none: a certificate for
    a day would be warned of on the day on which it was made.
    """
    if each.expires_at is None:
        return None
    spans = settings.proxy_warnings if each.proxy else settings.certificate_warnings
    life = each.expires_at - each.valid_from if each.valid_from else None
    fitting = [span for span in spans if life is None or 2 * span <= life]
    return min((span for span in fitting if each.expires_at - now <= span), default=None)
