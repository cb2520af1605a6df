"""What breaks between the service and a centre: processes, answers, journals, clocks."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hpc_agent.attempts import Attempts
from hpc_agent.home import FOLDER, Home
from hpc_agent.journal import ENTRY, STARTED
from hpc_agent.runner import run_attempt
from supervision.adapters.agent_protocol import Conversation, Login
from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.adapters.system import SystemClock
from supervision.errors import ProtocolError, SiteUnavailable
from supervision.facts import Answer, AnswerKind, Key, Order
from supervision.testing import AgentDouble, FrozenClock
from tests.agent_kit import (
    KEY,
    LOGIN,
    SITE,
    MemoryLine,
    command,
    make_home,
    make_order,
    request,
    settle,
    until,
)

FIRST = Key(supervision_id="s-1", attempt=1)
SECOND = Key(supervision_id="s-1", attempt=2)
ONCE = "echo once >> trace"
WAITS = "echo once >> trace; until [ -e go ]; do sleep 0.02; done"
WHOSE = Login(site=SITE, login=LOGIN, key=KEY)
_UNENDED = {AnswerKind.ACCEPTED, AnswerKind.RUNNING}


class Centre:
    """A home, and transports to it that are ended with the test."""

    def __init__(self, path: Path) -> None:
        self.home: Home = make_home(path)
        self.run = path / "run"
        self.clock = FrozenClock(datetime(2015, 3, 18, tzinfo=UTC))
        self.transports: list[LocalTransport] = []
        self.transport = self.connect()

    def connect(
        self, python: str = sys.executable, key: bytes = KEY, seconds: float = 20.0
    ) -> LocalTransport:
        """Make another transport to the same home."""
        agent = LocalAgent(home=Path(self.home.path), python=python, key=key)
        deadline = timedelta(seconds=seconds)
        transport = LocalTransport({(SITE, LOGIN): agent}, clock=self.clock, deadline=deadline)
        self.transports.append(transport)
        return transport

    def order(self, key: Key = FIRST, text: str = ONCE) -> Order:
        """Build an order for the submission directory."""
        return make_order(key, self.run, clock=self.clock, text=text)

    def submit(self, key: Key = FIRST, text: str = ONCE) -> AnswerKind:
        """Submit one script."""
        return self.transport.submit(SITE, LOGIN, [self.order(key, text)])[0].kind

    def status(self, key: Key = FIRST) -> Answer:
        """Ask about one key."""
        return self.transport.status(SITE, LOGIN, [key])[0]

    def ended(self, key: Key = FIRST) -> AnswerKind:
        """Wait for the end of an attempt."""
        until(lambda: self.status(key).kind not in _UNENDED)
        return self.status(key).kind

    def started(self) -> dict[str, Any]:
        """Wait until the script of attempt 1 runs, and tell who its runner is."""
        until((self.run / "trace").exists)
        return self.home.record("s-1").read(1, STARTED) or {}

    def executions(self) -> int:
        """Tell how often a script ran."""
        return len((self.run / "trace").read_text().split())


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre; scripts that wait are let go, and every child is ended."""
    centre = Centre(tmp_path)
    yield centre
    for transport in centre.transports:
        transport.close()
    settle(centre.home)


def _kill_python(centre: Centre, text: str) -> str:
    """Make a stand-in for Python that is no agent, or an agent whose process id is told."""
    folder = Path(centre.home.path) / "bin"
    command(folder, "python", text)
    return str(folder / "python")


def test_killed_between_entry_and_runner(centre: Centre) -> None:
    """An agent that died right after its entry: the next status starts the script, once."""
    agent = Attempts(centre.home, lambda *_: None)
    agent.submit(request(centre.home, script=ONCE))
    assert centre.status().kind is AnswerKind.ACCEPTED
    assert centre.ended() is AnswerKind.EXECUTED
    assert centre.executions() == 1


