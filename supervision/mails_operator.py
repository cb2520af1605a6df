"""Mails to the operator that are about no simulation: a credential that expires, the day's list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from supervision.facts import Credential, Mail
from supervision.mails import MailKind, message_id, one_line, rendered

SECTION_LIMIT: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One heading of the operator's list, what to do about it, and a line for each incident."""

    title: str
    advice: str
    lines: tuple[str, ...]


def expiring(credential: Credential, *, now: datetime, about: str, to: str, domain: str) -> Mail:
    """Warn of a credential that expires, or has expired: whose, when, which file, what to do."""
    whose = one_line(f"{credential.login} at {credential.site}")
    over = credential.expires_at is not None and credential.expires_at <= now
    kind = "proxy" if credential.proxy else "certificate"
    text = rendered("credential.txt.j2", {"it": credential, "over": over, "kind": kind})
    return Mail(
        message_id=message_id(
            MailKind.CREDENTIAL, about.removeprefix(f"{MailKind.CREDENTIAL}."), domain=domain
        ),
        to=one_line(to),
        subject=f"[supervision] the {kind} of {whose} {'has expired' if over else 'expires soon'}",
        text=text,
    )


def daily(sections: tuple[Section, ...], *, day: date, to: str, domain: str) -> Mail:
    """Make the operator's list of one day; sections without lines are left out.

    A section shows its first 200 lines and counts the rest. With nothing to tell the text says so.
    """
    told = [section for section in sections if section.lines]
    count = sum(len(section.lines) for section in told)
    return Mail(
        message_id=message_id(MailKind.DAILY, day.isoformat(), domain=domain),
        to=one_line(to),
        subject=f"[supervision] {day.isoformat()}: {count} to look at",
        text=daily_text(sections, day=day),
    )


def daily_text(
    sections: tuple[Section, ...], *, day: date, limit: int | None = SECTION_LIMIT
) -> str:
    """Write the list as people read it; `limit` None: every line of it."""
    told = [section for section in sections if section.lines]
    most = limit or max((len(section.lines) for section in told), default=0)
    return rendered("daily.txt.j2", {"sections": told, "day": day, "limit": most})
