"""The verbs about attempts: which answer a journal gives to which question."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from pathlib import Path

import pytest

from hpc_agent import process
from hpc_agent.attempts import Attempts
from hpc_agent.home import Home
from hpc_agent.journal import ENDED, ENTRY, HEARTBEAT, STARTED, Record
from hpc_agent.runner import run_attempt
from tests.agent_kit import KEY, Request, make_home, request, sign

ELSEWHERE = {"host": "another", "boot_id": "b", "pid": 1, "process_start": 1, "session": 1}


class Desk:
    """One home's attempts, whose runners come to be when the test says so."""

    def __init__(self, path: Path) -> None:
        self.home: Home = make_home(path)
        self.begun: list[tuple[str, int]] = []
        self.attempts = Attempts(self.home, lambda *key: self.begun.append(key))
        self.record = self.home.record("s-1")

    def submit(self, /, **changes: object) -> Request:
        """Send a signed script."""
        return self.attempts.submit(request(self.home, **changes))

    def cancel(self, attempt: int = 1) -> Request:
        """Send a signed cancel."""
        return self.attempts.cancel(request(self.home, "cancel", attempt=attempt))

    def status(self, attempt: int = 1) -> Request:
        """Ask how an attempt is."""
        return self.attempts.status("s-1", attempt)

    def run(self, attempt: int = 1) -> bool:
        """Be the runner, to the script's end."""
        return run_attempt(self.home, "s-1", attempt)

    def pretend_started(self, **who: object) -> None:
        """Claim the start as this process, or as who is described."""
        started = {**process.identity(), "at": time.time(), **who}
        self.record.make(1, STARTED, started)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Open a desk in a fresh home."""
    return Desk(tmp_path)


def test_a_submit_is_accepted_and_begun(desk: Desk) -> None:
    """A signed script is written down first; then its runner is called."""
    assert desk.submit()["kind"] == "accepted"
    assert desk.begun == [("s-1", 1)]
    entry = desk.record.read(1, ENTRY) or {}
    assert (entry["host"], entry["interpreter"]) == (process.host(), "bash")
    assert "signature" not in entry


def test_the_outcome_carries_report_and_tail(desk: Desk) -> None:
    """After the end every question is answered with exit code, report and what was said."""
    desk.submit()
    assert desk.run()
    answer = desk.status()
    assert (answer["kind"], answer["exit_code"]) == ("executed", 0)
    assert answer["report"] == {"scheduler_id": "4242", "period": 7}
    assert answer["output_tail"].startswith("cleaned\n")
    assert desk.submit() == answer
    assert desk.cancel() == answer


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [
        (0, "executed"),
        (1, "failed"),
        (9, "failed"),
        (10, "declined"),
        (39, "declined"),
        (40, "failed"),
        (60, "failed"),
        (255, "failed"),
    ],
)
def test_exit_classes(desk: Desk, exit_code: int, kind: str) -> None:
    """0 acted, 10 to 39 declined, everything else failed; the code is told."""
    desk.submit(script=f"exit {exit_code}")
    desk.run()
    assert (kind, exit_code) == (desk.status()["kind"], desk.status()["exit_code"])


def test_a_repeat_is_answered_from_the_journal(desk: Desk) -> None:
    """The same key runs its script once, also when the repeat comes after its expiry."""
    desk.submit(script="echo once >> trace")
    desk.run()
    assert desk.submit(script="echo once >> trace", expires_at=1.0)["kind"] == "executed"
    assert not desk.run()
    assert (Path(desk.home.path) / "run" / "trace").read_text() == "once\n"


def test_another_script_under_the_same_key_is_a_conflict(desk: Desk) -> None:
    """A key stands for one script for ever."""
    desk.submit()
    assert desk.submit(script="exit 1")["kind"] == "conflict"


def test_never_seen(desk: Desk) -> None:
    """A key that the journal does not hold was never seen; asking does not change that."""
    assert [desk.status()["kind"], desk.status()["kind"]] == ["never-seen", "never-seen"]
    assert not Path(desk.record.folder).exists()


def test_status_starts_what_never_started(desk: Desk) -> None:
    """An entry without a runner (killed in between) is started by the next question."""
    desk.submit()
    desk.begun.clear()
    assert desk.status()["kind"] == "accepted"
    assert desk.begun == [("s-1", 1)]


def test_who_only_wants_to_know_starts_nothing(desk: Desk) -> None:
    """The same entry is accepted, and stays as it is."""
    desk.submit()
    desk.begun.clear()
    assert desk.attempts.status("s-1", 1, start=False)["kind"] == "accepted"
    assert desk.begun == []


def test_running_on_this_host(desk: Desk) -> None:
    """A started attempt whose process lives is running."""
    desk.submit()
    desk.pretend_started()
    assert desk.status()["kind"] == "running"


def test_lost_on_this_host(desk: Desk) -> None:
    """A runner that is gone without an end is lost, where its host says so."""
    desk.submit()
    desk.pretend_started(boot_id="an earlier one")
    assert desk.status()["kind"] == "lost"


def test_an_end_wins_over_a_dead_runner(desk: Desk) -> None:
    """A runner that wrote its end and then went is not lost."""
    desk.submit()
    desk.pretend_started(boot_id="an earlier one")
    desk.record.make(1, ENDED, {"kind": "executed", "exit_code": 0, "report": {}})
    assert desk.status()["kind"] == "executed"


@pytest.mark.parametrize(("age_seconds", "kind"), [(0, "running"), (600, "unknown")])
def test_elsewhere_only_the_heartbeat_tells(desk: Desk, age_seconds: int, kind: str) -> None:
    """From another host a fresh heartbeat is running and an old one unknown, never lost."""
    desk.submit()
    desk.pretend_started(**ELSEWHERE)
    beat = Path(desk.record.path(1, HEARTBEAT))
    beat.touch()
    os.utime(beat, (time.time() - age_seconds, time.time() - age_seconds))
    assert kind == desk.status()["kind"]


@pytest.mark.parametrize(
    ("mark", "cancelled"), [(ENTRY, "busy"), (STARTED, "unknown"), (ENDED, "unknown")]
)
def test_a_damaged_journal_is_unknown(desk: Desk, mark: str, cancelled: str) -> None:
    """What cannot be read is neither run again nor called failed; a cancel needs no entry."""
    desk.submit()
    desk.pretend_started()
    Path(desk.record.path(1, mark)).write_text('{"half": ')
    desk.begun.clear()
    assert {desk.status()["kind"], desk.submit()["kind"]} == {"unknown"}
    assert cancelled == desk.cancel()["kind"]
    assert desk.begun == []


def test_a_higher_attempt_fences_what_has_not_started(desk: Desk) -> None:
    """After attempt 2 is in, attempt 1 never starts, whoever tries."""
    desk.submit()
    assert desk.submit(attempt=2)["kind"] == "accepted"
    assert not desk.run(1)
    assert desk.status(1)["kind"] == "stale"
    assert desk.submit(attempt=1)["kind"] == "stale"
    assert desk.run(2)


def test_a_lower_attempt_that_was_never_seen_is_stale(desk: Desk) -> None:
    """An old attempt that arrives late has no effect."""
    desk.submit(attempt=3)
    assert desk.submit(attempt=2)["kind"] == "stale"
    assert desk.status(2)["kind"] == "stale"
    assert desk.record.attempts(ENTRY) == [3]


def test_a_running_lower_attempt_keeps_the_higher_out(desk: Desk) -> None:
    """Not yet: the same key is accepted once the lower attempt has ended."""
    desk.submit()
    desk.pretend_started()
    assert desk.submit(attempt=2)["kind"] == "busy"
    desk.record.make(1, ENDED, {"kind": "failed", "exit_code": 1, "report": {}})
    assert desk.submit(attempt=2)["kind"] == "accepted"


def test_a_lost_lower_attempt_does_not(desk: Desk) -> None:
    """Proof of death is enough."""
    desk.submit()
    desk.pretend_started(boot_id="an earlier one")
    assert desk.submit(attempt=2)["kind"] == "accepted"


@pytest.mark.parametrize(("age_seconds", "kind"), [(60, "busy"), (3600, "accepted")])
def test_an_unknown_lower_attempt_is_waited_for(desk: Desk, age_seconds: int, kind: str) -> None:
    """On a host that is gone for good it counts until its own deadlines must have ended it."""
    desk.submit()
    desk.pretend_started(**ELSEWHERE, at=time.time() - age_seconds)
    assert kind == desk.submit(attempt=2)["kind"]


def test_cancel_before_anything(desk: Desk) -> None:
    """A key that was never seen is fenced, with all lower ones; a higher one is not."""
    assert desk.cancel(2)["kind"] == "fenced"
    assert [desk.submit(attempt=attempt)["kind"] for attempt in (1, 2, 3)] == [
        "stale",
        "stale",
        "accepted",
    ]


def test_cancel_before_the_start(desk: Desk) -> None:
    """What was accepted and has not started never will; saying it twice is the same."""
    desk.submit()
    assert [desk.cancel()["kind"], desk.cancel()["kind"]] == ["fenced", "fenced"]
    assert not desk.run()
    assert (desk.status()["kind"], desk.submit()["kind"]) == ("stale", "stale")


def test_cancel_while_running(desk: Desk) -> None:
    """A running script is not stopped; the answer says how a person would."""
    desk.submit()
    desk.pretend_started()
    answer = desk.cancel()
    assert answer["kind"] == "busy"
    assert "pkill -TERM -s" in answer["detail"]
    assert desk.status()["kind"] == "running"


def test_an_entry_that_comes_after_a_cancel_does_not_start(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel between the look at the fences and the entry is noticed after the entry."""
    make = desk.attempts._enter  # noqa: SLF001 - the window between two calls of one submit

    def late(record: Record, fields: Request, script: bytes) -> Request:
        assert desk.cancel()["kind"] == "fenced"
        return make(record, fields, script)

    monkeypatch.setattr(desk.attempts, "_enter", late)
    assert desk.submit()["kind"] == "stale"
    assert desk.begun == []