def test_killed_before_the_entry(centre: Centre) -> None:
    """A draft that was never linked is no entry: the key was never seen and can be sent."""
    (Path(centre.home.root) / "tmp" / "draft").write_text('{"attempt": ')
    assert centre.status().kind is AnswerKind.NEVER_SEEN
    centre.submit()
    assert centre.ended() is AnswerKind.EXECUTED


def test_the_runner_is_killed(centre: Centre) -> None:
    """While its script lives on, the attempt runs; when that is over too, it is lost."""
    centre.submit(text=WAITS)
    os.kill(centre.started()["pid"], signal.SIGKILL)
    assert centre.status().kind is AnswerKind.RUNNING
    assert centre.submit(SECOND) is AnswerKind.BUSY
    (centre.run / "go").touch()
    assert centre.ended() is AnswerKind.LOST


def test_after_a_lost_runner_the_next_attempt_runs(centre: Centre) -> None:
    """The dead runner's lock of the directory is broken, for its host proves it dead."""
    centre.submit(text=WAITS)
    pid = centre.started()["pid"]
    os.kill(pid, signal.SIGKILL)
    (centre.run / "go").touch()
    assert centre.ended() is AnswerKind.LOST
    assert centre.submit(SECOND) is AnswerKind.ACCEPTED
    assert centre.ended(SECOND) is AnswerKind.EXECUTED
    assert centre.executions() == 2


def test_a_half_written_journal(centre: Centre) -> None:
    """An entry of which only half is there is unknown to every question, and never run."""
    centre.home.record("s-1").make(1, ENTRY, {})
    Path(centre.home.record("s-1").path(1, ENTRY)).write_text('{"attempt": 1, "dir')
    assert centre.status().kind is AnswerKind.UNKNOWN
    assert centre.submit() is AnswerKind.UNKNOWN
    assert not (centre.run / "trace").exists()


def test_the_same_key_from_two_agents_at_once(centre: Centre) -> None:
    """Two agents on one home that are sent a key many times in parallel run it once."""
    transports = [centre.transport, centre.connect(), centre.connect()]
    orders = [centre.order()] * 5

    def submit(transport: LocalTransport) -> list[Answer]:
        return list(transport.submit(SITE, LOGIN, orders))

    with ThreadPoolExecutor(len(transports)) as pool:
        answers = [answer for answers in pool.map(submit, transports) for answer in answers]
    assert {answer.kind for answer in answers} <= {*_UNENDED, AnswerKind.EXECUTED}
    assert centre.ended() is AnswerKind.EXECUTED
    assert centre.executions() == 1


def test_two_scripts_under_one_key_at_once(centre: Centre) -> None:
    """Of two scripts that are sent under one key at once, one runs and the other is told."""
    other = centre.connect()

    def submit(what: tuple[LocalTransport, str]) -> AnswerKind:
        order = centre.order(text=what[1])
        return what[0].submit(SITE, LOGIN, [order])[0].kind

    with ThreadPoolExecutor(2) as pool:
        kinds = list(pool.map(submit, [(centre.transport, ONCE), (other, f"{ONCE} ")]))
    assert kinds.count(AnswerKind.CONFLICT) == 1
    assert centre.ended() is AnswerKind.EXECUTED
    assert centre.executions() == 1


def test_cancel_and_submit_at_once(centre: Centre) -> None:
    """Whoever comes first: a key that was answered as fenced never runs."""
    other = centre.connect()
    keys = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(20)]
    orders = [centre.order(key, f"echo {key.supervision_id} >> trace") for key in keys]
    with ThreadPoolExecutor(2) as pool:
        submitted = pool.submit(centre.transport.submit, SITE, LOGIN, orders)
        cancelled = pool.submit(other.cancel, SITE, LOGIN, keys)
    fenced = {
        answer.key.supervision_id
        for answer in cancelled.result()
        if answer.kind is AnswerKind.FENCED
    }
    for answer in submitted.result():
        kind = centre.ended(answer.key)
        assert (kind is AnswerKind.STALE) == (answer.key.supervision_id in fenced)
    trace = centre.run / "trace"
    assert fenced.isdisjoint(trace.read_text().split() if trace.exists() else ())


