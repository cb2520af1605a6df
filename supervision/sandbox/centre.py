"""A sandbox centre's directory: where everything lies, and the pace of its make-believe time.

The programs of the centre start by reading this, so it imports the standard library only.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from supervision.errors import NotFound, Refused

CENTRE_NAME: Final = "SANDBOX"
MACHINE: Final = "sandbox"
MODEL: Final = "SANDCM1"
SPACE: Final = "DEVT"
EXPERIMENT: Final = "sandbox"
SETTINGS_FILE: Final = "sandbox.json"

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast the make-believe time runs.

    `failed_commands` is how many command failures one failed job sends: the real centres sent
    about 300 within 39 s. `hang_seconds` is how long a hung job stands still before it goes on:
    it was slow, not dead. `mail_again_seconds` are the pauses before mail is handed over again.
    """

    period_seconds: float = 0.3
    periods_per_job: int = 2
    queue_seconds: float = 0.2
    echo_seconds: float = 1.0
    hang_seconds: float = 30.0
    warning_delay_seconds: int = 3
    failed_commands: int = 300
    mail_again_seconds: tuple[float, ...] = (1.0, 2.0, 4.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Centre:
    """One sandbox centre. `root` is real and absolute, so that paths in messages compare equal.

    `package` is the directory that `supervision` is imported from; `ingest` is the command that
    takes a mail file as its last argument and ends with 0 when the mail is safe.
    """

    root: Path
    login: str
    python: str
    package: str
    ingest: tuple[str, ...]
    interpreter: str = "bash"
    pace: Pace = field(default_factory=Pace)

    @property
    def bin(self) -> Path:
        """The scheduler's commands."""
        return self.root / "bin"

    @property
    def spool(self) -> Path:
        """The scheduler's records, one file a job."""
        return self.root / "spool"

    @property
    def outbox(self) -> Path:
        """Mail that nobody has taken yet, oldest name first."""
        return self.root / "outbox"

    @property
    def sent(self) -> Path:
        """Mail that `ingest` has taken."""
        return self.root / "sent"

    @property
    def plans(self) -> Path:
        """What each simulation is to suffer, and which of it has happened."""
        return self.root / "plans"

    @property
    def modipsl(self) -> Path:
        """The directory above libIGCM and config, as libIGCM's users know it."""
        return self.root / "work" / MODEL / "modipsl"

    def directory_of(self, name: str) -> Path:
        """Tell the submission directory; `../../../libIGCM` is our libIGCM from there."""
        return self.modipsl / "config" / MODEL / name

    def buffer_of(self, name: str) -> Path:
        """Tell where a simulation's output goes: R_BUF_KSH, in libIGCM's words."""
        return self.root / "scratch" / "IGCM_OUT" / MODEL / SPACE / EXPERIMENT / name

    def save(self) -> None:
        """Write the settings that `open_centre` reads."""
        values = {key: value for key, value in asdict(self).items() if key != "root"}
        (self.root / SETTINGS_FILE).write_text(json.dumps(values, indent=2) + "\n")


def open_centre(root: str | Path) -> Centre:
    """Read a centre's settings; NotFound where there is no sandbox, Refused for damaged ones."""
    path = Path(root).resolve() / SETTINGS_FILE
    try:
        values = json.loads(path.read_text())
        values["ingest"] = tuple(values["ingest"])
        pace = values.pop("pace")
        pace["mail_again_seconds"] = tuple(pace["mail_again_seconds"])
        return Centre(root=path.parent, pace=Pace(**pace), **values)
    except FileNotFoundError as error:
        message = f"{path.parent} is no sandbox centre: it has no {SETTINGS_FILE}"
        raise NotFound(message) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(f"{path} is damaged: {error}") from error


def check_name(name: str) -> str:
    """Give back a name that is safe in file names; Refused says what is allowed."""
    if _NAME.fullmatch(name) is None:
        message = (
            f"{name!r} cannot name a simulation: allowed are 1 to 64 of the characters "
            "A-Z a-z 0-9 . _ - and the first one is a letter, a digit or _"
        )
        raise Refused(message)
    return name
