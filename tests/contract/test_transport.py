"""What the port Transport promises: the double in memory, real agents here, over ssh, gsi-ssh."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.errors import SiteUnavailable
from supervision.facts import Answer, AnswerKind, JobKind, Key, Look, Order, Sight, Subject
from supervision.ports import Transport
from supervision.testing import AgentDouble, FrozenClock
from tests.agent_kit import KEY, LOGIN, SITE, command, make_home, make_order, settle, until
from tests.gsi_kit import GsiCentre
from tests.ssh_kit import ME, Centre

FIRST = Key(supervision_id="0b5e5f4e-0000-4000-8000-000000000001", attempt=1)
SECOND = replace(FIRST, attempt=2)
OTHER = replace(FIRST, supervision_id="0b5e5f4e-0000-4000-8000-000000000002")
REPORT = '{"scheduler_id": "4242", "period": 7, "deleted": ["a", "b"]}'
ACTS = f"echo once >> trace; echo '{REPORT}'"
WAITS = "echo once >> trace; until [ -e go ]; do sleep 0.02; done"
_UNENDED = {AnswerKind.ACCEPTED, AnswerKind.RUNNING}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A transport to one login, and what a test needs to know of the other side.

    `ends(kind)` tells the double what the script will do; a real one does it by itself.
    """

    transport: Transport
    clock: FrozenClock
    directory: Path
    ends: Callable[[Key, AnswerKind, int | None], None]
    executions: Callable[[], int]
    sees_running: Callable[[str], None]
    opt_out: Callable[[], None]
    login: str = LOGIN

    def order(self, key: Key, text: str = ACTS) -> Order:
        """Build an order for the login's directory."""
        return make_order(key, self.directory, clock=self.clock, text=text)

    def submit(self, *orders: Order) -> list[AnswerKind]:
        """Submit, and give the kinds of the answers."""
        return [answer.kind for answer in self.transport.submit(SITE, self.login, orders)]

    def status(self, key: Key = FIRST) -> Answer:
        """Ask about one key."""
        return self.transport.status(SITE, self.login, [key])[0]

    def cancel(self, key: Key = FIRST) -> Answer:
        """Cancel one key."""
        return self.transport.cancel(SITE, self.login, [key])[0]

    def ended(self, key: Key = FIRST) -> Answer:
        """Wait for the end of an attempt."""
        until(lambda: self.status(key).kind not in _UNENDED)
        return self.status(key)

    def running(self, key: Key = FIRST) -> None:
        """Wait until an attempt has started."""
        until(lambda: self.status(key).kind is AnswerKind.RUNNING)


def _double(path: Path) -> Iterator[Case]:
    clock = FrozenClock()
    double = AgentDouble(clock)
    report: dict[str, str | int | list[str] | None]
    report = {"scheduler_id": "4242", "period": 7, "deleted": ["a", "b"]}

    def ends(key: Key, kind: AnswerKind, exit_code: int | None) -> None:
        double.outcome(
            key.supervision_id,
            key.attempt,
            kind=kind,
            exit_code=exit_code,
            scheduler_id="4242",
            period=7,
            report=report,
        )

    yield Case(
        transport=double,
        clock=clock,
        directory=path,
        ends=ends,
        executions=double.executions.total,
        sees_running=lambda ref: double.see(ref, Look(at=clock.now(), sight=Sight.RUNNING)),
        opt_out=lambda: double.opted_out_directories.add(str(path)),
    )
    double.close()


def _local(path: Path) -> Iterator[Case]:
    clock = FrozenClock()
    home = make_home(path, commands=path / "bin")
    agent = LocalAgent(home=path, python=sys.executable, key=KEY)
    transport = LocalTransport({(SITE, LOGIN): agent}, clock=clock, deadline=timedelta(seconds=20))
    yield _real(transport, clock, path=path, login=LOGIN)
    transport.close()
    settle(home)


def _ssh(path: Path) -> Iterator[Case]:
    centre = Centre.opened(path)
    transport = centre.connect()
    yield _real(transport, centre.clock, path=Path(centre.home.path), login=ME)
    centre.close()


def _gsi(path: Path) -> Iterator[Case]:
    centre = GsiCentre.opened(path)
    transport = centre.connect()
    yield _real(transport, centre.clock, path=Path(centre.home.path), login=ME)
    centre.close()