@pytest.mark.parametrize("expires_at", [1.0, float("nan")])
def test_expired(desk: Desk, expires_at: float) -> None:
    """After its expiry a script is not begun, and leaves no trace that would fence anything."""
    assert desk.submit(attempt=2, expires_at=expires_at)["kind"] == "expired"
    assert desk.submit(attempt=1)["kind"] == "accepted"


@pytest.mark.parametrize("name", ["run/NO_SUPERVISION", ".no_supervision"])
def test_opted_out(desk: Desk, name: str) -> None:
    """A file in the directory or in the home keeps the service out, and is named."""
    out = Path(desk.home.path) / name
    out.touch()
    answer = desk.submit()
    assert answer["kind"] == "opted-out"
    assert str(out) in answer["detail"]
    assert desk.record.attempts(ENTRY) == []


def test_opted_out_at_the_last_moment(desk: Desk) -> None:
    """The runner looks once more before it runs the script."""
    desk.submit(script="echo ran >> trace")
    (Path(desk.home.path) / "run" / "NO_SUPERVISION").symlink_to("nowhere")
    desk.run()
    assert desk.status()["kind"] == "opted-out"
    assert not (Path(desk.home.path) / "run" / "trace").exists()


LARGE = b"#" * (1024 * 1024 + 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"script": 7},
        {"script": "not base64!"},
        {"script": base64.b64encode(b"other").decode()},
        {"script": base64.b64encode(LARGE).decode(), "sha256": hashlib.sha256(LARGE).hexdigest()},
        {"directory": "run"},
        {"directory": "/run\0"},
        {"directory": None},
        {"interpreter": "bash -c"},
        {"interpreter": "../bash"},
        {"interpreter": "-c"},
        {"interpreter": ""},
        {"timeout_seconds": 0},
        {"timeout_seconds": 10**6},
        {"timeout_seconds": "30"},
        {"timeout_seconds": float("nan")},
        {"expires_at": "tomorrow"},
        {"expires_at": True},
        {"login": "another"},
        {"site": "another"},
    ],
)
def test_refused(desk: Desk, changes: Request) -> None:
    """A signed request that is unsound is refused with its reason; nothing is written."""
    answer = desk.attempts.submit(sign({**request(desk.home), **changes}))
    assert answer["kind"] == "refused"
    assert answer["detail"]
    assert desk.record.attempts(ENTRY) == []


