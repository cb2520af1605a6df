"""Who is alive on this machine, told by /proc: host, boot, process start, session.

A process id alone proves nothing: it is used again. With the boot id and the start time it does.
"""

import os
import signal
import socket
from typing import Any, Callable, Dict, List, Optional

ALIVE = "alive"
DEAD = "dead"
UNKNOWN = "unknown"

_STATE, _SESSION, _START = 0, 3, 19  # fields of /proc/PID/stat after the command's name
_OVER = ("Z", "X")  # a zombie is dead: nothing of it will ever run
_INHERITED_DESCRIPTORS = 4096


def host() -> str:
    """Name this login node; nodes behind one alias have different names."""
    return socket.gethostname()


def boot_id() -> str:
    """Identify this boot of the machine; empty where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _stat(pid: int) -> Optional[List[str]]:
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()
    except OSError:
        return None


def started_at(pid: int) -> Optional[int]:
    """Tell when a process started, in clock ticks since boot; None when no such process lives."""
    stat = _stat(pid)
    return int(stat[_START]) if _lives(stat) and stat else None


def session_alive(session: int) -> bool:
    """Tell whether a process of this session lives, whose leader, a runner, is known to be dead.

    While it does, its number is given to nobody. Where a process lives that has the number as its
    own, the number was given away again, and that session is somebody else's.
    """
    if _lives(_stat(session)):
        return False
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    stats = [_stat(pid) for pid in pids]
    return any(stat and _lives(stat) and stat[_SESSION] == str(session) for stat in stats)


def _lives(stat: Optional[List[str]]) -> bool:
    return stat is not None and stat[_STATE] not in _OVER


def identity() -> Dict[str, Any]:
    """Say who this process is, so that another one can find out whether it still lives."""
    return {
        "host": host(),
        "boot_id": boot_id(),
        "pid": os.getpid(),
        "process_start": started_at(os.getpid()),
        "session": os.getsid(0),
    }


def fate(who: Dict[str, Any], *, with_session: bool = True) -> str:
    """Tell whether the process of an `identity` lives: alive, dead, or unknown.

    Dead is said only with proof: on its own host, where it or the whole boot is gone. With
    `with_session` a child that outlived it (a script whose runner was killed) counts as it.
    """
    if who.get("host") != host() or not who.get("boot_id"):
        return UNKNOWN
    if who["boot_id"] != boot_id():
        return DEAD
    start = started_at(int(who["pid"]))
    if start is not None and start == who["process_start"]:
        return ALIVE
    return ALIVE if with_session and session_alive(int(who["session"])) else DEAD


def detach(work: Callable[[], object]) -> None:
    """Have `work` done by a process that belongs to nobody: own session, no terminal, no pipes.

    Returns when that process exists. It never returns into the caller's code.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _let_go()
            work()
    finally:
        os._exit(0)


def _let_go() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.closerange(3, _INHERITED_DESCRIPTORS)
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
