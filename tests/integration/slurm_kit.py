"""A centre for the proofs from end to end whose scheduler is Slurm, and whose door is sshd.

The make-believe libIGCM of the sandbox stays, and so does its mail; its jobs are Slurm's.
"""

from __future__ import annotations

import contextlib
import json
import mailbox
import os
import re
import shlex
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from pathlib import Path
from typing import Final

from hpc_agent import home
from supervision.adapters.agent_protocol import derive_key
from supervision.facts import Supervision, TriggerKind
from supervision.fsm.states import State
from supervision.sandbox import cards, plans, scripts
from supervision.sandbox.plans import Plan
from supervision.sandbox.toml import KEY_FILE, SITE
from tests.integration.end_to_end_kit import World, a_world, with_engine
from tests.services.programs import program
from tests.services.slurm import Slurm
from tests.services.sshd import Sshd, generate, public
from tests.ssh_kit import ME, agent_command

NAME: Final = "demo"
LATE: Final = {"late_margin": 2}
"""After the limit that a job asks for, a second here, it is late so many seconds later."""

_JOB: Final = """\
#!/bin/ksh
#SBATCH --job-name={name}
#SBATCH --output=Script_Output_{name}.000001
MODIPSL={modipsl}
SBX_JOB_ID=$SLURM_JOB_ID
export SBX_JOB_ID
echo $$ >pid
exec {compute} {name}
"""
_SCHEDULER: Final = '#!/bin/sh\nSLURM_CONF={conf} exec {program} {options} "$@"\n'
_SITE: Final = {
    "scheduler": "slurm",
    "transport": "ssh",
    "interpreter": "ksh",
    "failure_pause": 0.5,
}


@dataclass(kw_only=True)
class SlurmWorld:
    """A service, a centre with one login node, and Slurm behind it. One simulation, `demo`."""

    world: World
    slurm: Slurm
    node: Sshd
    agent_home: home.Home

    @property
    def directory(self) -> Path:
        """The submission directory."""
        return self.world.centre.directory_of(NAME)

    def simulate(self, *faults: str, periods: int = 4) -> str:
        """Submit the first job of a simulation by sbatch; gives the simulation's uid."""
        suffered = tuple(plans.parse_fault(fault) for fault in faults)
        plan = Plan(name=NAME, uid=str(uuid.uuid4()), periods=periods, faults=suffered)
        plans.save(self.world.centre, plan)
        self.directory.mkdir(parents=True)
        self.world.centre.buffer_of(NAME).mkdir(parents=True)
        (self.directory / "config.card").write_text(scripts.config_card(self.world.centre, plan))
        (self.directory / f"Job_{NAME}").write_text(self._job())
        self.submit()
        return plan.uid

    def submit(self, *options: str) -> str:
        """Submit the job as its owner does; gives its id."""
        words = ("sbatch", "--parsable", *options, f"Job_{NAME}")
        return self.slurm.command(*words, cwd=self.directory).strip()

    def states(self) -> list[str]:
        """Slurm's word for each job of the simulation, in their order."""
        return [state for _, state in self.slurm.jobs(self.directory)]

    def last_job(self) -> str:
        """The id of the newest job."""
        return self.slurm.jobs(self.directory)[-1][0]

    def kill_from_outside(self) -> None:
        """Kill the processes of the job that runs now, as an out-of-memory killer does."""
        os.killpg(int((self.directory / "pid").read_text()), signal.SIGKILL)

    def card(self) -> tuple[str, str]:
        """PeriodState and simuid of run.card."""
        card = cards.read_run_card(self.directory / "run.card")
        return (card.state, card.simulation_uid) if card else ("", "")

    def progress(self) -> tuple[str, int]:
        """PeriodState and CumulPeriod of run.card."""
        card = cards.read_run_card(self.directory / "run.card")
        return (card.state, card.period) if card else ("", 0)

    def sentence(self, uid: str, kind: TriggerKind) -> str:
        """What the ledger says of the last trigger of a kind; empty while it says nothing."""
        found = [each for each in self.world.decisions(uid) if each.kind == kind]
        return (found[-1].sentence or "") if found else ""

    def restarted(self) -> Supervision | None:
        """The only supervision, once it is executed and its simulation beyond the failure."""
        row = self.world.row()
        return row if row and row.state is State.EXECUTED and row.recovered_at else None

    def subjects(self) -> list[str]:
        """What the mails of the service are about."""
        box = mailbox.Maildir(self.world.centre.root / "mail")
        return [str(make_header(decode_header(mail["Subject"]))) for mail in box]

    def _job(self) -> str:
        return _JOB.format(
            name=NAME,
            modipsl=shlex.quote(str(self.world.centre.modipsl)),
            compute=shlex.quote(str(self.world.centre.bin / "sbx-compute")),
        )


@contextlib.contextmanager
def a_slurm_world(folder: Path, slurm: Slurm, *, database: str) -> Iterator[SlurmWorld]:
    """Make a centre whose service is not started yet; nothing of it runs afterwards."""
    with a_world(folder, database=database) as world:
        _schedule_by(slurm, world)
        agent_home = _agent(folder / "agent", world)
        node = _door(folder, slurm, agent_home)
        _settle(world, node, folder, agent_home)
        try:
            yield SlurmWorld(world=world, slurm=slurm, node=node, agent_home=agent_home)
        finally:
            for service in world.services:
                service.kill()
            slurm.start()
            slurm.clear()
            node.stop()


def _schedule_by(slurm: Slurm, world: World) -> None:
    """Have the centre's own commands speak to Slurm."""
    conf = shlex.quote(slurm.environment["SLURM_CONF"])
    for name, line in {"sbx-submit": "sbatch --parsable", "sbx-cancel": "scancel"}.items():
        command, _, options = line.partition(" ")
        text = _SCHEDULER.format(conf=conf, program=program(command), options=options)
        (world.centre.bin / name).write_text(text)


def _agent(path: Path, world: World) -> home.Home:
    path.mkdir()
    settings = {"site": SITE, "login": ME, "scheduler": "slurm", "query_interval_seconds": 0.5}
    master = (world.centre.root / KEY_FILE).read_bytes()
    return home.prepare(str(path), settings, derive_key(master, SITE, ME))


def _door(folder: Path, slurm: Slurm, agent_home: home.Home) -> Sshd:
    """Let one key in, to one command: the agent, which finds the scheduler by its environment."""
    node = Sshd.prepared(folder / "node")
    conf = f"export SLURM_CONF={slurm.environment['SLURM_CONF']}"
    key = generate(folder / "key")
    node.authorize(key, f"{conf}; {agent_command(Path(agent_home.path))}")
    known = f"{node.name} {public(node.folder / 'host_key')}\n"
    (folder / "known_hosts").write_text(known)
    node.start()
    return node


def _settle(world: World, node: Sshd, folder: Path, agent_home: home.Home) -> None:
    """Change the settings that `sandbox new` wrote: by ssh, to Slurm."""
    places = {
        "hosts": [node.address],
        "port": node.port,
        "agent_home": agent_home.path,
        "credential_file": str(folder / "key"),
        "known_hosts_file": str(folder / "known_hosts"),
    }
    text = with_engine(world.config.read_text(), LATE)
    world.config.write_text(with_site(text, {**_SITE, **places}))


def with_site(text: str, values: dict[str, object]) -> str:
    """Set these keys of the site's table."""
    bare = re.sub(rf"(?m)^({'|'.join(values)}) = .*\n", "", text)
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
    return bare.replace(f"[sites.{SITE}]\n", f"[sites.{SITE}]\n{lines}")
