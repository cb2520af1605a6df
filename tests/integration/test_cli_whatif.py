"""`supervision whatif`: another policy over the ledger, and over a history that has none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock
from uuid import uuid4

import pytest

from supervision import app_whatif
from supervision.fsm.engine.sweeping import Swept
from supervision.fsm.engine.verbs import Engine
from tests.integration.cli_kit import (
    JOB,
    LOGIN,
    SETTINGS,
    Desk,
    a_desk,
    announced,
    failure,
    lines,
    message,
)
from tests.integration.end_to_end_kit import dump

_LONG_AGO = datetime(2015, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def desk(tmp_path: Path, database_url: str) -> Iterator[Desk]:
    """A service on either database, at a site that only observes."""
    with a_desk(tmp_path, database_url, mode="observe") as made:
        yield made


def _policy(tmp_path: Path, old: str = "", new: str = "") -> Path:
    """Write the settings of the desk under another name, with one thing changed."""
    file = tmp_path / "new.toml"
    assert old in SETTINGS
    file.write_text(SETTINGS.replace(old, new))
    return file


def _old_failure(**fields: str | None) -> list[dict[str, str]]:
    """A failure of long ago, in a simulation that goes on by a new job two hours later."""
    ids = {name: fields[name] for name in ("simuid", "jobuid") if name in fields}
    hour = timedelta(hours=1)
    return [
        announced(_LONG_AGO, **fields),
        message("1001", _LONG_AGO + hour, CumulPeriod="7", **ids),
        message("1999", _LONG_AGO + 2 * hour, **ids),
        message("1000", _LONG_AGO + 4 * hour, **{**ids, "jobuid": str(uuid4())}),
    ]


def _ingest(desk: Desk, tmp_path: Path, messages: list[dict[str, str]]) -> None:
    (tmp_path / "old.txt").write_bytes(lines(messages))
    assert 0 == desk.give("ingest", "--history", tmp_path / "old.txt").code


def test_a_policy_that_acts_adds_the_restart_that_was_only_observed(
    desk: Desk, tmp_path: Path
) -> None:
    """The facts of the ledger are judged again: one restart, its mail, its user, its site."""
    desk.hear(failure())
    desk.work()
    said = desk.give("whatif", "--policy", _policy(tmp_path), "--json")
    assert (0, "") == (said.code, said.err)
    assert {"before": 0, "after": 1, "added": 1, "removed": 0} == said.json["restarts"]
    assert {"before": 0, "after": 1} == said.json["mails"]
    assert [LOGIN] == said.json["users"]
    assert [{"site": "curie", "restarts": "added", "count": 1}] == said.json["by_site"]
    (rule,) = said.json["by_rule"]
    assert ("observe (supervise)", "restart (supervise)") == (rule["before"], rule["after"])


def test_the_policy_in_force_changes_nothing(desk: Desk, tmp_path: Path) -> None:
    """Judged by what it was decided by, the ledger says what it said."""
    desk.hear(failure())
    desk.work()
    same = _policy(tmp_path, 'mode = "act"', 'mode = "observe"')
    said = desk.give("whatif", "--policy", same, "--json")
    assert (1, 0, []) == (said.json["decisions"], said.json["changed"], said.json["changes"])


def test_a_history_is_rehearsed(desk: Desk, tmp_path: Path) -> None:
    """Mail that was loaded without any trigger is judged at its own time, as new mail is."""
    _ingest(desk, tmp_path, _old_failure())
    said = desk.give("whatif", "--policy", _policy(tmp_path), "--json")
    assert (0, 4) == (said.code, said.json["rehearsed_messages"])
    assert {"before": 0, "after": 1, "added": 1, "removed": 0} == said.json["restarts"]
    (change,) = said.json["changes"]
    assert (JOB, "nothing", "restart") == (
        change["job_uid"],
        change["before"]["outcome"],
        change["after"]["outcome"],
    )
    late = datetime.fromisoformat(change["at"]) - (_LONG_AGO + timedelta(hours=2))
    assert timedelta(0) <= late <= timedelta(minutes=2)


def test_a_rehearsal_obeys_consent(desk: Desk, tmp_path: Path) -> None:
    """It is the engine itself: a user who allowed nothing is refused there too."""
    _ingest(desk, tmp_path, _old_failure())
    refusing = _policy(tmp_path, "level = 2", "level = 0")
    said = desk.give("whatif", "--policy", refusing, "--json")
    assert 0 == said.json["restarts"]["after"]
    assert ["refuse (consent)"] == [rule["after"] for rule in said.json["by_rule"]]


def test_what_was_before_since_triggers_nothing(desk: Desk, tmp_path: Path) -> None:
    """It is only known: the messages of former weeks are heard without an act."""
    _ingest(desk, tmp_path, _old_failure())
    since = f"{_LONG_AGO + timedelta(days=1):%Y-%m-%d}"
    said = desk.give("whatif", "--policy", _policy(tmp_path), "--since", since, "--json")
    assert (1, 0) == (said.code, said.json["decisions"])


def test_nothing_is_changed_and_nobody_is_contacted(desk: Desk, tmp_path: Path) -> None:
    """The database is as it was, byte for byte; no agent was called, no mail was written."""
    desk.hear(failure())
    desk.work()
    _ingest(desk, tmp_path, _old_failure(simuid=str(uuid4()), jobuid=str(uuid4())))
    before, calls = dump(desk.url), list(desk.agents.calls)
    said = desk.give("whatif", "--policy", _policy(tmp_path), "--json")
    assert 2 == said.json["restarts"]["after"]
    assert (before, calls) == (dump(desk.url), desk.agents.calls)
    assert not list((tmp_path / "mail").glob("**/new/*"))


def test_an_empty_database_has_nothing_to_judge(desk: Desk, tmp_path: Path) -> None:
    """Exit code 1, as of every question that finds nothing."""
    said = desk.give("whatif", "--policy", _policy(tmp_path))
    assert 1 == said.code
    assert said.out.startswith("0 decisions judged, 0 come out otherwise.")


def test_a_bad_policy_is_bad_use(desk: Desk, tmp_path: Path) -> None:
    """Its mistakes are named, and nothing is judged by half of it."""
    bad = _policy(tmp_path, 'mode = "act"', 'mode = "perhaps"')
    said = desk.give("whatif", "--policy", bad)
    assert (2, "") == (said.code, said.out)
    assert "mode" in said.err


def test_an_incident_that_is_due_alone_is_tended() -> None:
    """Nothing waits in a queue and no row is due: its next step is taken all the same."""
    engine = Mock(spec=Engine)
    engine.sweep.return_value = Swept(supervisions=0, decisions=0, late_jobs=0)
    app_whatif._settle(Mock(engine=engine), [])  # noqa: SLF001 - one turn of a rehearsal
    engine.tend_incidents.assert_called_once_with()
