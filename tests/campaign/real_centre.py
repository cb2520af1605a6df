"""A centre of the real campaign: the sandbox's libIGCM, a quick scheduler that leaves a trace.

The scripts are the service's own and run as processes under the real agent. Two things are
counted from outside of all of them: how often a script of a key was begun (its interpreter notes
it), and which jobs were submitted (each is one record, made by one rename).
"""

from __future__ import annotations

import fcntl
import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from hpc_agent import home as agent_home
from supervision.adapters.agent_protocol import derive_key
from supervision.sandbox import builder, cards, scripts
from supervision.sandbox.cards import RunCard
from supervision.sandbox.centre import Centre
from supervision.sandbox.files import write_whole
from supervision.sandbox.plans import Plan

ROOT: Final = Path(__file__).parents[2]
FAILED_PERIOD: Final = 3
_FIRST_ID: Final = 1000
_INTERPRETER: Final = """\
#!/bin/sh
# bash, and a note of every script that the agent has it begin.
case $1 in */journal/*) printf '%s\\n' "$1" >>{trace} ;; esac
exec /bin/bash "$@"
"""
_PYTHON: Final = """\
#!/bin/sh
exec {python} {stepped} {clock} "$@"
"""
_QUEUE: Final = """\
#!/bin/sh
cat {spool}/[0-9]*.json 2>/dev/null || true
"""
_SUBMIT: Final = """\
#!/bin/sh
# Takes the last argument, Job_NAME; prints the id. One rename makes the job.
set -eu
for file; do :; done
exec 9>{spool}/lock
flock 9
id=$(($(cat {spool}/last-id) + 1))
printf '%s' "$id" >{spool}/draft
mv {spool}/draft {spool}/last-id
printf '{record}' "$id" "${{file#Job_}}" "$(pwd -P)" >{spool}/draft
mv {spool}/draft {spool}/"$id".json
printf '%s\\n' "$id"
"""
_CANCEL: Final = """\
#!/bin/sh
sed -e 's/"state": "[a-z]*"/"state": "ended"/' -e 's/"reason": null/"reason": "cancelled"/' \\
  {spool}/"$1".json >{spool}/cancelled."$1"
mv {spool}/cancelled."$1" {spool}/"$1".json
"""
_RECORD: Final = (
    '{{"id": "%s", "name": "%s", "directory": "%s", "state": "queued", "reason": null, '
    '"login": "{login}"}}\\n'
)


