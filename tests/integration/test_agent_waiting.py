"""Who waits for a runner, and the one process that begins them: how many at once, its deaths."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from hpc_agent import process, serve, starter
from hpc_agent.home import Home
from hpc_agent.waiting import Room
from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.adapters.system import SystemClock
from supervision.facts import AnswerKind, Key
from tests.agent_kit import KEY, LOGIN, SITE, make_home, make_order, request, settle, until

MANY = 3 * starter.MOST_RUNNERS
COUNTED = "echo + >> ../count; sleep 0.05; echo - >> ../count"
WAITS = "echo + >> ../count; until [ -e ../run/go ]; do sleep 0.02; done"
KEYS = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(MANY)]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Open the room of this host in a prepared home."""
    return Room(make_home(tmp_path).root)


def _rename(room: Room, **changes: object) -> None:
    """Have the room's starter be somebody else."""
    mark = next(path for path in _files(room) if path.name == "starter")
    mark.write_text(json.dumps({**process.identity(), **changes}))


def _files(room: Room) -> list[Path]:
    return list(Path(room._folder).iterdir())  # noqa: SLF001 - what lies there


def test_who_waits_is_listed_once_and_in_order(room: Room) -> None:
    """Who was put first comes first, and putting twice changes nothing."""
    for number, name in enumerate(("b", "a", "c-1")):
        room.put(name, 1)
        os.utime(Path(room._folder) / f"{name}.1", (number, number))  # noqa: SLF001
    room.put("b", 1)
    assert room.keys() == [("b", 1), ("a", 1), ("c-1", 1)]


def test_one_taker_succeeds(room: Room) -> None:
    """Of two who take the same attempt out, one is told that it did."""
    room.put("s-1", 2)
    assert [room.take(("s-1", 2)), room.take(("s-1", 2))] == [True, False]
    assert room.keys() == []


def test_nobody_waits_where_nobody_ever_did(room: Room) -> None:
    """A room that was never used, or was removed, is empty."""
    assert room.keys() == []


def test_a_living_starter_stays(room: Room) -> None:
    """Another process that lives is not replaced, and its mark is not removed by us."""
    room.put("s-1", 1)
    assert room.appoint()
    parent = os.getppid()
    _rename(room, pid=parent, process_start=process.started_at(parent))
    assert not room.appoint()
    room.resign()
    assert room.starter()["pid"] == parent


@pytest.mark.parametrize(
    "changes", [{"boot_id": "an earlier one"}, {"process_start": 1}, {"boot_id": ""}]
)
def test_a_dead_starter_is_replaced(room: Room, changes: dict[str, object]) -> None:
    """Who is not seen alive is no starter: too many runners are better than none."""
    room.put("s-1", 1)
    room.appoint()
    _rename(room, **changes)
    assert room.starter() == {}
    assert room.appoint()


def test_a_damaged_mark_is_replaced(room: Room) -> None:
    """Half a mark keeps nobody from working."""
    room.put("s-1", 1)
    (Path(room._folder) / "starter").write_text('{"pid": ')  # noqa: SLF001
    assert room.appoint()


def test_a_fork_that_is_refused_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the login's limit of processes nobody is forgotten: the attempt waits again."""
    home = make_home(tmp_path)
    room = Room(home.root)
    room.put("s-1", 1)

    def refused() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", refused)
    starter._Starter(home, room)._begin()  # noqa: SLF001 - the step itself
    assert room.keys() == [("s-1", 1)]
    starter.ring(home)  # its own fork is refused as well: the session that rings goes on


def test_receipts_leave_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the starter is called, every receipt of what came together has been written."""
    home = make_home(tmp_path)
    answers, seen = io.BytesIO(), []
    monkeypatch.setattr(starter, "ring", lambda _: seen.append(answers.getvalue().count(b"\n")))
    lines = [json.dumps(request(home, supervision_id=name)).encode() for name in ("a", "b", "c")]
    serve.serve(str(tmp_path), io.BytesIO(b"\n".join(lines) + b"\n"), answers)
    assert seen == [3]
    assert sorted(Room(home.root).keys()) == [("a", 1), ("b", 1), ("c", 1)]


def test_what_is_in_the_journal_begins_though_nobody_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that breaks while a receipt leaves has begun what it wrote down."""
    home = make_home(tmp_path)
    rung: list[Home] = []
    monkeypatch.setattr(starter, "ring", rung.append)

    class Broken(io.BytesIO):
        def write(self, _: object, /) -> int:
            raise BrokenPipeError

    line = json.dumps(request(home)).encode() + b"\n"
    with pytest.raises(BrokenPipeError):
        serve.serve(str(tmp_path), io.BytesIO(line), Broken())
    assert [home] == rung


def test_a_session_whose_leader_is_a_zombie(tmp_path: Path) -> None:
    """A killed runner that nobody has buried yet does not hide that its script lives."""
    told = tmp_path / "child"
    leader = subprocess.Popen(
        ["bash", "-c", f"sleep 60 & echo $! > {told}; wait"], start_new_session=True
    )
    until(lambda: told.exists() and told.read_text().endswith("\n"))
    leader.send_signal(signal.SIGKILL)
    until(lambda: process.started_at(leader.pid) is None)
    assert process.session_alive(leader.pid)
    os.kill(int(told.read_text()), signal.SIGKILL)
    until(lambda: not process.session_alive(leader.pid))
    leader.wait()


