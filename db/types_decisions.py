"""tbl_supervision_decision and tbl_policy: the ledger, and the policies that it was decided by."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import NAME_LENGTH, UID_LENGTH, Base, UtcDateTime


class Decision(Base):
    """One row of the ledger: a job, a kind of trigger, and what was decided about it.

    `facts` is the JSON that the verdict rests on, with `now`: it replays bit for bit.
    `looks` and `deferrals` are what later decisions need of earlier ones, JSON as text.
    `wake_at` None with a verdict: final. `failed_not_before` and `failed_not_after` enclose the
    failure; `cause` is the first failed command, or how the scheduler says that the job ended.
    """

    __tablename__ = "tbl_supervision_decision"

    id: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    job_uid: Mapped[str] = mapped_column(String(UID_LENGTH))
    simulation_uid: Mapped[str] = mapped_column(String(UID_LENGTH), index=True)
    kind: Mapped[str] = mapped_column(String(UID_LENGTH))
    occurrences: Mapped[int] = mapped_column(Integer)
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    arrived_at: Mapped[datetime] = mapped_column(UtcDateTime)
    verdict: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    rule: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    sentence: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[str | None] = mapped_column(Text, deferred=True)
    policy_digest: Mapped[str | None] = mapped_column(String(64))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    for_want: Mapped[bool] = mapped_column(default=False)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    looks: Mapped[str | None] = mapped_column(Text)
    deferrals: Mapped[str | None] = mapped_column(Text)
    wake_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer, default=0)
    claim_count: Mapped[int] = mapped_column(Integer, default=0)
    rewakes: Mapped[int] = mapped_column(Integer, default=0)
    restarted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    restarted_by: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    recovered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_not_after: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cause: Mapped[str | None] = mapped_column(String(NAME_LENGTH))

    __table_args__ = (
        UniqueConstraint("job_uid", "kind"),
        CheckConstraint(
            "kind IN ('fatal', 'post-processing', 'command', 'late', 'stalled')", name="kind"
        ),
        CheckConstraint("verdict IN ('supervise', 'refuse', 'defer', 'merge')", name="verdict"),
        CheckConstraint("restarted_by IN ('us', 'hand')", name="restarted_by"),
        CheckConstraint("verdict IS NOT NULL OR wake_at IS NOT NULL", name="alarm"),
        Index(
            "ix_tbl_supervision_decision_wake_at",
            "wake_at",
            postgresql_where=text("wake_at IS NOT NULL"),
            sqlite_where=text("wake_at IS NOT NULL"),
        ),
        Index(
            "ix_tbl_supervision_decision_decided_at",
            "decided_at",
            postgresql_where=text("decided_at IS NOT NULL"),
            sqlite_where=text("decided_at IS NOT NULL"),
        ),
        Index(
            "ix_tbl_supervision_decision_last_at",
            "last_at",
            postgresql_where=text("kind <> 'command'"),
            sqlite_where=text("kind <> 'command'"),
        ),
    )


class PolicyText(Base):
    """Each policy once, by digest: the values that a decision was made with, JSON as text."""

    __tablename__ = "tbl_policy"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    settings_text: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
