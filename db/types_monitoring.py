"""tbl_simulation, tbl_job, tbl_job_period: what the monitoring messages said."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import NAME_LENGTH, PATH_LENGTH, UID_LENGTH, Base, UtcDateTime


class Simulation(Base):
    """One simulation. Times of events are msgTimestamp in UTC; None: not said (yet).

    `announced_at`: its 0000. `last_start_at`: the last start of a compute job. `complete_at`: the
    last 0100. `deleted_at`: the last 8888. `next_start_check_at`: when a next start is overdue.
    `cores`: what a compute job asks for, by the config.card.
    """

    __tablename__ = "tbl_simulation"

    uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    activity: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    experiment: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    space: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    model: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    start_date: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    end_date: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    login: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    centre: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    machine: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    accounting_project: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    config_card: Mapped[str | None] = mapped_column(Text)
    cores: Mapped[int | None] = mapped_column(Integer)
    directory: Mapped[str | None] = mapped_column(String(PATH_LENGTH))
    directory_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_start_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    complete_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_end_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_ended_job_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    next_start_check_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "ix_tbl_simulation_next_start_check_at",
            "next_start_check_at",
            postgresql_where=text("next_start_check_at IS NOT NULL"),
            sqlite_where=text("next_start_check_at IS NOT NULL"),
        ),
        Index("ix_tbl_simulation_name", "name", "login"),
    )


class Job(Base):
    """One batch job. `period` is its last CumulPeriod, told by a 1001 or seen in run.card.

    `counts` holds how many messages of each ignored code it sent, `figures` what a 7010 said;
    both JSON objects as text.
    """

    __tablename__ = "tbl_job"

    uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    simulation_uid: Mapped[str] = mapped_column(String(UID_LENGTH), index=True)
    kind: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    task_name: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    task_date: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    task_dimension: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    task_component: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    task_file: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    directory: Mapped[str | None] = mapped_column(String(PATH_LENGTH))
    scheduler_id: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    delay_seconds: Mapped[int | None] = mapped_column(Integer)
    first_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    late_check_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    period: Mapped[int | None] = mapped_column(Integer)
    counts: Mapped[str | None] = mapped_column(Text)
    figures: Mapped[str | None] = mapped_column(Text)
    figures_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint("kind IN ('compute', 'post-processing')", name="kind"),
        Index(
            "ix_tbl_job_late_check_at",
            "late_check_at",
            postgresql_where=text("late_check_at IS NOT NULL"),
            sqlite_where=text("late_check_at IS NOT NULL"),
        ),
    )


class JobPeriod(Base):
    """One period that a compute job began: a 1001 (generation C only)."""

    __tablename__ = "tbl_job_period"

    job_uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    simulation_uid: Mapped[str] = mapped_column(String(UID_LENGTH), index=True)
    begin: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    end: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
