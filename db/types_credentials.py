"""tbl_credential: what is known of each login's credential, and what the login nodes said of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import NAME_LENGTH, UID_LENGTH, Base, UtcDateTime


class CredentialRow(Base):
    """A login's credential: how its files were when they were last read, and the last refusal.

    `mark` tells two contents of the files apart (a digest); None: they were never read.
    `expires_at` None: it does not expire. `refusals` counts those in a row of the content
    `refused_mark`; nobody shows it before `not_before`.
    """

    __tablename__ = "tbl_credential"

    site: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    login: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    mark: Mapped[str | None] = mapped_column(String(64))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refusals: Mapped[int] = mapped_column(Integer, default=0)
    refused_mark: Mapped[str | None] = mapped_column(String(64))
    refused_for: Mapped[str | None] = mapped_column(Text)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
