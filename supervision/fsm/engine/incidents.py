"""Many failures of one site: opened while deciding, then tended by the sweeper, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from db import dao_decisions, dao_incidents, dao_supervision
from db.types_incidents import Incident
from supervision import mails_incidents
from supervision import policy as rules
from supervision.errors import MailUnavailable
from supervision.facts import IncidentState, Mail, Mode, Policy, Supervision, UserPolicy
from supervision.fsm.engine.fates import fates_of
from supervision.fsm.engine.opening import Case
from supervision.fsm.engine.telling import send
from supervision.fsm.engine.tools import Tools
from supervision.mails_incidents import Told

_LOG = structlog.get_logger()

RULE: Final = "incident"
"""The name of the rule that puts jobs off while an incident is open."""

_LOOK_BACK: Final = 2
"""Windows that are looked back into: the news of a failure may be a window late."""

_READERS: Final = 20
"""Users told in one turn of the sweeper; the others follow in the next."""


def open_where_many_fail(tools: Tools, session: Session, policy: Policy, now: datetime) -> None:
    """Open an incident at each site where, by what the ledger holds, many simulations failed.

    In the transaction that decides, so that whoever is decided next finds it. What failed before
    the end of the site's last incident counts no more.
    """
    limit = policy.incident
    since = now - limit.window * _LOOK_BACK
    machines = dao_incidents.crowded(session, since, limit.count)
    there = dao_incidents.standing(session) if machines else {}
    by_site: dict[str, list[tuple[str, str]]] = {}
    for machine in machines:
        site = rules.site_named_by(policy, *machine)
        if site is not None and site not in there:
            by_site.setdefault(site, []).append(machine)
    closed = dao_incidents.last_closed(session) if by_site else {}
    for site, found in sorted(by_site.items()):
        failures = [each for it in found for each in dao_incidents.failures(session, it, since)]
        begin = closed.get(site)
        counted = [(it.at, it.simulation_uid) for it in failures if not begin or it.at > begin]
        simulations = rules.many_failed(counted, limit)
        if simulations:
            _open(tools, session, (site, simulations), limit.window, now)


def _open(
    tools: Tools, session: Session, crowd: tuple[str, int], window: timedelta, now: datetime
) -> None:
    site, simulations = crowd
    row = {
        "id": tools.ports.ids.new(),
        "site": site,
        "state": IncidentState.OPEN.value,
        "opened_at": now,
        "simulations": simulations,
        "window_seconds": int(window.total_seconds()),
        "batch": 0,
        "phase_batch": 1,
        "stepped_at": now,
        "sentence": f"{simulations} simulations failed together",
        "wake_at": now,
        "version": 0,
    }
    if dao_incidents.open_one(session, row):
        _LOG.error("incident.opened", site=site, simulations=simulations, incident_id=row["id"])


def join_cases(session: Session, cases: Iterable[Case], policy: Policy, now: datetime) -> None:
    """Note the decisions that an incident put off, in the transaction that writes them."""
    waiting = []
    for case in cases:
        if case.verdict.rule == RULE:
            place = rules.resolve(case.facts.simulation, case.facts.job, policy)
            waiting.append(
                {
                    "site": place.site,
                    "job_uid": case.row.job_uid,
                    "simulation_uid": case.row.simulation_uid,
                    "login": place.login,
                    "level": int(rules.level_of(place, policy, now)),
                    "at": case.facts.trigger.at,
                    "joined_at": now,
                }
            )
    dao_incidents.join(session, waiting)


def join_rows(session: Session, rows: Sequence[Supervision], now: datetime) -> None:
    """Note the rows that were about to act, and that an incident has put off; likewise."""
    waiting = [
        {
            "site": row.site,
            "job_uid": row.job_uid,
            "simulation_uid": row.simulation_uid,
            "login": row.login,
            "level": int(row.level),
            "at": row.created_at,
            "joined_at": now,
        }
        for row in rows
        if row.cause == RULE
    ]
    dao_incidents.join(session, waiting)


def tend(tools: Tools) -> None:
    """Take the incidents that are due one step further, and tell whom they concern.

    Steps are committed before anybody is told, and people are told before it is remembered that
    they were: perhaps twice, under the same Message-ID, never not at all.
    """
    policy = tools.policy
    with tools.database.write() as session:
        now = tools.database.now(session)
        due = dao_incidents.take_due(session, now, now + tools.settings.lease)
    for row in due:
        _step(tools, policy, row)
        _tell(tools, policy, row.id)


def close(tools: Tools, incident_id: str, actor: str, reason: str) -> bool:
    """End an incident by a person's word; who waits may go at once. False where it was over."""
    with tools.database.write() as session:
        now = tools.database.now(session)
        row = dao_incidents.locked(session, incident_id)
        if row is None or row.state == IncidentState.CLOSED.value:
            return False
        _end(session, row, (actor, reason), now)
        return True


