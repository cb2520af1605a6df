"""Checks what dao_supervision is asked to store, before any statement is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from db.dao_common import Row
from db.types_common import NAME_LENGTH, PATH_LENGTH
from db.validator_common import check_filled, check_text, check_time, check_uid
from supervision.errors import InvalidValue
from supervision.facts import Supervision
from supervision.fsm.states import STATES


def validate_new(rows: Iterable[Row]) -> None:
    """Supervisions to be inserted; raises InvalidValue."""
    for row in rows:
        check_uid("supervision id", row["id"])
        check_uid("job uid", row["job_uid"])
        check_uid("simulation uid", row["simulation_uid"])
        check_filled("site", row["site"])
        check_filled("login", row["login"])
        check_filled("directory", row["directory"])
        check_text("login", row["login"], NAME_LENGTH)
        check_text("directory", row["directory"], PATH_LENGTH)
        check_time("wake_at", row["wake_at"])


def validate_changes(changes: Sequence[tuple[Supervision, Supervision]]) -> None:
    """Claimed rows and what became of them; raises InvalidValue.

    The database would refuse an unfinished row without an alarm too; here the text is clearer.
    """
    for old, new in changes:
        if old.id != new.id:
            raise InvalidValue(f"supervision {old.id} cannot become {new.id}")
        if STATES[new.state].unfinished and new.wake_at is None:
            raise InvalidValue(f"supervision {new.id} is {new.state} and would have no alarm")
        for name in ("reason", "dispatch_error", "output_tail"):
            check_text(name, getattr(new, name))
        if new.cause is not None:
            check_uid("cause", new.cause)
