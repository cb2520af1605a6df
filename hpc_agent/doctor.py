"""Whether an agent can do its work here: one finding for each thing that it needs.

It begins nothing and leaves nothing behind; the scheduler is asked as seldom as by everybody else.
"""

import os
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from hpc_agent import commands, compaction, journal, place
from hpc_agent import home as homes
from hpc_agent.home import Home, HomeError
from hpc_agent.listing import SCHEDULERS, Wanted, listing

GOOD, DOUBTFUL, BAD = "good", "doubtful", "bad"

OLDEST_PYTHON = (3, 6)
LEAST_FREE_BYTES = 16 * 1024 * 1024
MOST_SKEW_SECONDS = 5.0
_PROBE_BYTES = 64 * 1024
_NAMED = 3  # of damaged supervisions, so many are named
_FORGETFUL = ("tmpfs", "ramfs")


class Finding(NamedTuple):
    """What was found about one thing. For what is not good, the words say what to do."""

    check: str
    state: str
    words: str


def examine(path: str, directory: Optional[str] = None) -> List[Finding]:
    """Examine the login's home at `path`, and a submission directory where one is named."""
    try:
        home = homes.load(path)
    except HomeError as error:
        return [_python(), Finding("home", BAD, "%s: run `supervision agent install`" % error)]
    findings = [_python(), Finding("home", GOOD, "%s serves %s" % (home.root, home.login))]
    findings += [check(home) for check in _CHECKS]
    return findings + ([_libigcm(directory)] if directory else [])


def report(findings: List[Finding]) -> List[Dict[str, Any]]:
    """Spell findings as JSON objects."""
    return [dict(finding._asdict()) for finding in findings]


def _python() -> Finding:
    words = "%d.%d.%d at %s" % (*sys.version_info[:3], sys.executable)
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", BAD, words + ": 3.6 or later is needed, set agent_python")
    return Finding("python", GOOD, words)


def _file_system(home: Home) -> Finding:
    kind, where = place.file_system(home.root)
    words = "%s, mounted at %s" % (kind, where)
    if kind in _FORGETFUL:
        return Finding("file system", BAD, words + ": a reboot empties it; set another agent_home")
    return Finding("file system", GOOD, words)


def _link(home: Home) -> Finding:
    """Try what the journal rests on: a file that is made once, and then never again."""
    path = os.path.join(home.root, "tmp", "doctor-" + os.urandom(8).hex())
    workshop = os.path.join(home.root, "tmp")
    try:
        made = [journal.write_once(path, b"x" * _PROBE_BYTES, workshop) for _ in range(2)]
        whole = len(journal.read_bytes(path) or b"") == _PROBE_BYTES
    except (OSError, journal.JournalError) as error:
        words = "a file cannot be made and linked: %s: free some room, or set another agent_home"
        return Finding("link", BAD, words % error)
    finally:
        _drop(path)
    if made != [True, False] or not whole:
        return Finding("link", BAD, "link(2) is not exclusive here: set another agent_home")
    return Finding("link", GOOD, "a file is made once, is on disk, and is read back")


def _room(home: Home) -> Finding:
    status = os.statvfs(home.root)
    free = status.f_bavail * status.f_frsize
    words = "%d MB free, quotas aside" % (free // (1024 * 1024))
    if free < LEAST_FREE_BYTES:
        return Finding("room", BAD, words + ": make room, or no script can be accepted")
    return Finding("room", GOOD, words)


def _clock(home: Home) -> Finding:
    """Compare with the file server, whose times tell other hosts whether a runner lives."""
    path = os.path.join(home.root, "tmp", "doctor-" + os.urandom(8).hex())
    try:
        before = time.time()
        journal.write_synced(path, b"")
        apart = abs(os.stat(path).st_mtime - before)
    except OSError as error:
        return Finding("file clock", DOUBTFUL, "cannot be compared: %s" % error)
    finally:
        _drop(path)
    words = "this machine and its file server are %.0f s apart" % apart
    if apart > MOST_SKEW_SECONDS:
        return Finding("file clock", DOUBTFUL, words + ": tell the centre")
    return Finding("file clock", GOOD, words)


def _journal(home: Home) -> Finding:
    names = sorted(os.listdir(os.path.join(home.root, "journal")))
    damaged, unfinished = [], 0
    for name in names:
        try:
            unfinished += not compaction.finished(home.record(name))
        except (OSError, ValueError, KeyError, TypeError, journal.JournalError):
            damaged.append(name)
    words = "%d supervisions, %d of them under way or lately" % (len(names), unfinished)
    if damaged:
        named = ", ".join(damaged[:_NAMED])
        advice = (
            "cannot be read and count as unknown: %s (%d in all); look at what is written there"
        )
        return Finding("journal", BAD, "%s; %s" % (words, advice % (named, len(damaged))))
    return Finding("journal", GOOD, words)


def _opted_out(home: Home) -> Finding:
    out = home.opted_out(home.root)
    if out:
        return Finding("consent", DOUBTFUL, "%s is there: every script is declined" % out)
    return Finding("consent", GOOD, "no %s in the home" % homes.OPT_OUT_HOME)


def _ksh(home: Home) -> Finding:
    found = commands.find("ksh", commands.environment(home))
    if found is None:
        return Finding("ksh", BAD, "not found: libIGCM needs it, ask the centre or set --bin")
    return Finding("ksh", GOOD, found)


def _commands(home: Home) -> Finding:
    scheduler = SCHEDULERS[home.scheduler]
    argvs = scheduler.submit_command("f"), scheduler.cancel_command("1")
    names = [argv[0] for argv in (scheduler.queue_command(home.login), *argvs)]
    variables = commands.environment(home)
    missing = [name for name in names if commands.find(name, variables) is None]
    if missing:
        words = "not found: %s; name their folder: `supervision agent install --bin DIR`"
        return Finding("commands", BAD, words % ", ".join(missing))
    return Finding("commands", GOOD, "%s are there" % ", ".join(names))


def _scheduler(home: Home) -> Finding:
    listed = listing(home, Wanted([], []))
    if listed.problem:
        return Finding("scheduler", BAD, "%s: ask the centre" % " ".join(listed.problem.split()))
    if not listed.alive:
        words = "%s lists nothing and does not show that it is up" % home.scheduler
        return Finding("scheduler", DOUBTFUL, words)
    return Finding("scheduler", GOOD, "%s answers, %d jobs" % (home.scheduler, len(listed.jobs)))


def _libigcm(directory: str) -> Finding:
    found, problem = place.libigcm(directory)
    if problem:
        return Finding("libIGCM", BAD, problem)
    return Finding("libIGCM", GOOD, found)


def _drop(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


_CHECKS: List[Callable[[Home], Finding]] = [
    _file_system,
    _link,
    _room,
    _clock,
    _journal,
    _opted_out,
    _ksh,
    _commands,
    _scheduler,
]
