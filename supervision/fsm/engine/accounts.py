"""What one monitoring message says of its simulation, its job, a period, a trigger: as rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from supervision.facts import EngineSettings, JobKind, TriggerKind
from supervision.messages import Meaning, MonitoringMessage, late_seconds, period_of, task_of
from supervision.messages_card import cores_of

STOPPED_TRIGGER: Final = {
    Meaning.FATAL: TriggerKind.FATAL,
    Meaning.POST_FAILED: TriggerKind.POST_PROCESSING,
    Meaning.COMMAND_FAILED: TriggerKind.COMMAND,
}
"""Which trigger a message is."""

WAKING: Final = {
    Meaning.SIMULATION_START,
    Meaning.COMPUTE_START,
    Meaning.PERIOD_START,
    Meaning.COMPUTE_END,
    Meaning.SIMULATION_END,
    Meaning.POST_START,
    Meaning.POST_END,
    Meaning.DELETED,
}
"""Messages that bring forward the alarms of their simulation."""

_COMPUTE: Final = {
    Meaning.SIMULATION_START,
    Meaning.COMPUTE_START,
    Meaning.PERIOD_START,
    Meaning.COMPUTE_END,
    Meaning.SIMULATION_END,
    Meaning.FATAL,
}
_POST: Final = {Meaning.POST_START, Meaning.POST_END, Meaning.POST_FAILED}
_STARTS: Final = {Meaning.SIMULATION_START, Meaning.COMPUTE_START, Meaning.POST_START}
_ENDS: Final = {Meaning.COMPUTE_END, Meaning.SIMULATION_END, Meaning.POST_END}
_FAILS: Final = {Meaning.FATAL, Meaning.POST_FAILED}

_ANNOUNCED: Final = {
    "name": "name",
    "activity": "activity",
    "experiment": "experiment",
    "space": "space",
    "model": "model",
    "startDate": "start_date",
    "endDate": "end_date",
    "login": "login",
    "centre": "centre",
    "machine": "machine",
    "accountingProject": "accounting_project",
}


def message_row(message: MonitoringMessage, now: datetime) -> dict[str, Any]:
    """A row of tbl_message."""
    return {
        "uid": message.uid,
        "code": message.code,
        "generation": message.generation,
        "simulation_uid": message.simulation_uid,
        "job_uid": message.job_uid,
        "body": message.body,
        "emitted_as": message.emitted_as,
        "emitted_at": message.emitted_at,
        "mailed_at": message.mailed_at,
        "received_at": now,
        "stored_at": now,
        "processing_error": None,
    }


def simulation_row(message: MonitoringMessage) -> dict[str, Any]:
    """What the message says of its simulation, in columns of tbl_simulation."""
    at, meaning = message.emitted_at, message.meaning
    row: dict[str, Any] = {"uid": message.simulation_uid, "last_seen_at": at}
    if meaning is Meaning.SIMULATION_START:
        row.update({ours: message.fields.get(theirs) for theirs, ours in _ANNOUNCED.items()})
        row["announced_at"] = at
        row["config_card"] = message.config_card
        row["cores"] = cores_of(message.config_card) if message.config_card else None
    if meaning in {Meaning.SIMULATION_START, Meaning.COMPUTE_START}:
        row["last_start_at"] = at
        if "jobSubmissionPath" in message.fields:
            row["directory"] = message.fields["jobSubmissionPath"]
            row["directory_at"] = at
    if meaning is Meaning.COMPUTE_END:
        row["last_end_at"] = at
        row["last_ended_job_uid"] = message.job_uid
    if meaning is Meaning.SIMULATION_END:
        row["complete_at"] = at
    if meaning is Meaning.DELETED:
        row["deleted_at"] = at
    return row


def job_row(message: MonitoringMessage, settings: EngineSettings) -> dict[str, Any]:
    """What the message says of its job, in columns of tbl_job, and when the job would be late.

    A job is known to be a post-processing one by any 2xxx or 3xxx of its own generation; a failed
    command of generation C's 2900 and 3900 tells it too.
    """
    at, meaning, fields = message.emitted_at, message.meaning, message.fields
    row: dict[str, Any] = {
        "uid": message.job_uid,
        "simulation_uid": message.simulation_uid,
        "kind": _kind(message),
        "first_at": at,
        "last_seen_at": at,
        "late_unstarted_at": at + settings.late_without_start,
    }
    if meaning in _STARTS:
        delay = late_seconds(fields)
        row["started_at"] = at
        row["delay_seconds"] = int(delay.total_seconds())
        row["directory"] = fields.get("jobSubmissionPath")
        row["scheduler_id"] = fields.get("jobSchedulerID")
        row["late_started_at"] = at + delay + settings.late_margin
    if meaning is Meaning.POST_START and (task := task_of(fields)):
        row["task_name"], row["task_date"] = task.name, task.date
        row["task_dimension"], row["task_component"] = task.dimension, task.component
        row["task_file"] = task.file
    if meaning is Meaning.PERIOD_START:
        row["period"] = period_of(fields)
    if meaning in _ENDS:
        row["ended_at"] = at
    if meaning in _FAILS:
        row["failed_at"] = at
    return row


def _kind(message: MonitoringMessage) -> str | None:
    if message.meaning in _COMPUTE:
        return JobKind.COMPUTE.value
    if message.meaning in _POST or (
        message.meaning is Meaning.COMMAND_FAILED and message.code in {"2900", "3900"}
    ):
        return JobKind.POST_PROCESSING.value
    return None


def period_row(message: MonitoringMessage) -> dict[str, Any] | None:
    """A row of tbl_job_period; None where the message tells no period."""
    number = period_of(message.fields) if message.meaning is Meaning.PERIOD_START else None
    if number is None:
        return None
    return {
        "job_uid": message.job_uid,
        "number": number,
        "simulation_uid": message.simulation_uid,
        "begin": message.fields.get("PeriodDateBegin"),
        "end": message.fields.get("PeriodDateEnd"),
        "at": message.emitted_at,
    }


def trigger_row(message: MonitoringMessage, decision_id: str, now: datetime) -> dict[str, Any]:
    """A row of the ledger for a message that is a trigger."""
    told = message.meaning in _FAILS
    return {
        "id": decision_id,
        "job_uid": message.job_uid,
        "simulation_uid": message.simulation_uid,
        "kind": STOPPED_TRIGGER[message.meaning].value,
        "occurrences": 1,
        "first_at": message.emitted_at,
        "last_at": message.emitted_at,
        "arrived_at": now,
        "cause": message.fields.get("command", "")[:500] or None,
        "wake_at": now,
        "failed_not_before": message.emitted_at if told else None,
        "failed_not_after": message.emitted_at if told else None,
    }


def silent_row(
    decision_id: str,
    now: datetime,
    kind: TriggerKind,
    subject: tuple[str | None, str, datetime | None],
) -> dict[str, Any]:
    """A row of the ledger for silence: of (job, simulation, when it should have been heard)."""
    job_uid, simulation_uid, due = subject
    return {
        "id": decision_id,
        "job_uid": job_uid,
        "simulation_uid": simulation_uid,
        "kind": kind.value,
        "occurrences": 1,
        "first_at": due,
        "last_at": due,
        "arrived_at": due,
        "cause": None,
        "wake_at": now,
        "failed_not_before": None,
        "failed_not_after": None,
    }
