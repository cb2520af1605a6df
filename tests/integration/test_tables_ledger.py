"""The ledger: triggers counted once each, claims that exclude each other, verdicts that stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import permutations
from threading import Barrier
from typing import Final

import pytest

from db import (
    dao_alarms,
    dao_brakes,
    dao_decisions,
    dao_policy,
    dao_reopening,
)
from db.session import Database
from db.types_decisions import Decision
from db.types_supervision import Supervision
from db.values_decisions import LedgerRow
from supervision.errors import InvalidValue
from supervision.fsm.states import State
from tests.factories import NOW, ago
from tests.integration.tables_kit import (
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    Row,
    claimed_decisions,
    decision,
    every,
    in_state,
    opened,
    put,
    supervision,
    trigger,
    uid,
    verdict,
)

JOBS: Final = tuple(f"job {number}" for number in range(12))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, empty."""
    with opened(database_url) as made:
        yield made


def _store(database: Database, *rows: Row) -> None:
    with database.write() as session:
        dao_decisions.store_triggers(session, rows)


def _claim(database: Database, *jobs: str, now: datetime = NOW) -> list[LedgerRow]:
    with database.write() as session:
        return claimed_decisions(session, jobs or ("job",), now=now)


def _confirm(database: Database, *rows: Row) -> set[str]:
    with database.write() as session:
        return dao_decisions.confirm(session, rows)


# What comes in


def test_a_trigger_opens_a_row_that_is_awake_at_once(database: Database) -> None:
    """Its first wake-up may be lost: the alarm is already due."""
    _store(database, trigger(at=ago(hours=1), cause="IGCM_sys_Cp", failed_not_after=NOW))
    row = decision(database, trigger())
    assert (1, ago(hours=1), ago(hours=1)) == (row.occurrences, row.first_at, row.last_at)
    assert (NOW, None, 0, 0) == (row.wake_at, row.verdict, row.version, row.claim_count)
    assert ("IGCM_sys_Cp", None, NOW) == (row.cause, row.failed_not_before, row.failed_not_after)


def test_an_empty_set_is_no_statement(database: Database) -> None:
    """Most messages are no triggers."""
    _store(database)
    assert [] == every(database, Decision)


