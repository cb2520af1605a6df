"""Mails about an incident: one to each of its users, two to the operator. Pure, like `mails.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from supervision.facts import Mail
from supervision.mails import MailKind, message_id, one_line, rendered

_NAMES: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What is told of an incident: `waiting` jobs have not been let go; `closed_by`: it is over."""

    id: str
    to: str
    domain: str
    site: str
    opened_at: datetime
    simulations: int
    window: timedelta
    waiting: int
    closed_by: str | None
    reason: str | None


def to_user(told: Told, login: str, names: Sequence[tuple[str, str]]) -> Mail:
    """Tell a user once, for all simulations (uid, name) of theirs, that they wait, and for what."""
    values = {"it": told, "names": names[:_NAMES], "count": len(names), "minutes": _minutes(told)}
    return Mail(
        message_id=message_id(MailKind.INCIDENT, f"{told.id}.{login}", domain=told.domain),
        to=one_line(told.to),
        subject=f"[supervision] many jobs failed at {one_line(told.site)}: yours wait",
        text=rendered("incident-user.txt.j2", values),
    )


def to_operator(told: Told) -> Mail:
    """Tell the operator that an incident began, or that it is over."""
    word = "over" if told.closed_by else "begun"
    return Mail(
        message_id=message_id(MailKind.INCIDENT, f"{told.id}.{word}", domain=told.domain),
        to=one_line(told.to),
        subject=f"[supervision] incident at {one_line(told.site)} {word}",
        text=rendered("incident-operator.txt.j2", {"it": told, "minutes": _minutes(told)}),
    )


def _minutes(told: Told) -> int:
    return round(told.window.total_seconds() / 60)
