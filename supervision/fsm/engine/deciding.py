"""decide: ledger rows to verdicts, and verdicts to supervisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy.orm import Session

from db import dao_decisions, dao_monitoring, dao_policy
from db.values_decisions import LedgerRow
from supervision import policy as rules
from supervision.errors import MailUnavailable
from supervision.facts import (
    DecisionFacts,
    Look,
    Policy,
    Sight,
    TriggerKind,
    Verdict,
    VerdictKind,
)
from supervision.fsm.engine import incidents
from supervision.fsm.engine.desk import EngineDesk, seen_periods
from supervision.fsm.engine.gathering import gather
from supervision.fsm.engine.letters import mails_of_verdict
from supervision.fsm.engine.opening import Case, Opened, open_supervisions
from supervision.fsm.engine.tools import Tools
from supervision.fsm.looking import look, place_of, with_look
from supervision.fsm.outcomes import Unasked
from supervision.logs_about import about
from supervision.replay import CRASH_LOOP, RACED, dump_looks, dump_question

_LOG = structlog.get_logger()

_RACED_AGAIN: Final = timedelta(seconds=1)
"""When to decide again, should another decision of the same moment have come first."""


def decide(tools: Tools, job_uids: Sequence[str]) -> None:
    """Decide what is awake in the ledger of these jobs, and whose failed attempts are due.

    Looks at centres are made by the site's own worker; the claim covers them. Raises
    DatabaseUnavailable when nothing could be claimed.
    """
    desk, cases = _claim(tools, sorted(set(job_uids)))
    alone = [case for case in cases if case.row.claim_count > tools.settings.claim_alone_above]
    together = [case for case in cases if case.row.claim_count <= tools.settings.claim_alone_above]
    for group in ([case] for case in alone):
        _settle_group(tools, desk, group)
    _settle_group(tools, desk, together)


def _settle_group(tools: Tools, desk: EngineDesk, cases: Sequence[Case]) -> None:
    _confirm(tools, desk, [case for case in cases if not case.verdict.ask])
    for site, asking in _by_site(desk, [case for case in cases if case.verdict.ask]).items():
        tools.workers.run(site, partial(_ask, tools, desk, asking))


def _claim(tools: Tools, job_uids: Sequence[str]) -> tuple[EngineDesk, list[Case]]:
    with tools.database.write() as session:
        now = tools.database.now(session)
        desk = EngineDesk(tools, now)
        rows = dao_decisions.claim(session, job_uids, now, now + tools.settings.lease)
        incidents.open_where_many_fail(tools, session, desk.policy, now)
        facts = gather(session, rows, desk.policy, now) if rows else {}
    return desk, [_case(row, facts[row.id], desk, now) for row in rows]


def _case(row: LedgerRow, facts: DecisionFacts, desk: EngineDesk, now: datetime) -> Case:
    if row.claim_count > desk.settings.crash_loop_above:
        crashed = _crashed(row, until=now + desk.policy.look_again)
        return Case(row=row, facts=facts, verdict=crashed, at=now)
    return Case(row=row, facts=facts, verdict=rules.decide(facts, desk.policy, now), at=now)


def _crashed(row: LedgerRow, *, until: datetime) -> Verdict:
    """Leave it for a day: what broke off the work may be over by then; six tries a day hurt nobody.

    Not for good: a database that goes away at the wrong moments breaks off claims like poison does,
    and nobody else would think of this job again.
    """
    tries = row.claim_count - 1
    sentence = f"deciding about job {row.job_uid} broke off {tries} times in a row."
    return rules.refuse(CRASH_LOOP, sentence, wake_at=until, tell_operator=True)


def _by_site(desk: EngineDesk, cases: Sequence[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(place_of(case.facts, desk.policy).site or "", []).append(case)
    return found


def _ask(tools: Tools, desk: EngineDesk, cases: Sequence[Case]) -> None:
    """Look at the centre for a site's cases and decide again; not to be seen is a look too."""
    with _about(cases):
        _looked_at(tools, desk, cases)


def _about(cases: Sequence[Case]) -> AbstractContextManager[None]:
    simulations = [case.row.simulation_uid for case in cases]
    return about(job_uid=[case.row.job_uid for case in cases], simulation_uid=simulations)


def _looked_at(tools: Tools, desk: EngineDesk, cases: Sequence[Case]) -> None:
    facts = {case.row.id: case.facts for case in cases}
    places = {name: place_of(each, desk.policy) for name, each in facts.items()}
    seen, problems = look(facts, places, tools.ports.transport)
    now = desk.now()
    looked = {
        name: with_look(facts[name], seen.get(name) or _blind(now, problems[name]))
        for name in facts
    }
    with tools.database.write() as session:
        dao_monitoring.store_seen_periods(session, seen_periods(looked.values()))
    _confirm(tools, desk, [_case(case.row, looked[case.row.id], desk, now) for case in cases])


