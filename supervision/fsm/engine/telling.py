"""Mails on their way: those that nobody takes are kept, and what is told once is told once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from db import dao_letters
from supervision.errors import MailRefused
from supervision.facts import Mail
from supervision.fsm.engine.tools import Tools

_LOG = structlog.get_logger()


def send(tools: Tools, mails: Sequence[Mail]) -> bool:
    """Send mails; False where there are none. Raises MailUnavailable.

    One that is refused for good is kept for the operator's list, and counts as told.
    """
    for mail in mails:
        try:
            tools.ports.notifier.send(mail)
        except MailRefused as error:
            _LOG.exception("mail.refused", mail_id=mail.message_id, problem=str(error))
            with tools.database.write() as session:
                dao_letters.note_refused(session, mail, str(error), tools.database.now(session))
    return bool(mails)


def tell_once(
    tools: Tools, about: str, mails: Sequence[Mail], *, covers_until: datetime | None = None
) -> bool:
    """Send mails about something of which people are told once, whoever asks, however often.

    Returns whether this call told it. The mail leaves before it is kept that it did: it comes
    twice where a process dies in between. Raises MailUnavailable: it may be told after a lease.
    """
    with tools.database.write() as session:
        now = tools.database.now(session)
        if not dao_letters.claim(session, about, now=now, until=now + tools.settings.lease):
            return False
    send(tools, mails)
    with tools.database.write() as session:
        dao_letters.confirm(session, about, tools.database.now(session), covers_until)
    _LOG.info("notice.told", about=about, mails=len(mails))
    return True
