"""Dispatched: ask the agent how it is, and where it does not know, look whether it acted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from supervision import policy
from supervision.errors import MailUnavailable
from supervision.facts import (
    Answer,
    AnswerKind,
    CancelCause,
    DecisionFacts,
    FailureCause,
    Level,
    Look,
    SimulationFacts,
    Supervision,
)
from supervision.fsm.looking import a_job_lives, is_cleaned, kept, subject_by_name
from supervision.fsm.outcomes import (
    UNASKED,
    Desk,
    Notice,
    Outcome,
    by_login,
    done,
    failed,
    needless,
    not_yet,
    unbraked,
    unreached,
    wished,
)
from supervision.fsm.readings import read_answer
from supervision.fsm.states import Event, ExecutionStatus


def ask(rows: Sequence[Supervision], desk: Desk) -> list[Outcome]:
    """Ask how dispatched rows are: the agent at level 2, the facts at level 1."""
    mailed = [row for row in rows if row.level is Level.MAIL]
    facts = desk.facts(mailed) if mailed else {}
    outcomes = [_ask_facts(row, facts[row.id], desk) for row in mailed]
    sent = [row for row in rows if row.level is not Level.MAIL]
    if not sent:
        return outcomes
    simulations = desk.simulations(sent)
    free, braked = unbraked(sent, desk, simulations)
    outcomes += [_left(each, desk) for each in braked]
    wanted = [row for row in free if _is_wanted(row, simulations)]
    outcomes += [_unwanted(row) for row in free if not _is_wanted(row, simulations)]
    return outcomes + _ask_agents(wanted, simulations, desk)


def _ask_facts(row: Supervision, facts: DecisionFacts, desk: Desk) -> Outcome:
    """The user has the mail: what the messages say since then tells whether it was used."""
    if row.wanted is not None:
        return wished(row)
    verdict = policy.overtaken(facts, desk.policy, desk.now())
    if verdict is not None:
        return replace(done(row, Event.EXECUTE, verdict.sentence), actor="user")
    age = desk.now() - (row.dispatched_at or row.created_at)
    if age >= desk.settings.mail_supervision_expiry:
        return failed(row, FailureCause.EXPIRED, "the mailed script was not used in time")
    return not_yet(row, desk.now() + timedelta(days=1), "the user has the mail")


def _left(waiting: Outcome, desk: Desk) -> Outcome:
    """A brake forbids asking, and telling asks nobody: nothing waits unheard of, nor for ever."""
    row, settings = waiting.row, desk.settings
    outcome = _waited(row, waiting, desk)
    if outcome.event is not None or outcome.unreached:
        return replace(outcome, unreached=True)
    begun = row.dispatched_at or row.created_at
    told = outcome.after.told_at is not None
    due = begun + (settings.dispatched_fail if told else settings.dispatched_tell)
    return replace(outcome, until=min(outcome.until or due, max(due, desk.now())))


def _is_wanted(row: Supervision, simulations: Mapping[str, SimulationFacts]) -> bool:
    simulation = simulations[row.simulation_uid]
    deleted, started = simulation.deleted_at, simulation.last_start_at
    is_deleted = deleted is not None and (started is None or deleted > started)
    return row.wanted is None and not is_deleted


def _unwanted(row: Supervision) -> Outcome:
    """Leaving the row sends `cancel`; only a person or an 8888 does that to a dispatched one."""
    if row.wanted is None:
        return needless(row, CancelCause.POLICY, "the simulation was deleted")
    return wished(row)


def _ask_agents(
    rows: Sequence[Supervision], simulations: Mapping[str, SimulationFacts], desk: Desk
) -> list[Outcome]:
    outcomes = []
    for (site, login), group in by_login(rows).items():
        try:
            answers = desk.transport.status(site, login, [row.key for row in group])
            outcomes += _read(group, answers, simulations, desk)
        except UNASKED as error:
            outcomes += [_waited(row, unreached(row, desk, str(error)), desk) for row in group]
    return outcomes


def _read(
    rows: Sequence[Supervision],
    answers: Sequence[Answer],
    simulations: Mapping[str, SimulationFacts],
    desk: Desk,
) -> list[Outcome]:
    outcomes, missing = [], []
    for row, answer in zip(rows, answers, strict=True):
        outcome = read_answer(row, answer, desk)
        if outcome is None:
            missing.append((row, answer))
        elif outcome.event is None:
            outcomes.append(_waited(row, outcome, desk))
        else:
            outcomes.append(outcome)
    return outcomes + _look_for(missing, simulations, desk)


def _look_for(
    missing: Sequence[tuple[Supervision, Answer]],
    simulations: Mapping[str, SimulationFacts],
    desk: Desk,
) -> list[Outcome]:
    """The journal does not know, or the runner died: only what is there tells whether we acted."""
    if not missing:
        return []
    first = missing[0][0]
    subjects = [subject_by_name(row, simulations, None) for row, _ in missing]
    try:
        looks = desk.transport.look(first.site, first.login, subjects)
    except UNASKED as error:
        return [_waited(row, unreached(row, desk, str(error)), desk) for row, _ in missing]
    return [
        _concluded(row, answer, seen, desk)
        for (row, answer), seen in zip(missing, looks, strict=True)
    ]


def _concluded(row: Supervision, answer: Answer, seen: Look, desk: Desk) -> Outcome:
    looked = kept(seen)
    if a_job_lives(seen) or is_cleaned(seen):
        shown = "a job of that name is there" if a_job_lives(seen) else "run.card says OnQueue"
        sentence = f"the agent says {answer.kind}, but {shown}"
        return replace(done(row, Event.EXECUTE, sentence, looked=looked), by_agent=True)
    if not seen.reachable or seen.others is None:
        return _waited(row, unreached(row, desk, seen.problem or "the look saw nothing"), desk)
    lost = answer.kind is AnswerKind.LOST
    cause = FailureCause.LOST if lost else FailureCause.JOURNAL_LOST
    reason = f"the agent says {answer.kind}, and nothing shows that the script acted"
    return replace(failed(row, cause, reason, looked=looked), by_agent=True)


def _waited(row: Supervision, waiting: Outcome, desk: Desk) -> Outcome:
    """A day without an end is told once; two weeks end the row; else it waits on."""
    age = desk.now() - (row.dispatched_at or row.created_at)
    if age >= desk.settings.dispatched_fail:
        return failed(row, FailureCause.EXPIRED, "no answer from the centre in time")
    if age < desk.settings.dispatched_tell or row.told_at is not None:
        return waiting
    try:
        desk.tell(Notice.NO_ANSWER, row, waiting.reason or "dispatched, and no end is known")
    except MailUnavailable as error:
        return unreached(row, desk, str(error))
    status = ExecutionStatus.UNKNOWN if waiting.unreached else waiting.after.execution_status
    after = waiting.after.changed(told_at=desk.now(), execution_status=status)
    return replace(waiting, after=after)
