"""tbl_incident and its jobs and readers: many failures of a site at once, let go in steps."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import NAME_LENGTH, UID_LENGTH, Base, UtcDateTime


class Incident(Base):
    """At most one that is not closed, for each site.

    `batch` numbers the steps; jobs of `phase_batch` and later are those whose fate decides the
    next one. `wake_at`: somebody has to tend it, or to tell of its end.
    """

    __tablename__ = "tbl_incident"

    id: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    site: Mapped[str] = mapped_column(String(UID_LENGTH))
    state: Mapped[str] = mapped_column(String(UID_LENGTH))
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    simulations: Mapped[int] = mapped_column(Integer)
    window_seconds: Mapped[int] = mapped_column(Integer)
    batch: Mapped[int] = mapped_column(Integer, default=0)
    phase_batch: Mapped[int] = mapped_column(Integer, default=1)
    stepped_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sentence: Mapped[str] = mapped_column(Text)
    told: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    wake_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer, default=0)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_by: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint("state IN ('open', 'recovering', 'closed')", name="state"),
        CheckConstraint("state = 'closed' OR wake_at IS NOT NULL", name="alarm"),
        Index(
            "ux_tbl_incident_open",
            "site",
            unique=True,
            postgresql_where=text("state <> 'closed'"),
            sqlite_where=text("state <> 'closed'"),
        ),
    )


class IncidentJob(Base):
    """A job that an incident put off. `admitted_at`: since then it may go; `batch`: in which step.

    `level` is what could happen to it, `at` when it failed: who acts by itself goes first, then the
    oldest.
    """

    __tablename__ = "tbl_incident_job"

    incident_id: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    job_uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    simulation_uid: Mapped[str] = mapped_column(String(UID_LENGTH))
    login: Mapped[str] = mapped_column(String(NAME_LENGTH))
    level: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    joined_at: Mapped[datetime] = mapped_column(UtcDateTime)
    admitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    batch: Mapped[int | None] = mapped_column(Integer)


class IncidentReader(Base):
    """A user who has been told of an incident: one mail each."""

    __tablename__ = "tbl_incident_reader"

    incident_id: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    login: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    told_at: Mapped[datetime] = mapped_column(UtcDateTime)
