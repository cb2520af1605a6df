"""tbl_hold, tbl_site, tbl_site_slot: what brakes, and the locks and slots of a site."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import NAME_LENGTH, UID_LENGTH, Base, UtcDateTime


class HoldRow(Base):
    """Somebody said stop: scope site:NAME, login:SITE/NAME, credential:SITE/NAME, simulation:UID.

    A credential's is the service's own: login nodes refused it, and nobody shows it any more.
    """

    __tablename__ = "tbl_hold"

    scope: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    actor: Mapped[str] = mapped_column(String(NAME_LENGTH))
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = mapped_column(UtcDateTime)


class Site(Base):
    """The row under whose lock restarts at this site are admitted."""

    __tablename__ = "tbl_site"

    name: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)


class SiteSlot(Base):
    """One of the sessions that a site grants, over all processes; free when its lease is over."""

    __tablename__ = "tbl_site_slot"

    site: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    owner: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
