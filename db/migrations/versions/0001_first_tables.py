"""The tables as they are at the beginning."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.types_common import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "tbl_credential",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("login", sa.String(length=511), nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("refused_mark", sa.String(length=64), nullable=True),
        sa.Column("refused_for", sa.Text(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("site", "login", name=op.f("pk_tbl_credential")),
    )
    op.create_table(
        "tbl_notice",
        sa.Column("about", sa.String(length=511), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.Column("covers_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("about", name=op.f("pk_tbl_notice")),
    )
    op.create_table(
        "tbl_refused_mail",
        sa.Column("message_id", sa.String(length=511), nullable=False),
        sa.Column("recipient", sa.String(length=511), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_tbl_refused_mail")),
    )
    op.create_table(
        "tbl_hold",
        sa.Column("scope", sa.String(length=511), nullable=False),
        sa.Column("actor", sa.String(length=511), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_tbl_hold")),
    )
    op.create_table(
        "tbl_incident",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=63), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("simulations", sa.Integer(), nullable=False),
        sa.Column("window_seconds", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("phase_batch", sa.Integer(), nullable=False),
        sa.Column("stepped_at", UtcDateTime(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("told", sa.String(length=63), nullable=True),
        sa.Column("wake_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("closed_by", sa.String(length=511), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'recovering', 'closed')", name=op.f("ck_tbl_incident_state")
        ),
        sa.CheckConstraint(
            "state = 'closed' OR wake_at IS NOT NULL", name=op.f("ck_tbl_incident_alarm")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tbl_incident")),
    )
    op.create_index(
        "ux_tbl_incident_open",
        "tbl_incident",
        ["site"],
        unique=True,
        postgresql_where=sa.text("state <> 'closed'"),
        sqlite_where=sa.text("state <> 'closed'"),
    )
    op.create_table(
        "tbl_incident_job",
        sa.Column("incident_id", sa.String(length=63), nullable=False),
        sa.Column("job_uid", sa.String(length=63), nullable=False),
        sa.Column("simulation_uid", sa.String(length=63), nullable=False),
        sa.Column("login", sa.String(length=511), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("joined_at", UtcDateTime(), nullable=False),
        sa.Column("admitted_at", UtcDateTime(), nullable=True),
        sa.Column("batch", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("incident_id", "job_uid", name=op.f("pk_tbl_incident_job")),
    )
    op.create_table(
        "tbl_incident_reader",
        sa.Column("incident_id", sa.String(length=63), nullable=False),
        sa.Column("login", sa.String(length=511), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "login", name=op.f("pk_tbl_incident_reader")),
    )
    op.create_table(
        "tbl_job",
        sa.Column("uid", sa.String(length=63), nullable=False),
        sa.Column("simulation_uid", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=True),
        sa.Column("task_name", sa.String(length=511), nullable=True),
        sa.Column("task_date", sa.String(length=63), nullable=True),
        sa.Column("task_dimension", sa.String(length=511), nullable=True),
        sa.Column("task_component", sa.String(length=511), nullable=True),
        sa.Column("task_file", sa.String(length=511), nullable=True),
        sa.Column("directory", sa.String(length=4095), nullable=True),
        sa.Column("scheduler_id", sa.String(length=511), nullable=True),
        sa.Column("delay_seconds", sa.Integer(), nullable=True),
        sa.Column("first_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("failed_at", UtcDateTime(), nullable=True),
        sa.Column("last_seen_at", UtcDateTime(), nullable=True),
        sa.Column("late_check_at", UtcDateTime(), nullable=True),
        sa.Column("period", sa.Integer(), nullable=True),
        sa.Column("counts", sa.Text(), nullable=True),
        sa.Column("figures", sa.Text(), nullable=True),
        sa.Column("figures_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("kind IN ('compute', 'post-processing')", name=op.f("ck_tbl_job_kind")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_tbl_job")),
    )
    op.create_index(
        "ix_tbl_job_late_check_at",
        "tbl_job",
        ["late_check_at"],
        unique=False,
        postgresql_where=sa.text("late_check_at IS NOT NULL"),
        sqlite_where=sa.text("late_check_at IS NOT NULL"),
    )
    op.create_index(op.f("ix_tbl_job_simulation_uid"), "tbl_job", ["simulation_uid"], unique=False)
    op.create_table(
        "tbl_job_period",
        sa.Column("job_uid", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("simulation_uid", sa.String(length=63), nullable=False),
        sa.Column("begin", sa.String(length=63), nullable=True),
        sa.Column("end", sa.String(length=63), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("job_uid", "number", name=op.f("pk_tbl_job_period")),
    )
    op.create_index(
        op.f("ix_tbl_job_period_simulation_uid"), "tbl_job_period", ["simulation_uid"], unique=False
    )
    op.create_table(
        "tbl_message",
        sa.Column("uid", sa.String(length=63), nullable=False),
        sa.Column("code", sa.String(length=63), nullable=False),
        sa.Column("generation", sa.String(length=1), nullable=False),
        sa.Column("simulation_uid", sa.String(length=63), nullable=True),
        sa.Column("job_uid", sa.String(length=63), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("emitted_as", sa.String(length=63), nullable=False),
        sa.Column("emitted_at", UtcDateTime(), nullable=False),
        sa.Column("mailed_at", UtcDateTime(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("stored_at", UtcDateTime(), nullable=False),
        sa.Column("processing_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_tbl_message")),
    )
    op.create_index(op.f("ix_tbl_message_job_uid"), "tbl_message", ["job_uid"], unique=False)
    op.create_index(
        op.f("ix_tbl_message_simulation_uid"), "tbl_message", ["simulation_uid"], unique=False
    )
    op.create_index("ix_tbl_message_stored_at", "tbl_message", ["stored_at"], unique=False)
    op.create_table(
        "tbl_policy",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("settings_text", sa.Text(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tbl_policy")),
    )
    op.create_table(
        "tbl_simulation",
        sa.Column("uid", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=511), nullable=True),
        sa.Column("activity", sa.String(length=511), nullable=True),
        sa.Column("experiment", sa.String(length=511), nullable=True),
        sa.Column("space", sa.String(length=511), nullable=True),
        sa.Column("model", sa.String(length=511), nullable=True),
        sa.Column("start_date", sa.String(length=63), nullable=True),
        sa.Column("end_date", sa.String(length=63), nullable=True),
        sa.Column("login", sa.String(length=511), nullable=True),
        sa.Column("centre", sa.String(length=511), nullable=True),
        sa.Column("machine", sa.String(length=511), nullable=True),
        sa.Column("accounting_project", sa.String(length=511), nullable=True),
        sa.Column("config_card", sa.Text(), nullable=True),
        sa.Column("cores", sa.Integer(), nullable=True),
        sa.Column("directory", sa.String(length=4095), nullable=True),
        sa.Column("directory_at", UtcDateTime(), nullable=True),
        sa.Column("announced_at", UtcDateTime(), nullable=True),
        sa.Column("last_start_at", UtcDateTime(), nullable=True),
        sa.Column("complete_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column("last_seen_at", UtcDateTime(), nullable=True),
        sa.Column("last_end_at", UtcDateTime(), nullable=True),
        sa.Column("last_ended_job_uid", sa.String(length=63), nullable=True),
        sa.Column("next_start_check_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_tbl_simulation")),
    )
    op.create_index("ix_tbl_simulation_name", "tbl_simulation", ["name", "login"], unique=False)
    op.create_index(
        "ix_tbl_simulation_next_start_check_at",
        "tbl_simulation",
        ["next_start_check_at"],
        unique=False,
        postgresql_where=sa.text("next_start_check_at IS NOT NULL"),
        sqlite_where=sa.text("next_start_check_at IS NOT NULL"),
    )
    op.create_table(
        "tbl_site",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tbl_site")),
    )
    op.create_table(
        "tbl_site_slot",
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=511), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("site", "number", name=op.f("pk_tbl_site_slot")),
    )
    op.create_table(
        "tbl_supervision_decision",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("job_uid", sa.String(length=63), nullable=False),
        sa.Column("simulation_uid", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.Column("arrived_at", UtcDateTime(), nullable=False),
        sa.Column("verdict", sa.String(length=63), nullable=True),
        sa.Column("rule", sa.String(length=63), nullable=True),
        sa.Column("sentence", sa.Text(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=True),
        sa.Column("policy_digest", sa.String(length=64), nullable=True),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("for_want", sa.Boolean(), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.Column("looks", sa.Text(), nullable=True),
        sa.Column("deferrals", sa.Text(), nullable=True),
        sa.Column("wake_at", UtcDateTime(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("claim_count", sa.Integer(), nullable=False),
        sa.Column("rewakes", sa.Integer(), nullable=False),
        sa.Column("restarted_at", UtcDateTime(), nullable=True),
        sa.Column("restarted_by", sa.String(length=63), nullable=True),
        sa.Column("recovered_at", UtcDateTime(), nullable=True),
        sa.Column("failed_not_before", UtcDateTime(), nullable=True),
        sa.Column("failed_not_after", UtcDateTime(), nullable=True),
        sa.Column("cause", sa.String(length=511), nullable=True),
        sa.CheckConstraint(
            "kind IN ('fatal', 'post-processing', 'command', 'late', 'stalled')",
            name=op.f("ck_tbl_supervision_decision_kind"),
        ),
        sa.CheckConstraint(
            "restarted_by IN ('us', 'hand')", name=op.f("ck_tbl_supervision_decision_restarted_by")
        ),
        sa.CheckConstraint(
            "verdict IN ('supervise', 'refuse', 'defer', 'merge')",
            name=op.f("ck_tbl_supervision_decision_verdict"),
        ),
        sa.CheckConstraint(
            "verdict IS NOT NULL OR wake_at IS NOT NULL",
            name=op.f("ck_tbl_supervision_decision_alarm"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tbl_supervision_decision")),
        sa.UniqueConstraint(
            "job_uid", "kind", name=op.f("uq_tbl_supervision_decision_job_uid_kind")
        ),
    )
    op.create_index(
        op.f("ix_tbl_supervision_decision_simulation_uid"),
        "tbl_supervision_decision",
        ["simulation_uid"],
        unique=False,
    )
    op.create_index(
        "ix_tbl_supervision_decision_wake_at",
        "tbl_supervision_decision",
        ["wake_at"],
        unique=False,
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_index(
        "ix_tbl_supervision_decision_decided_at",
        "tbl_supervision_decision",
        ["decided_at"],
        unique=False,
        postgresql_where=sa.text("decided_at IS NOT NULL"),
        sqlite_where=sa.text("decided_at IS NOT NULL"),
    )
    op.create_index(
        "ix_tbl_supervision_decision_last_at",
        "tbl_supervision_decision",
        ["last_at"],
        unique=False,
        postgresql_where=sa.text("kind <> 'command'"),
        sqlite_where=sa.text("kind <> 'command'"),
    )
    op.create_table(
        "tbl_supervision_restart",
        sa.Column("supervision_id", sa.String(length=63), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("login", sa.String(length=511), nullable=False),
        sa.Column("simulation_uid", sa.String(length=63), nullable=False),
        sa.Column("scheduler_id", sa.String(length=511), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint(
            "supervision_id", "attempt", name=op.f("pk_tbl_supervision_restart")
        ),
    )
    op.create_index(
        "ix_tbl_supervision_restart_simulation_uid_at",
        "tbl_supervision_restart",
        ["simulation_uid", "at"],
        unique=False,
    )
    op.create_index(
        "ix_tbl_supervision_restart_site_at",
        "tbl_supervision_restart",
        ["site", "at"],
        unique=False,
    )
    op.create_table(
        "tbl_supervision_transition",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("supervision_id", sa.String(length=63), nullable=False),
        sa.Column("source", sa.String(length=63), nullable=True),
        sa.Column("target", sa.String(length=63), nullable=False),
        sa.Column("event", sa.String(length=63), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=511), nullable=False),
        sa.Column("by_person", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.String(length=63), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("message_uid", sa.String(length=63), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tbl_supervision_transition")),
    )
    op.create_index(
        "ix_tbl_supervision_transition_supervision_id",
        "tbl_supervision_transition",
        ["supervision_id"],
        unique=False,
    )
    op.create_table(
        "tbl_simulation_supervision",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("simulation_uid", sa.String(length=63), nullable=False),
        sa.Column("job_uid", sa.String(length=63), nullable=False),
        sa.Column("decision_id", sa.String(length=63), nullable=True),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("login", sa.String(length=511), nullable=False),
        sa.Column("directory", sa.String(length=4095), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("trigger", sa.String(length=63), nullable=False),
        sa.Column("noted_trigger", sa.String(length=63), nullable=True),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("by_person", sa.Boolean(), nullable=False),
        sa.Column("submit_only", sa.Boolean(), nullable=False),
        sa.Column("dispatch_status", sa.String(length=63), nullable=False),
        sa.Column("execution_status", sa.String(length=63), nullable=False),
        sa.Column("script_content", sa.Text(), nullable=True),
        sa.Column("script_content_encoding", sa.String(length=63), nullable=False),
        sa.Column("script_sha256", sa.String(length=64), nullable=True),
        sa.Column("dispatch_try_count", sa.Integer(), nullable=False),
        sa.Column("dispatch_error", sa.Text(), nullable=True),
        sa.Column("journal_id", sa.String(length=63), nullable=True),
        sa.Column("scheduler_id", sa.String(length=511), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("period", sa.Integer(), nullable=True),
        sa.Column("output_tail", sa.Text(), nullable=True),
        sa.Column("looked", sa.Text(), nullable=True),
        sa.Column("cause", sa.String(length=63), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("wanted", sa.Text(), nullable=True),
        sa.Column("recovered_at", UtcDateTime(), nullable=True),
        sa.Column("wake_at", UtcDateTime(), nullable=True),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("claim_count", sa.Integer(), nullable=False),
        sa.Column("rewakes", sa.Integer(), nullable=False),
        sa.Column("backoff", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("acted_at", UtcDateTime(), nullable=True),
        sa.Column("dispatched_at", UtcDateTime(), nullable=True),
        sa.Column("executed_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "(dispatch_status = 'detected' AND execution_status = 'pending') OR (dispatch_status = 'formatted' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'running') OR (dispatch_status = 'dispatched' AND execution_status = 'unknown') OR (dispatch_status = 'dispatched' AND execution_status = 'executed') OR (dispatch_status = 'failed' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'failed') OR (dispatch_status = 'cancelled' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'cancelled')",
            name=op.f("ck_tbl_simulation_supervision_status_pair"),
        ),
        sa.CheckConstraint(
            "NOT ((dispatch_status = 'detected' AND execution_status = 'pending') OR (dispatch_status = 'formatted' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'running') OR (dispatch_status = 'dispatched' AND execution_status = 'unknown')) OR wake_at IS NOT NULL",
            name=op.f("ck_tbl_simulation_supervision_alarm"),
        ),
        sa.CheckConstraint(
            "kind IN ('compute', 'post-processing')",
            name=op.f("ck_tbl_simulation_supervision_kind"),
        ),
        sa.CheckConstraint("level IN (0, 1, 2)", name=op.f("ck_tbl_simulation_supervision_level")),
        sa.ForeignKeyConstraint(
            ["decision_id"],
            ["tbl_supervision_decision.id"],
            name=op.f("fk_tbl_simulation_supervision_decision_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tbl_simulation_supervision")),
        sa.UniqueConstraint("job_uid", name=op.f("uq_tbl_simulation_supervision_job_uid")),
    )
    op.create_index(
        op.f("ix_tbl_simulation_supervision_simulation_uid"),
        "tbl_simulation_supervision",
        ["simulation_uid"],
        unique=False,
    )
    op.create_index(
        "ix_tbl_simulation_supervision_wake_at",
        "tbl_simulation_supervision",
        ["wake_at"],
        unique=False,
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
    op.create_index(
        "ux_tbl_simulation_supervision_open",
        "tbl_simulation_supervision",
        ["simulation_uid"],
        unique=True,
        postgresql_where=sa.text(
            "level = 2 AND kind = 'compute' AND ((dispatch_status = 'detected' AND execution_status = 'pending') OR (dispatch_status = 'formatted' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'running') OR (dispatch_status = 'dispatched' AND execution_status = 'unknown'))"
        ),
        sqlite_where=sa.text(
            "level = 2 AND kind = 'compute' AND ((dispatch_status = 'detected' AND execution_status = 'pending') OR (dispatch_status = 'formatted' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'running') OR (dispatch_status = 'dispatched' AND execution_status = 'unknown'))"
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Base64 does not shrink; trying costs more than all else that is done to the row.
        op.execute(
            "ALTER TABLE tbl_simulation_supervision "
            "ALTER COLUMN script_content SET STORAGE EXTERNAL"
        )


def downgrade() -> None:
    """Drop every table."""
    op.drop_index(
        "ux_tbl_simulation_supervision_open",
        table_name="tbl_simulation_supervision",
        postgresql_where=sa.text(
            "level = 2 AND kind = 'compute' AND ((dispatch_status = 'detected' AND execution_status = 'pending') OR (dispatch_status = 'formatted' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'running') OR (dispatch_status = 'dispatched' AND execution_status = 'unknown'))"
        ),
        sqlite_where=sa.text(
            "level = 2 AND kind = 'compute' AND ((dispatch_status = 'detected' AND execution_status = 'pending') OR (dispatch_status = 'formatted' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'pending') OR (dispatch_status = 'dispatched' AND execution_status = 'running') OR (dispatch_status = 'dispatched' AND execution_status = 'unknown'))"
        ),
    )
    op.drop_index(
        "ix_tbl_simulation_supervision_wake_at",
        table_name="tbl_simulation_supervision",
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
    op.drop_index(
        op.f("ix_tbl_simulation_supervision_simulation_uid"),
        table_name="tbl_simulation_supervision",
    )
    op.drop_table("tbl_simulation_supervision")
    op.drop_index(
        "ix_tbl_supervision_transition_supervision_id", table_name="tbl_supervision_transition"
    )
    op.drop_table("tbl_supervision_transition")
    op.drop_index("ix_tbl_supervision_restart_site_at", table_name="tbl_supervision_restart")
    op.drop_index(
        "ix_tbl_supervision_restart_simulation_uid_at", table_name="tbl_supervision_restart"
    )
    op.drop_table("tbl_supervision_restart")
    op.drop_index(
        "ix_tbl_supervision_decision_wake_at",
        table_name="tbl_supervision_decision",
        postgresql_where=sa.text("wake_at IS NOT NULL"),
        sqlite_where=sa.text("wake_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_tbl_supervision_decision_decided_at",
        table_name="tbl_supervision_decision",
        postgresql_where=sa.text("decided_at IS NOT NULL"),
        sqlite_where=sa.text("decided_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_tbl_supervision_decision_last_at",
        table_name="tbl_supervision_decision",
        postgresql_where=sa.text("kind <> 'command'"),
        sqlite_where=sa.text("kind <> 'command'"),
    )
    op.drop_index(
        op.f("ix_tbl_supervision_decision_simulation_uid"), table_name="tbl_supervision_decision"
    )
    op.drop_table("tbl_supervision_decision")
    op.drop_table("tbl_site_slot")
    op.drop_table("tbl_site")
    op.drop_index(
        "ix_tbl_simulation_next_start_check_at",
        table_name="tbl_simulation",
        postgresql_where=sa.text("next_start_check_at IS NOT NULL"),
        sqlite_where=sa.text("next_start_check_at IS NOT NULL"),
    )
    op.drop_index("ix_tbl_simulation_name", table_name="tbl_simulation")
    op.drop_table("tbl_simulation")
    op.drop_table("tbl_policy")
    op.drop_index("ix_tbl_message_stored_at", table_name="tbl_message")
    op.drop_index(op.f("ix_tbl_message_simulation_uid"), table_name="tbl_message")
    op.drop_index(op.f("ix_tbl_message_job_uid"), table_name="tbl_message")
    op.drop_table("tbl_message")
    op.drop_index(op.f("ix_tbl_job_period_simulation_uid"), table_name="tbl_job_period")
    op.drop_table("tbl_job_period")
    op.drop_index(op.f("ix_tbl_job_simulation_uid"), table_name="tbl_job")
    op.drop_index(
        "ix_tbl_job_late_check_at",
        table_name="tbl_job",
        postgresql_where=sa.text("late_check_at IS NOT NULL"),
        sqlite_where=sa.text("late_check_at IS NOT NULL"),
    )
    op.drop_table("tbl_job")
    op.drop_table("tbl_incident_reader")
    op.drop_table("tbl_incident_job")
    op.drop_index(
        "ux_tbl_incident_open",
        table_name="tbl_incident",
        postgresql_where=sa.text("state <> 'closed'"),
        sqlite_where=sa.text("state <> 'closed'"),
    )
    op.drop_table("tbl_incident")
    op.drop_table("tbl_hold")
    op.drop_table("tbl_refused_mail")
    op.drop_table("tbl_notice")
    op.drop_table("tbl_credential")
