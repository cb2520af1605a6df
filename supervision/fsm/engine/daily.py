"""The operator's list of a day: what nobody else is told, and what waits for a person.

Built from the tables, on sets; sent once a day, whoever sweeps, however many do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from db import dao_daily, dao_holds, dao_letters
from db.dao_daily import Ended, Refusals, Span
from supervision import mails_operator
from supervision.errors import BrokerUnavailable
from supervision.fsm.engine.telling import tell_once
from supervision.fsm.engine.tools import Tools
from supervision.mails_operator import Section

_DAY: Final = timedelta(days=1)
_PARKED: Final = "credential:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """The list of a span of time. `day` is that of its end, UTC."""

    since: datetime
    until: datetime
    sections: tuple[Section, ...]

    @property
    def day(self) -> date:
        """The day that it is named after."""
        return self.until.date()

    @property
    def text(self) -> str:
        """The list as people read it, whole: a mail shows no more than 200 lines of a section."""
        return mails_operator.daily_text(self.sections, day=self.day, limit=None)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look at."""
        return not any(section.lines for section in self.sections)


@dataclass(frozen=True, kw_only=True, slots=True)
class Daily:
    """What is on the list now? `since` None: since the last one that was sent, else for a day."""

    since: datetime | None = None

    def answer(self, tools: Tools) -> Listed:
        """Read it; nothing is sent, and the next list holds it again."""
        with tools.database.read() as session:
            now = tools.database.now(session)
            since = self.since or dao_letters.covered_until(session) or now - _DAY
        return _listed(tools, Span(since=since, until=now))


def tell(tools: Tools) -> bool:
    """Send the list, where it is due and there is an operator; see `Engine.tell_daily`.

    A list with nothing on it is not sent. It ends a lease ago: what was decided before and is
    only being written now would else be on no list at all.
    """
    operator = tools.addresses.operator
    if operator is None:
        return False
    with tools.database.read() as session:
        now = tools.database.now(session)
        about = f"daily.{now.date().isoformat()}"
        due = now >= datetime.combine(now.date(), tools.settings.daily_at, UTC)
        if not due or dao_letters.told(session, [about]):
            return False
        until = now - tools.settings.lease
        since = dao_letters.covered_until(session) or until - _DAY
    listed = _listed(tools, Span(since=since, until=until))
    mail = mails_operator.daily(
        listed.sections, day=now.date(), to=operator, domain=tools.addresses.domain
    )
    return tell_once(tools, about, [] if listed.is_empty else [mail], covers_until=until)


def _listed(tools: Tools, span: Span) -> Listed:
    dead = _dead_letters(tools)
    with tools.database.read() as session:
        now = tools.database.now(session)
        sections = (
            *_refused(session, span),
            *_ended(session, span),
            _parked(session, now),
            _mails(session, span),
            _dead(session, span, dead),
        )
    return Listed(since=span.since, until=span.until, sections=sections)


def _refused(session: Session, span: Span) -> tuple[Section, ...]:
    return (
        Section(
            title="Refused for want of something that may still come",
            advice="Looked at again daily until they are too old: mend what the sentence names.",
            lines=tuple(map(_refusal, dao_daily.wants(session, span))),
        ),
        Section(
            title="Too old when they were decided",
            advice="Nothing was done. Ask why they came late; retry those that still matter.",
            lines=tuple(map(_refusal, dao_daily.ruled(session, span, "too-old"))),
        ),
        Section(
            title="Failures of users at level 0, and of unknown users",
            advice="Nothing was done. Whoever wants help tells you the level to record.",
            lines=tuple(map(_refusal, dao_daily.ruled(session, span, "consent"))),
        ),
    )


def _ended(session: Session, span: Span) -> tuple[Section, ...]:
    return (
        Section(
            title="Expired",
            advice="Given up: nobody used the mailed script, or the centre never answered.",
            lines=tuple(map(_end, dao_daily.expired(session, span))),
        ),
        Section(
            title="Declined at the centre",
            advice="Nothing was touched there, and the owner was told; often nothing is to do.",
            lines=tuple(map(_end, dao_daily.declined(session, span))),
        ),
    )


def _refusal(found: Refusals) -> str:
    jobs = "1 job" if found.jobs == 1 else f"{found.jobs} jobs"
    who = f"{found.login} at {found.centre}/{found.machine}" if found.login else "nobody's so far"
    name = found.name or "a simulation"
    return f"{name} ({found.simulation_uid}), {who}, {jobs}: {found.sentence}"


def _end(found: Ended) -> str:
    name = found.name or "a simulation"
    return (
        f"{name} ({found.simulation_uid}), {found.login} at {found.site}, "
        f"supervision {found.id}: {found.reason or 'no reason is kept'}"
    )


def _parked(session: Session, now: datetime) -> Section:
    held = [
        f"{hold.scope.removeprefix(_PARKED)}, since {hold.since:%Y-%m-%d %H:%M} UTC: {hold.reason}"
        for hold in dao_holds.all_holds(session)
        if hold.scope.startswith(_PARKED)
    ]
    expired = [
        f"{each.site}/{each.login}: its credential expired at {each.expires_at:%Y-%m-%d %H:%M} UTC"
        for each in dao_daily.expired_credentials(session, now)
    ]
    return Section(
        title="Parked logins",
        advice=(
            "Their work waits for a new credential; see: supervision doctor. One that was refused "
            "is shown again after: supervision release credential:SITE/LOGIN --reason ..."
        ),
        lines=(*held, *expired),
    )


def _mails(session: Session, span: Span) -> Section:
    return Section(
        title="Mails that the mail server refused",
        advice="They count as told. Correct the address in the settings, and tell its owner.",
        lines=tuple(
            f"{each.recipient}: {each.subject}: {each.problem}"
            for each in dao_daily.refused_mails(session, span)
        ),
    )


def _dead(session: Session, span: Span, queues: tuple[str, ...]) -> Section:
    broken = dao_daily.broken_messages(session, span)
    return Section(
        title="Dead letters",
        advice="Messages that nobody could process. Nothing follows from them until you look.",
        lines=(*queues, *(f"message {uid}, code {code}: {error}" for uid, code, error in broken)),
    )


def _dead_letters(tools: Tools) -> tuple[str, ...]:
    try:
        counts = tools.dead_letters()
    except BrokerUnavailable as error:
        return (f"the broker cannot be asked: {error}",)
    return tuple(f"{queue} holds {count}" for queue, count in sorted(counts.items()) if count)
