"""The ledger of value: what became of failures, counted from the tables."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select

import supervision.cli
from db.session import Database, create
from db.types_common import Base
from db.types_decisions import Decision
from db.types_monitoring import Job, JobPeriod, Simulation
from tests.integration.cli_kit import LOGIN, Desk, a_desk, announced, decoded, failure

AT = datetime(2026, 1, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    """A service that has been told nothing."""
    with a_desk(tmp_path, sqlite_url) as made:
        yield made


def _decisions(url: str, *rows: dict[str, object]) -> None:
    common = {"occurrences": 1, "simulation_uid": "simulation", "kind": "fatal"}
    times = {"first_at": AT, "last_at": AT, "arrived_at": AT, "verdict": "supervise"}
    ids = [{"id": f"decision-{number}", "job_uid": f"job-{number}"} for number in range(len(rows))]
    made = [{**own, **common, **times, **row} for own, row in zip(ids, rows, strict=True)]
    _store(url, *(Decision(**row) for row in made))


def _store(url: str, *rows: Base) -> None:
    database = Database(create(url), None)
    with database.write() as session:
        session.add_all(rows)
    database.close()


def _groups(desk: Desk) -> dict[tuple[str, str], Any]:
    said = desk.give("report", "--format", "json")
    return {(row["group"], row["name"]): row for row in said.json}


def _recovered(minutes: int, by: str | None) -> dict[str, object]:
    return {"restarted_by": by, "recovered_at": AT + minutes * MINUTE}


def test_failures_are_counted_by_what_became_of_them(desk: Desk, sqlite_url: str) -> None:
    """Each is counted once; a merged one and a failed command are counted not at all."""
    _decisions(
        sqlite_url,
        *(_recovered(minutes, "us") for minutes in (1, 2, 3, 4, 5, 6, 7, 8, 9, 100)),
        {"verdict": "refuse", **_recovered(60, "hand")},
        {"verdict": "defer", "kind": "late", **_recovered(30, None)},
        {"verdict": None, "wake_at": AT},
        {"verdict": "merge"},
        {"kind": "command"},
    )
    by_name = _groups(desk)
    whole = by_name["all", "all"]
    counts = ("failures", "supervised", "refused", "undecided", "by_us", "by_hand", "alone")
    assert [13, 10, 1, 2, 10, 1, 1] == [whole[name] for name in counts]
    spans = ("us_median", "us_p90", "hand_median", "hand_p90")
    assert [330.0, 540.0, 3600.0, 3600.0] == [whole[name] for name in spans]
    assert [12, 1] == [by_name["trigger", kind]["failures"] for kind in ("fatal", "late")]


def test_a_span_has_its_beginning_and_not_its_end(desk: Desk, sqlite_url: str) -> None:
    """Reports of two months that follow each other count no failure twice."""
    _decisions(sqlite_url, {}, {"first_at": AT + timedelta(days=1)})
    said = desk.give("report", "--since", "2026-01-10T12:00:00", "--until", "2026-01-11T12:00:00")
    assert [0, "1"] == [said.code, said.out.splitlines()[1].split()[2]]


def test_a_failure_stands_at_its_site_and_with_its_user(desk: Desk) -> None:
    """What the messages and the settings say of a job is what its failure is counted under."""
    desk.hear(failure())
    desk.work()
    said = desk.give("report", "--site", "curie", "--user", LOGIN, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    expected = [("all", "all"), ("trigger", "fatal"), ("site", "curie"), ("user", LOGIN)]
    assert expected == [(row["group"], row["name"]) for row in rows]
    assert 1 == desk.give("report", "--site", "irene").code


def test_an_empty_span_is_bad_use(desk: Desk) -> None:
    """A span that ends before it begins is a slip, not an empty report."""
    said = desk.give("report", "--since", "2026-02-01", "--until", "2026-01-01")
    assert [2, ""] == [said.code, said.out]


def test_nothing_failed_is_said(desk: Desk) -> None:
    """An empty ledger is exit 1 and a sentence."""
    assert (1, "Nothing failed.\n") == ((said := desk.give("report")).code, said.out)


def test_refusals_are_counted_by_rule(desk: Desk, sqlite_url: str) -> None:
    """What a rule left alone, and whether it went on all the same; no other verdict is there."""
    _decisions(
        sqlite_url,
        {"verdict": "refuse", "rule": "again", **_recovered(60, "hand")},
        {"verdict": "refuse", "rule": "again"},
        {"verdict": "refuse", "rule": "too old"},
        {"verdict": "defer", "rule": "brakes"},
        {"rule": "nothing speaks against it"},
    )
    found = {key: row for key, row in _groups(desk).items() if key[0] == "rule"}
    assert {("rule", "again"): 2, ("rule", "too old"): 1} == {
        key: row["refused"] for key, row in found.items()
    }
    assert 1 == found["rule", "again"]["by_hand"]


def test_success_is_of_supervised_compute_jobs(desk: Desk, sqlite_url: str) -> None:
    """Not by hand, not alone, not refused ones; post-processing is not followed, so not counted."""
    _decisions(
        sqlite_url,
        _recovered(5, "us"),
        _recovered(5, "hand"),
        _recovered(5, None),
        {},
        {"verdict": "refuse", **_recovered(5, "us")},
        {"kind": "post-processing"},
    )
    found = _groups(desk)
    assert 0.25 == found["all", "all"]["success"]
    assert found["trigger", "post-processing"]["success"] is None
    whole = desk.give("report").out.splitlines()[1].split()
    assert ["all", "all", "6", "5", "1", "0", "2", "1", "1", "25%"] == whole[:10]


def test_the_cores_come_with_the_first_message(desk: Desk, sqlite_url: str) -> None:
    """The config.card of the 0000 is read once, when it is taken in."""
    (message,) = decoded([announced(AT)])
    card = "[UserChoices]\nJobNumProcTot=396\n"
    desk.made.engine.record([replace(message, config_card=card)])
    database = Database(create(sqlite_url), None)
    with database.read() as session:
        assert [396] == list(session.scalars(select(Simulation.cores)))
    database.close()


def test_core_hours_are_lost_from_the_beginning_of_the_period(desk: Desk, sqlite_url: str) -> None:
    """Else of the job; of a silent job, or without cores, nothing is told."""
    _decisions(sqlite_url, {}, {}, {"kind": "late"}, {"simulation_uid": "without"})
    uids = [f"job-{number}" for number in range(4)]
    began = AT - timedelta(hours=10)
    _store(
        sqlite_url,
        Simulation(uid="simulation", cores=100),
        *(Job(uid=uid, simulation_uid="simulation", started_at=began) for uid in uids),
        *(
            JobPeriod(job_uid="job-0", number=number, simulation_uid="simulation", at=AT + at)
            for number, at in ((1, -9 * 60 * MINUTE), (2, -30 * MINUTE), (3, 30 * MINUTE))
        ),
    )
    whole = _groups(desk)["all", "all"]
    assert (2, 100 * 0.5 + 100 * 10.0) == (whole["lost_known"], whole["core_hours_lost"])
    assert (0, None) == (whole["saved_known"], whole["core_hours_saved"])


def test_core_hours_are_saved_against_what_a_person_takes(desk: Desk, sqlite_url: str) -> None:
    """The median by hand, of the whole report, is what each restart of ours is compared with."""
    _decisions(
        sqlite_url,
        *(_recovered(minutes, "hand") for minutes in (60, 120, 600)),
        {"kind": "late", **_recovered(30, "us")},
        {"kind": "late", **_recovered(150, "us")},
        {"kind": "late", "simulation_uid": "without", **_recovered(1, "us")},
    )
    _store(sqlite_url, Simulation(uid="simulation", cores=8))
    late = _groups(desk)["trigger", "late"]
    assert (2, 8 * 1.5 - 8 * 0.5) == (late["saved_known"], late["core_hours_saved"])
    said = desk.give("report").out.partition("Core-hours")[2].splitlines()
    expected = [["all", "all", "-", "0", "8", "2"], ["trigger", "late", "-", "0", "8", "2"]]
    assert expected == [line.split() for line in said[1:3]]


@pytest.mark.parametrize(("name", "begins"), [("x.png", b"\x89PNG"), ("x.SVG", b"<?xml")])
def test_a_picture_is_drawn_beside_the_figures(
    desk: Desk, sqlite_url: str, tmp_path: Path, name: str, begins: bytes
) -> None:
    """By the name's end; the same failures are the same bytes; names in it are no markup."""
    fates: list[dict[str, object]] = [
        *(_recovered(minutes, by) for minutes in (0, 7, 900) for by in ("us", "hand", None)),
        {"verdict": "refuse", "rule": "again"},
        {"verdict": "defer"},
    ]
    for first in (AT, AT + timedelta(days=300), AT + timedelta(days=2000)):
        _store(sqlite_url, *_copies(fates, first))
    file, again = tmp_path / name, tmp_path / f"again-{name}"
    for path in (file, again):
        assert 0 == desk.give("report", "--plot", path).code
    assert (begins, file.read_bytes()) == (file.read_bytes()[: len(begins)], again.read_bytes())