OCCURRENCES: Final = (
    trigger(kind="command", at=ago(minutes=3), cause="IGCM_sys_Get"),
    trigger(kind="command", at=ago(minutes=2), cause="IGCM_sys_Put", id=uid("second")),
    trigger(kind="command", at=ago(minutes=1), cause="IGCM_end", id=uid("third"), occurrences=5),
)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", list(permutations(OCCURRENCES)))
def test_the_order_in_which_a_failure_is_told_does_not_matter(
    database: Database, order: Sequence[Row], *, together: bool
) -> None:
    """Three hundred echoes, in one mail or in many: counted, and the first one is the cause."""
    for rows in [order] if together else [[row] for row in order]:
        _store(database, *rows)
    (row,) = every(database, Decision)
    assert (7, ago(minutes=3), ago(minutes=1)) == (
        row["occurrences"],
        row["first_at"],
        row["last_at"],
    )
    assert "IGCM_sys_Get" == row["cause"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_an_occurrence_that_tells_no_cause_hides_none(
    database: Database, order: Sequence[int], *, together: bool
) -> None:
    """An earlier command failure without a command does not take the later one's away."""
    both = (trigger(at=ago(minutes=2)), trigger(at=ago(minutes=1), cause="IGCM_end"))
    rows = [both[number] for number in order]
    for each in [rows] if together else [[row] for row in rows]:
        _store(database, *each)
    row = decision(database, trigger())
    assert ("IGCM_end", ago(minutes=2)) == (row.cause, row.first_at)


def test_a_row_that_is_known_keeps_its_verdict_and_its_alarm(database: Database) -> None:
    """An echo after the decision is counted, and wakes nobody."""
    _store(database, trigger())
    (row,) = _claim(database)
    _confirm(database, verdict(row, wake_at=NOW + DAY, not_before=NOW + HOUR))
    before = decision(database, row.id)
    _store(database, trigger(id=uid("echo"), at=NOW + MINUTE, wake_at=NOW + MINUTE))
    after = decision(database, row.id)
    assert (2, NOW + MINUTE) == (after.occurrences, after.last_at)
    kept = ("id", "verdict", "rule", "sentence", "wake_at", "not_before", "version", "decided_at")
    assert [getattr(before, name) for name in kept] == [getattr(after, name) for name in kept]


def test_a_final_verdict_stays_final(database: Database) -> None:
    """The same kind of trigger of the same job does not reopen it."""
    _store(database, trigger())
    _confirm(database, verdict(_claim(database)[0]))
    _store(database, trigger(at=NOW + MINUTE))
    row = decision(database, trigger())
    assert ("refuse", None) == (row.verdict, row.wake_at)
    assert [] == _claim(database)


def test_each_job_and_each_kind_has_its_own_row(database: Database) -> None:
    """A job that fails and is late is decided twice, strongest first."""
    _store(database, trigger("a"), trigger("b"), trigger("a", "late"), trigger("a"))
    found = {(row["job_uid"], row["kind"]): row["occurrences"] for row in every(database, Decision)}
    assert {(uid("a"), "fatal"): 2, (uid("b"), "fatal"): 1, (uid("a"), "late"): 1} == found


def test_when_a_job_failed_is_told_by_the_first_account(database: Database) -> None:
    """A second account of the same failure moves nothing."""
    early, late = ago(hours=2), ago(hours=1)
    _store(database, trigger(failed_not_before=early, failed_not_after=early))
    _store(database, trigger(failed_not_before=late, failed_not_after=late))
    row = decision(database, trigger())
    assert (early, early) == (row.failed_not_before, row.failed_not_after)


def test_a_bad_trigger_keeps_the_set_out(database: Database) -> None:
    """The engine redoes such a set one by one."""
    with pytest.raises(InvalidValue):
        _store(database, trigger("good"), trigger("bad", occurrences=0))
    assert [] == every(database, Decision)


# Claims


def test_a_claim_leases_the_row_and_comes_back_if_its_worker_dies(database: Database) -> None:
    """The alarm stands at the lease's end."""
    _store(database, trigger(), trigger(kind="late"), trigger("another"))
    rows = _claim(database)
    assert {uid("job/fatal"), uid("job/late")} == {row.id for row in rows}
    assert {(LEASE, LEASE, 1, 1)} == {
        (row.lease_until, row.wake_at, row.version, row.claim_count) for row in rows
    }
    assert None is decision(database, uid("another/fatal")).lease_until


def test_a_leased_row_is_not_claimed(database: Database) -> None:
    """Until the lease is over, to the microsecond."""
    _store(database, trigger())
    _claim(database)
    assert [] == _claim(database, now=LEASE - MINUTE)
    (again,) = _claim(database, now=LEASE)
    assert (2, 2) == (again.version, again.claim_count)


@pytest.mark.parametrize(
    ("changes", "claimed"),
    [
        ({"wake_at": NOW + DAY}, True),  # a message of this job is a reason to look early
        ({"wake_at": NOW + DAY, "not_before": NOW + MINUTE}, False),
        ({"wake_at": NOW, "not_before": NOW}, True),
        ({"wake_at": None, "verdict": "refuse"}, False),
    ],
)
def test_only_what_is_awake_and_due_is_claimed(
    database: Database, changes: Row, *, claimed: bool
) -> None:
    """A wake-up that comes before `not_before` is stale."""
    put(database, Decision, trigger(**changes))
    assert claimed is bool(_claim(database))


@pytest.mark.parametrize(
    ("changes", "claimed"),
    [
        ({**in_state(State.FAILED)}, True),
        ({**in_state(State.FAILED, at_centre=True)}, True),
        ({**in_state(State.FAILED), "not_before": NOW}, True),
        ({**in_state(State.FAILED), "wake_at": NOW + HOUR, "not_before": NOW + HOUR}, False),
        ({**in_state(State.FAILED), "wake_at": None}, False),
        ({**in_state(State.CANCELLED, at_centre=True)}, False),
        ({**in_state(State.EXECUTED)}, False),
        ({**in_state(State.DISPATCHED)}, False),
        ({**in_state(State.FAILED), "job_uid": uid("another")}, False),
    ],
)
def test_the_decision_of_a_failed_supervision_is_claimed_with_it(
    database: Database, changes: Row, *, claimed: bool
) -> None:
    """Policy answers what comes next, though its own verdict was final."""
    final: Row = {"wake_at": None, "verdict": "supervise"}
    put(database, Decision, trigger(**final), trigger(kind="late", **final))
    put(database, Supervision, supervision(**{"decision_id": uid("job/fatal"), **changes}))
    assert [uid("job/fatal")] * claimed == [row.id for row in _claim(database)]


def test_many_claimers_at_once_get_disjoint_rows(database: Database) -> None:
    """Each row is somebody's, none is two workers'."""
    _store(database, *(trigger(name) for name in JOBS))
    barrier = Barrier(4)

    def work(_: int) -> list[str]:
        barrier.wait(timeout=30)
        return [row.id for row in _claim(database, *JOBS)]

    with ThreadPoolExecutor(4) as pool:
        found = [name for names in pool.map(work, range(4)) for name in names]
    assert sorted(uid(f"{name}/fatal") for name in JOBS) == sorted(found)


def test_a_claimer_does_not_wait_for_another_one(postgres_url: str) -> None:
    """PostgreSQL skips what somebody is about to take, and takes the rest."""
    with opened(postgres_url) as database:
        _store(database, *(trigger(name) for name in JOBS))
        with database.write() as session:
            mine = claimed_decisions(session, JOBS[:5])
            with ThreadPoolExecutor(1) as pool:
                theirs = pool.submit(_claim, database, *JOBS).result(timeout=30)
        assert (5, 7) == (len(mine), len(theirs))
        assert set() == {row.id for row in mine} & {row.id for row in theirs}


# Verdicts


def test_a_verdict_is_written_and_the_row_is_free_again(database: Database) -> None:
    """Everything that was said of it, and the claims of the past forgotten."""
    put(database, Decision, trigger(claim_count=4, rewakes=3))
    (row,) = _claim(database)
    said = {
        "verdict": "defer",
        "rule": "maintenance",
        "sentence": "Curie is down until noon.",
        "facts": '{"now": "2015-03-18"}',
        "policy_digest": "0" * 64,
        "told_at": NOW,
        "looks": "[]",
        "deferrals": '{"maintenance": 1}',
        "for_want": True,
        "wake_at": NOW + HOUR,
        "not_before": NOW + HOUR,
        "failed_not_before": ago(hours=1),
        "failed_not_after": NOW,
        "cause": "timeout",
    }
    assert {row.id} == _confirm(database, verdict(row, **said))
    after = decision(database, row.id)
    assert said == {name: getattr(after, name) for name in said}
    assert (None, 0, 0) == (after.lease_until, after.claim_count, after.rewakes)
    assert row.version + 1 == after.version


def test_each_row_of_a_set_gets_its_own_verdict(database: Database) -> None:
    """One statement, many rows, whatever their order."""
    _store(database, *(trigger(name) for name in JOBS))
    rows = _claim(database, *JOBS)
    verdicts = [verdict(row, sentence=row.id, wake_at=None) for row in rows]
    written = _confirm(database, *reversed(verdicts))
    assert {row.id for row in rows} == written
    assert {row.id: row.id for row in rows} == {
        row["id"]: row["sentence"] for row in every(database, Decision)
    }


def test_a_worker_that_was_presumed_dead_writes_nothing(database: Database) -> None:
    """Its lease was over and somebody else has claimed the row, and has even confirmed it."""
    _store(database, trigger())
    (mine,) = _claim(database)
    (theirs,) = _claim(database, now=LEASE)
    assert set() == _confirm(database, verdict(mine, sentence="late"))
    assert {theirs.id} == _confirm(database, verdict(theirs, sentence="in time"))
    assert set() == _confirm(database, verdict(mine, sentence="later still"))
    assert "in time" == decision(database, mine.id).sentence


def test_a_stale_verdict_does_not_keep_the_others_from_being_written(database: Database) -> None:
    """The ids that come back are those that stand."""
    _store(database, trigger("a"), trigger("b"))
    a, b = _claim(database, "a"), _claim(database, "b")
    _confirm(database, verdict(a[0], sentence="first"))
    assert {b[0].id} == _confirm(database, verdict(a[0], sentence="second"), verdict(b[0]))
    assert "first" == decision(database, a[0].id).sentence


@pytest.mark.parametrize(
    ("given", "kept", "not_before"),
    [
        (NOW + HOUR, NOW + MINUTE, None),
        (NOW + MINUTE / 2, NOW + MINUTE / 2, None),
        (None, None, None),
    ],
)
def test_a_message_during_the_claim_is_not_forgotten(
    database: Database, given: object, kept: object, not_before: object
) -> None:
    """What it brought forward stays so, unless the verdict is final."""
    _store(database, trigger())
    (row,) = _claim(database)
    with database.write() as session:
        dao_decisions.wake(session, [uid("simulation")], NOW + MINUTE)
    _confirm(database, verdict(row, verdict="defer", wake_at=given, not_before=given))
    after = decision(database, row.id)
    assert (kept, not_before) == (after.wake_at, after.not_before)


def test_without_a_message_the_verdict_sets_the_alarm(database: Database) -> None:
    """Later than the claim's own alarm, too."""
    _store(database, trigger())
    (row,) = _claim(database)
    _confirm(database, verdict(row, wake_at=NOW + DAY, not_before=NOW + HOUR))
    after = decision(database, row.id)
    assert (NOW + DAY, NOW + HOUR) == (after.wake_at, after.not_before)


def test_a_verdict_that_says_nothing_is_refused(database: Database) -> None:
    """Nothing is done that nobody can say why."""
    _store(database, trigger())
    (row,) = _claim(database)
    with pytest.raises(InvalidValue, match="sentence"):
        _confirm(database, verdict(row, sentence=""))
    assert set() == _confirm(database)


def test_what_was_seen_at_the_centre_is_kept_by_row(database: Database) -> None:
    """A look costs a connection: the next decision reads what the last one saw."""
    _store(database, trigger("a"), trigger("b"))
    looks = {uid("a/fatal"): '[{"sight": "absent"}]', uid("unknown"): "[]"}
    with database.write() as session:
        dao_decisions.store_looks(session, looks)
        dao_decisions.store_looks(session, {})
    assert '[{"sight": "absent"}]' == decision(database, uid("a/fatal")).looks
    assert None is decision(database, uid("b/fatal")).looks


# Alarms


def test_what_is_due_is_taken_oldest_first(database: Database) -> None:
    """Not what is leased, not what is final, not what is due later; no more than asked for."""
    put(
        database,
        Decision,
        trigger("second", wake_at=ago(minutes=1)),
        trigger("first", wake_at=ago(minutes=2)),
        trigger("now", wake_at=NOW),
        trigger("later", wake_at=NOW + MINUTE),
        trigger("leased", wake_at=ago(days=1), lease_until=NOW + MINUTE),
        trigger("was leased", wake_at=ago(minutes=3), lease_until=NOW),
        trigger("final", wake_at=None, verdict="refuse"),
    )
    expected = [uid(f"{name}/fatal") for name in ("was leased", "first", "second", "now")]
    for limit in (10, 2):
        with database.write() as session:
            found = [row.id for row in dao_alarms.take_due(session, Decision, NOW, limit)]
        assert expected[:limit] == found


def test_an_alarm_is_moved_and_its_row_left_as_it_is(database: Database) -> None:
    """A wake-up was sent: the next one is due later, and nobody has claimed anything."""
    _store(database, trigger("a"), trigger("b"))
    with database.write() as session:
        rows = [{"id": uid("a/fatal"), "wake_at": NOW + HOUR, "rewakes": 2}]
        dao_alarms.set_alarms(session, Decision, rows)
        dao_alarms.set_alarms(session, Decision, [])
    a, b = decision(database, uid("a/fatal")), decision(database, uid("b/fatal"))
    assert (NOW + HOUR, 2, 0, None) == (a.wake_at, a.rewakes, a.version, a.lease_until)
    assert (NOW, 0) == (b.wake_at, b.rewakes)


def test_sweepers_do_not_take_the_same_rows(postgres_url: str) -> None:
    """Two of them double no wake-up."""
    with opened(postgres_url) as database:
        _store(database, *(trigger(name) for name in JOBS))

        def sweep() -> int:
            with database.write() as session:
                return len(dao_alarms.take_due(session, Decision, NOW, 100))

        with database.write() as session, ThreadPoolExecutor(1) as pool:
            mine = len(dao_alarms.take_due(session, Decision, NOW, 5))
            theirs = pool.submit(sweep).result(timeout=30)
        assert (5, 7) == (mine, theirs)


LATER: Final[Row] = {"wake_at": NOW + DAY, "not_before": NOW + DAY}


def test_a_message_wakes_what_waits_of_its_simulation(database: Database) -> None:
    """Leased rows too; not what is final, not what is due already, not other simulations."""
    put(
        database,
        Decision,
        trigger("waiting", **LATER),
        trigger("leased", **LATER, lease_until=LEASE),
        trigger("due", wake_at=ago(hours=1)),
        trigger("final", wake_at=None, verdict="refuse"),
        trigger("foreign", simulation_uid=uid("another"), **LATER),
    )
    with database.write() as session:
        dao_decisions.wake(session, [uid("simulation")], NOW)
    assert {
        uid("waiting"): (NOW, None),
        uid("leased"): (NOW, None),
        uid("due"): (ago(hours=1), None),
        uid("final"): (None, None),
        uid("foreign"): (NOW + DAY, NOW + DAY),
    } == _alarms(database)


def _alarms(database: Database) -> dict[str, tuple[object, object]]:
    rows = every(database, Decision)
    return {row["job_uid"]: (row["wake_at"], row["not_before"]) for row in rows}


def test_a_release_wakes_what_a_hold_put_off_and_nothing_else(database: Database) -> None:
    """Maintenance is not over because a hold is."""
    put(
        database,
        Decision,
        trigger("held", rule="hold", verdict="defer", **LATER),
        trigger("down", rule="maintenance", verdict="defer", **LATER),
        trigger("final", rule="hold", verdict="refuse", wake_at=None),
    )
    with database.write() as session:
        dao_brakes.wake(session, NOW)
    assert {
        uid("held"): (NOW, None),
        uid("down"): (NOW + DAY, NOW + DAY),
        uid("final"): (None, None),
    } == _alarms(database)


def test_new_settings_wake_what_the_former_ones_stopped(database: Database) -> None:
    """A login that nobody knew may be known now; what these settings decided stays."""
    put(
        database,
        Decision,
        trigger("wanting", verdict="refuse", for_want=True, policy_digest="old", **LATER),
        trigger("as now", verdict="refuse", for_want=True, policy_digest="new", **LATER),
        trigger("given up", verdict="refuse", for_want=True, policy_digest="old", wake_at=None),
        trigger("down", verdict="defer", rule="maintenance", policy_digest="old", **LATER),
        trigger("other", verdict="defer", policy_digest="old", **LATER),
    )
    with database.write() as session:
        assert 2 == dao_reopening.wake_put_off(session, "new", NOW)
    assert {
        uid("wanting"): (NOW, None),
        uid("as now"): (NOW + DAY, NOW + DAY),
        uid("down"): (NOW, None),
        uid("given up"): (None, None),
        uid("other"): (NOW + DAY, NOW + DAY),
    } == _alarms(database)


# Questions


def test_the_ledger_is_read_by_job_by_simulation_and_by_id(database: Database) -> None:
    """In the order of what happened; with the facts where they are asked for."""
    foreign = trigger("c", simulation_uid=uid("another"))
    put(
        database,
        Decision,
        trigger("a", "late", at=NOW, facts='{"late": 1}'),
        trigger("a", "fatal", at=ago(hours=1)),
        trigger("b", "command", at=ago(hours=2)),
        foreign,
    )
    with database.read() as session:
        of_jobs = dao_decisions.of_jobs(session, [uid("a"), uid("nobody")])
        of_simulation = dao_decisions.of_simulation(session, uid("simulation"))
        of_ids = dao_decisions.of_ids(session, [foreign["id"], uid("nobody")])
        fatal = dao_decisions.fatal_jobs(session, [uid("a"), uid("b"), uid("nobody")])
        texts = [row.facts for row in of_jobs]
    assert ["fatal", "late"] == [row.kind for row in of_jobs]
    assert [None, '{"late": 1}'] == texts
    assert ["command", "fatal", "late"] == [row.kind for row in of_simulation]
    assert {foreign["id"]: uid("c")} == {name: row.job_uid for name, row in of_ids.items()}
    assert frozenset({uid("a")}) == fatal


def test_a_policy_is_kept_once(database: Database) -> None:
    """By its digest; a later text under the same one changes nothing."""
    with database.write() as session:
        first = dao_policy.store(session, "a" * 64, {"text": "{}", "settings_text": "x"}, NOW)
        again = dao_policy.store(session, "a" * 64, {"text": "!", "settings_text": "!"}, NOW)
        other = dao_policy.store(session, "b" * 64, {"text": "[]", "settings_text": "y"}, NOW)
    assert (True, False, True) == (first, again, other)
    with database.read() as session:
        found = dao_policy.texts(session, ["a" * 64, "b" * 64, "c" * 64])
    assert {"a" * 64: "{}", "b" * 64: "[]"} == found