class Desk:
    """A home, and real agents that serve it. Every order has a directory of its own."""

    def __init__(self, path: Path) -> None:
        self.home: Home = make_home(path)
        self.path = path
        self.transports: list[LocalTransport] = []

    def connect(self) -> LocalTransport:
        """Start another agent."""
        agent = LocalAgent(home=self.path, python=sys.executable, key=KEY)
        deadline = timedelta(seconds=60)
        made = LocalTransport({(SITE, LOGIN): agent}, clock=SystemClock(), deadline=deadline)
        self.transports.append(made)
        return made

    def submit(self, transport: LocalTransport, keys: list[Key], text: str) -> None:
        """Submit them in one call; each is accepted."""
        for key in keys:
            (self.path / key.supervision_id).mkdir(exist_ok=True)
        orders = [
            make_order(key, self.path / key.supervision_id, clock=SystemClock(), text=text)
            for key in keys
        ]
        answers = transport.submit(SITE, LOGIN, orders)
        assert {answer.kind for answer in answers} == {AnswerKind.ACCEPTED}

    def ended(self) -> int:
        """Count the attempts that have ended, without asking an agent."""
        return len(list(Path(self.home.root, "journal").glob("*/1.ended")))

    def counted(self) -> list[int]:
        """Tell how many scripts were at work after each line that they wrote."""
        file = self.path / "count"
        lines = file.read_text().split() if file.exists() else []
        return [
            sum(1 if line == "+" else -1 for line in lines[:end])
            for end in range(1, len(lines) + 1)
        ]

    def starter(self) -> int:
        """Tell the starter's process id, once there is one."""
        until(lambda: bool(Room(self.home.root).starter()))
        return int(Room(self.home.root).starter()["pid"])

    def close(self) -> None:
        """End agents and scripts, and wait for the starter to go."""
        for transport in self.transports:
            transport.close()
        settle(self.home)
        until(lambda: not Room(self.home.root).starter())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Open a desk; nothing of it runs afterwards."""
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def _gone(pid: int) -> bool:
    return process.started_at(pid) is None


def _all_ended(desk: Desk) -> Callable[[], bool]:
    return lambda: desk.ended() == MANY


def test_a_few_at_a_time_and_each_once(desk: Desk) -> None:
    """Two agents of one login, three times as many scripts as places: never more than places.

    Nobody asks again and the sessions end at once: what was accepted is run all the same.
    """
    half = MANY // 2
    for keys in (KEYS[:half], KEYS[half:]):
        desk.submit(desk.connect(), keys, COUNTED)
    for transport in desk.transports:
        transport.close()
    until(_all_ended(desk))
    depths = desk.counted()
    assert (2 * MANY, 0) == (len(depths), depths[-1])
    assert 1 < max(depths) <= starter.MOST_RUNNERS


def test_the_starter_is_killed(desk: Desk) -> None:
    """Its runners go on, and the next status has the others begun; each runs once."""
    transport = desk.connect()
    desk.submit(transport, KEYS, WAITS)
    until(lambda: len(desk.counted()) == starter.MOST_RUNNERS)
    os.kill(desk.starter(), signal.SIGKILL)
    (desk.path / "run" / "go").touch()
    until(lambda: desk.ended() == starter.MOST_RUNNERS)
    assert len(Room(desk.home.root).keys()) == MANY - starter.MOST_RUNNERS
    transport.status(SITE, LOGIN, KEYS)
    until(_all_ended(desk))
    assert len(desk.counted()) == MANY


def test_the_starter_goes_when_it_is_quiet(desk: Desk) -> None:
    """It leaves no process and no mark behind, and comes again when it is needed."""
    transport = desk.connect()
    for key in KEYS[:2]:
        desk.submit(transport, [key], COUNTED)
        first = desk.starter()
        until(lambda: not Room(desk.home.root).starter())
        until(partial(_gone, first))
        assert Room(desk.home.root).keys() == []
    assert desk.ended() == 2


def test_scripts_hear_the_signals_that_the_starter_waits_for(desk: Desk) -> None:
    """A script inherits neither a blocked nor an ignored signal of the starter's."""
    text = "grep -E 'Sig(Blk|Ign)' /proc/self/status > ../signals"
    desk.submit(desk.connect(), KEYS[:1], text)
    until(lambda: desk.ended() == 1)
    masks = [int(mask, 16) for mask in (desk.path / "signals").read_text().split()[1::2]]
    meant = (1 << signal.SIGCHLD - 1) | (1 << signal.SIGUSR1 - 1)
    assert [0, 0] == [mask & meant for mask in masks]


def test_a_starter_beside_a_living_one_goes_at_once(tmp_path: Path) -> None:
    """Two agents that find none at the same moment make two; one begins runners."""
    home = make_home(tmp_path)
    room = Room(home.root)
    room.put("s-1", 1)
    room.appoint()
    parent = os.getppid()
    _rename(room, pid=parent, process_start=process.started_at(parent))
    before = time.monotonic()

    def work() -> None:
        starter.start_all(home)
        (tmp_path / "gone").touch()

    process.detach(work)
    until((tmp_path / "gone").exists)
    assert time.monotonic() - before < starter.LINGER_SECONDS
    assert room.keys() == [("s-1", 1)]
