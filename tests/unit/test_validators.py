"""What the database's door lets in, and each kind of value that it refuses before any statement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import pytest

from db.types_common import NAME_LENGTH, PATH_LENGTH, UID_LENGTH
from db.validator_common import check_filled, check_text, check_time, check_uid
from db.validator_dao_decisions import validate_triggers, validate_verdicts
from db.validator_dao_holds import validate_hold, validate_scope
from db.validator_dao_messages import validate_messages
from db.validator_dao_monitoring import validate_jobs, validate_periods, validate_simulations
from db.validator_dao_supervision import validate_changes, validate_new
from supervision.errors import InvalidValue
from supervision.facts import Hold, JobKind, Level, Supervision, TriggerKind, VerdictKind
from supervision.fsm.states import UNFINISHED, ExecutionStatus, State
from tests.factories import DIRECTORY, JOB, NOW, SIMULATION, SUPERVISION

NAIVE: Final = NOW.replace(tzinfo=None)

Row = dict[str, Any]
Validator = Callable[[list[Row]], None]

TRIGGER: Final[Row] = {
    "id": SUPERVISION,
    "job_uid": JOB,
    "simulation_uid": SIMULATION,
    "kind": "fatal",
    "occurrences": 1,
    "first_at": NOW,
    "last_at": NOW,
    "arrived_at": NOW,
    "cause": "IGCM_sys_Cp",
    "wake_at": NOW,
}
VERDICT: Final[Row] = {
    "id": SUPERVISION,
    "rule": "too-old",
    "sentence": "It is six days old.",
    "facts": "{}",
    "verdict": "refuse",
    "wake_at": None,
}
MESSAGE: Final[Row] = {
    "uid": JOB,
    "code": "1999",
    "emitted_as": "2015-03-18T09:48:48.902943114+0100",
    "body": "{}",
    "emitted_at": NOW,
    "mailed_at": None,
    "received_at": NOW,
    "stored_at": NOW,
}
SIMULATION_ROW: Final[Row] = {
    "uid": SIMULATION,
    "name": "CPL01",
    "directory": DIRECTORY,
    "config_card": "[UserChoices]\n" * 1000,
    "announced_at": NOW,
    "last_end_at": None,
}
JOB_ROW: Final[Row] = {
    "uid": JOB,
    "simulation_uid": SIMULATION,
    "kind": "compute",
    "directory": DIRECTORY,
    "scheduler_id": "41234",
    "delay_seconds": 86400,
    "period": 7,
    "started_at": NOW,
}
PERIOD: Final[Row] = {"job_uid": JOB, "number": 7}
NEW: Final[Row] = {
    "id": SUPERVISION,
    "job_uid": JOB,
    "simulation_uid": SIMULATION,
    "site": "curie",
    "login": "p86user1",
    "directory": DIRECTORY,
    "wake_at": NOW,
}
HOLD: Final = Hold(scope="site:curie", actor="alice", reason="stopped for a week", since=NOW)
VALUE: Final = Supervision(
    id=SUPERVISION,
    simulation_uid=SIMULATION,
    job_uid=JOB,
    decision_id=None,
    site="curie",
    login="p86user1",
    directory=DIRECTORY,
    kind=JobKind.COMPUTE,
    trigger=TriggerKind.FATAL,
    level=Level.AUTOMATIC,
    attempt=1,
    state=State.FORMATTED,
    execution_status=ExecutionStatus.PENDING,
    wake_at=NOW,
    created_at=NOW,
)

GOOD: Final[list[tuple[Validator, Row]]] = [
    (validate_triggers, TRIGGER),
    (validate_verdicts, VERDICT),
    (validate_messages, MESSAGE),
    (validate_simulations, SIMULATION_ROW),
    (validate_jobs, JOB_ROW),
    (validate_periods, PERIOD),
    (validate_new, NEW),
]


@pytest.mark.parametrize(("validate", "row"), GOOD)
def test_a_sound_row_comes_in(validate: Validator, row: Row) -> None:
    """Nothing is changed on the way, and an empty set is sound too."""
    before = dict(row)
    validate([])
    validate([row, row])
    assert before == row


BAD_UIDS: Final = (None, 7, "", "-x", "a b", "a/b", "x\n", "é", "a" * (UID_LENGTH + 1))
NUL: Final = "a\0b"

BAD: Final[list[tuple[Validator, Row, str, tuple[object, ...]]]] = [
    (validate_triggers, TRIGGER, "id", BAD_UIDS),
    (validate_triggers, TRIGGER, "job_uid", BAD_UIDS),
    (validate_triggers, TRIGGER, "simulation_uid", BAD_UIDS),
    (validate_triggers, TRIGGER, "cause", (NUL, 7, "x" * (NAME_LENGTH + 1))),
    (validate_triggers, TRIGGER, "kind", ("lethal", "", None)),
    (validate_triggers, TRIGGER, "occurrences", (0, -1)),
    (validate_triggers, TRIGGER, "first_at", (NAIVE, "yesterday", 0)),
    (validate_triggers, TRIGGER, "last_at", (NAIVE,)),
    (validate_triggers, TRIGGER, "arrived_at", (NAIVE,)),
    (validate_triggers, TRIGGER, "wake_at", (NAIVE,)),
    (validate_verdicts, VERDICT, "id", BAD_UIDS),
    (validate_verdicts, VERDICT, "rule", ("", " ", None, NUL)),
    (validate_verdicts, VERDICT, "sentence", ("", "\n", None, NUL)),
    (validate_verdicts, VERDICT, "facts", (NUL, 7)),
    (validate_verdicts, VERDICT, "wake_at", (NAIVE,)),
    (validate_verdicts, VERDICT, "verdict", ("perhaps", None)),
    (validate_messages, MESSAGE, "uid", BAD_UIDS),
    (validate_messages, MESSAGE, "code", BAD_UIDS),
    (validate_messages, MESSAGE, "emitted_as", (NUL, "x" * (UID_LENGTH + 1))),
    (validate_messages, MESSAGE, "body", (NUL, b"{}")),
    (validate_messages, MESSAGE, "emitted_at", (NAIVE, "2015")),
    (validate_messages, MESSAGE, "mailed_at", (NAIVE,)),
    (validate_messages, MESSAGE, "received_at", (NAIVE,)),
    (validate_messages, MESSAGE, "stored_at", (NAIVE,)),
    (validate_simulations, SIMULATION_ROW, "uid", BAD_UIDS),
    (validate_simulations, SIMULATION_ROW, "name", (NUL, "x" * (NAME_LENGTH + 1))),
    (validate_simulations, SIMULATION_ROW, "directory", (NUL, "x" * (PATH_LENGTH + 1))),
    (validate_simulations, SIMULATION_ROW, "announced_at", (NAIVE, "now")),
    (validate_jobs, JOB_ROW, "uid", BAD_UIDS),
    (validate_jobs, JOB_ROW, "simulation_uid", BAD_UIDS),
    (validate_jobs, JOB_ROW, "kind", ("visualisation", "")),
    (validate_jobs, JOB_ROW, "scheduler_id", (NUL, "1" * (NAME_LENGTH + 1))),
    (validate_jobs, JOB_ROW, "started_at", (NAIVE,)),
    (validate_periods, PERIOD, "job_uid", BAD_UIDS),
    (validate_periods, PERIOD, "number", (-1, 2**31)),
    (validate_new, NEW, "id", BAD_UIDS),
    (validate_new, NEW, "job_uid", BAD_UIDS),
    (validate_new, NEW, "simulation_uid", BAD_UIDS),
    (validate_new, NEW, "site", ("", None, NUL)),
    (validate_new, NEW, "login", (" ", None, NUL, "x" * (NAME_LENGTH + 1))),
    (validate_new, NEW, "directory", ("", None, NUL, "/" + "x" * PATH_LENGTH)),
    (validate_new, NEW, "wake_at", (NAIVE,)),
]


@pytest.mark.parametrize(
    ("validate", "row", "name", "value"),
    [(validate, row, name, bad) for validate, row, name, every in BAD for bad in every],
)
def test_one_bad_value_keeps_the_whole_set_out(
    validate: Validator, row: Row, name: str, value: object
) -> None:
    """A set is stored as a whole, so the row that nothing is wrong with waits too."""
    with pytest.raises(InvalidValue):
        validate([row, {**row, name: value}])


@pytest.mark.parametrize("kind", TriggerKind)
def test_every_kind_of_trigger_comes_in(kind: TriggerKind) -> None:
    """The ledger has rows of each."""
    validate_triggers([{**TRIGGER, "kind": kind.value, "cause": None}])


@pytest.mark.parametrize("verdict", VerdictKind)
def test_every_verdict_comes_in(verdict: VerdictKind) -> None:
    """Final or not."""
    validate_verdicts([{**VERDICT, "verdict": verdict.value, "wake_at": NOW, "facts": None}])


@pytest.mark.parametrize("kind", [*JobKind, None])
def test_a_job_of_a_kind_that_is_not_known_yet_comes_in(kind: str | None) -> None:
    """A failed command may be the first that is heard of a job."""
    validate_jobs([{**JOB_ROW, "kind": kind}])


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1])
def test_a_period_that_a_column_can_hold_comes_in(number: int) -> None:
    """Both ends of its range."""
    validate_periods([{**PERIOD, "number": number}])


@pytest.mark.parametrize(
    "scope", ["site:curie", "login:curie/p86user1", f"simulation:{SIMULATION}"]
)
def test_the_three_scopes_of_a_hold_come_in(scope: str) -> None:
    """As people write them."""
    validate_hold(replace(HOLD, scope=scope))


@pytest.mark.parametrize(
    "scope",
    [
        *("", "curie", "site:", "site:a b", "site:a/b", "Site:curie", "site:curie ", "job:1"),
        *("login:curie", "login:/x", "login:a/b/c", "simulation:" + "x" * NAME_LENGTH, NUL),
    ],
)
def test_a_scope_that_would_hold_nothing_is_refused(scope: str) -> None:
    """A hold that somebody relies on and that matches no row is worse than an error."""
    with pytest.raises(InvalidValue):
        validate_scope(scope)


def test_a_refused_scope_says_which_there_are() -> None:
    """Whoever types it wants to know what to type."""
    with pytest.raises(InvalidValue, match="site:NAME, login:SITE/NAME, simulation:UID"):
        validate_scope("curie")


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "everything"},
        {"actor": ""},
        {"actor": NUL},
        {"reason": " "},
        {"reason": NUL},
        {"since": NAIVE},
    ],
)
def test_a_hold_says_who_and_why(changes: Row) -> None:
    """Somebody will ask, months later."""
    with pytest.raises(InvalidValue):
        validate_hold(replace(HOLD, **changes))


@pytest.mark.parametrize("state", State)
def test_every_change_with_an_alarm_comes_in(state: State) -> None:
    """Wherever the row goes."""
    validate_changes([(VALUE, replace(VALUE, state=state, reason="so", cause="person"))])


@pytest.mark.parametrize("state", UNFINISHED)
def test_an_unfinished_row_without_an_alarm_is_refused(state: State) -> None:
    """Nobody would ever look at it again."""
    with pytest.raises(InvalidValue, match="no alarm"):
        validate_changes([(VALUE, replace(VALUE, state=state, wake_at=None))])


@pytest.mark.parametrize("state", [state for state in State if state not in UNFINISHED])
def test_what_is_over_needs_no_alarm(state: State) -> None:
    """It may end for good."""
    validate_changes([(VALUE, replace(VALUE, state=state, wake_at=None))])


@pytest.mark.parametrize(
    "changes",
    [
        {"id": JOB},
        {"reason": NUL},
        {"dispatch_error": NUL},
        {"output_tail": NUL},
        {"cause": ""},
        {"cause": "two words"},
        {"cause": "x" * (UID_LENGTH + 1)},
    ],
)
def test_a_change_that_no_row_can_hold_is_refused(changes: Row) -> None:
    """The tail of a script's output is what a stranger printed."""
    with pytest.raises(InvalidValue):
        validate_changes([(VALUE, VALUE), (VALUE, replace(VALUE, **changes))])