def _real(transport: Transport, clock: FrozenClock, *, path: Path, login: str) -> Case:
    """Describe a transport to a real agent, whose home is `path`."""
    directory = path / "run"
    command(path / "bin", "sbx-queue", f"cat {path}/queue 2>/dev/null; exit 0")

    def executions() -> int:
        trace = directory / "trace"
        return len(trace.read_text().split()) if trace.exists() else 0

    def sees_running(ref: str) -> None:
        row = f'"id": "{ref}", "name": "EXP00", "directory": "{directory}", "reason": null'
        text = f'{{{row}, "state": "running", "login": "{login}"}}\n'
        (path / "queue").write_text(text)

    return Case(
        transport=transport,
        clock=clock,
        directory=directory,
        ends=lambda *_: None,
        executions=executions,
        sees_running=sees_running,
        opt_out=(directory / "NO_SUPERVISION").touch,
        login=login,
    )


@pytest.fixture(params=[_double, _local, _ssh, _gsi], ids=["double", "local", "ssh", "gsi"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """Open each transport in turn."""
    yield from request.param(tmp_path)


def test_submit_then_the_outcome(case: Case) -> None:
    """A script is accepted, runs once, and its last line comes back with its exit code."""
    case.ends(FIRST, AnswerKind.EXECUTED, 0)
    assert case.submit(case.order(FIRST)) == [AnswerKind.ACCEPTED]
    answer = case.ended()
    assert (answer.key, answer.kind, answer.exit_code) == (FIRST, AnswerKind.EXECUTED, 0)
    assert (answer.scheduler_id, answer.period) == ("4242", 7)
    assert answer.report == {"scheduler_id": "4242", "period": 7, "deleted": ["a", "b"]}
    assert case.executions() == 1


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [(11, AnswerKind.DECLINED), (41, AnswerKind.FAILED), (66, AnswerKind.FAILED)],
)
def test_exit_codes(case: Case, exit_code: int, kind: AnswerKind) -> None:
    """Declined and failed come with the script's exit code."""
    case.ends(FIRST, kind, exit_code)
    case.submit(case.order(FIRST, f"exit {exit_code}"))
    assert (kind, exit_code) == (case.ended().kind, case.ended().exit_code)


def test_submit_is_idempotent(case: Case) -> None:
    """A repeat, in the same call or after the end, runs nothing again."""
    order = case.order(FIRST)
    case.submit(order, order)
    case.ended()
    assert case.submit(order) == [AnswerKind.EXECUTED]
    assert case.executions() == 1


def test_answers_come_in_the_order_of_the_question(case: Case) -> None:
    """One answer for each, whatever it is."""
    case.submit(case.order(OTHER))
    case.ended(OTHER)
    answers = case.transport.status(SITE, case.login, [FIRST, OTHER, SECOND])
    assert [answer.key for answer in answers] == [FIRST, OTHER, SECOND]
    never = AnswerKind.NEVER_SEEN
    assert [answer.kind for answer in answers] == [never, AnswerKind.EXECUTED, never]


def test_who_only_wants_to_know_hears_the_same(case: Case) -> None:
    """Before the first byte, and after the end."""
    case.ends(FIRST, AnswerKind.EXECUTED, 0)
    peek = partial(case.transport.peek, SITE, case.login, [FIRST])
    assert [AnswerKind.NEVER_SEEN] == [answer.kind for answer in peek()]
    case.submit(case.order(FIRST))
    ended = case.ended()
    assert [ended] == list(peek())


def test_nothing_asked_is_nothing_answered(case: Case) -> None:
    """Empty questions have empty answers."""
    assert list(case.transport.submit(SITE, case.login, [])) == []
    assert list(case.transport.status(SITE, case.login, [])) == []
    assert list(case.transport.look(SITE, case.login, [])) == []
    assert list(case.transport.cancel(SITE, case.login, [])) == []


def test_every_answer_names_its_journal(case: Case) -> None:
    """The journal's id is the same in all answers of one home."""
    (submitted,) = case.transport.submit(SITE, case.login, [case.order(FIRST)])
    assert submitted.journal_id
    assert {case.ended().journal_id, case.cancel(OTHER).journal_id} == {submitted.journal_id}


def test_another_script_is_a_conflict(case: Case) -> None:
    """One key, one script."""
    case.submit(case.order(FIRST))
    assert case.submit(case.order(FIRST, "exit 1")) == [AnswerKind.CONFLICT]


def test_an_altered_script_is_refused(case: Case) -> None:
    """What does not have the announced hash is not accepted."""
    order = case.order(FIRST)
    altered = replace(order, script=replace(order.script, content=base64.b64encode(b"x").decode()))
    assert case.submit(altered) == [AnswerKind.REFUSED]
    assert case.status().kind is AnswerKind.NEVER_SEEN


def test_expiry_is_on_the_services_clock(case: Case) -> None:
    """However the agent's clock stands, a lease ends when it ends here."""
    late = replace(case.order(FIRST), expires_at=case.clock.now() - timedelta(seconds=5))
    assert case.submit(late) == [AnswerKind.EXPIRED]
    assert case.submit(case.order(FIRST)) == [AnswerKind.ACCEPTED]


def test_a_higher_attempt_fences_the_lower(case: Case) -> None:
    """After attempt 2, attempt 1 has no effect any more."""
    assert case.submit(case.order(SECOND)) == [AnswerKind.ACCEPTED]
    assert case.submit(case.order(FIRST)) == [AnswerKind.STALE]
    assert case.status(FIRST).kind is AnswerKind.STALE
    assert case.ended(SECOND).kind is AnswerKind.EXECUTED


def test_a_running_attempt_is_not_overtaken(case: Case) -> None:
    """While attempt 1 runs, attempt 2 has to come back, and a cancel is told how to stop it."""
    case.ends(FIRST, AnswerKind.RUNNING, None)
    case.submit(case.order(FIRST, WAITS))
    case.running()
    assert case.submit(case.order(SECOND)) == [AnswerKind.BUSY]
    refused = case.cancel()
    assert refused.kind is AnswerKind.BUSY
    assert "kill" in refused.detail
    case.ends(FIRST, AnswerKind.EXECUTED, 0)
    (case.directory / "go").touch()
    assert case.ended().kind is AnswerKind.EXECUTED
    assert case.submit(case.order(SECOND)) == [AnswerKind.ACCEPTED]


def test_cancel_fences_what_was_never_seen(case: Case) -> None:
    """A cancelled key and all lower ones never start; a higher one may."""
    assert case.cancel(SECOND).kind is AnswerKind.FENCED
    stale = [AnswerKind.STALE, AnswerKind.STALE]
    assert stale == case.submit(case.order(FIRST), case.order(SECOND))
    assert case.submit(case.order(replace(FIRST, attempt=3))) == [AnswerKind.ACCEPTED]


def test_cancel_after_the_end_gives_the_outcome(case: Case) -> None:
    """What has acted cannot be cancelled, and says so."""
    case.submit(case.order(FIRST))
    case.ended()
    assert case.cancel().kind is AnswerKind.EXECUTED


def test_the_owner_can_opt_out(case: Case) -> None:
    """A file in the directory keeps every script out of it."""
    case.opt_out()
    assert case.submit(case.order(FIRST)) == [AnswerKind.OPTED_OUT]


def test_look(case: Case) -> None:
    """What the scheduler says of a job, at a time on the service's clock."""
    case.sees_running("77")
    subject = Subject(
        ref="77",
        name="EXP00",
        directory=str(case.directory),
        kind=JobKind.COMPUTE,
        scheduler_id="77",
    )
    (look,) = case.transport.look(SITE, case.login, [subject])
    assert (look.reachable, look.sight) == (True, Sight.RUNNING)
    assert abs(look.at - case.clock.now()) < timedelta(seconds=10)


def test_many_threads(case: Case) -> None:
    """One login may be asked by many threads; every key still runs once."""
    keys = [replace(FIRST, attempt=1, supervision_id=f"s-{number}") for number in range(6)]
    orders = [case.order(key) for key in keys for _ in range(2)]
    with ThreadPoolExecutor(len(orders)) as pool:
        list(pool.map(case.submit, orders))
    for key in keys:
        case.ended(key)
    assert case.executions() == len(keys)


def test_close_is_idempotent(case: Case) -> None:
    """Closing twice is closing."""
    case.status()
    case.transport.close()
    case.transport.close()


def test_init_prepares_what_the_transport_needs(tmp_path: Path) -> None:
    """`init` on the command line, its key on stdin, makes a home that a transport can use."""
    options = ["--home", str(tmp_path), "--site", SITE, "--login", LOGIN, "--scheduler", "sandbox"]
    subprocess.run(
        [sys.executable, "-m", "hpc_agent", "init", *options],
        input=KEY.hex(),
        text=True,
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    )
    agent = LocalAgent(home=tmp_path, python=sys.executable, key=KEY)
    transport = LocalTransport({(SITE, LOGIN): agent}, clock=FrozenClock())
    try:
        assert transport.status(SITE, LOGIN, [FIRST])[0].kind is AnswerKind.NEVER_SEEN
    finally:
        transport.close()


def test_an_unknown_login_is_unavailable() -> None:
    """A login without an agent here cannot be asked; nothing is known of it."""
    with pytest.raises(SiteUnavailable, match="no agent"):
        LocalTransport({}, clock=FrozenClock()).status(SITE, LOGIN, [FIRST])
