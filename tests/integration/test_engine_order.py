"""Facts in any order, cut into any sets, leave the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.types_common import Base
from supervision.messages import MonitoringMessage
from tests.factories import JOB, NOW, OTHER_JOB
from tests.unit.engine_kit import (
    DAY,
    HOUR,
    MINUTE,
    NEW_JOB,
    OLD_JOB,
    POST_JOB,
    Bench,
    bench,
    message,
)

STORY: Final = (
    message("0000", at=NOW - 10 * DAY, job=OLD_JOB),
    message("1001", at=NOW - 9 * DAY, job=OLD_JOB, CumulPeriod="1"),
    message("7000", at=NOW - 9 * DAY, job=OLD_JOB),
    message("7010", at=NOW - 8 * DAY, job=OLD_JOB),
    message("1100", at=NOW - 5 * HOUR, job=OLD_JOB),
    message("1000", at=NOW - 4 * HOUR, job=JOB, jobSchedulerID="2"),
    message("1001", at=NOW - 3 * HOUR, job=JOB, CumulPeriod="2"),
    message("2000", at=NOW - 3 * HOUR, job=POST_JOB),
    message("1900", at=NOW - 2 * HOUR - MINUTE, job=JOB, command="first"),
    message("1900", at=NOW - 2 * HOUR, job=JOB, command="second"),
    message("1999", at=NOW - 2 * HOUR + timedelta(seconds=9), job=JOB),
    message("1900", at=NOW - 2 * HOUR + timedelta(seconds=19), job=JOB, command="echo"),
    message("2100", at=NOW - HOUR, job=POST_JOB),
    message("1000", at=NOW - 30 * MINUTE, job=OTHER_JOB, jobSchedulerID="3"),
    message("1001", at=NOW - 29 * MINUTE, job=OTHER_JOB, CumulPeriod="3"),
    message("1100", at=NOW - 10 * MINUTE, job=OTHER_JOB),
    message("1000", at=NOW - 9 * MINUTE, job=NEW_JOB, jobSchedulerID="4"),
)
"""A chain that failed once, was restarted by hand, and goes on."""

LAST: Final = message("1001", at=NOW, job=NEW_JOB, CumulPeriod="4")
"""Its present word."""

_TABLES: Final = (
    "tbl_simulation",
    "tbl_job",
    "tbl_job_period",
    "tbl_message",
    "tbl_supervision_decision",
)


def _rows(service: Bench) -> dict[str, list[dict[str, Any]]]:
    """Every row but for random ids; the database is empty again afterwards."""
    found = {
        name: [{k: v for k, v in row.items() if k != "id"} for row in service.table(name)]
        for name in _TABLES
    }
    found["tbl_supervision_decision"].sort(key=lambda row: (row["job_uid"], row["kind"]))
    with service.tools.database.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
    return found


def _fed(service: Bench, sets: Sequence[Sequence[MonitoringMessage]]) -> dict[str, Any]:
    for each in sets:
        service.feed(*each)
    return _rows(service)


def _cut(
    messages: Sequence[MonitoringMessage], sizes: Sequence[int]
) -> list[Sequence[MonitoringMessage]]:
    ends = list(itertools.accumulate(sizes))
    sets = [messages[start:end] for start, end in itertools.pairwise([0, *ends])]
    return [*sets, messages[ends[-1] if ends else 0 :]]


@pytest.fixture
def service(database_url: str) -> Iterator[Bench]:
    """The service on either database."""
    with bench(database_url) as made:
        yield made


@pytest.mark.parametrize(
    "order",
    [
        [[*STORY]],
        [[*reversed(STORY)]],
        [[each] for each in STORY],
        [[each] for each in reversed(STORY)],
        [STORY[1::2], STORY[::2]],
        [STORY, STORY],
    ],
    ids=["whole", "reversed", "one-by-one", "one-by-one-reversed", "odd-first", "twice"],
)
def test_order_and_sets_do_not_matter(service: Bench, order: list[list[MonitoringMessage]]) -> None:
    """Ordered by msgTimestamp, not by arrival."""
    expected = _fed(service, [STORY])
    assert {"tbl_message": 16, "tbl_job": 5} == {
        name: len(expected[name]) for name in ("tbl_message", "tbl_job")
    }
    assert expected == _fed(service, order)


@pytest.fixture
def expected(service: Bench) -> dict[str, Any]:
    """The rows of the story as it happened."""
    return _fed(service, [STORY, [LAST]])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(STORY),
    sizes=st.lists(st.integers(min_value=1, max_value=6), max_size=6),
    again=st.lists(st.sampled_from(STORY), max_size=3),
)
def test_any_order_at_all(
    service: Bench,
    expected: dict[str, Any],
    order: list[MonitoringMessage],
    sizes: list[int],
    again: list[MonitoringMessage],
) -> None:
    """Any permutation, cut anywhere, with some messages delivered twice."""
    assert expected == _fed(service, [*_cut(order, sizes), [*again, LAST]])


def test_a_fatal_that_comes_last_finds_its_restart(service: Bench) -> None:
    """Mails are late: the restart by hand may be known before the failure is."""
    fatal = next(each for each in STORY if each.code == "1999")
    rest = [each for each in STORY if each is not fatal]
    assert _fed(service, [STORY]) == _fed(service, [rest, [fatal]])


def test_the_last_figures_win_whenever_they_come(service: Bench) -> None:
    """A 7010 that was held up must not take back a later one."""
    early, late = (message("7010", at=NOW - span, cpu=str(span)) for span in (HOUR, MINUTE))
    assert _fed(service, [[early], [late]]) == _fed(service, [[late], [early]])


def test_a_job_that_never_started_is_late_a_day_after_its_first_sign(service: Bench) -> None:
    """The first sign by its time of emission, not by its arrival."""
    signs = [message("1001", at=NOW - HOUR), message("1900", at=NOW - MINUTE)]
    assert _fed(service, [signs[:1], signs[1:]]) == _fed(service, [signs[1:], signs[:1]])
