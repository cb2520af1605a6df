"""A centre for one script: a submission directory, libIGCM's names, a scheduler's commands.

Built of the stubs beside this file; the script itself is the real one and runs as a process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from supervision import script
from supervision.facts import ExitCode, JobKind, ScriptFacts, SitePolicy, TriggerKind

STUBS = Path(__file__).parent
NAME = "CTL-LMDZ.exp1"
SIMULATION = "a3b1f0de-0000-4000-8000-000000000001"
COMMANDS = {
    "slurm": ("squeue", "sbatch", "scancel"),
    "ccc": ("ccc_mpp", "ccc_msub", "ccc_mdel"),
    "loadleveler": ("llq", "llsubmit", "llcancel"),
    "pbs": ("qstat", "qsub", "qdel"),
    "sandbox": ("sbx-queue", "sbx-submit", "sbx-cancel"),
}
"""Look, submit, cancel."""

FACTS = ScriptFacts(
    supervision_id="0f9c1d2e-1111-4222-8333-444455556666",
    attempt=2,
    kind=JobKind.COMPUTE,
    trigger=TriggerKind.FATAL,
    simulation_uid=SIMULATION,
    job_uid="b3b1f0de-0000-4000-8000-000000000002",
    job_name=NAME,
    login="anna",
    directory="/filled/by/the/centre",
    scheduler_id="4711",
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a script ended: its code, its words, and the object of its last line."""

    code: int
    words: str
    report: Mapping[str, object]

    @property
    def exit(self) -> ExitCode:
        """The code as the service reads it."""
        return ExitCode(self.code)


