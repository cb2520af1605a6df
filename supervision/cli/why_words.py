"""The sentences of `why`: a decision, the facts that it rests on, a supervision and its history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Final

from supervision.cli.common import short, utc
from supervision.facts import DecisionFacts, JobFacts, Look, SimulationFacts, Supervision, Verdict
from supervision.fsm.engine.reading import Explained, Step
from supervision.fsm.states import STATES
from supervision.replay import UNREPLAYED, load_question

_WIDTH: Final = 96
_VERDICTS: Final = {
    "supervise": "Help it",
    "refuse": "Leave it alone",
    "defer": "Wait",
    "merge": "It is looked after already",
}


def decision(each: Explained) -> list[str]:
    """Tell one row of the ledger."""
    times = "once" if each.occurrences == 1 else f"{each.occurrences} times"
    last = "" if each.last_at == each.first_at else f", last at {utc(each.last_at)}"
    cause = f" ({each.cause})" if each.cause else ""
    title = f"Job {each.job_uid}: {each.kind}{cause}, heard {times}, first at "
    lines = [fill(f"{title}{utc(each.first_at)}{last}.", _WIDTH)]
    if each.verdict is None:
        return [*lines, "  It is not decided yet.", ""]
    answer = _VERDICTS.get(each.verdict, each.verdict)
    lines += _indented(
        f'{answer} ({each.verdict}), by the rule "{each.rule}", decided at '
        f"{utc(each.decided_at)}: {each.sentence}"
    )
    if each.wake_at is not None:
        lines += _indented(f"It is looked at again at {utc(each.wake_at)}.")
    lines += _outcome(each)
    if each.facts is not None:
        lines += ["  The facts then:"]
        question = load_question(each.facts)
        lines += [_listed(fact) for fact in facts(question.facts)]
    return [*lines, *_replay(each), ""]


def _indented(text: str) -> list[str]:
    return [fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")]


def _listed(text: str) -> str:
    return fill(text, _WIDTH, initial_indent="    - ", subsequent_indent="      ")


def _outcome(each: Explained) -> list[str]:
    lines = []
    if each.restarted_at is not None:
        who = {"us": "by this service", "hand": "by hand"}.get(
            each.restarted_by or "", "by somebody"
        )
        lines.append(f"  It was restarted at {utc(each.restarted_at)}, {who}.")
    if each.recovered_at is not None:
        lines.append(f"  It recovered at {utc(each.recovered_at)}.")
    return lines


def _replay(each: Explained) -> list[str]:
    if each.rule in UNREPLAYED:
        return ["  There is nothing to replay: the service said this, not the rules."]
    if each.replays is None:
        return ["  There is nothing to replay: its facts or its policy are not kept."]
    if not each.replays:
        return _indented(alarm(each))
    lines = ["  Replayed on the same facts and policy: the same verdict."]
    if each.today is not None and not _same(each, each.today):
        lines += _indented(
            f"Today's policy would decide otherwise: {each.today.kind} by the rule "
            f'"{each.today.rule}": {each.today.sentence}'
        )
    return lines


def _same(each: Explained, verdict: Verdict) -> bool:
    return (each.verdict, each.rule) == (verdict.kind.value, verdict.rule)


def alarm(each: Explained) -> str:
    """Say that the ledger does not replay, as loudly as words can."""
    again = each.again
    gives = "nothing" if again is None else f'{again.kind} by "{again.rule}": {again.sentence}'
    return (
        f"!!! THE REPLAY DIFFERS !!! Job {each.job_uid}, {each.kind}: the ledger says "
        f'{each.verdict} by "{each.rule}", its own facts and policy give {gives} '
        "The row was altered, or the rules have changed without a new name. Please report it."
    )


def facts(known: DecisionFacts) -> list[str]:
    """Say what was known, a sentence each; what was not known or not so is left out."""
    return [
        *_of_job(known.job),
        *_of_simulation(known.simulation),
        *_of_history(known),
        *_of_brakes(known),
        *(f"the centre was asked at {utc(look.at)}: {seen(look)}" for look in known.looks),
    ]


def _of_job(job: JobFacts) -> Iterator[str]:
    kind = "a job of unknown kind" if job.kind is None else f"a {job.kind} job"
    period = "" if job.period is None else f", in period {job.period}"
    number = "" if job.scheduler_id is None else f", number {job.scheduler_id} at the scheduler"
    yield f"it is {kind}{period}{number}"
    if job.started_at is not None:
        ended = "" if job.ended_at is None else f" and ended well at {utc(job.ended_at)}"
        yield f"it started at {utc(job.started_at)}{ended}"
    if job.fatal_at is not None:
        yield f"it told of its failure at {utc(job.fatal_at)}"


def _of_simulation(simulation: SimulationFacts) -> Iterator[str]:
    if simulation.announced_at is None:
        yield f"the first message of simulation {simulation.uid} had not come in"
    else:
        name = simulation.name or simulation.uid
        where = f"{simulation.login} at {simulation.centre}/{simulation.machine}"
        yield f"the simulation is {name} ({short(simulation.uid)}) of {where}"
    if simulation.complete_at is not None:
        yield f"it was complete at {utc(simulation.complete_at)}"
    if simulation.deleted_at is not None:
        yield f"it was deleted at {utc(simulation.deleted_at)}"


def _of_history(known: DecisionFacts) -> Iterator[str]:
    if known.by_person:
        yield "a person asked for it"
    for other in known.later_starts[-1:]:
        yield f"job {short(other.uid)} of it started later, at {utc(other.at)}"
    for twin in known.replacements[-1:]:
        yield f"simulation {short(twin.uid)} of the same name began at {utc(twin.announced_at)}"
    if known.failures:
        periods = [str(each.period or "?") for each in known.failures]
        counted = f"{len(known.failures)}, in period {', '.join(periods)}"
        yield f"jobs that failed, this one included: {counted}"
    if known.handling is not None:
        row = known.handling
        yield f"supervision {short(row.id)} of it is {row.state}, attempt {row.attempt}"
    if known.busy_with is not None:
        yield f"another job of the simulation is being helped: {known.busy_with}"
    if known.post_open:
        yield "a post-processing failure of it is open"


def _of_brakes(known: DecisionFacts) -> Iterator[str]:
    for hold in known.holds:
        yield f"{hold.scope} is held by {hold.actor} since {utc(hold.since)}: {hold.reason}"
    begun = known.restarts
    if begun.site or begun.simulation or begun.user:
        counts = f"{len(begun.site)} at the site, {len(begun.simulation)} of the simulation"
        yield f"restarts within the caps' windows: {counts}, {len(begun.user)} of the user"
    if known.credential_expires_at is not None:
        yield f"the credential expires at {utc(known.credential_expires_at)}"


def seen(look: Look) -> str:
    """Say what a look showed, in one line."""
    if not look.reachable:
        return f"no answer ({look.problem})"
    words = [f"the job is {look.sight}" + (f", {look.reason}" if look.reason else "")]
    if look.others is not None:
        words.append("another one is in the queue" if look.others else "no other one is there")
    card = look.run_card
    if card is not None:
        words.append(f"run.card says {card.state}, period {card.period}")
    return "; ".join(words)


def supervision(row: Supervision, steps: Sequence[Step], *, chosen: bool) -> list[str]:
    """Tell how a supervision is, and, of the one that was asked for, everything that happened."""
    head = f"Supervision {row.id} is {row.state}: {STATES[row.state].true}."
    lines = [fill(f"{head} Attempt {row.attempt}, at {row.site}, as {row.login}.", _WIDTH)]
    if row.wake_at is not None:
        lines.append(f"  It is looked at again at {utc(row.wake_at)}.")
    if row.dispatch_error:
        lines += _indented(f"The last problem on the way to the centre: {row.dispatch_error}")
    if row.wanted is not None:
        lines += _indented(f"{row.wanted.actor} wants: {row.wanted.event} ({row.wanted.reason}).")
    shown = steps if chosen else steps[-1:]
    lines += [] if len(shown) == len(steps) else ["  The last thing that happened to it:"]
    for step in shown:
        lines += _indented(_step(step))
    return [*lines, ""]


def _step(step: Step) -> str:
    move = f"{step.source or 'nothing'} -> {step.target}"
    why = f": {step.reason}" if step.reason else ""
    return f"{utc(step.at)}  {move} ({step.event}, attempt {step.attempt}, {step.actor}){why}"
