"""tbl_simulation_supervision, its history, and the restarts that caps are counted from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.types_common import NAME_LENGTH, PATH_LENGTH, UID_LENGTH, Base, UtcDateTime
from supervision.fsm.states import STATUS_PAIRS, UNFINISHED, status_of

PAIRS = " OR ".join(
    f"(dispatch_status = '{dispatch}' AND execution_status = '{execution}')"
    for dispatch, execution in STATUS_PAIRS
)
"""Every pair of statuses that the machine can spell; the CHECK admits no other."""

OPEN = " OR ".join(
    f"(dispatch_status = '{dispatch}' AND execution_status = '{execution}')"
    for (dispatch, execution), state in STATUS_PAIRS.items()
    if state in UNFINISHED
)
"""What the two columns say of an unfinished row."""

WAITING = status_of(UNFINISHED[0], at_centre=False)


class Supervision(Base):
    """One supervision: one job, for ever; retries are attempts of it. States are in fsm/states.

    `script_content` is large and read on demand only.

    `not_before`: a wake-up that comes earlier is stale. `wanted`: what a person asked for while
    the agent could not be asked. `cause` and `reason`: why it failed, was cancelled, waits.
    `backoff`: how often it was put off in a row, `rewakes`: how often its alarm was repeated.
    `told_at`: when somebody was told that it waits.
    """

    __tablename__ = "tbl_simulation_supervision"

    id: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    simulation_uid: Mapped[str] = mapped_column(String(UID_LENGTH), index=True)
    job_uid: Mapped[str] = mapped_column(String(UID_LENGTH), unique=True)
    decision_id: Mapped[str | None] = mapped_column(
        String(UID_LENGTH), ForeignKey("tbl_supervision_decision.id", ondelete="SET NULL")
    )
    site: Mapped[str] = mapped_column(String(UID_LENGTH))
    login: Mapped[str] = mapped_column(String(NAME_LENGTH))
    directory: Mapped[str] = mapped_column(String(PATH_LENGTH))
    kind: Mapped[str] = mapped_column(String(UID_LENGTH))
    trigger: Mapped[str] = mapped_column(String(UID_LENGTH))
    noted_trigger: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    level: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    by_person: Mapped[bool] = mapped_column(default=False)
    submit_only: Mapped[bool] = mapped_column(default=False)
    dispatch_status: Mapped[str] = mapped_column(String(UID_LENGTH), default=WAITING[0].value)
    execution_status: Mapped[str] = mapped_column(String(UID_LENGTH), default=WAITING[1].value)
    script_content: Mapped[str | None] = mapped_column(Text, deferred=True)
    script_content_encoding: Mapped[str] = mapped_column(String(UID_LENGTH), default="base64")
    script_sha256: Mapped[str | None] = mapped_column(String(64))
    dispatch_try_count: Mapped[int] = mapped_column(Integer, default=0)
    dispatch_error: Mapped[str | None] = mapped_column(Text)
    journal_id: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    scheduler_id: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    exit_code: Mapped[int | None] = mapped_column(Integer)
    period: Mapped[int | None] = mapped_column(Integer)
    output_tail: Mapped[str | None] = mapped_column(Text)
    looked: Mapped[str | None] = mapped_column(Text)
    cause: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    reason: Mapped[str | None] = mapped_column(Text)
    wanted: Mapped[str | None] = mapped_column(Text)
    recovered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    wake_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(Integer, default=0)
    claim_count: Mapped[int] = mapped_column(Integer, default=0)
    rewakes: Mapped[int] = mapped_column(Integer, default=0)
    backoff: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    acted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    dispatched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    executed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint(PAIRS, name="status_pair"),
        CheckConstraint("kind IN ('compute', 'post-processing')", name="kind"),
        CheckConstraint("level IN (0, 1, 2)", name="level"),
        CheckConstraint(f"NOT ({OPEN}) OR wake_at IS NOT NULL", name="alarm"),
        Index(
            "ux_tbl_simulation_supervision_open",
            "simulation_uid",
            unique=True,
            postgresql_where=text(f"level = 2 AND kind = 'compute' AND ({OPEN})"),
            sqlite_where=text(f"level = 2 AND kind = 'compute' AND ({OPEN})"),
        ),
        Index(
            "ix_tbl_simulation_supervision_wake_at",
            "wake_at",
            postgresql_where=text("wake_at IS NOT NULL"),
            sqlite_where=text("wake_at IS NOT NULL"),
        ),
    )


class Transition(Base):
    """The history: one row for each transition, written in the transition's transaction.

    No foreign key: its check would cost more than the row (docs/adr). Retention deletes both.
    """

    __tablename__ = "tbl_supervision_transition"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    supervision_id: Mapped[str] = mapped_column(String(UID_LENGTH))
    source: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    target: Mapped[str] = mapped_column(String(UID_LENGTH))
    event: Mapped[str] = mapped_column(String(UID_LENGTH))
    attempt: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(NAME_LENGTH))
    by_person: Mapped[bool] = mapped_column(default=False)
    cause: Mapped[str | None] = mapped_column(String(UID_LENGTH))
    reason: Mapped[str | None] = mapped_column(Text)
    message_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))

    __table_args__ = (Index("ix_tbl_supervision_transition_supervision_id", "supervision_id"),)


class Restart(Base):
    """One restart that counts against the caps: an attempt whose first byte was about to leave.

    Declined and *not yet* attempts are taken off again. `scheduler_id` is the job that it began:
    by it a start is known as ours, also when a later attempt has overwritten the row.
    """

    __tablename__ = "tbl_supervision_restart"

    supervision_id: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    site: Mapped[str] = mapped_column(String(UID_LENGTH))
    login: Mapped[str] = mapped_column(String(NAME_LENGTH))
    simulation_uid: Mapped[str] = mapped_column(String(UID_LENGTH))
    scheduler_id: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("ix_tbl_supervision_restart_site_at", "site", "at"),
        Index("ix_tbl_supervision_restart_simulation_uid_at", "simulation_uid", "at"),
    )
