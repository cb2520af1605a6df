"""What the tests of the command line share: giving a command as people do, and a service to ask.

Commands run in this process, through the same door as `python -m supervision`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from click.testing import CliRunner

from supervision import app, settings
from supervision.adapters.system import SystemClock
from supervision.app import App
from supervision.cli import root
from supervision.facts import Supervision
from supervision.fsm.engine.reading import Show
from supervision.messages import MonitoringMessage
from supervision.testing import AgentDouble
from supervision.tracing import Tracer
from supervision.wire import decode_line
from tests.integration.end_to_end_kit import work_through

MAILS: Final = Path(__file__).parents[1] / "data" / "mails"
SIMULATION: Final = "71105649-17e8-491a-8f8f-4ee26a22524d"
JOB: Final = "3195c4c1-2278-4fd3-9c97-19091a26e3b6"
LOGIN: Final = "p86user1"

SETTINGS: Final = """\
[sites.curie]
centres = ["tgcc"]
machines = ["curie"]
mode = "act"
scheduler = "slurm"
transport = "local"
agent_home = "/nowhere/{login}"
agent_python = "/nowhere/python"
master_key_file = "master.key"

[users.p86user1]
level = 2
mail = "p86user1@example.org"
set_by = "test"
set_on = 2015-01-01

[mail]
directory = "mail"

[policy]
grace = 0
"""


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended: its exit code, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401
        """What stands on stdout, read as JSON."""
        return json.loads(self.out)


def give(*words: str | Path, env: Mapping[str, str]) -> Said:
    """Give one command; of SUPERVISION_* it sees these variables and no others."""
    mine = {name: None for name in os.environ if name.startswith("SUPERVISION_")}
    with CliRunner().isolation(env={**mine, **env}) as streams:
        code = root.run([str(word) for word in words])
        return Said(
            code=code,
            out=streams[0].getvalue().decode(errors="replace"),
            err=streams[1].getvalue().decode(errors="replace"),
        )


def message(code: str, at: datetime, **fields: str | None) -> dict[str, str]:
    """A message of generation C of the simulation and job above; None leaves a field out."""
    values = {
        "msgApplication": "monitoring",
        "msgProducer": "libigcm",
        "msgProducerVersion": "2.8.1",
        "simuid": SIMULATION,
        "jobuid": JOB,
        "msgCode": code,
        "msgUID": str(uuid4()),
        "msgTimestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000+0000"),
        **fields,
    }
    return {name: value for name, value in values.items() if value is not None}


def announced(at: datetime, **fields: str | None) -> dict[str, str]:
    """A 0000: who and where."""
    told: dict[str, str | None] = {
        "name": "CPL01",
        "experiment": "piControl",
        "space": "PROD",
        "model": "IPSLCM6",
        "login": LOGIN,
        "centre": "TGCC",
        "machine": "curie",
        "jobSchedulerID": "41234",
        "jobSubmissionPath": "/ccc/work/p86user1/IPSLCM6/modipsl/config/IPSLCM6/CPL01",
    }
    return message("0000", at, **{**told, **fields})


def failure(**fields: str | None) -> list[dict[str, str]]:
    """A job that began half an hour ago and failed in its seventh period ten minutes ago."""
    now = datetime.now(UTC)
    ids = {name: fields[name] for name in ("simuid", "jobuid") if name in fields}
    return [
        announced(now - timedelta(minutes=30), **fields),
        message("1001", now - timedelta(minutes=20), CumulPeriod="7", **ids),
        message("1999", now - timedelta(minutes=10), **ids),
    ]


def lines(messages: Sequence[Mapping[str, str]]) -> bytes:
    """Spell messages as they travel: a line of base64 each."""
    return b"".join(
        base64.b64encode(f"{json.dumps(each)}\n".encode()) + b"\r\n" for each in messages
    )


def decoded(messages: Sequence[Mapping[str, str]]) -> list[MonitoringMessage]:
    """Messages as the engine takes them."""
    return [decode_line(json.dumps(each).encode()) for each in messages]


@dataclass(kw_only=True)
class Desk:
    """A service that works in this process, beside the commands, with agents in memory."""

    config: Path
    url: str
    made: App
    agents: AgentDouble

    @property
    def env(self) -> dict[str, str]:
        """What the commands see."""
        return {"SUPERVISION_CONFIG": str(self.config), "SUPERVISION_DATABASE_URL": self.url}

    def give(self, *words: str | Path) -> Said:
        """Give one command."""
        return give(*words, env=self.env)

    def hear(self, messages: Sequence[Mapping[str, str]]) -> None:
        """Take messages in."""
        self.made.engine.record(decoded(messages))

    def work(self) -> None:
        """Do all that is due."""
        work_through(self.made)

    def row(self) -> Supervision:
        """The only supervision."""
        (row,) = self.made.engine.read(Show())
        return row


@contextmanager
def a_desk(
    folder: Path,
    url: str,
    *,
    mode: str = "act",
    observe: str | None = None,
    more: str = "",
    tracer: Tracer | None = None,
) -> Iterator[Desk]:
    """Make settings for one site and one user, and `more`, and a service on this database."""
    (folder / "master.key").write_bytes(b"k" * 32)
    (folder / "master.key").chmod(0o600)
    config = folder / "supervision.toml"
    shown = "" if observe is None else f'\n[observe]\naddress = "{observe}"\n'
    config.write_text(SETTINGS.replace('mode = "act"', f'mode = "{mode}"') + shown + more)
    agents = AgentDouble(SystemClock())
    loaded = settings.load(config, {"SUPERVISION_DATABASE_URL": url})
    made = app.build(loaded, transport=agents, tracer=tracer)
    try:
        yield Desk(config=config, url=url, made=made, agents=agents)
    finally:
        made.close()
