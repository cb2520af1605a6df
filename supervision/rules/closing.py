"""The last word (rule 15): a job of unknown kind waits for a sign, any other is supervised."""

from __future__ import annotations

from supervision.facts import Level, Verdict, VerdictKind
from supervision.rules.asking import level_after_looks
from supervision.rules.case import Case, defer, refuse
from supervision.rules.words import what_happened

_DOINGS = {
    Level.NOTHING: "only observed, nothing is done",
    Level.MAIL: "its owner gets the script by mail",
    Level.AUTOMATIC: "it is restarted",
}


def unknown_kind(case: Case) -> Verdict | None:
    """Wait a little for a message that tells compute from post-processing; without one, refuse."""
    if case.kind is not None:
        return None
    uid, wait = case.facts.job.uid, case.policy.unknown_kind_wait
    heard_for = case.now - case.facts.trigger.arrived_at
    if case.facts.deferrals.get("unknown-kind", 0) and heard_for >= wait:
        sentence = f"nothing told whether job {uid} is a compute job: it is left alone."
        return refuse("unknown-kind", sentence, tell_owner=True)
    sentence = f"nothing has told yet whether job {uid} is a compute job."
    return defer("unknown-kind", sentence, until=case.now + wait)


def supervise(case: Case) -> Verdict:
    """Help, as far as site and user allow; never silent."""
    level, submit_only = level_after_looks(case)
    what = what_happened(case.facts.job.uid, case.facts.trigger)
    where = f"{case.place.login} at {case.place.site}"
    return Verdict(
        kind=VerdictKind.SUPERVISE,
        rule="supervise",
        sentence=f"{what}; {_DOINGS[level]}, as {where}.",
        level=level,
        submit_only=submit_only,
    )