def test_the_answer_is_lost(centre: Centre) -> None:
    """The agent acted and the connection broke: the same key is answered from the journal."""
    line = MemoryLine(centre.home)
    Conversation(line, WHOSE, centre.clock).submit([centre.order()])  # nobody hears the answer
    assert run_attempt(centre.home, "s-1", 1)
    assert centre.submit() is AnswerKind.EXECUTED
    assert centre.executions() == 1


def test_the_double_loses_answers_alike() -> None:
    """The agents' double acts, then raises; a repeat runs nothing again."""
    clock = FrozenClock()
    double = AgentDouble(clock)
    order = make_order(FIRST, Path("/data"), clock=clock)
    double.lose_answer()
    with pytest.raises(SiteUnavailable):
        double.submit(SITE, LOGIN, [order])
    assert double.submit(SITE, LOGIN, [order])[0].kind is AnswerKind.ACCEPTED
    assert double.status(SITE, LOGIN, [FIRST])[0].kind is AnswerKind.EXECUTED
    assert double.executions[FIRST] == 1


def test_the_doubles_site_can_be_unreachable_and_its_home_restored() -> None:
    """An unreachable site says nothing; a restored home has never seen the key."""
    clock = FrozenClock()
    double = AgentDouble(clock)
    (before,) = double.submit(SITE, LOGIN, [make_order(FIRST, Path("/data"), clock=clock)])
    double.unreachable.add(SITE)
    with pytest.raises(SiteUnavailable):
        double.status(SITE, LOGIN, [FIRST])
    double.unreachable.clear()
    double.forget(SITE, LOGIN)
    (after,) = double.status(SITE, LOGIN, [FIRST])
    assert after.kind is AnswerKind.NEVER_SEEN
    assert after.journal_id != before.journal_id


def test_the_script_outlives_the_session(centre: Centre) -> None:
    """A transport that is closed, and with it its agent, ends no script."""
    centre.submit(text=WAITS)
    centre.started()
    centre.transport.close()
    (centre.run / "go").touch()
    assert centre.ended() is AnswerKind.EXECUTED
    assert centre.executions() == 1


