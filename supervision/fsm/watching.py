"""Executed: watch whether the new job starts, is cancelled by its owner, or is proven gone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from supervision.errors import MailUnavailable
from supervision.facts import (
    EndReason,
    FailureCause,
    JobKind,
    Look,
    RunCard,
    Sight,
    SimulationFacts,
    Supervision,
)
from supervision.fsm.looking import is_cleaned, kept, subject_by_name
from supervision.fsm.outcomes import (
    UNASKED,
    Desk,
    Notice,
    Outcome,
    by_login,
    done,
    failed,
    not_yet,
    unbraked,
    unreached,
)
from supervision.fsm.states import Event


def watch(rows: Sequence[Supervision], desk: Desk) -> list[Outcome]:
    """Watch executed rows until the new job starts, is cancelled, or is proven gone."""
    simulations = desk.simulations(rows)
    started = _started(rows, simulations, desk)
    outcomes = [
        done(row, Event.EXECUTE, "the new job started") for row in rows if row.id in started
    ]
    waiting = [row for row in rows if row.id not in started]
    free, braked = unbraked(waiting, desk, simulations)
    outcomes += [_watch_over(each.row, desk) or each for each in braked]
    for (site, login), group in by_login(free).items():
        subjects = [subject_by_name(row, simulations, row.scheduler_id) for row in group]
        try:
            looks = desk.transport.look(site, login, subjects)
        except UNASKED as error:
            outcomes += [
                _watch_over(row, desk) or unreached(row, desk, str(error)) for row in group
            ]
            continue
        outcomes += [_watched(row, seen, desk) for row, seen in zip(group, looks, strict=True)]
    return outcomes


def _started(
    rows: Sequence[Supervision], simulations: Mapping[str, SimulationFacts], desk: Desk
) -> set[str]:
    """Rows after whose act something started: the chain, or for post-processing the same task."""
    post = [row for row in rows if row.kind is JobKind.POST_PROCESSING]
    facts = desk.facts(post) if post else {}
    found = set()
    for row in rows:
        acted = row.acted_at or row.executed_at or row.created_at
        if row.kind is JobKind.POST_PROCESSING:
            starts = [job.at for job in facts[row.id].later_starts if not job.ended_well]
        else:
            last = simulations[row.simulation_uid].last_start_at
            starts = [] if last is None else [last]
        if any(at > acted for at in starts):
            found.add(row.id)
    return found


def _watched(row: Supervision, seen: Look, desk: Desk) -> Outcome:
    settings = desk.settings
    looked = kept(seen)
    until = desk.backoff(row.backoff, settings.watch_first, settings.watch_cap)
    if seen.sight is Sight.ENDED and seen.reason is EndReason.CANCELLED:
        return _told(Notice.NEW_JOB_CANCELLED, row, "the new job was cancelled by its owner", desk)
    if _is_gone(row, seen) and desk.now() - (row.executed_at or desk.now()) >= (
        settings.watch_gone_after
    ):
        gone = f"the new job {row.scheduler_id} is gone ({seen.sight})"
        if row.scheduler_id is None:
            gone = "run.card says OnQueue and no job of that name is there, twice"
        reason = f"{gone}, and nothing started"
        return failed(row, FailureCause.NEW_JOB_GONE, reason, looked=looked)
    over = _watch_over(row, desk)
    return over or not_yet(
        row, until, f"the new job is {seen.sight}", looked=looked, backoff=row.backoff + 1
    )


def _is_gone(row: Supervision, seen: Look) -> bool:
    """Ended otherwise than cancelled; or absent now and at the look before.

    Of a job whose id nobody told the end cannot be known, but that there is none can: a script that
    was killed between clean and submit leaves run.card waiting, as a chain that broke does.
    """
    if not seen.reachable:
        return False
    before = json.loads(row.looked) if row.looked else {}
    if row.scheduler_id is None:
        waited = (
            before.get("others") is False and RunCard(state=before.get("period_state")).on_queue
        )
        return waited and seen.others is False and seen.scheduler_alive and is_cleaned(seen)
    if seen.sight is Sight.ENDED:
        return True
    return seen.sight is Sight.ABSENT and seen.scheduler_alive and before.get("sight") == "absent"


def _watch_over(row: Supervision, desk: Desk) -> Outcome | None:
    """Nothing started and nothing is proven: after two weeks somebody is told, and it is over."""
    if desk.now() - (row.executed_at or row.created_at) < desk.settings.dispatched_fail:
        return None
    return _told(Notice.WATCH_OVER, row, "the script acted, but no new job was ever seen", desk)


def _told(notice: Notice, row: Supervision, sentence: str, desk: Desk) -> Outcome:
    try:
        desk.tell(notice, row, sentence)
    except MailUnavailable as error:
        return unreached(row, desk, str(error))
    return done(row, Event.EXECUTE, sentence)