def test_a_refusal_names_the_column_and_cuts_what_it_quotes() -> None:
    """A megabyte of nonsense must not fill the log."""
    with pytest.raises(InvalidValue, match="job uid: ") as refused:
        check_uid("job uid", "?" * 10_000)
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize("value", ["a", "0" * UID_LENGTH, SIMULATION, "p86_2.1-x"])
def test_ids_of_every_origin_are_ids(value: str) -> None:
    """UUIDs, and what schedulers and people use."""
    check_uid("id", value)


@pytest.mark.parametrize("value", [None, "", "x" * 5, "\n\té"])
def test_text_may_be_absent_empty_or_long(value: str | None) -> None:
    """Only its length, NUL and halves of letters matter to a database."""
    check_text("text", value, 5)


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "a\udfff", "\ude00\ud83d", b"bytes", 7])
def test_text_that_no_database_holds_is_refused(value: object) -> None:
    """PostgreSQL refuses NUL, and half of a surrogate pair has no UTF-8; the name is told."""
    with pytest.raises(InvalidValue, match=r"^text: .* is not text that a database can hold$"):
        check_text("text", value)


def test_a_letter_beyond_the_first_plane_is_text() -> None:
    """A whole surrogate pair is one letter, as it should be."""
    check_text("text", "\U0001f600", 1)


@pytest.mark.parametrize("value", [None, NOW, datetime.fromisoformat("2015-03-18T09:00+01:00")])
def test_a_time_has_a_zone_or_is_absent(value: datetime | None) -> None:
    """Any zone will do; it is stored as UTC."""
    check_time("at", value)


def test_words_are_asked_for_by_name() -> None:
    """Who types nothing reads what is missing."""
    check_filled("reason", "because")
    with pytest.raises(InvalidValue, match="reason is empty"):
        check_filled("reason", "\t ")
