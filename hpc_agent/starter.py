"""The starter: the one process of a login on a host that begins runners, a few at a time.

It belongs to no session: the agent that needs it makes it, later agents ring it, and it ends when
nobody has waited for a while. It may be killed at any moment: runners go on without it, and who
waits is begun by the next starter.
"""

import os
import select
import signal
import time
from typing import List, Set

from hpc_agent import process, runner
from hpc_agent.home import Home
from hpc_agent.waiting import Key, Room

MOST_RUNNERS = 8  # scripts at once, for one login on one login node
LINGER_SECONDS = 2.0  # a burst of submits makes one starter, not one each
_RECEIPTS_SECONDS = 2.0  # so long at most do scripts wait for the receipts of others
_PAUSE_SECONDS = 0.2  # without a ring: the receipts have left; some are written in that time
_LOOK_SECONDS = 1.0  # without a ring: another agent's was lost, or a fork was refused
_BELL = signal.SIGUSR1
_HEARD = (signal.SIGCHLD, _BELL)
_MANY = 4096


def ring(home: Home) -> None:
    """Have whoever waits begun: by the starter, or by a new one. Returns before that has happened.

    It forks: only for a process without threads. An error is no loss, see the module `waiting`.
    """
    pid = Room(home.root).starter().get("pid")
    try:
        if pid:
            os.kill(pid, _BELL)
        else:
            process.detach(lambda: start_all(home))
    except OSError:
        return


def start_all(home: Home) -> None:
    """Begin the runner of everybody who waits; returns when it is quiet, or another one does it."""
    ears = _Ears()  # before the bell has a name
    room = Room(home.root)
    while room.appoint():
        _Starter(home, room).work(ears)
        room.resign()
        if not room.keys():  # who came while we resigned saw us and made no other starter
            return


class _Ears:
    """Hear the bell and the end of runners, also what came while nobody listened."""

    def __init__(self) -> None:
        self._heard, told = os.pipe()
        for descriptor in (self._heard, told):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(told)
        for number in _HEARD:
            signal.signal(number, lambda *_: None)  # the pipe tells

    def wait(self, seconds: float) -> Set[int]:
        """Wait for signals, at most so long; tells which have come."""
        select.select([self._heard], [], [], seconds)
        try:
            return set(os.read(self._heard, _MANY))
        except BlockingIOError:
            return set()

    def let_receipts_leave(self) -> None:
        """Wait while more and more is accepted: runners would take the processors from receipts."""
        end = time.monotonic() + _RECEIPTS_SECONDS
        while _BELL in self.wait(_PAUSE_SECONDS) and time.monotonic() < end:
            pass


class _Starter:
    """What the starter has in hand: its runners, and who waits for a place among them."""

    def __init__(self, home: Home, room: Room) -> None:
        self._home = home
        self._room = room
        self._runners: Set[int] = set()
        self._queue: List[Key] = []
        self._busy = time.monotonic()

    def work(self, ears: _Ears) -> None:
        """Work until it is quiet, or until this is not the starter any more."""
        ears.let_receipts_leave()
        while self._room.is_starter():
            self._begin()
            if self._quiet():
                return
            if _BELL in ears.wait(_LOOK_SECONDS):
                ears.let_receipts_leave()
            self._reap()

    def _quiet(self) -> bool:
        if self._runners or self._queue:
            self._busy = time.monotonic()
        return time.monotonic() - self._busy > LINGER_SECONDS

    def _begin(self) -> None:
        """Begin runners while there are places; a fork that is refused is tried again."""
        self._queue = self._queue or self._room.keys()
        while self._queue and len(self._runners) < MOST_RUNNERS:
            key = self._queue.pop(0)
            if self._room.take(key):
                try:
                    self._runners.add(_begun(self._home, key))
                except OSError:
                    self._room.put(*key)
                    return

    def _reap(self) -> None:
        while self._runners:
            pid = os.waitpid(-1, os.WNOHANG)[0]
            if not pid:
                return
            self._runners.discard(pid)


def _begun(home: Home, key: Key) -> int:
    """Fork a runner, which leads a session of its own; tells its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        _deaf()
        runner.run_attempt(home, *key)
    finally:
        os._exit(0)


def _deaf() -> None:
    """Hear nothing that is meant for the starter."""
    signal.set_wakeup_fd(-1)
    for number in _HEARD:
        signal.signal(number, signal.SIG_DFL)
