"""run.card and config.card: sections of `Key= value` lines, as libIGCM reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervision.errors import Refused
from supervision.sandbox.files import write_whole

START: Final = "Start"
RUNNING: Final = "Running"
ON_QUEUE: Final = "OnQueue"
COMPLETED: Final = "Completed"
FATAL: Final = "Fatal"

_FIRST_YEAR: Final = 1850
_MONTHS: Final = 12
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # noleap: every year is the same


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCard:
    """Section [Configuration] of run.card: which period is due or running, and whose it is."""

    period: int
    state: str
    simulation_uid: str
    submit_path: str


def period_dates(period: int) -> tuple[str, str]:
    """Tell first and last day of a period (a month, counted from 1850-01-01) as YYYY-MM-DD."""
    years, month = divmod(period - 1, _MONTHS)
    stem = f"{_FIRST_YEAR + years:04d}-{month + 1:02d}"
    return f"{stem}-01", f"{stem}-{_DAYS[month]:02d}"


def compact(day: str) -> str:
    """Spell YYYY-MM-DD as YYYYMMDD: in messages and file names."""
    return day.replace("-", "")


def render(sections: Mapping[str, Mapping[str, str]]) -> str:
    """Spell a card; values must not hold newlines."""
    blocks = [
        "\n".join([f"[{section}]", *(f"{key}= {value}" for key, value in options.items())])
        for section, options in sections.items()
    ]
    return "\n\n".join(blocks) + "\n"


def parse(text: str) -> dict[str, dict[str, str]]:
    """Read a card. Comments, empty lines and lines without `=` say nothing; last value wins."""
    sections: dict[str, dict[str, str]] = {}
    options: dict[str, str] = {}
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            options = sections.setdefault(line[1:-1], {})
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            options[key.strip()] = value.strip().strip('"')
    return sections


def write_run_card(path: Path, card: RunCard) -> None:
    """Rewrite run.card through a temporary file, keeping what it was as run.card.old."""
    first, last = period_dates(card.period)
    if path.exists() and path.stat().st_size:
        write_whole(path.with_name("run.card.old"), path.read_text())
    configuration = {
        "PeriodDateBegin": first,
        "PeriodDateEnd": last,
        "CumulPeriod": str(card.period),
        "PeriodState": card.state,
        "SubmitPath": card.submit_path,
        "simuid": card.simulation_uid,
    }
    write_whole(path, render({"Configuration": configuration}))


def read_run_card(path: Path) -> RunCard | None:
    """Read run.card; None where there is none. Refused for a cut, empty or foreign one."""
    try:
        options = parse(path.read_text(errors="replace")).get("Configuration", {})
        return RunCard(
            period=int(options["CumulPeriod"]),
            state=options["PeriodState"],
            simulation_uid=options["simuid"],
            submit_path=options["SubmitPath"],
        )
    except FileNotFoundError:
        return None
    except (KeyError, ValueError) as error:
        raise Refused(f"{path} is damaged: {error!r}") from error
