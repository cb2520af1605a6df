"""Who is told what: from a notice about a supervision, or a verdict, to the mails of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from supervision import mails
from supervision import policy as rules
from supervision.facts import (
    DecisionFacts,
    Level,
    Mail,
    Mode,
    Policy,
    Supervision,
    TriggerKind,
    Verdict,
)
from supervision.fsm.outcomes import Notice, Report
from supervision.mails import Incident
from supervision.script import text_of

_OWNERS: Final[dict[Notice, Callable[[Incident], Mail]]] = {
    Notice.SCRIPT: mails.script_by_mail,
    Notice.ACTED: mails.acted,
    Notice.DECLINED: mails.declined,
    Notice.GAVE_UP: mails.gave_up,
    Notice.NEW_JOB_CANCELLED: mails.new_job_cancelled,
}
_OPERATORS: Final[dict[Notice, Callable[[Incident], Mail]]] = {
    Notice.GAVE_UP: mails.gave_up,
    Notice.NO_ANSWER: mails.unanswered,
    Notice.WATCH_OVER: mails.watch_over,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Addresses:
    """Where mails come from and where the operator reads: `domain` is the sender's."""

    domain: str
    operator: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """Something to tell about a supervision. `report` is what its script said last.

    `seen` and `at`: what its decision rests on, and when that was.
    """

    notice: Notice
    row: Supervision
    sentence: str
    simulation_name: str
    report: Report = field(default_factory=dict)
    seen: str | None = None
    at: datetime | None = None


def has_reader(notice: Notice, row: Supervision, policy: Policy, addresses: Addresses) -> bool:
    """Whether anybody would read about this; of what is only observed nobody hears."""
    if row.level is Level.NOTHING:
        return False
    owner = notice in _OWNERS and _owner(notice, row, policy)
    return bool(owner or (notice in _OPERATORS and addresses.operator))


def _owner(notice: Notice, row: Supervision, policy: Policy) -> str | None:
    """The owner's address; level 1 is its mail, so who chose it has asked for that one."""
    user = rules.user_of(policy, row.login, row.site)
    if user is None or not (user.wants_mail or notice is Notice.SCRIPT):
        return None
    return user.mail_to


def mails_of(letter: Letter, policy: Policy, addresses: Addresses) -> list[Mail]:
    """Make the mails of a notice: to the owner where it concerns and wants one, to the operator."""
    row = letter.row
    about = Incident.about(row, to="", domain=addresses.domain, sentence=_plainly(letter))
    site = rules.site_named(policy, row.site)
    about = replace(
        about,
        simulation_name=letter.simulation_name,
        report=letter.report,
        seen=letter.seen,
        at=letter.at or row.created_at,
        script=text_of(row.script) if letter.notice is Notice.SCRIPT else None,
        interpreter=site.interpreter if site else "ksh",
        hold_command=_hold(row.simulation_uid),
    )
    owner = _owner(letter.notice, row, policy)
    written = []
    if letter.notice in _OWNERS and owner:
        written.append(_OWNERS[letter.notice](replace(about, to=owner)))
    if letter.notice in _OPERATORS and addresses.operator:
        written.append(_OPERATORS[letter.notice](replace(about, to=addresses.operator)))
    return written


def _plainly(letter: Letter) -> str:
    """A script's sentence begins with how it ended, which the mail about it says already."""
    for word in ("declined: ", "failed: ", "not yet: "):
        if letter.sentence.startswith(word):
            return letter.sentence.removeprefix(word)
    return letter.sentence


def mails_of_verdict(
    decision_id: str,
    verdict: Verdict,
    facts: DecisionFacts,
    policy: Policy,
    addresses: Addresses,
) -> list[Mail]:
    """Make the mails that a verdict asks for; none where nobody is to be told or has an address."""
    place = rules.resolve(facts.simulation, facts.job, policy)
    about = Incident(
        id=decision_id,
        to="",
        domain=addresses.domain,
        simulation_uid=facts.simulation.uid,
        job_uid=facts.job.uid,
        sentence=verdict.sentence,
        simulation_name=facts.simulation.name,
        site=place.site,
        login=place.login,
        directory=place.directory,
        trigger=facts.trigger.kind,
        at=facts.trigger.at,
        scheduler_id=facts.job.scheduler_id,
        period=facts.job.period,
        hold_command=_hold(facts.simulation.uid),
    )
    site = rules.site_named(policy, place.site)
    watched = site is not None and site.mode is Mode.OBSERVE  # there nobody hears of us yet
    owner = None if watched else owner_of(policy, place.login, place.site)
    written = []
    if verdict.tell_owner and owner:
        slow = verdict.rule == "ask" and facts.trigger.kind is TriggerKind.LATE
        write = mails.slow if slow and verdict.wake_at else mails.refused
        written.append(write(replace(about, to=owner)))
    if verdict.tell_operator and addresses.operator:
        written.append(mails.unanswered(replace(about, to=addresses.operator)))
    return written


def owner_of(policy: Policy, login: str | None, site: str | None) -> str | None:
    """The owner's address, where there is one and mail is wanted."""
    user = rules.user_of(policy, login, site)
    return user.mail_to if user and user.wants_mail else None


def _hold(simulation_uid: str) -> str:
    return f"supervision hold simulation:{simulation_uid} --reason 'why'"