@dataclass(frozen=True, kw_only=True)
class FakeCentre:
    """One submission directory and one scheduler, under `root`; `shell` runs the scripts.

    `environment` is what the scripts see beyond the stubs' own.
    """

    root: Path
    shell: str
    scheduler: str = "slurm"
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """The submission directory."""
        return self.root / "modipsl" / "config" / "LMDZ" / "CTL"

    @property
    def buffer(self) -> Path:
        """R_BUFR of the simulation."""
        return self.root / "scratch"

    @property
    def stub(self) -> Path:
        """What the stubs are told, and what they were asked."""
        return self.root / "stub"

    @property
    def run_card(self) -> Path:
        """The run.card of the simulation."""
        return self.directory / "run.card"

    def put(self, name: str, text: str = "") -> None:
        """Tell the stubs something."""
        (self.stub / name).write_text(text)

    def told(self, name: str) -> str:
        """Read what the stubs wrote; empty when they wrote nothing."""
        path = self.stub / name
        return path.read_text() if path.exists() else ""

    def asked(self, command: str) -> list[str]:
        """Every call of one command, as it was typed."""
        return [line for line in self.told("asked").splitlines() if line.split()[0] == command]

    def card(self, state: str = "Fatal", *, period: str = "3", simuid: str = SIMULATION) -> str:
        """Write run.card; gives its text."""
        text = (
            f"[Configuration]\nPeriodDateBegin= 1850-03-01\nPeriodDateEnd= 1850-03-30\n"
            f"CumulPeriod= {period}\nPeriodState= {state}\nsimuid= {simuid}\n"
        )
        self.run_card.write_text(text)
        return text

    def start(
        self, facts: ScriptFacts = FACTS, *, edit: tuple[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Begin to run the script that is built from the facts, in this centre's directory.

        `edit` changes one text of it, which must be there, into another: to force a fault.
        """
        if facts.directory == FACTS.directory:
            facts = replace(facts, directory=str(self.directory))
        site = SitePolicy(
            name="fake",
            centres=("FAKE",),
            machines=("*",),
            scheduler=self.scheduler,
            interpreter=self.shell,
        )
        text = script.text_of(script.build(facts, site))
        if edit is not None:
            assert edit[0] in text
            text = text.replace(*edit)
        path = self.root / "script.sh"
        path.write_text(text)
        # A shell cannot trap what was ignored where it began, as SIGINT is behind an `&`.
        return subprocess.Popen(
            ["/usr/bin/env", "--default-signal=INT", self.shell, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
            cwd=self.root,
            start_new_session=True,
        )

    def run(self, facts: ScriptFacts = FACTS) -> Ended:
        """Run the script to its end."""
        return ended(self.start(facts))

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.root),
            "STUB": str(self.stub),
            "RUN_CARD": str(self.run_card),
            "SUBMIT": COMMANDS[self.scheduler][1],
            "TMPDIR": str(self.root / "tmp"),
            **self.environment,
        }


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a script; its last line must be one JSON object whatever happened."""
    try:
        words, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return Ended(code=process.returncode, words=words, report=json.loads(words.splitlines()[-1]))


def touched_nothing(centre: FakeCentre, end: Ended) -> bool:
    """Whether the script neither cleaned nor submitted, and says so."""
    submit = COMMANDS[centre.scheduler][1]
    said = end.report["did"] == "nothing"
    return said and centre.asked(submit) == [] and centre.told("answers") == ""


def make(root: Path, shell: str, scheduler: str = "slurm") -> FakeCentre:
    """Make a centre where period 3 failed and nothing is in the queue: the script should act."""
    centre = FakeCentre(root=root, shell=shell, scheduler=scheduler)
    for place in (centre.directory, centre.stub, root / "bin", root / "tmp"):
        place.mkdir(parents=True)
    _fill_libigcm(root / "modipsl" / "libIGCM")
    _fill_disks(centre)
    _fill_commands(centre)
    centre.card()
    return centre


def _fill_libigcm(libigcm: Path) -> None:
    for part in ("debug", "card", "date", "sys", "config"):
        folder = libigcm / f"libIGCM_{part}"
        folder.mkdir(parents=True)
        shutil.copy(STUBS / "libIGCM" / f"libIGCM_{part}.ksh", folder)
    for job in (STUBS / "libIGCM").glob("*.job"):
        shutil.copy(job, libigcm)
    for name in ("create_ts", "pack_output"):
        (libigcm / f"{name}.job").write_text("#!/bin/ksh\n")


def _fill_disks(centre: FakeCentre) -> None:
    (centre.directory / f"Job_{NAME}").write_text(
        "#!/bin/ksh\n# @ output = old\n# @ error = old\nMODIPSL=::modipsl::\n"
    )
    archive = centre.root / "archive"
    (centre.directory / "config.card").write_text(
        f"[UserChoices]\nJobName= {NAME}\nDateBegin= 1850-01-01\n"
        f"Buffer= {centre.buffer}\nArchive= {archive}\n"
    )
    archive.mkdir()
    (archive / f"{NAME}_18500301_18500330_1M.nc").write_bytes(b"x" * 5000)
    (archive / f"{NAME}_18500201_18500230_1M.nc").write_bytes(b"x" * 5000)
    (centre.buffer / "REBUILD" / "REBUILD_18500301").mkdir(parents=True)


def _fill_commands(centre: FakeCentre) -> None:
    for command in COMMANDS[centre.scheduler]:
        shutil.copy(STUBS / "scheduler", centre.root / "bin" / command)
    for command in ("sleep", "dd"):
        shutil.copy(STUBS / command, centre.root / "bin")
    centre.put("answer", ANSWERS[centre.scheduler])


ANSWERS = {
    "slurm": "4712\n",
    "ccc": "Submitted Batch Session 4712\n",
    "loadleveler": 'llsubmit: The job "ada.4712" has been submitted.\n',
    "pbs": "4712.server.domain\n",
    "sandbox": "4712\n",
}
"""What each scheduler says when it takes a job."""

NEW_IDS = {
    "slurm": "4712",
    "ccc": "4712",
    "loadleveler": "ada.4712",
    "pbs": "4712.server.domain",
    "sandbox": "4712",
}


def queue_line(scheduler: str, number: str, name: str = NAME, directory: str = "") -> str:
    """Spell one running job as the scheduler's own listing does."""
    where = directory or "/nowhere/else"
    return {
        "slurm": f"{number}|RUNNING|{name}|{where}\n",
        "ccc": f"anna gen1 {number} 32 standard 100 RUN 1.0d 1.0h - - {name} curie[1-2]\n",
        "loadleveler": (
            f"=============== Job Step ada.{number}.0 ===============\n"
            f"        Job Step Id: ada.{number}.0\n           Job Name: {name}\n"
            f"          Step Name: 0\n             Status: Running\n"
            f"Initial Working Dir: {where}\n"
        ),
        "pbs": (
            f"Job Id: {number}.server.domain\n    Job_Name = {name}\n"
            f"    Job_Owner = anna@login1.domain\n    job_state = R\n"
            f"    Variable_List = PBS_O_QUEUE=long,PBS_O_HOME=/home/anna,\n"
            f"\tPBS_O_WORKDIR={where[:20]}\n\t{where[20:]},PBS_O_SHELL=/bin/ksh\n"
            "    etime = now\n\n"
        ),
        "sandbox": json.dumps(
            {
                "id": number,
                "name": name,
                "directory": where,
                "state": "running",
                "reason": None,
                "login": "anna",
            }
        )
        + "\n",
    }[scheduler]
