"""Looks: the scheduler's word about a job, others of its name, and what its directory shows."""

from __future__ import annotations

import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hpc_agent import cards
from hpc_agent.home import FOLDER, Home
from hpc_agent.looks import Subject, look
from hpc_agent.turn import turn
from tests.agent_kit import LOGIN, command, make_home

RUN_CARD = """\
# the card of a run
[Configuration]
PeriodLength=1M
PeriodState= Running
CumulPeriod= 007   # since the beginning
PeriodDateBegin= 18500701
simuid="a3c9b2d0-0000-4000-8000-000000000001"
[PostProcessing]
PeriodState=not this one
"""

Row = dict[str, Any]


class Centre:
    """A home whose `sbx-queue` prints what the test wrote, and counts how often it was asked."""

    def __init__(self, path: Path, interval: float = 0.0) -> None:
        self.path = path
        self.home: Home = make_home(path, commands=path / "bin", interval=interval)
        self.directory = str(path / "run")
        text = f"echo asked >> {path}/asked; cat {path}/queue"
        command(path / "bin", "sbx-queue", text)
        self.show()

    def show(self, *rows: Row) -> None:
        """List these jobs from now on."""
        base = {"name": "EXP00", "directory": self.directory, "login": LOGIN, "reason": None}
        lines = [json.dumps({**base, **row}) + "\n" for row in rows]
        (self.path / "queue").write_text("".join(lines))

    def look(self, **changes: Any) -> Row:  # noqa: ANN401 - fields of a subject
        """Look at one job."""
        return look(self.home, [self.subject(**changes)])[0]

    def subject(self, **changes: Any) -> Subject:  # noqa: ANN401 - fields of a subject
        """Describe a compute job without a scheduler id, or what is said."""
        fields = {"ref": "r", "name": "EXP00", "directory": self.directory, "kind": "compute"}
        return Subject(**{"scheduler_id": None, **fields, **changes})

    def asked(self) -> int:
        """Tell how often the scheduler was asked."""
        file = self.path / "asked"
        return len(file.read_text().split()) if file.exists() else 0


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    """Make a centre with an empty queue."""
    return Centre(tmp_path)


def test_by_id(centre: Centre) -> None:
    """The job with that very id counts, whatever its name; ids are not searched for inside."""
    centre.show(
        {"id": "41234", "state": "running"},
        {"id": "123", "state": "ended", "reason": "timeout", "name": "renamed"},
    )
    seen = centre.look(scheduler_id="123")
    assert (seen["sight"], seen["reason"]) == ("ended", "timeout")
    assert centre.look(scheduler_id="234")["sight"] == "absent"


def test_others(centre: Centre) -> None:
    """A second job of the name and directory is another one; the job itself is not."""
    centre.show({"id": "1", "state": "running"})
    assert centre.look(scheduler_id="1")["others"] is False
    centre.show({"id": "1", "state": "ended"}, {"id": "2", "state": "queued"})
    assert centre.look(scheduler_id="1")["others"] is True


@pytest.mark.parametrize(
    "changes", [{"name": "EXP000"}, {"directory": "/elsewhere"}, {"login": "another"}]
)
def test_others_are_of_the_same_name_place_and_login(centre: Centre, changes: Row) -> None:
    """A like name, another directory or another login is none of ours."""
    centre.show({"id": "2", "state": "running", **changes})
    assert centre.look(scheduler_id="1")["others"] is False


def test_directories_are_compared_by_their_real_path(centre: Centre) -> None:
    """A job that was submitted through a link is in the same directory."""
    (centre.path / "link").symlink_to(centre.directory)
    centre.show({"id": "2", "state": "running", "directory": str(centre.path / "link")})
    assert centre.look(scheduler_id="1")["others"] is True