def test_the_largest_script_is_taken(desk: Desk) -> None:
    """1 MB is allowed, one byte more is not."""
    assert desk.submit(script=LARGE[:-1].decode())["kind"] == "accepted"


@pytest.mark.parametrize("verb", ["submit", "cancel"])
def test_unsigned(desk: Desk, verb: str) -> None:
    """Without the login's signature nothing is written and nothing is fenced."""
    fields = request(desk.home, verb)
    for forged in ({**fields, "attempt": 2}, sign(fields, KEY[::-1])):
        answer = getattr(desk.attempts, verb)(forged)
        assert answer["kind"] == "refused"
    assert desk.submit()["kind"] == "accepted"


@pytest.mark.parametrize("verb", ["submit", "cancel"])
def test_a_request_for_another_journal(desk: Desk, verb: str) -> None:
    """What was signed for another journal (a home before it was lost) is not replayed here."""
    answer = getattr(desk.attempts, verb)(request(desk.home, verb, journal_id="another"))
    assert answer["kind"] == "foreign-journal"


def test_outputs_are_kept(desk: Desk) -> None:
    """Both outputs can be fetched after the end, and are empty before it."""
    assert desk.attempts.output("s-1", 1) == {"stdout": "", "stderr": ""}
    desk.submit(script="printf 'a\\0b'; echo oops >&2")
    desk.run()
    assert desk.attempts.output("s-1", 1) == {"stdout": "a\ufffdb", "stderr": "oops\n"}
