"""tbl_message: every monitoring message of use, once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import UID_LENGTH, Base, UtcDateTime


class Message(Base):
    """One message: raw body and all its times. `simulation_uid` None: not correlatable.

    `processing_error` is set when storing its consequences failed alone; such a message is
    processed again when it comes again. `body` is None once its retention is over.
    """

    __tablename__ = "tbl_message"

    uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    code: Mapped[str] = mapped_column(String(UID_LENGTH))
    generation: Mapped[str] = mapped_column(String(1))
    simulation_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH), index=True)
    job_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH), index=True)
    body: Mapped[str | None] = mapped_column(Text)
    emitted_as: Mapped[str] = mapped_column(String(UID_LENGTH))
    emitted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    mailed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    stored_at: Mapped[datetime] = mapped_column(UtcDateTime)
    processing_error: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_tbl_message_stored_at", "stored_at"),)