@pytest.mark.parametrize(
    ("rows", "sight", "reason"),
    [
        ([], "absent", None),
        ([("running", None)], "running", None),
        ([("ended", "failed"), ("held", None)], "held", None),
        ([("ended", "failed")], "ended", "failed"),
        ([("ended", "failed"), ("ended", "failed")], "ended", "failed"),
        ([("ended", "completed"), ("ended", "failed")], "ended", "failed"),
        ([("ended", "cancelled"), ("unknown", None)], "unknown", None),
        ([("queued", None), ("running", None)], "unknown", None),
    ],
)
def test_by_place(
    centre: Centre, rows: list[tuple[str, str | None]], sight: str, reason: str | None
) -> None:
    """Without an id the newest job of name, directory and login; unknown if ambiguous."""
    centre.show(*({"id": str(i), "state": row[0], "reason": row[1]} for i, row in enumerate(rows)))
    seen = centre.look()
    assert (sight, reason) == (seen["sight"], seen["reason"])


def test_post_processing_is_known_by_id_only(centre: Centre) -> None:
    """A name like TS says nothing: no id, no word, and no question to the scheduler."""
    centre.show({"id": "5", "name": "TS", "state": "running"})
    seen = centre.look(kind="post-processing", name="TS")
    assert (seen["sight"], seen["others"]) == ("unknown", None)
    assert centre.asked() == 0
    assert centre.look(kind="post-processing", name="TS", scheduler_id="5")["sight"] == "running"