def test_the_agent_is_killed_between_two_calls(centre: Centre) -> None:
    """The call that finds it dead says so; the next one has a new agent and the same journal."""
    text = f'echo $$ > {centre.home.path}/pid; exec {sys.executable} "$@"'
    centre.transport = centre.connect(python=_kill_python(centre, text))
    centre.submit()
    os.kill(int((Path(centre.home.path) / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(SiteUnavailable, match="the agent"):
        centre.status()
    assert centre.ended() is AnswerKind.EXECUTED


def test_an_agent_that_never_answers(centre: Centre) -> None:
    """The deadline comes from outside; the silent child is ended."""
    python = _kill_python(centre, f"echo $$ > {centre.home.path}/pid; exec sleep 60")
    transport = centre.connect(python=python, seconds=0.5)
    with pytest.raises(SiteUnavailable, match="too slow"):
        transport.status(SITE, LOGIN, [FIRST])
    pid = int((Path(centre.home.path) / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_agent_that_does_not_even_read(centre: Centre) -> None:
    """A full pipe is no way around the deadline."""
    transport = centre.connect(python=_kill_python(centre, "exec sleep 60"), seconds=0.5)
    large = centre.order(text="#" * 900_000)
    with pytest.raises(SiteUnavailable):
        transport.submit(SITE, LOGIN, [large] * 4)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("echo Welcome to the centre; cat", ProtocolError),
        ("echo '[]'; cat", ProtocolError),
        ("cat", ProtocolError),
        ("echo no Python here >&2; exit 1", SiteUnavailable),
        ("head -c 10 >&2; printf half", SiteUnavailable),
    ],
)
def test_a_peer_that_is_no_agent(centre: Centre, text: str, error: type[Exception]) -> None:
    """A banner, an echo, an empty end: an error of ours, and nothing is concluded."""
    transport = centre.connect(python=_kill_python(centre, text))
    with pytest.raises(error):
        transport.status(SITE, LOGIN, [FIRST])


def test_a_python_that_is_not_there(centre: Centre) -> None:
    """An agent that cannot be started is a site that cannot be reached."""
    with pytest.raises(SiteUnavailable, match="cannot be started"):
        centre.connect(python="/no/such/python").status(SITE, LOGIN, [FIRST])


def test_an_unprepared_home(centre: Centre) -> None:
    """The agent's reason comes through."""
    (Path(centre.home.path) / FOLDER / "agent.key").chmod(0o644)
    with pytest.raises(ProtocolError, match="mode 600"):
        centre.status()


def test_a_foreign_key(centre: Centre) -> None:
    """Who has not the login's key can ask, and cannot act."""
    centre.transport = centre.connect(key=b"k" * 32)
    assert centre.submit() is AnswerKind.REFUSED
    assert centre.transport.cancel(SITE, LOGIN, [FIRST])[0].kind is AnswerKind.REFUSED
    assert centre.status().kind is AnswerKind.NEVER_SEEN


def test_the_home_is_restored_during_a_session(centre: Centre, tmp_path: Path) -> None:
    """An agent that suddenly speaks from another journal is not believed, and does not act."""
    line = MemoryLine(centre.home)
    conversation = Conversation(line, WHOSE, centre.clock)
    conversation.submit([centre.order()])
    line.home = make_home(tmp_path / "restored")
    kinds = {answer.kind for answer in conversation.status([FIRST])}
    kinds |= {answer.kind for answer in conversation.submit([centre.order(SECOND)])}
    kinds |= {answer.kind for answer in conversation.cancel([FIRST])}
    assert kinds == {AnswerKind.FOREIGN_JOURNAL}
    assert line.home.record("s-1").attempts(ENTRY) == []


@pytest.mark.parametrize(
    "skew",
    [timedelta(minutes=10), timedelta(minutes=-10), timedelta(hours=-3), timedelta(days=400)],
)
def test_clocks_that_differ(centre: Centre, skew: timedelta) -> None:
    """A lease ends when it ends here, whatever the centre's clock says; the skew is reported."""
    clock = FrozenClock(SystemClock().now() + skew)
    with capture_logs() as logs:
        conversation = Conversation(MemoryLine(centre.home), WHOSE, clock)
    assert [log["event"] for log in logs] == ["agent.clock.skewed"]
    offset = conversation.greeting.offset
    assert abs(offset + skew) < timedelta(seconds=10)
    order = make_order(FIRST, centre.run, clock=clock)
    clock.advance(timedelta(seconds=60))
    assert conversation.submit([order])[0].kind is AnswerKind.ACCEPTED


def test_clocks_that_agree(centre: Centre) -> None:
    """Less than a minute is not worth a word."""
    with capture_logs() as logs:
        Conversation(MemoryLine(centre.home), WHOSE, SystemClock())
    assert logs == []


def test_a_directory_is_worked_in_by_one_script(centre: Centre) -> None:
    """Two supervisions of one directory at once: their scripts never overlap."""
    text = "[ -e busy ] && echo overlap >> trace; touch busy; sleep 0.2; rm busy; echo x >> trace"
    keys = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(3)]
    centre.transport.submit(SITE, LOGIN, [centre.order(key, text) for key in keys])
    assert {centre.ended(key) for key in keys} == {AnswerKind.EXECUTED}
    assert (centre.run / "trace").read_text() == "x\nx\nx\n"


def test_what_the_journal_keeps_is_private(centre: Centre) -> None:
    """Scripts and outputs are for their login only."""
    centre.submit(text="echo said; echo wrong >&2")
    centre.ended()
    files = list(Path(centre.home.root, "journal").rglob("1.*"))
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in files}
    del modes[".heartbeat"]  # it says nothing but its age
    assert {".entry", ".started", ".ended", ".stdout", ".stderr"} < set(modes)
    assert set(modes.values()) == {0o600}
    assert Path(centre.home.root).stat().st_mode & 0o777 == 0o700