@dataclass(frozen=True, kw_only=True)
class Campus:
    """One site: its centre, the login whose jobs run there, the key of its agent."""

    site: str
    centre: Centre
    master: bytes

    @classmethod
    def built(cls, root: Path, *, site: str, login: str | None = None) -> Self:
        """Make the centre; its home is still an empty directory."""
        centre = builder.make_centre(root, ingest=("/bin/true",))
        centre = replace(centre, login=login or centre.login)
        centre.save()
        made = cls(site=site, centre=centre, master=b"master of " + site.encode() + bytes(16))
        made._write_programs()
        (centre.spool / "last-id").write_text(str(_FIRST_ID))
        (root / "clock").write_text("0")
        (root / "executions").touch()
        return made

    @property
    def home(self) -> Path:
        """The login's home, where the journal is."""
        return self.centre.root / "home"

    @property
    def interpreter(self) -> Path:
        """What runs the scripts, and notes it."""
        return self.centre.root / "noting" / "bash"

    @property
    def python(self) -> Path:
        """The Python that runs the agent, under a clock that can be stepped."""
        return self.centre.bin / "agent-python"

    @property
    def clock(self) -> Path:
        """How many seconds this centre's clock is ahead."""
        return self.centre.root / "clock"

    def prepare_agent(self) -> None:
        """Give the agent its folder and its key, in the home as it is now."""
        self.home.chmod(0o700)
        settings: dict[str, object] = {
            "site": self.site,
            "login": self.centre.login,
            "scheduler": "sandbox",
            "bin": str(self.centre.bin),
            "query_interval_seconds": 0.1,
        }
        key = derive_key(self.master, self.site, self.centre.login)
        agent_home.prepare(str(self.home), settings, key)

    def agent_command(self) -> str:
        """Spell the forced command that serves the home."""
        return f"cd {ROOT} && exec {self.python} -m hpc_agent serve --home {self.home}"

    def furnish(self, name: str, simulation_uid: str, *, state: str) -> Path:
        """Make a simulation's submission directory, as its last job has left it."""
        plan = Plan(name=name, uid=simulation_uid, periods=4)
        directory, buffer = self.centre.directory_of(name), self.centre.buffer_of(name)
        directory.mkdir(parents=True)
        buffer.mkdir(parents=True)
        (directory / "config.card").write_text(scripts.config_card(self.centre, plan))
        scripts.write_job(self.centre, name)
        first, last = map(cards.compact, cards.period_dates(FAILED_PERIOD))
        (buffer / f"{name}_{first}_{last}_1M_histmth.nc").write_text("half a period\n")
        self.write_card(name, simulation_uid, state)
        return directory

    def write_card(self, name: str, simulation_uid: str, state: str) -> None:
        """Write run.card, as a job of the simulation does."""
        directory = self.centre.directory_of(name)
        card = RunCard(
            period=FAILED_PERIOD,
            state=state,
            simulation_uid=simulation_uid,
            submit_path=str(directory),
        )
        cards.write_run_card(directory / "run.card", card)

    def add_job(self, name: str, *, state: str, reason: str | None = None) -> str:
        """Have the scheduler know a job that the feeder made; gives its id."""
        with self._counted() as number:
            self._write_job(str(number), name, state, reason)
        return str(number)

    def end_job(self, job_id: str, name: str, *, state: str, reason: str | None = None) -> None:
        """Move a job on."""
        self._write_job(job_id, name, state, reason)

    def jobs(self) -> Iterator[tuple[str, str, str]]:
        """Every job there is: its id, its name, its state."""
        for path in self.centre.spool.glob("[0-9]*.json"):
            record = json.loads(path.read_text())
            yield record["id"], record["name"], record["state"]

    def executions(self) -> Counter[str]:
        """How often the script of each key (folder and file in the journal) was begun."""
        lines = (self.centre.root / "executions").read_text().split()
        return Counter("/".join(line.rsplit("/", 2)[1:]) for line in lines)

    def _write_job(self, job_id: str, name: str, state: str, reason: str | None) -> None:
        record = {
            "id": job_id,
            "name": name,
            "directory": str(self.centre.directory_of(name)),
            "state": state,
            "reason": reason,
            "login": self.centre.login,
        }
        write_whole(self.centre.spool / f"{job_id}.json", json.dumps(record) + "\n")

    @contextmanager
    def _counted(self) -> Iterator[int]:
        with (self.centre.spool / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            last = self.centre.spool / "last-id"
            number = int(last.read_text()) + 1
            write_whole(last, str(number))
            yield number

    def _write_programs(self) -> None:
        spool = shlex.quote(str(self.centre.spool))
        words = {
            "spool": spool,
            "record": _RECORD.format(login=self.centre.login),
            "trace": shlex.quote(str(self.centre.root / "executions")),
            "python": shlex.quote(sys.executable),
            "stepped": shlex.quote(str(Path(__file__).with_name("stepped_clock.py"))),
            "clock": shlex.quote(str(self.clock)),
        }
        texts = {
            "sbx-queue": _QUEUE,
            "sbx-submit": _SUBMIT,
            "sbx-cancel": _CANCEL,
            self.python.name: _PYTHON,
        }
        places = {self.centre.bin / name: text for name, text in texts.items()}
        self.interpreter.parent.mkdir()
        for path, text in {**places, self.interpreter: _INTERPRETER}.items():
            path.write_text(text.format(**words))
            path.chmod(0o755)