def _copies(fates: list[dict[str, object]], first: datetime) -> Iterator[Decision]:
    for number, fate in enumerate(fates):
        uid = f"{first:%Y%m%d}-{number}"
        shifted = {
            key: first + (value - AT) if isinstance(value, datetime) else value
            for key, value in fate.items()
        }
        times = {"first_at": first, "last_at": first, "arrived_at": first}
        common = {"occurrences": 1, "simulation_uid": "s", "kind": "fatal", "verdict": "supervise"}
        yield Decision(**{"id": uid, "job_uid": uid, **common, **times, **shifted})


def test_a_picture_says_what_it_is_of(desk: Desk, sqlite_url: str, tmp_path: Path) -> None:
    """The site and the user that were asked for stand in its title, as text and not as markup."""
    _decisions(sqlite_url, {})
    _store(sqlite_url, Simulation(uid="simulation", login="<a>$x$--&"))
    file = tmp_path / "x.svg"
    words = ("--site", "unknown", "--user", "<a>$x$--&")
    assert 0 == desk.give("report", *words, "--plot", file).code
    ET.parse(file)  # noqa: S314 - we wrote it
    assert "site unknown, user &lt;a&gt;$x$- -&amp;" in file.read_text()


@pytest.mark.parametrize("name", ["x.pdf", "x", "png"])
def test_another_kind_of_picture_is_bad_use(desk: Desk, tmp_path: Path, name: str) -> None:
    """It is said before anything is counted."""
    said = desk.give("report", "--plot", tmp_path / name)
    assert (2, "", True) == (said.code, said.out, "must end with .png or .svg" in said.err)


def test_without_matplotlib_the_extra_is_named(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures need no library; the picture says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "supervision.cli.report_plot", raising=False)
    monkeypatch.delattr(supervision.cli, "report_plot", raising=False)
    said = desk.give("report", "--plot", tmp_path / "x.png")
    assert (2, True) == (said.code, "pip install 'prodiguer-supervision[plot]'" in said.err)
    assert 1 == desk.give("report").code


def test_a_picture_of_nothing_is_not_drawn(desk: Desk, sqlite_url: str, tmp_path: Path) -> None:
    """Post-processing is in the figures only, which is said."""
    _decisions(sqlite_url, {"kind": "post-processing"})
    file = tmp_path / "x.png"
    said = desk.give("report", "--plot", file)
    assert (0, "No compute job failed: nothing is drawn.\n") == (said.code, said.err)
    assert not file.exists()


def test_a_picture_that_cannot_be_written_is_refused(
    desk: Desk, sqlite_url: str, tmp_path: Path
) -> None:
    """A folder that is not there is named, and the figures have been told."""
    _decisions(sqlite_url, {})
    said = desk.give("report", "--plot", tmp_path / "none" / "x.png")
    assert (4, True) == (said.code, "cannot be written" in said.err)
