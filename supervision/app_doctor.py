"""What `supervision doctor` says of the broker and the mail server, and how it says it.

The sites are examined in `app_doctor_sites.py`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from supervision.adapters.smtp import SmtpNotifier
from supervision.app import App
from supervision.errors import NotFound, SupervisionError
from supervision.fsm.engine.tools import Tools
from supervision.ports import Clock
from supervision.settings import MailSettings

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Health(StrEnum):
    """How something is. Only a problem makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """How one thing is, in a sentence that says what to do about it."""

    about: str
    health: Health
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetters:
    """The question how many dead letters lie in each queue."""

    def answer(self, tools: Tools) -> Mapping[str, int]:
        """Ask the broker; raises BrokerUnavailable, and NotFound before there are any queues."""
        return tools.dead_letters()


def ok(about: str, sentence: str) -> Finding:
    """Nothing is to be done."""
    return Finding(about=about, health=Health.OK, sentence=sentence)


def warning(about: str, sentence: str) -> Finding:
    """Somebody should look, and nothing is broken yet."""
    return Finding(about=about, health=Health.WARNING, sentence=sentence)


def problem(about: str, sentence: str) -> Finding:
    """Something does not work before somebody acts."""
    return Finding(about=about, health=Health.PROBLEM, sentence=sentence)


def broker(made: App) -> Iterator[Finding]:
    """Ask the broker for its dead letters: one question that needs everything to be right."""
    if made.embedded:
        yield ok("broker", "in memory: the service is one process")
        return
    try:
        dead = sum(made.engine.read(DeadLetters()).values())
    except NotFound:
        yield warning("broker", "reachable, and has no queues yet: `supervision run` makes them")
    except SupervisionError as error:
        yield problem("broker", f"{error}: look at broker_url, and whether RabbitMQ runs")
    else:
        found = warning if dead else ok
        yield found("broker", f"reachable, with {dead} dead letters{': look at them' * bool(dead)}")


def mail(settings: MailSettings, clock: Clock) -> Iterator[Finding]:
    """Greet the mail server, log in where it is set, and say goodbye: no mail is sent."""
    if settings.operator is None:
        yield warning("mail", "nobody hears what the service cannot solve: set mail.operator")
    if settings.host is not None:
        where = f"{settings.host}:{settings.port}"
        try:
            SmtpNotifier(settings, clock=clock).greet()
        except SupervisionError as error:
            yield problem("mail", f"{where}: {error}; mails wait until it is mended")
        else:
            yield ok("mail", f"{where} lets us in")
    elif settings.directory is not None:
        yield from _maildir(settings.directory)
    else:
        yield warning("mail", "no mails are sent: set mail.host, or mail.directory for a trial")


def _maildir(directory: Path) -> Iterator[Finding]:
    place = next(each for each in (directory, *directory.parents) if each.exists())
    if os.access(place, os.W_OK | os.X_OK):
        yield ok("mail", f"mails are written into {directory}: nobody gets them otherwise")
    else:
        yield problem("mail", f"nothing can be written into {place}: change its mode or owner")
