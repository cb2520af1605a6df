"""The mouth of one job: collects its messages and lets them leave by mail when it says so."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervision.errors import Refused
from supervision.sandbox import emission, mail
from supervision.sandbox.centre import EXPERIMENT, Centre
from supervision.sandbox.emission import Voice, Words
from supervision.sandbox.files import write_whole
from supervision.sandbox.plans import Generation, Plan

COMMANDS: Final = (
    "IGCM_comp_Run",
    "IGCM_debug_Verif_Exit",
    "IGCM_sys_PutBuffer_Out",
    "IGCM_sys_Cp",
    "IGCM_sys_RshMaster",
    "IGCM_sys_Get",
)
"""What fails in a failed job: the first is the cause, the others are echoes of it."""
LAST_COMMAND: Final = "IGCM_sys_SendMail"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One batch job while it runs: where, for which simulation, under which scheduler's number."""

    centre: Centre
    plan: Plan
    directory: Path
    scheduler_id: str

    @property
    def left_over(self) -> Path:
        """Lines that an earlier job of the simulation kept back for the next mail."""
        return self.centre.plans / f"{self.plan.name}.left-over"


def this_job(centre: Centre, plan: Plan) -> Job:
    """Tell who we are, from inside a job: the scheduler sets SBX_JOB_ID."""
    return Job(
        centre=centre,
        plan=plan,
        directory=centre.directory_of(plan.name),
        scheduler_id=os.environ.get("SBX_JOB_ID", ""),
    )


class Reporter:
    """Collects messages until `leave`; a job that is killed before takes them with it."""

    def __init__(self, job: Job, simulation_uid: str, *, left_over: Path | None = None) -> None:
        """Begin with nothing to say, as a new job; `left_over` is what earlier ones kept back."""
        self.voice = Voice(
            generation=job.plan.generation,
            simulation_uid=simulation_uid,
            job_uid=emission.new_uid(),
        )
        self._job = job
        self._left_over = left_over
        self._lines: list[str] = []
        self._last = 0

    def say(self, code: str, words: Words | None = None) -> None:
        """Add one message; each is later than the one before it, however fast they come."""
        self._last = max(time.time_ns(), self._last + 1)
        values = emission.message(self.voice, code, words or Words(), nanoseconds=self._last)
        self._lines.append(emission.line(values))

    def say_command(self, code: str, command: str, *, nesting: int = 0) -> None:
        """Add one failed command; only generation B tells how deep it was nested."""
        deep = {"nesting": str(nesting)} if self.voice.generation is Generation.B else {}
        self.say(code, Words(told={**deep, "command": command}))

    def begun(self) -> dict[str, str]:
        """Give what the start of a job tells of it: nothing in generation B."""
        if self.voice.generation is Generation.B:
            return {}
        return {
            "accountingProject": EXPERIMENT,
            "jobWarningDelay": str(self._job.centre.pace.warning_delay_seconds),
            "jobSchedulerID": self._job.scheduler_id,
            "jobSubmissionPath": str(self._job.directory),
        }

    def leave(self) -> None:
        """Send what was said as one mail, after what earlier jobs kept back; nothing: no mail."""
        lines = [*self._left(), *self._lines]
        self._lines = []
        if lines:
            mail.put(self._job.centre, lines)
        if self._left_over:
            self._left_over.unlink(missing_ok=True)  # after the mail: twice is right, lost is not

    def keep_back(self) -> None:
        """Leave what was said for the next job's first mail (generation C's 1100 does so)."""
        if self._left_over is None:
            raise Refused("only a compute job keeps messages back")
        write_whole(self._left_over, "\n".join([*self._left(), *self._lines]))
        self._lines = []

    def _left(self) -> list[str]:
        if self._left_over is None or not self._left_over.exists():
            return []
        return self._left_over.read_text().split()
