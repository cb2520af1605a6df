"""What silence needs before anybody acts: another word from the job, or a look (rules 13 and 14).

A look can refuse, defer or be silent; it never restarts anything by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from supervision.facts import Level, Look, Sight, Silence, TriggerKind, Verdict
from supervision.rules.case import Case, defer, merge, refuse, spoken_at
from supervision.rules.looks import Finding, Seen, find, seen_in, unknown_since
from supervision.rules.words import TRIGGERS, utc

ASK_AGAIN: Final = timedelta(minutes=1)
"""When the rules are asked again, should the look that they wanted never have come about."""

_SILENT: Final = frozenset({TriggerKind.LATE, TriggerKind.STALLED, TriggerKind.COMMAND})


def lone_command(case: Case) -> Verdict | None:
    """Let a failed command wait for the fatal that it belongs to; alone it may mean nothing."""
    trigger, uid = case.facts.trigger, case.facts.job.uid
    if trigger.kind is not TriggerKind.COMMAND:
        return None
    if case.facts.fatal_of_job:
        return None if case.facts.before_acting else _echo(uid)
    until = trigger.arrived_at + case.policy.command_wait
    if case.now < until:
        return defer(
            "lone-command", f"job {uid} reported a failed command, no more yet.", until=until
        )
    if case.may_ask:
        return None
    return refuse("lone-command", f"job {uid} reported a failed command, and no failure after it.")


def ask(case: Case) -> Verdict | None:
    """Have the centre asked where the messages do not suffice, and weigh what was seen there."""
    if not _asks(case):
        return None
    finding = find(case)
    if finding is None:
        return _look(case, "the centre is asked how it is")
    return _WEIGHED[finding.seen](case, finding)


def level_after_looks(case: Case) -> tuple[Level, bool]:
    """Tell the level that the looks leave, and whether nothing must be cleaned.

    Only `mail` where all rests on a job being gone, or a chain being broken, and the site's
    `absent` or `stalled` does not let anybody act on that.
    """
    finding = find(case) if _asks(case) and case.facts.trigger.kind in _SILENT else None
    if finding is None or case.site is None:
        return case.level, False
    if finding.seen is Seen.IDLE:
        return _capped(case, case.site.stalled), True
    if finding.seen is Seen.GONE:
        return _capped(case, case.site.absent), False
    return case.level, False


def _asks(case: Case) -> bool:
    """A job of unknown kind is not asked about: nobody knows what to look for."""
    if not case.may_ask or case.kind is None:
        return False
    kind = case.facts.trigger.kind
    if kind is TriggerKind.FATAL:
        return case.level is Level.AUTOMATIC and case.facts.job.period is None
    return kind in _SILENT


def _capped(case: Case, silence: Silence) -> Level:
    return case.level if silence is Silence.ACT else min(case.level, Level.MAIL)


def _echo(uid: str) -> Verdict:
    return merge("lone-command", f"the failed command of job {uid} belongs to its fatal failure.")


def _look(case: Case, sentence: str) -> Verdict:
    what = f"job {case.facts.job.uid} {TRIGGERS[case.facts.trigger.kind]}; {sentence}."
    return replace(defer("ask", what, until=case.now + ASK_AGAIN), ask=True)


def _is_stale(look: Look, case: Case, good_for: timedelta) -> bool:
    return case.now - look.at >= good_for


def _alive(case: Case, finding: Finding) -> Verdict | None:
    if leaving := _leaving(case, finding):
        return leaving
    if _is_stale(finding.look, case, case.policy.look_apart):
        return _look(case, "the centre is asked again")
    seen = f"job {case.facts.job.uid} is {finding.look.sight}, seen at {utc(finding.look.at)}."
    if case.facts.trigger.kind is TriggerKind.LATE:
        delay = max(case.facts.job.warning_delay, case.policy.look_apart)
        return refuse("ask", seen, tell_owner=_is_news(case), wake_at=case.now + delay)
    # A failed command of a job that works on is over and done with; the others may yet break.
    lone = case.facts.trigger.kind is TriggerKind.COMMAND
    return refuse("ask", seen, wake_at=None if lone else case.now + case.policy.look_again)


def _leaving(case: Case, finding: Finding) -> Verdict | None:
    """Give a job that just said that it failed the time to leave; `grace` is made for that."""
    until = spoken_at(case.facts.trigger, case.policy) + case.policy.grace
    waiting = finding.look.sight in {Sight.QUEUED, Sight.HELD}
    fatal = case.facts.trigger.kind is TriggerKind.FATAL
    if not fatal or waiting or finding.look.at >= until:
        return None
    if case.now >= until:
        return _look(case, "the centre is asked again")
    return defer("ask", f"job {case.facts.job.uid} failed and is still leaving.", until=until)


def _is_news(case: Case) -> bool:
    """Whether the job was seen alive for the first time: its owner hears once that it is slow."""
    return sum(1 for look in case.facts.looks if seen_in(look, case) is Seen.ALIVE) == 1


def _other_alive(case: Case, finding: Finding) -> Verdict | None:
    # Where the scheduler id is not known, the other job may be the failed one itself.
    if finding.look.sight is Sight.UNKNOWN and (leaving := _leaving(case, finding)):
        return leaving
    sentence = f"another job of simulation {case.facts.simulation.uid} is queued or running."
    return _daily(case, finding, sentence)


def _completed(case: Case, finding: Finding) -> Verdict | None:
    return _daily(case, finding, f"job {case.facts.job.uid} ended well; its message is delayed.")


def _daily(case: Case, finding: Finding, sentence: str) -> Verdict:
    if _is_stale(finding.look, case, case.policy.look_apart):
        return _look(case, "the centre is asked again")
    return refuse("ask", sentence, wake_at=case.now + case.policy.look_again)


def _cancelled(case: Case, finding: Finding) -> Verdict | None:
    seen_at = utc(finding.look.at)
    sentence = f"job {case.facts.job.uid} was cancelled at the centre, seen at {seen_at}."
    return refuse("ask", sentence, tell_owner=True)


def _foreign(case: Case, finding: Finding) -> Verdict | None:
    card = finding.look.run_card
    now_of = card.simulation_uid if card else None
    sentence = f"the directory of {case.facts.simulation.uid} belongs to simulation {now_of} now."
    return refuse("ask", sentence, tell_owner=True)


def _bad_end(_case: Case, _finding: Finding) -> Verdict | None:
    return None


def _twice(case: Case, finding: Finding) -> Verdict | None:
    """Silent once two looks agree; a single one may have met the moment between two jobs."""
    if case.facts.trigger.kind is TriggerKind.FATAL:
        return None
    if finding.agreed_over(case.policy.look_apart):
        stale = _is_stale(finding.look, case, case.policy.look_again)
        return _look(case, "the centre is asked again") if stale else None
    until = finding.since + case.policy.look_apart
    if case.now >= until:
        return _look(case, "the centre is asked a second time")
    what = "no job of it is there" if finding.seen is Seen.IDLE else "it is gone"
    sentence = f"job {case.facts.job.uid}: {what}; one look more has to agree."
    return defer("ask", sentence, until=until)


def _unknown(case: Case, finding: Finding) -> Verdict | None:
    if case.facts.trigger.kind is TriggerKind.FATAL and finding.look.reachable:
        return None
    blind = unknown_since(case)
    until = finding.look.at + _backoff(case, len(blind))
    if case.now >= until:
        return _look(case, "the centre is asked again")
    why = finding.look.problem or f"{case.place.site} could not tell how it is"
    verdict = defer("ask", f"job {case.facts.job.uid}: {why}.", until=until)
    return replace(verdict, tell_operator=_is_overdue(case, blind))


def _backoff(case: Case, times: int) -> timedelta:
    # The cap is reached long before the tenth doubling; without a bound the number outgrows time.
    doubled = case.policy.unreachable_delay * (1 << min(times - 1, 10))
    return min(doubled, case.policy.unreachable_cap)


def _is_overdue(case: Case, blind: tuple[Look, ...]) -> bool:
    """Whether it is the newest look that made the silence too long: so it is said once."""
    ages = [look.at - blind[-1].at >= case.policy.unreachable_tell for look in blind[:2]]
    return ages[0] and not ages[-1]


_WEIGHED: Final[dict[Seen, Callable[[Case, Finding], Verdict | None]]] = {
    Seen.ALIVE: _alive,
    Seen.OTHER_ALIVE: _other_alive,
    Seen.CANCELLED: _cancelled,
    Seen.FOREIGN: _foreign,
    Seen.COMPLETE: _completed,
    Seen.BAD_END: _bad_end,
    Seen.IDLE: _twice,
    Seen.GONE: _twice,
    Seen.UNKNOWN: _unknown,
}
