"""Reads and writes what was told once for all, and the mails that nobody takes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.dao_common import UNSYNCED, upsert
from db.types_common import NAME_LENGTH
from db.types_letters import NoticeRow, RefusedMail
from db.validator_common import check_filled, check_text
from supervision.facts import Mail


def told(session: Session, abouts: Collection[str]) -> set[str]:
    """Tell which of these have been told."""
    query = select(NoticeRow.about).where(
        NoticeRow.about.in_(abouts), NoticeRow.told_at.is_not(None)
    )
    return set(session.scalars(query))


def claim(session: Session, about: str, *, now: datetime, until: datetime) -> bool:
    """Take it upon us to tell this; False while another one is about to, and once it was told."""
    check_filled("about", about)
    check_text("about", about, NAME_LENGTH)
    insert = upsert(session, NoticeRow)
    statement = insert.on_conflict_do_update(
        index_elements=["about"],
        set_={"lease_until": insert.excluded.lease_until},
        where=(NoticeRow.told_at.is_(None)) & (NoticeRow.lease_until <= now),
    ).returning(NoticeRow.about)
    values = {"about": about, "lease_until": until}
    return bool(session.scalars(statement, [values], execution_options=UNSYNCED).all())


def confirm(
    session: Session, about: str, now: datetime, covers_until: datetime | None = None
) -> None:
    """Keep that it was told. Idempotent."""
    session.execute(
        update(NoticeRow)
        .where(NoticeRow.about == about, NoticeRow.told_at.is_(None))
        .values(told_at=now, covers_until=covers_until),
        execution_options=UNSYNCED,
    )


def covered_until(session: Session) -> datetime | None:
    """Tell until when the newest list speaks; None before the first one."""
    return session.scalar(select(func.max(NoticeRow.covers_until)))


def note_refused(session: Session, mail: Mail, problem: str, now: datetime) -> None:
    """Keep that the mail server will never take this mail; once a mail."""
    values = {
        "message_id": mail.message_id[:NAME_LENGTH],
        "recipient": mail.to[:NAME_LENGTH],
        "subject": mail.subject,
        "problem": problem,
        "at": now,
    }
    session.execute(upsert(session, RefusedMail).on_conflict_do_nothing(), [values])
