"""The simulations of a real campaign: what each one reports, and what has to become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from time import time_ns
from typing import Final

from supervision.sandbox import cards, emission
from supervision.sandbox.centre import CENTRE_NAME, EXPERIMENT, MODEL, SPACE
from supervision.sandbox.emission import Voice, Words
from supervision.sandbox.plans import Generation
from tests.campaign.real_centre import FAILED_PERIOD, Campus

Message = dict[str, str]
STRANGER: Final = "stranger"
"""A login that has not allowed anything."""

_MILLISECOND: Final = 1_000_000


class Tale(StrEnum):
    """How a simulation gets into trouble; the text is its line in the table."""

    FATAL = "fatal, generation C"
    OLD_FATAL = "fatal, generation B"
    SILENT = "killed by its scheduler, silent"
    COMPLETE = "complete, command failures afterwards"
    MOVED_ON = "failed, restarted by hand"
    OPTED_OUT = "failed, with NO_SUPERVISION"
    STRANGER = "failed, of a user who allowed nothing"


WEIGHTS: Final[Mapping[Tale, int]] = {
    Tale.FATAL: 54,
    Tale.OLD_FATAL: 16,
    Tale.SILENT: 8,
    Tale.COMPLETE: 7,
    Tale.MOVED_ON: 5,
    Tale.OPTED_OUT: 5,
    Tale.STRANGER: 5,
}
RESTARTED: Final = (Tale.FATAL, Tale.OLD_FATAL, Tale.SILENT)
"""The tales that end with exactly one restart; in all others the centre sees none."""


class Teller:
    """The messages of one simulation, each later than the one before it."""

    def __init__(self, campus: Campus, name: str, simulation_uid: str, old: bool) -> None:  # noqa: FBT001
        self._campus = campus
        self._name = name
        self._uid = simulation_uid
        self._generation = Generation.B if old else Generation.C
        self._at = time_ns()
        self._job = emission.new_uid()

    @property
    def job_uid(self) -> str:
        """The job that speaks now."""
        return self._job

    def next_job(self) -> None:
        """Have another job speak from now on."""
        self._job = emission.new_uid()

    def say(self, code: str, words: Words | None = None) -> Message:
        """Give one message."""
        self._at = max(self._at + _MILLISECOND, time_ns())
        voice = Voice(generation=self._generation, simulation_uid=self._uid, job_uid=self._job)
        return emission.message(voice, code, words or Words(), nanoseconds=self._at)

    def announce(self, login: str) -> Message:
        """Say who and where."""
        announced = {
            "activity": "IPSL",
            "name": self._name,
            "experiment": EXPERIMENT,
            "space": SPACE,
            "model": MODEL,
            "startDate": cards.period_dates(1)[0],
            "endDate": cards.period_dates(4)[1],
            "login": login,
            "centre": CENTRE_NAME,
            "machine": self._campus.site,
        }
        return self.say("0000", Words(announced=announced, begun=self._begun("", 600)))

    def start(self, scheduler_id: str, *, warning_delay: int = 600) -> Message:
        """Say that a further compute job starts."""
        return self.say("1000", Words(begun=self._begun(scheduler_id, warning_delay)))

    def period(self, number: int) -> list[Message]:
        """Say that a period begins; generation B does not."""
        if self._generation is Generation.B:
            return []
        first, last = map(cards.compact, cards.period_dates(number))
        told = {"CumulPeriod": str(number), "PeriodDateBegin": first, "PeriodDateEnd": last}
        return [self.say("1001", Words(told=told))]

    def fail(self, commands: int) -> list[Message]:
        """Say that a job failed: the cause, echoes, the fatal, and one more echo."""
        codes = emission.CODES[self._generation]
        said = [self._command(codes.command) for _ in range(commands)]
        return [*said, self.say(codes.fatal), self._command(codes.command)]

    def stumble(self, commands: int) -> list[Message]:
        """Say that commands failed, and no more."""
        return [self._command(emission.CODES[self._generation].command) for _ in range(commands)]

    def _command(self, code: str) -> Message:
        nested = {"nesting": "1"} if self._generation is Generation.B else {}
        return self.say(code, Words(told={**nested, "command": "IGCM_comp_Run"}))

    def _begun(self, scheduler_id: str, warning_delay: int) -> dict[str, str]:
        if self._generation is Generation.B:
            return {}
        return {
            "accountingProject": EXPERIMENT,
            "jobWarningDelay": str(warning_delay),
            "jobSchedulerID": scheduler_id,
            "jobSubmissionPath": str(self._campus.centre.directory_of(self._name)),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """One simulation. `messages` are those of its failure; `known` jobs are the feeder's own."""

    tale: Tale
    campus: Campus
    name: str
    simulation_uid: str
    job_uid: str
    messages: tuple[Message, ...]
    known: frozenset[str]
    teller: Teller

    @property
    def restarts(self) -> int:
        """How many restarts the centre is to see."""
        return int(self.tale in RESTARTED)


def tell(number: int, campus: Campus, chance: Random) -> Story:
    """Make a simulation up: its directory, its jobs at the centre, its messages."""
    tale = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    name, uid = f"S{number:05d}", emission.new_uid()
    teller = Teller(campus, name, uid, tale is Tale.OLD_FATAL)
    state = _STATES.get(tale, cards.FATAL)
    directory = campus.furnish(name, uid, state=state)
    if tale is Tale.OPTED_OUT:
        (directory / "NO_SUPERVISION").touch()
    ended = {Tale.SILENT: "node_fail", Tale.COMPLETE: "completed"}.get(tale, "failed")
    first = campus.add_job(name, state="ended", reason=ended)
    login = STRANGER if tale is Tale.STRANGER else campus.centre.login
    told = [teller.announce(login), *teller.period(1), *teller.period(2), teller.say("1100")]
    teller.next_job()
    job_uid = teller.job_uid
    delay = 1 if tale is Tale.SILENT else 600
    told += [teller.start(first, warning_delay=delay), *teller.period(FAILED_PERIOD)]
    told += _trouble(tale, teller, chance)
    known = {first}
    if tale is Tale.MOVED_ON:
        by_hand = campus.add_job(name, state="running")
        known.add(by_hand)
        teller.next_job()
        told.append(teller.start(by_hand))
    return Story(
        tale=tale,
        campus=campus,
        name=name,
        simulation_uid=uid,
        job_uid=job_uid,
        messages=tuple(told),
        known=frozenset(known),
        teller=teller,
    )


_STATES: Final = {
    Tale.SILENT: cards.RUNNING,
    Tale.COMPLETE: cards.COMPLETED,
    Tale.MOVED_ON: cards.RUNNING,
}


def _trouble(tale: Tale, teller: Teller, chance: Random) -> list[Message]:
    if tale is Tale.SILENT:
        return []
    if tale is Tale.COMPLETE:
        return [teller.say("0100"), teller.say("1100"), *teller.stumble(2)]
    return teller.fail(chance.randint(1, 4))