@pytest.mark.parametrize(
    "answer", ["exit 3", "echo what?", "sleep 60", 'echo \'{"id": "1"}\''], ids=str
)
def test_a_query_that_fails_is_unknown(
    centre: Centre, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exit code, nonsense, silence: nobody knows, and the reason is told."""
    monkeypatch.setattr("hpc_agent.commands.COMMAND_TIMEOUT_SECONDS", 0.5)
    command(centre.path / "bin", "sbx-queue", answer)
    seen = centre.look(scheduler_id="1")
    assert (seen["sight"], seen["others"], seen["scheduler_alive"]) == ("unknown", None, False)
    assert "sbx-queue" in seen["problem"] or "a line" in seen["problem"]


def test_one_query_for_a_list(centre: Centre) -> None:
    """Many subjects are one question; their looks come in their order."""
    centre.show({"id": "1", "state": "running"}, {"id": "2", "state": "queued"})
    subjects = [centre.subject(ref=ref, scheduler_id=ref) for ref in ("2", "1", "3")]
    looks = look(centre.home, subjects)
    assert [("2", "queued"), ("1", "running"), ("3", "absent")] == [
        (seen["ref"], seen["sight"]) for seen in looks
    ]
    assert centre.asked() == 1


def test_at_most_one_query_in_the_interval(tmp_path: Path) -> None:
    """Within it the last answer is given again, with its time; after it the scheduler is asked."""
    centre = Centre(tmp_path, interval=30.0)
    first = centre.look(scheduler_id="1")
    centre.show({"id": "1", "state": "running"})
    again = centre.look(scheduler_id="1")
    assert (again["sight"], again["at"]) == ("absent", first["at"])
    assert centre.asked() == 1
    cache = tmp_path / FOLDER / "queue.json"
    cache.write_text(json.dumps({**json.loads(cache.read_text()), "at": time.time() - 31}))
    assert centre.look(scheduler_id="1")["sight"] == "running"


def test_a_failed_query_counts_as_one(tmp_path: Path) -> None:
    """A scheduler in trouble is not asked more often than a healthy one."""
    centre = Centre(tmp_path, interval=30.0)
    command(tmp_path / "bin", "sbx-queue", f"echo asked >> {tmp_path}/asked; exit 1")
    assert ["unknown", "unknown"] == [centre.look()["sight"], centre.look()["sight"]]
    assert centre.asked() == 1


@pytest.mark.parametrize("content", ["", "[]", '{"at": 1e18}', '{"at": 0, "more": 1}'])
def test_a_damaged_memory_is_asked_anew(tmp_path: Path, content: str) -> None:
    """What was remembered badly, or in the future, is no answer."""
    centre = Centre(tmp_path, interval=30.0)
    (tmp_path / FOLDER / "queue.json").write_text(content)
    assert centre.look(scheduler_id="1")["sight"] == "absent"


NO_ACCOUNTS = "echo Slurm accounting storage is disabled >&2; exit 1"


def _slurm(
    path: Path,
    *,
    squeue: str,
    sacct: str = NO_ACCOUNTS,
    ping: str = "is UP",
    following: int = 1000,
) -> Home:
    command(path / "bin", "squeue", squeue)
    command(path / "bin", "sacct", sacct)
    said = f"FirstJobId = 1\nNEXT_JOB_ID = {following}\nSlurmctld(primary) at head {ping}"
    command(path / "bin", "scontrol", f"echo '{said}'")
    return make_home(path, commands=path / "bin")._replace(scheduler="slurm")


def _subject(path: Path, scheduler_id: str | None = "7") -> Subject:
    return Subject("r", "EXP00", str(path / "run"), "compute", scheduler_id)


@pytest.mark.parametrize(
    ("squeue", "sacct", "sight"),
    [
        ("echo '7|RUNNING|None|/x|EXP00'", "echo '7|FAILED|/x|EXP00'", "running"),
        ("true", "echo '7|FAILED|/x|EXP00'", "ended"),
        ("true", "true", "absent"),
        ("true", NO_ACCOUNTS, "absent"),
        ("true", "echo Problem talking to the database >&2; exit 1", "unknown"),
        ("true", "echo '7|RUNNING|/x|EXP00'", "unknown"),
        ("exit 1", "echo '7|FAILED|/x|EXP00'", "unknown"),
        ("true", "echo nonsense", "unknown"),
    ],
)
def test_what_squeue_forgot_the_accounts_tell(
    tmp_path: Path, squeue: str, sacct: str, sight: str
) -> None:
    """The queue first; then the accounts, where there are any; who does not answer knows nothing.

    A job that lives in the accounts alone is one that the controller has lost.
    """
    home = _slurm(tmp_path, squeue=squeue, sacct=sacct)
    assert sight == look(home, [_subject(tmp_path)])[0]["sight"]


@pytest.mark.parametrize(("ping", "alive"), [("is UP", True), ("is DOWN", False)])
def test_an_empty_list_is_no_sign_of_life(tmp_path: Path, ping: str, *, alive: bool) -> None:
    """Only a controller that says so makes an absent job count."""
    home = _slurm(tmp_path, squeue="true", ping=ping)
    assert alive == look(home, [_subject(tmp_path)])[0]["scheduler_alive"]


def test_a_login_node_without_sacct_keeps_no_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that is not there is no accounts that fail: the queue alone decides."""
    home = _slurm(tmp_path, squeue="true")
    (tmp_path / "bin" / "sacct").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "absent" == look(home, [_subject(tmp_path)])[0]["sight"]


def test_a_controller_that_lost_its_memory_knows_nothing_of_a_job(tmp_path: Path) -> None:
    """Its list is empty and it answers well, but it has not counted as far as our job."""
    home = _slurm(tmp_path, squeue="true", following=5)
    seen = look(home, [_subject(tmp_path)])[0]
    assert "unknown" == seen["sight"]
    assert "lost its memory" in seen["problem"]


def test_a_controller_that_never_took_a_job_is_no_sign_of_life(tmp_path: Path) -> None:
    """Where no id could be compared, an empty list of a new controller counts for nothing."""
    home = _slurm(tmp_path, squeue="true", following=1)
    assert look(home, [_subject(tmp_path, None)])[0]["scheduler_alive"] is False


def test_by_name_the_accounts_tell_the_newest(tmp_path: Path) -> None:
    """Old messages carry no id: of the chain's jobs that are forgotten the last one counts."""
    here = tmp_path / "run"
    rows = [f"8|COMPLETED|{here}|EXP00", f"19|TIMEOUT|{here}|EXP00", "20|CANCELLED|/x|EXP00"]
    sacct = f"case $* in *--name=EXP00*) printf '%s\\n' {' '.join(map(repr, rows))};; esac"
    home = _slurm(tmp_path, squeue="true", sacct=sacct)
    seen = look(home, [_subject(tmp_path, None)])[0]
    assert ("ended", "timeout") == (seen["sight"], seen["reason"])


def test_the_accounts_tell_how_a_forgotten_successor_ended(tmp_path: Path) -> None:
    """A chain is looked at a day later: that its owner stopped the next job is still known."""
    here = tmp_path / "run"
    rows = [f"7|COMPLETED|{here}|EXP00", f"8|CANCELLED by 12|{here}|EXP00"]
    home = _slurm(tmp_path, squeue="true", sacct=f"printf '%s\\n' {' '.join(map(repr, rows))}")
    seen = look(home, [_subject(tmp_path)])[0]
    assert ("completed", "cancelled") == (seen["reason"], seen["newest"])


def test_an_id_that_is_no_number_spoils_nothing(tmp_path: Path) -> None:
    """What a message calls an id may be anything; the accounts are asked for numbers only."""
    sacct = "case $* in *curie*) exit 1;; esac; echo '7|FAILED|/x|EXP00'"
    home = _slurm(tmp_path, squeue="true", sacct=sacct)
    looks = look(home, [_subject(tmp_path, "curie:7"), _subject(tmp_path)])
    assert ["absent", "ended"] == [seen["sight"] for seen in looks]


def test_sessions_of_one_login_ask_one_after_the_other(tmp_path: Path) -> None:
    """Two agents that are asked in the same moment send the scheduler one query."""
    centre = Centre(tmp_path, interval=30.0)
    command(tmp_path / "bin", "sbx-queue", f"echo asked >> {tmp_path}/asked; sleep 0.3")
    with ThreadPoolExecutor(4) as sessions:
        seen = list(sessions.map(lambda _: centre.look(scheduler_id="1"), range(4)))
    assert (["absent"] * 4, 1) == ([each["sight"] for each in seen], centre.asked())


def test_a_session_that_waits_too_long_for_its_turn_knows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session's query hangs: that is said, and nothing is concluded."""
    monkeypatch.setattr("hpc_agent.listing.TURN_PATIENCE_SECONDS", 0.0)
    centre = Centre(tmp_path)
    with turn(str(tmp_path / FOLDER / "queue.lock"), 0.0) as ours:
        seen = centre.look(scheduler_id="1")
    assert (True, "unknown", 0) == (ours, seen["sight"], centre.asked())
    assert "another session" in seen["problem"]


def test_where_the_home_cannot_lock_everybody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn is politeness: an NFS without locks costs a query more, and no answer."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert "absent" == Centre(tmp_path).look(scheduler_id="1")["sight"]


def test_half_a_list_is_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut off may be the very job: too much output is unknown, and says so."""
    monkeypatch.setattr("hpc_agent.commands.OUTPUT_LIMIT_BYTES", 100)
    centre = Centre(tmp_path)
    centre.show(*({"id": str(number), "state": "running"} for number in range(9)))
    seen = centre.look(scheduler_id="99")
    assert "unknown" == seen["sight"]
    assert "more than 100 bytes" in seen["problem"]


def test_who_was_not_asked_about_is_not_absent(tmp_path: Path) -> None:
    """Within the interval the accounts are not asked again: a job they may know is unknown."""
    home = _slurm(tmp_path, squeue="true")._replace(query_interval_seconds=30.0)
    assert look(home, [_subject(tmp_path)])[0]["sight"] == "absent"
    seen = look(home, [_subject(tmp_path, "8")])[0]
    assert seen["sight"] == "unknown"
    assert "a moment ago" in seen["problem"]


@pytest.mark.parametrize("name", ["EXP00", "EXPERIMENT_WITH", "EXPER"])
def test_a_list_without_directories_is_doubtful(tmp_path: Path, name: str) -> None:
    """A name that may be cut, or whose place is not told, is neither ours nor not ours."""
    row = f"{LOGIN} gen 99 8 std 1 RUN 1d 3h - 4h {name} n1"
    command(tmp_path / "bin", "ccc_mpp", f"echo '{row}'")
    home = make_home(tmp_path, commands=tmp_path / "bin")._replace(scheduler="ccc")
    whole = "EXP00" if name == "EXP00" else "EXPERIMENT_WITH_A_LONG_NAME"
    seen = look(home, [_subject(tmp_path, None)._replace(name=whole)])[0]
    expected = ("absent", False) if name == "EXPER" else ("unknown", None)
    assert expected == (seen["sight"], seen["others"])


def test_run_card(centre: Centre) -> None:
    """Its [Configuration] is read, quotes and comments aside; other sections are not."""
    (centre.path / "run" / "run.card").write_text(RUN_CARD)
    assert centre.look()["run_card"] == {
        "simulation_uid": "a3c9b2d0-0000-4000-8000-000000000001",
        "state": "Running",
        "period": 7,
        "begin": "18500701",
    }


@pytest.mark.parametrize(
    ("content", "card"),
    [
        (None, None),
        ("", None),
        ("[Configuration]\n", None),
        ("PeriodState=Running\n", None),
        (
            "[Configuration]\nsimuid=\nCumulPeriod=x\n",
            {"simulation_uid": None, "state": None, "period": None, "begin": None},
        ),
    ],
)
def test_a_damaged_run_card(centre: Centre, content: str | None, card: Row | None) -> None:
    """An absent or emptied card is told as such; an empty field is none."""
    if content is not None:
        (centre.path / "run" / "run.card").write_text(content)
    seen = centre.look()
    assert card == seen["run_card"]
    assert ("run.card" in (seen["problem"] or "")) == (card is None)


def test_the_newest_output_of_this_job(centre: Centre) -> None:
    """The last lines of the youngest Script_Output of the name; a longer name is another job's."""
    run = centre.path / "run"
    for age, name in enumerate(("EXP001.000003", "EXP00.000002", "EXP00.000001")):
        file = run / f"Script_Output_{name}"
        file.write_text(f"{name}\n" + "line\0\n" * 100 + "the end\n")
        os.utime(file, (time.time() - age, time.time() - age))
    (run / "Script_Output_EXP00.000002").write_text("first\n" * 5000 + "last\n")
    tail = centre.look()["output_tail"].splitlines()
    assert len(tail) == cards.TAIL_LINES
    assert tail[-1] == "last"


def test_a_directory_that_is_gone(centre: Centre) -> None:
    """Nothing is seen there, and that is said rather than raised."""
    seen = centre.look(directory="/no/such/place")
    assert (seen["run_card"], seen["output_tail"], seen["free_bytes"]) == (None, "", None)


def test_room_is_told_in_bytes(centre: Centre) -> None:
    """Free space of the directory's file system."""
    assert centre.look()["free_bytes"] > 0


def test_a_scheduler_that_nobody_knows(centre: Centre) -> None:
    """A home set up for another scheduler than ours says so."""
    home = centre.home._replace(scheduler="oar")
    seen = look(home, [centre.subject()])[0]
    assert seen["sight"] == "unknown"
    assert "oar" in seen["problem"]


def test_the_newest_later_job_of_the_name_tells_how_it_ended(centre: Centre) -> None:
    """A successor that was cancelled unheard; earlier jobs, and one that lives, tell nothing."""
    centre.show(
        {"id": "1", "state": "ended", "reason": "failed"},
        {"id": "2", "state": "ended", "reason": "completed"},
        {"id": "3", "state": "ended", "reason": "cancelled"},
    )
    assert centre.look(scheduler_id="2")["newest"] == "cancelled"
    assert centre.look(scheduler_id="3")["newest"] is None
    centre.show({"id": "2", "state": "ended"}, {"id": "3", "state": "queued"})
    assert centre.look(scheduler_id="2")["newest"] is None
