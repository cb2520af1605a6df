"""tbl_notice and tbl_refused_mail: what was told once for all, and mails that nobody takes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import NAME_LENGTH, Base, UtcDateTime


class NoticeRow(Base):
    """Something that is told once: a warning about a credential, the operator's list of a day.

    Whoever has the lease tells it; `told_at` says that it was. `covers_until`, of a list: the end
    of the time that it speaks of.
    """

    __tablename__ = "tbl_notice"

    about: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    lease_until: Mapped[datetime] = mapped_column(UtcDateTime)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    covers_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RefusedMail(Base):
    """A mail that the mail server will never take. It counts as told; the operator hears of it."""

    __tablename__ = "tbl_refused_mail"

    message_id: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    recipient: Mapped[str] = mapped_column(String(NAME_LENGTH))
    subject: Mapped[str] = mapped_column(Text)
    problem: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