def _step(tools: Tools, policy: Policy, claimed: Incident) -> None:
    with tools.database.write() as session:
        now = tools.database.now(session)
        row = dao_incidents.locked(session, claimed.id, claimed.version)
        if row is None or row.state == IncidentState.CLOSED.value:
            return
        waiting, joined_at = dao_incidents.waiting(session, row.id)
        last = dao_incidents.last_let_go(session, row)
        situation = rules.Situation(
            state=IncidentState(row.state),
            fates=fates_of(session, last, policy, now),
            stepped_at=row.stepped_at,
            quiet_since=joined_at or row.opened_at,
            waiting=waiting,
        )
        step = rules.next_step(situation, policy, now)
        if step is not None:
            _apply(session, row, step, now)


def _apply(session: Session, row: Incident, step: rules.Step, now: datetime) -> None:
    _LOG.warning("incident.stepped", incident_id=row.id, site=row.site, sentence=step.sentence)
    if step.state is IncidentState.CLOSED:
        _end(session, row, ("supervision", step.sentence), now)
        return
    row.batch += 1
    if step.state is IncidentState.RECOVERING or row.state != step.state.value:
        row.phase_batch = row.batch
    row.state, row.sentence, row.stepped_at = step.state.value, step.sentence, now
    session.flush()
    _let_go(session, row, step.admit, now)


def _end(session: Session, row: Incident, by: tuple[str, str], now: datetime) -> None:
    row.state, row.closed_at, row.wake_at = IncidentState.CLOSED.value, now, now
    row.closed_by, row.reason = by
    row.batch += 1
    row.version += 1
    session.flush()
    _let_go(session, row, None, now)


def _let_go(session: Session, row: Incident, count: int | None, now: datetime) -> None:
    """Admit jobs, and wake their decisions, and those of their rows that were about to act."""
    job_uids = dao_incidents.admit(session, row, count, now) if count != 0 else []
    if job_uids:
        dao_decisions.wake_jobs(session, job_uids, now)
        dao_supervision.wake_put_off(session, job_uids, RULE, now)


def _tell(tools: Tools, policy: Policy, incident_id: str) -> None:
    with tools.database.read() as session:
        row = session.get(Incident, incident_id)
        if row is None:
            return
        told = _about(tools, row, dao_incidents.waiting(session, row.id)[0])
        logins = dao_incidents.untold(session, row.id, _READERS)
        names = dao_incidents.names_of(session, row.id, logins)
    watched = _is_watched(policy, row.site)
    written = [
        mail
        for login in logins
        if not watched
        for mail in _to_user(rules.user_of(policy, login, row.site), told, names.get(login, []))
    ]
    operator = tools.addresses.operator
    if operator and row.told != _news(row):
        written.append(mails_incidents.to_operator(replace(told, to=operator)))
    sent = _sent(tools, written)
    _remember(tools, row, logins if sent else [], sent=sent)


def _about(tools: Tools, row: Incident, waiting: int) -> Told:
    return Told(
        id=row.id,
        to="",
        domain=tools.addresses.domain,
        site=row.site,
        opened_at=row.opened_at,
        simulations=row.simulations,
        window=timedelta(seconds=row.window_seconds),
        waiting=waiting,
        closed_by=row.closed_by,
        reason=row.reason,
    )


def _news(row: Incident) -> str:
    """What the operator hears of an incident: that it began, and that it is over."""
    return "closed" if row.state == IncidentState.CLOSED.value else "open"


def _is_watched(policy: Policy, site: str) -> bool:
    """Whether a site is only observed: nobody but the operator hears of us there."""
    found = rules.site_named(policy, site)
    return found is not None and found.mode is Mode.OBSERVE


def _to_user(
    user: UserPolicy | None, told: Told, names: Sequence[tuple[str, str]]
) -> Iterable[Mail]:
    if user is not None and user.level and user.wants_mail and user.mail_to:
        yield mails_incidents.to_user(replace(told, to=user.mail_to), user.login, names)


def _sent(tools: Tools, written: Sequence[Mail]) -> bool:
    """Send; False where the mail server is away: all of it comes again, with the same names."""
    for mail in written:
        try:
            send(tools, [mail])
        except MailUnavailable as error:
            _LOG.warning("incident.untold", mail_id=mail.message_id, problem=str(error))
            return False
    return True


def _remember(tools: Tools, row: Incident, logins: Sequence[str], *, sent: bool) -> None:
    """Note who was told, and when somebody has to come again; never, once it is over and told."""
    with tools.database.write() as session:
        now = tools.database.now(session)
        dao_incidents.note_told(session, row.id, logins, now)
        found = dao_incidents.locked(session, row.id, row.version)
        if found is None:
            return  # somebody ended it, or tends it, by now: their alarm stands
        if sent:
            found.told = _news(row)
        more = sent and bool(dao_incidents.untold(session, row.id, 1))
        over = sent and not more and found.state == IncidentState.CLOSED.value
        pause = timedelta() if more else tools.settings.rewake_first
        found.wake_at = None if over else now + pause
