"""What a period leaves on disk, and what clean_PeriodLenght.job therefore finds to delete."""

from __future__ import annotations

import shutil
from pathlib import Path

from supervision.sandbox import cards
from supervision.sandbox.reporter import Job


def _files(job: Job, period: int) -> tuple[Path, Path]:
    first, last = (cards.compact(day) for day in cards.period_dates(period))
    buffer = job.centre.buffer_of(job.plan.name)
    name = job.plan.name
    return (
        buffer / "ATM" / "Output" / "MO" / f"{name}_{first}_{last}_1M_histmth.nc",
        buffer / "RESTART" / f"{name}_{last}_restart.nc",
    )


def _rebuild(job: Job, period: int) -> Path:
    first, _ = cards.period_dates(period)
    return job.centre.buffer_of(job.plan.name) / "REBUILD" / cards.compact(first)


def present(job: Job, period: int) -> bool:
    """Whether an earlier try of the period left files: libIGCM would not write over them."""
    return any(path.exists() for path in (*_files(job, period), _rebuild(job, period)))


def begin(job: Job, period: int) -> None:
    """Make the files of a period and the parts that are still to be rebuilt."""
    for path in _files(job, period):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"period {period}\n" * 64)
    rebuild = _rebuild(job, period)
    rebuild.mkdir(parents=True, exist_ok=True)
    (rebuild / "histmth_0000.nc").write_text("part\n")


def finish(job: Job, period: int) -> None:
    """Rebuild the parts: the period's files stay, its rebuild directory goes."""
    shutil.rmtree(_rebuild(job, period))
