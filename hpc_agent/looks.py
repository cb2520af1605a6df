"""The verb look: what is true at the centre about some jobs. It changes nothing."""

import os
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from hpc_agent import cards, reading
from hpc_agent.home import Home
from hpc_agent.listing import SCHEDULERS, Listing, Wanted, keeps_history, listing
from hpc_agent.schedulers import words
from hpc_agent.schedulers.words import Job

COMPUTE = "compute"
_ASKED_ABOUT_OTHERS = "the scheduler was asked a moment ago, about others"
_NEVER_COUNTED = (
    "the scheduler has not counted to %s, its next job is %d: it has lost its memory, "
    "or this is another machine's job"
)
_SHORTEST_CUT = 8  # shorter names are never cut, so a beginning of this length may be the name


class Subject(NamedTuple):
    """What a look is about; `scheduler_id` None: found by name and directory."""

    ref: str
    name: str
    directory: str
    kind: str
    scheduler_id: Optional[str]


class Word(NamedTuple):
    """What a listing says of one subject."""

    sight: str
    reason: Optional[str] = None
    problem: str = ""


def look(home: Home, subjects: List[Subject]) -> List[Dict[str, Any]]:
    """Look at all subjects, in their order, with at most one query to the scheduler."""
    ids = [subject.scheduler_id for subject in subjects if subject.scheduler_id]
    chains = {subject.name for subject in subjects if subject.kind == COMPUTE}
    # By name also where the id is known: how the successor ended may be in the history alone. It
    # takes names with commas in between, so a name with one cannot be asked for.
    wanted = Wanted(ids, sorted(name for name in chains if "," not in name))
    asks = any(subject.scheduler_id or subject.kind == COMPUTE for subject in subjects)
    listed = listing(home, wanted) if asks else Listing(time.time())
    return [_look(home, subject, listed) for subject in subjects]


def _look(home: Home, subject: Subject, listed: Listing) -> Dict[str, Any]:
    word = _word(home, subject, listed)
    card, card_problem = cards.run_card(subject.directory)
    problems = [listed.problem or word.problem, card_problem]
    return {
        "ref": subject.ref,
        "at": listed.at,
        "sight": word.sight,
        "reason": word.reason,
        "scheduler_alive": listed.alive,
        "others": _others(home, subject, listed),
        "newest": _newest(home, subject, listed),
        "run_card": card,
        "output_tail": cards.output_tail(subject.directory, subject.name),
        "free_bytes": cards.free_bytes(subject.directory),
        "problem": "; ".join(problem for problem in problems if problem) or None,
    }


def _word(home: Home, subject: Subject, listed: Listing) -> Word:
    if listed.problem:
        return Word(words.UNKNOWN)
    if subject.scheduler_id:
        return _word_by_id(home, subject.scheduler_id, listed)
    if subject.kind != COMPUTE:
        return Word(words.UNKNOWN, None, "a post-processing job is known by its scheduler id only")
    return _word_by_place(home, subject, listed)


def _word_by_id(home: Home, scheduler_id: str, listed: Listing) -> Word:
    scheduler = SCHEDULERS[home.scheduler]
    key = scheduler.job_key(scheduler_id)
    found = [job for job in listed.jobs if scheduler.job_key(job.id) == key]
    live = [job for job in found if job.sight in words.LIVE]
    if found:
        return Word((live or found)[0].sight, (live or found)[0].reason)
    if keeps_history(scheduler) and scheduler_id not in listed.ids:
        return Word(words.UNKNOWN, None, _ASKED_ABOUT_OTHERS)
    if listed.counted is not None and key.isdigit() and int(key) >= listed.counted:
        return Word(words.UNKNOWN, None, _NEVER_COUNTED % (key, listed.counted))
    return Word(words.ABSENT)


def _word_by_place(home: Home, subject: Subject, listed: Listing) -> Word:
    sure, unsure = _namesakes(home, subject, listed.jobs)
    live = [job for job in sure if job.sight in words.LIVE]
    if unsure or len(live) > 1:
        return Word(words.UNKNOWN, None, "several jobs could be the one that is meant")
    if live:
        return Word(live[0].sight)
    if not sure:
        return _word_of_none(home, subject, listed)
    return _word_of_newest(home, sure)


def _word_of_none(home: Home, subject: Subject, listed: Listing) -> Word:
    """Absent only where the history was asked for this very name, or where there is none."""
    if keeps_history(SCHEDULERS[home.scheduler]) and subject.name not in listed.names:
        return Word(words.UNKNOWN, None, _ASKED_ABOUT_OTHERS)
    return Word(words.ABSENT)


def _word_of_newest(home: Home, ended: List[Job]) -> Word:
    """Take the newest of the jobs that ended here: earlier ones are earlier parts of the chain."""
    job_key = SCHEDULERS[home.scheduler].job_key
    endings = {(job.sight, job.reason) for job in ended}
    if len(endings) == 1:
        return Word(*endings.pop())
    if not all(job_key(job.id).isdigit() for job in ended):
        return Word(words.UNKNOWN, None, "several jobs of this name ended, in different ways")
    newest = max(ended, key=lambda job: int(job_key(job.id)))
    return Word(newest.sight, newest.reason)


def _others(home: Home, subject: Subject, listed: Listing) -> Optional[bool]:
    """Tell whether another job of this name and directory lives; None when nobody knows."""
    if listed.problem or subject.kind != COMPUTE:
        return None
    job_key = SCHEDULERS[home.scheduler].job_key
    own = job_key(subject.scheduler_id) if subject.scheduler_id else None
    sure, unsure = _namesakes(home, subject, [job for job in listed.jobs if job_key(job.id) != own])
    if any(job.sight in words.LIVE for job in sure):
        return True
    doubtful = [job for job in sure + unsure if job.sight not in (words.ENDED, words.ABSENT)]
    return None if doubtful else False


def _newest(home: Home, subject: Subject, listed: Listing) -> Optional[str]:
    """Tell how the newest job of this name and directory ended that is later than the subject.

    Later by number, as every scheduler counts its jobs up. None when there is none, when it has
    not ended, or when nobody can tell.
    """
    if listed.problem or subject.kind != COMPUTE:
        return None
    job_key = SCHEDULERS[home.scheduler].job_key
    own = job_key(subject.scheduler_id) if subject.scheduler_id else "0"
    number = reading.whole(own)
    if number is None:
        return None
    sure, _ = _namesakes(home, subject, listed.jobs)
    later = [(reading.whole(job_key(job.id)) or 0, job) for job in sure]
    later = [pair for pair in later if pair[0] > number]
    if not later:
        return None
    newest = max(later, key=lambda pair: pair[0])[1]
    return newest.reason if newest.sight == words.ENDED else None


def _namesakes(home: Home, subject: Subject, jobs: Sequence[Job]) -> Tuple[List[Job], List[Job]]:
    """Find the jobs that are of this name and directory, and those that might be."""
    cut = SCHEDULERS[home.scheduler].NAMES_MAY_BE_CUT
    place = os.path.realpath(subject.directory)
    sure: List[Job] = []
    unsure: List[Job] = []
    for job in jobs:
        whole = job.name == subject.name
        part = cut and len(job.name) >= _SHORTEST_CUT and subject.name.startswith(job.name)
        here = job.directory is None or os.path.realpath(job.directory) == place
        if here and (whole or part):
            (sure if whole and job.directory is not None else unsure).append(job)
    return sure, unsure