def _blind(now: datetime, problem: Unasked) -> Look:
    return Look(at=now, reachable=False, problem=str(problem))


def _confirm(tools: Tools, desk: EngineDesk, cases: Sequence[Case]) -> None:
    """Tell whom the verdicts concern, then write them, with the supervisions that they open."""
    if not cases:
        return
    told = [_told(tools, desk, case) for case in cases]
    opened = tools.database.again(partial(_write, tools, desk.policy, told))
    tools.publish(opened.wakeups)
    for case in told:
        tools.meter.decided(case.verdict.kind.value, case.verdict.rule)
        with _about([case]):
            _LOG.info(
                "decision.made",
                trigger=case.row.kind,
                verdict=case.verdict.kind.value,
                rule=case.verdict.rule,
            )


def _write(tools: Tools, policy: Policy, told: Sequence[Case], session: Session) -> Opened:
    now = tools.database.now(session)
    dao_policy.store(session, policy.digest, tools.policy_texts, now)
    opened = open_supervisions(tools, session, told, policy, now)
    rows = [
        {**_row(case, case.row.id not in opened.raced, now), "policy_digest": policy.digest}
        for case in told
    ]
    dao_decisions.confirm(session, rows)
    incidents.join_cases(session, told, policy, now)
    opened.finish(session)
    return opened


def _told(tools: Tools, desk: EngineDesk, case: Case) -> Case:
    """Send the verdict's mails before it is written: perhaps twice, never not at all.

    Without a mail server the verdict waits: it is put off, and decided and told later.
    """
    known = case.row.told_at is not None and case.row.rule == case.verdict.rule
    if known or case.verdict.kind is VerdictKind.SUPERVISE:
        return case  # one incident, one mail: the same answer a day later is no news
    mails = mails_of_verdict(case.row.id, case.verdict, case.facts, desk.policy, tools.addresses)
    if not mails:
        return case
    try:
        with _about([case]):
            desk.send(mails)
    except MailUnavailable as error:
        until = tools.backoff(
            desk.now(),
            case.row.claim_count,
            tools.settings.transport_backoff_first,
            tools.settings.transport_backoff_cap,
        )
        sentence = f"{case.verdict.sentence} The owner could not be told yet: {error}"
        return replace(case, verdict=rules.defer(case.verdict.rule, sentence, until=until))
    return case


def _row(case: Case, settled: bool, now: datetime) -> dict[str, Any]:  # noqa: FBT001
    """The ledger row of a verdict; one that lost a race is decided again at once."""
    verdict = case.verdict
    if not settled:
        sentence = "another decision about this simulation was made at the same moment."
        verdict = rules.defer(RACED, sentence, until=now + _RACED_AGAIN)
    row, facts = case.row, case.facts
    found = _found_dead(case)
    return {
        "id": row.id,
        "version": row.version,
        "claimed_wake": row.wake_at,
        "verdict": verdict.kind.value,
        "rule": verdict.rule,
        "sentence": verdict.sentence,
        "facts": dump_question(facts, case.at),
        "decided_at": now,
        "for_want": verdict.for_want,
        "told_at": now if verdict.tell_owner or verdict.rule == CRASH_LOOP else row.told_at,
        "looks": dump_looks(facts.looks) if facts.looks else None,
        "deferrals": _deferrals(row, facts, verdict),
        "wake_at": verdict.wake_at,
        "not_before": verdict.wake_at,
        "failed_not_before": facts.job.first_at if found else row.failed_not_before,
        "failed_not_after": found.at if found else row.failed_not_after,
        "cause": _cause(case, found),
    }


def _deferrals(row: LedgerRow, facts: DecisionFacts, verdict: Verdict) -> str | None:
    """Count how often each rule put this trigger off; news that came before the time count not."""
    counts = dict(facts.deferrals)
    early = row.rule == verdict.rule and row.not_before is None
    if verdict.kind is VerdictKind.DEFER and not early:
        counts[verdict.rule] = counts.get(verdict.rule, 0) + 1
    return json.dumps(counts) if counts else None


def _found_dead(case: Case) -> Look | None:
    """The look by which a late job was found ended badly or absent, once policy believes it."""
    if case.facts.trigger.kind is not TriggerKind.LATE or not case.facts.looks:
        return None
    seen = case.facts.looks[-1]
    gone = seen.sight in {Sight.ENDED, Sight.ABSENT} and seen.reachable
    return seen if gone and case.verdict.kind is VerdictKind.SUPERVISE else None


def _cause(case: Case, found: Look | None) -> str | None:
    if found is None:
        return case.row.cause
    return found.reason.value if found.reason else found.sight.value
