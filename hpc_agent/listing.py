"""What the scheduler says of the login's jobs: asked for all at once, seldom, and remembered."""

import json
import os
import time
from types import ModuleType
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from hpc_agent import commands, journal
from hpc_agent.home import Home
from hpc_agent.schedulers import ccc, loadleveler, pbs, sandbox, slurm
from hpc_agent.schedulers.words import Job, ListingError
from hpc_agent.turn import turn

SCHEDULERS: Dict[str, ModuleType] = {
    "slurm": slurm,
    "ccc": ccc,
    "loadleveler": loadleveler,
    "pbs": pbs,
    "sandbox": sandbox,
}

TURN_PATIENCE_SECONDS = 20.0  # with a query of our own after it, still less than a session waits


class Wanted(NamedTuple):
    """What the history is to be asked for, where the queue does not list it."""

    ids: List[str]
    names: List[str]


class Listing(NamedTuple):
    """One query's outcome. With a `problem` nothing is known, and `jobs` means nothing.

    `at` is when it was asked, in seconds since 1970 on this machine; `ids` and `names` are what
    the history was asked for; `alive` tells whether the scheduler showed that it answers;
    `counted` is the number that its next job will have, where it tells.
    """

    at: float
    jobs: Sequence[Job] = ()
    ids: Sequence[str] = ()
    names: Sequence[str] = ()
    alive: bool = False
    counted: Optional[int] = None
    problem: str = ""


def listing(home: Home, wanted: Wanted) -> Listing:
    """List the login's jobs, and among them or absent each that is wanted.

    At most one query in the home's interval, whichever session asks: within it, the last one's
    answer is given again, with the time at which it was asked.
    """
    path = os.path.join(home.root, "queue.json")
    with turn(os.path.join(home.root, "queue.lock"), TURN_PATIENCE_SECONDS) as ours:
        remembered = _remembered(path)
        if 0 <= time.time() - remembered.at < home.query_interval_seconds:
            return remembered
        if not ours:
            return Listing(time.time(), problem="another session is asking the scheduler")
        fresh = _query(home, wanted)
        _remember(path, fresh)
        return fresh


def _query(home: Home, wanted: Wanted) -> Listing:
    at = time.time()
    scheduler = SCHEDULERS.get(home.scheduler)
    if scheduler is None:
        return Listing(at, problem="no such scheduler: %s" % home.scheduler)
    try:
        jobs = _queue(home, scheduler)
        missing = _missing(scheduler, jobs, wanted.ids)
        past = _history(home, scheduler, Wanted(missing, wanted.names))
        found = jobs + _unlisted(scheduler, jobs, past)
        signs = _signs(home, scheduler, jobs, missing)
        return Listing(at, found, wanted.ids, wanted.names, signs.alive, signs.counted)
    except ListingError as error:
        return Listing(at, problem=str(error))


def _queue(home: Home, scheduler: ModuleType) -> List[Job]:
    jobs: List[Job] = scheduler.parse_queue(
        _answer(home, scheduler.queue_command(home.login)), home.login
    )
    return jobs


def _missing(scheduler: ModuleType, jobs: List[Job], ids: List[str]) -> List[str]:
    keys = {scheduler.job_key(job.id) for job in jobs}
    return [job_id for job_id in ids if scheduler.job_key(job_id) not in keys]


def _unlisted(scheduler: ModuleType, jobs: List[Job], past: List[Job]) -> List[Job]:
    """Drop from the history what the queue lists too, and what it tells twice."""
    keys = {scheduler.job_key(job.id) for job in jobs}
    return list({job.id: job for job in past if scheduler.job_key(job.id) not in keys}.values())


def keeps_history(scheduler: ModuleType) -> bool:
    """Tell whether ended jobs can be asked for after they left the queue's list."""
    return scheduler.history_command([]) is not None


def _history(home: Home, scheduler: ModuleType, wanted: Wanted) -> List[Job]:
    """Ask for past jobs; raises ListingError where there are accounts that do not answer."""
    if not keeps_history(scheduler):
        return []
    # a message may carry any text as an id, and one that is no number spoils the whole question
    ids = [job_id for job_id in wanted.ids if scheduler.job_key(job_id).isdigit()]
    questions = [scheduler.history_command(ids)] if ids else []
    if wanted.names:
        questions += [scheduler.history_by_name_command(home.login, wanted.names)]
    return [job for command in questions for job in _told(home, scheduler, command)]


def _told(home: Home, scheduler: ModuleType, command: List[str]) -> List[Job]:
    """Run one question to the history. A site without accounts has no news for us."""
    if not commands.there(home, command[0]):
        return []
    try:
        jobs: List[Job] = scheduler.parse_history(_answer(home, command))
    except ListingError as error:
        if scheduler.no_history(str(error)):
            return []
        raise
    return jobs


class _Signs(NamedTuple):
    alive: bool
    counted: Optional[int]


def _signs(home: Home, scheduler: ModuleType, jobs: List[Job], missing: List[str]) -> _Signs:
    """Tell whether the scheduler lives; it is asked only where its list does not show that."""
    command = scheduler.alive_command()
    wants_number = scheduler.COUNTS_ALOUD and missing
    if command is None or (jobs and not wants_number):
        return _Signs(True, None)
    text = _answer(home, command)
    counted = scheduler.counted(text) if scheduler.COUNTS_ALOUD else None
    return _Signs(bool(jobs) or bool(scheduler.alive(text)), counted)


def _answer(home: Home, argv: List[str]) -> str:
    done = commands.run(home, argv)
    if done.problem:
        raise ListingError(done.problem)
    if done.exit_code:
        said = (done.stderr or done.stdout).strip()[:200]
        raise ListingError("%s ended with %d: %s" % (argv[0], done.exit_code, said))
    return done.stdout


def _remember(path: str, fresh: Listing) -> None:
    """Keep a listing. The draft lies where drafts are tidied: who is killed here leaves it."""
    draft = os.path.join(os.path.dirname(path), "tmp", "queue-%d" % os.getpid())
    try:
        with open(draft, "w", encoding="ascii") as stream:
            json.dump(fresh._asdict(), stream)
        os.replace(draft, path)
    finally:
        if os.path.exists(draft):  # a full disk kept half of it
            os.unlink(draft)


def _remembered(path: str) -> Listing:
    try:
        value: Dict[str, Any] = journal.read_json(path) or {"at": 0.0}
        jobs = [Job(*row) for row in value.get("jobs", [])]
        return Listing(**dict(value, jobs=jobs))
    except (journal.JournalError, TypeError):
        return Listing(0.0)
