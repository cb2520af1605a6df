"""whatif: the ledger's facts, judged by another policy, beside what was decided then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from db import dao_policy, dao_whatif
from supervision import policy as rules
from supervision.facts import DecisionFacts, Level, Place, Policy, Verdict, VerdictKind
from supervision.fsm.engine.letters import Addresses, mails_of_verdict
from supervision.fsm.engine.tools import Tools
from supervision.replay import UNREPLAYED, load_policy, load_question

LISTED: Final = 1000
"""So many changes are kept one by one; all are counted."""

NOTHING: Final = "nothing"
RESTART: Final = "restart"
SCRIPT: Final = "script-by-mail"
ASK: Final = "ask"
_HELP: Final = {Level.NOTHING: "observe", Level.MAIL: SCRIPT, Level.AUTOMATIC: RESTART}


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One answer: what would come of it, by which rule, in how many mails."""

    outcome: str = NOTHING
    rule: str = "-"
    mails: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A decision that comes out otherwise.

    `estimate`: an earlier one of the simulation did too, so these facts might never have been.
    """

    at: datetime
    job_uid: str
    simulation_uid: str
    kind: str
    site: str | None
    login: str | None
    before: Said
    after: Said
    estimate: bool


@dataclass(kw_only=True)
class Comparison:
    """The two policies side by side. `unread`: decisions whose facts or policy are not there.

    `users` are the logins whom a change is about. `by_rule` counts by (outcome and rule before,
    outcome and rule after), `by_site` restarts added and removed.
    """

    decisions: int = 0
    unread: int = 0
    restarts_before: int = 0
    restarts_after: int = 0
    mails_before: int = 0
    mails_after: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    estimates: int = 0
    asked: int = 0
    users: set[str] = field(default_factory=set)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_site: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)
    _diverged: set[str] = field(default_factory=set)

    def take(self, row: Any, place: Place, before: Said, after: Said) -> None:  # noqa: ANN401
        """Count one decision, the earlier ones first."""
        self.decisions += 1
        self.mails_before += before.mails
        self.mails_after += after.mails
        self.restarts_before += before.outcome == RESTART
        self.restarts_after += after.outcome == RESTART
        if (before.outcome, before.rule) == (after.outcome, after.rule):
            return
        change = Change(
            at=row.decided_at,
            job_uid=row.job_uid,
            simulation_uid=row.simulation_uid,
            kind=row.kind,
            site=place.site,
            login=place.login,
            before=before,
            after=after,
            estimate=row.simulation_uid in self._diverged,
        )
        self._count(change)

    def _count(self, change: Change) -> None:
        before, after = change.before, change.after
        self.changed += 1
        self.estimates += change.estimate
        self.asked += after.outcome == ASK
        self.users |= {change.login} if change.login else set()
        self.by_rule[_spelled(before), _spelled(after)] += 1
        if RESTART in {before.outcome, after.outcome} and before.outcome != after.outcome:
            name = "added" if after.outcome == RESTART else "removed"
            self.added += name == "added"
            self.removed += name == "removed"
            self.by_site[change.site or "-", name] += 1
        if before.outcome != after.outcome:
            self._diverged.add(change.simulation_uid)
        if len(self.changes) < LISTED:
            self.changes.append(change)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compare:
    """Asks what `after` says of the decisions since then, each on its own facts.

    `recorded` False: nothing was done then, so `before` is nothing (a rehearsal's ledger). Adds to
    `into`. Reads row by row; `progress` hears of each.
    """

    after: Policy
    into: Comparison
    since: datetime | None = None
    recorded: bool = True
    progress: Callable[[], object] = lambda: None

    def answer(self, tools: Tools) -> None:
        """Read and judge the ledger in the order of time."""
        with tools.database.read() as session:
            digests = dao_whatif.digests(session, self.since)
            stored = dao_policy.texts(session, digests)
            policies = {digest: load_policy(text) for digest, text in stored.items()}
            for row in dao_whatif.decided(session, self.since):
                self.progress()
                self._judge(row, policies.get(row.policy_digest or ""), tools.addresses)

    def _judge(self, row: Any, then: Policy | None, addresses: Addresses) -> None:  # noqa: ANN401
        if row.facts is None or then is None or row.rule in UNREPLAYED:
            self.into.unread += 1
            return
        question = load_question(row.facts)
        facts, now = question.facts, question.now
        place = rules.resolve(facts.simulation, facts.job, self.after)
        before = (
            _said(rules.decide(facts, then, now), facts, then, addresses)
            if self.recorded
            else Said()
        )
        after = _said(rules.decide(facts, self.after, now), facts, self.after, addresses)
        self.into.take(row, place, before, after)


def _said(verdict: Verdict, facts: DecisionFacts, policy: Policy, addresses: Addresses) -> Said:
    return Said(
        outcome=_outcome(verdict),
        rule=verdict.rule,
        mails=_mails(verdict, facts, policy, addresses),
    )


def _outcome(verdict: Verdict) -> str:
    if verdict.kind is VerdictKind.SUPERVISE:
        return _HELP[verdict.level if verdict.level is not None else Level.NOTHING]
    return ASK if verdict.ask else verdict.kind.value


def _mails(verdict: Verdict, facts: DecisionFacts, policy: Policy, addresses: Addresses) -> int:
    """Count who is told at once: of a restart its owner; how it ends nobody knows."""
    if verdict.kind is not VerdictKind.SUPERVISE:
        return len(mails_of_verdict("", verdict, facts, policy, addresses))
    place = rules.resolve(facts.simulation, facts.job, policy)
    user = rules.user_of(policy, place.login, place.site)
    if user is None or user.mail_to is None or not verdict.level:
        return 0
    return int(user.wants_mail or verdict.level is Level.MAIL)


def _spelled(said: Said) -> str:
    return NOTHING if said.outcome == NOTHING else f"{said.outcome} ({said.rule})"
