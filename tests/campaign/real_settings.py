"""The settings of a real campaign: the defaults, with every delay divided by a factor.

Pauses and alarms are divided by one factor, those of up to a minute by a smaller one, lest all
time goes into asking; leases and deadlines by a third, for they bound work that takes as long here
as anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Final

from supervision.facts import EngineSettings, Policy
from supervision.sandbox.centre import CENTRE_NAME
from supervision.settings import SiteSettings
from tests.campaign.real_centre import Campus

FACTOR: Final = 240
"""Four minutes of the service's patience are one second here."""

SHORT_FACTOR: Final = 60
"""For pauses of up to a minute."""

WORK_FACTOR: Final = 8
"""Leases and deadlines: 120 s and 60 s become 15 s and 7.5 s."""

_SHORT: Final = timedelta(minutes=1)

_WORK: Final = ("lease", "deadline", "outage_first", "outage_cap", "watch_gone_after")
"""The last one waits for the mail of others, whose delays nobody divides."""

_LEFT: Final = ("max_age", "future_tolerance", "script_timeout", "mail_supervision_expiry")
_SITE: Final = """
[sites.{site}]
centres = ["{centre}"]
machines = ["{site}"]
mode = "act"
absent = "act"
stalled = "act"
scheduler = "sandbox"
interpreter = "{interpreter}"
directory_pattern = "{pattern}/config/{{model}}/{{name}}"
master_key_file = "{key}"
{pauses}{way}

[users.{login}]
level = 2
mail = "{login}@localhost"
set_by = "the campaign"
set_on = 2026-01-01
"""
_LOCAL: Final = """\
transport = "local"
agent_home = "{home}"
agent_python = "{python}"
"""
_SSH: Final = """\
transport = "ssh"
hosts = ["127.0.0.1"]
port = {port}
credential_file = "{credential}"
known_hosts_file = "{known_hosts}"
"""


@dataclass(frozen=True, kw_only=True)
class Door:
    """How a site is entered by ssh."""

    port: int
    credential: Path
    known_hosts: Path


def lease_seconds() -> float:
    """How long a claim lasts here."""
    return EngineSettings().lease.total_seconds() / WORK_FACTOR


def watch_seconds() -> float:
    """How long it takes at most here until a new job that is not there is known to be gone.

    It is looked for twice after its time; then another attempt is made.
    """
    known = EngineSettings()
    patience = known.watch_gone_after / WORK_FACTOR + 2 * known.watch_cap / FACTOR
    return patience.total_seconds() + 60


def text(folder: Path, sites: list[tuple[Campus, Door | None]]) -> str:
    """Spell the settings file; mails go into the Maildir `mails` of the folder."""
    parts = [
        f'[mail]\ndirectory = "{folder / "mails"}"\noperator = "operator@localhost"\n',
        "[policy]\ngrace = 0\n" + "".join(_divided(Policy(digest=""), skip=("grace",))),
        *(
            f'[policy.{name}]\ncount = 1000000\nwindow = "1 h"\n'
            for name in ("incident", "site_cap", "simulation_cap", "user_cap")
        ),
        "[engine]\nsweep_interval = 0.5\n"
        + "".join(_divided(EngineSettings(), skip=("sweep_interval",))),
        *(_site(folder, campus, door) for campus, door in sites),
    ]
    return "\n".join(parts)


def _divided(
    values: object, *, skip: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> Iterator[str]:
    for item in fields(values):  # type: ignore[arg-type]
        value = getattr(values, item.name)
        wanted = item.name in only or not (only or item.name in (*_LEFT, *skip))
        if isinstance(value, timedelta) and wanted:
            factor = SHORT_FACTOR if value <= _SHORT else FACTOR
            factor = WORK_FACTOR if item.name in _WORK else factor
            yield f"{item.name} = {value.total_seconds() / factor:.3f}\n"


def _site(folder: Path, campus: Campus, door: Door | None) -> str:
    key = folder / f"{campus.site}.key"
    key.touch(mode=0o600)
    key.write_bytes(campus.master)
    if door is None:
        way = _LOCAL.format(home=campus.home, python=campus.python)
    else:
        way = _SSH.format(port=door.port, credential=door.credential, known_hosts=door.known_hosts)
    pauses = ("connect_every", "idle_close", "failure_pause")
    return _SITE.format(
        pauses="".join(_divided(SiteSettings(name=campus.site), only=pauses)),
        site=campus.site,
        centre=CENTRE_NAME,
        interpreter=campus.interpreter,
        pattern=campus.centre.modipsl,
        key=key,
        way=way,
        login=json.loads(json.dumps(campus.centre.login)),
    )
