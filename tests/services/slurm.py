"""A private Slurm of one node on loopback, with a munged of its own, run as the present account.

It keeps no accounts, as many small centres: what its controller forgets is forgotten.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Final, Self

from tests.services import kept
from tests.services.programs import program

_COMMAND_SECONDS: Final = 30.0
_CONFIGURATION: Final = """\
ClusterName=tests
SlurmctldHost={host}({address})
SlurmctldPort={controller}
SlurmdPort={node}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
InactiveLimit=0
KillWait=1
MessageTimeout=2
MinJobAge=300
FirstJobId={first_job}
NodeName={host} NodeAddr={address} CPUs=16 RealMemory=1000 State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=01:00:00 State=UP OverSubscribe=FORCE:4
"""


def _is_up(log: Path, words: str, started_at: int) -> bool:
    return words in log.read_bytes()[started_at:].decode(errors="replace")


@dataclass(kw_only=True)
class Slurm:
    """One controller and one node; everything is in `folder`. Idempotent to start and to stop."""

    session: kept.Session
    controller_port: int
    node_port: int
    _keepers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def prepared(cls, session: kept.Session) -> Self:
        """Make key and configuration; nothing runs yet."""
        made = cls(session=session, controller_port=kept.free_port(), node_port=kept.free_port())
        key = made.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        made.configure(first_job=1)
        return made

    @property
    def folder(self) -> Path:
        """Where configuration, state and logs lie."""
        return self.session.folder

    @property
    def environment(self) -> Mapping[str, str]:
        """What a command of Slurm must see to reach this one and no other."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return own | {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def configure(self, *, first_job: int) -> None:
        """Write its configuration, and empty places for its state."""
        for name in ("controller", "node"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        text = _CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            address=kept.HOST,
            controller=self.controller_port,
            node=self.node_port,
            folder=self.folder,
            user=getuser(),
            first_job=first_job,
        )
        (self.folder / "slurm.conf").write_text(text)

    def start(self) -> None:
        """Start what does not run: about a second for all of it. Raises NotStarted."""
        socket_, key = self.folder / "munge.socket", self.folder / "munge.key"
        munged = ["--foreground", f"--socket={socket_}", f"--key-file={key}", "--num-threads=4"]
        places = {"pid": "munge.pid", "log": "munge.log", "seed": "munge.seed"}
        munged += [f"--{name}-file={self.folder / file}" for name, file in places.items()]
        self._begin("munged", munged, "work threads")
        self._begin("slurmctld", ["-D"], "Running as primary controller")
        self._begin(
            "slurmd", ["-D", "-N", socket.gethostname().partition(".")[0]], "slurmd started"
        )
        self._begin_to_take_jobs()

    def stop_controller(self, *, crash: bool = False) -> None:
        """End the controller: every command fails, running jobs go on. `crash`: no farewell."""
        self._end("slurmctld", crash=crash)

    def forget(self, *, next_job: int) -> None:
        """Start the controller again without any memory of its jobs, to count from `next_job`.

        The node forgets with it: what ran there is killed.
        """
        self.stop_controller(crash=True)
        self._end("slurmd", crash=True)
        for name in ("controller", "node"):
            shutil.rmtree(self.folder / name)
        self.configure(first_job=next_job)
        self.start()

    def close(self) -> None:
        """End it for good, with every job."""
        for name in list(self._keepers):
            self._end(name, crash=True)

    def command(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Run one command as a user would; gives what it printed. Raises CalledProcessError."""
        done = subprocess.run(
            [program(str(words[0])), *map(str, words[1:])],
            env=self.environment,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=_COMMAND_SECONDS,
        )
        return done.stdout

    def submit(self, directory: Path, name: str, text: str, *options: str) -> str:
        """Submit a job of this name from a directory; gives its id. Its output goes nowhere."""
        words = ("sbatch", "--parsable", "-J", name, "-o", "/dev/null", *options)
        return self.command(*words, "--wrap", text, cwd=directory).strip()

    def state(self, job: str) -> str:
        """Slurm's word for a job's state; empty for one that it does not know."""
        listed = self.command("squeue", "-h", "-t", "all", "-o", "%i|%T").split()
        return dict(line.split("|") for line in listed).get(job, "")

    def jobs(self, directory: Path) -> list[tuple[str, str]]:
        """Id and state of every job of a directory, in the order in which they were submitted."""
        text = self.command("squeue", "-h", "-t", "all", "-o", "%i|%T|%Z")
        rows = [line.split("|", 2) for line in text.splitlines()]
        found = [(row[0], row[1]) for row in rows if row[2] == str(directory)]
        return sorted(found, key=lambda row: int(row[0]))

    def end_time(self, job: str) -> None:
        """Have a running job's time be over: the controller ends it within half a minute."""
        self.command("scontrol", "update", f"JobId={job}", "EndTime=now")

    def clear(self) -> None:
        """Cancel every job that is left."""
        self.command("scancel", "--user", getuser())

    def _begin_to_take_jobs(self) -> None:
        """Wait until the node has told the controller that it is there."""
        kept.until(lambda: "idle" in self._nodes() or "mix" in self._nodes(), "the node is up")

    def _nodes(self) -> str:
        try:
            return self.command("sinfo", "-h", "-o", "%t")
        except subprocess.CalledProcessError:
            return ""

    def _begin(self, name: str, options: Sequence[str], words: str) -> None:
        if name in self._keepers and kept.runs(self._keepers[name]):
            return
        log = self.folder / f"{name}.out"
        log.touch()
        before = log.stat().st_size
        launch = kept.Launch(
            command=[program(name), *options],
            log=log,
            ready=lambda: _is_up(log, words, before),
            environment=dict(self.environment),
            family=True,
        )
        self._keepers[name] = kept.start(self.session, launch)

    def _end(self, name: str, *, crash: bool) -> None:
        if name in self._keepers:
            kept.stop(self._keepers.pop(name), crash=crash)
