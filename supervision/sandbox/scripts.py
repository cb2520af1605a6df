"""The texts that a sandbox centre is made of: its commands, its job files, its config.card.

Every path goes through the shell's quoting: a sandbox may lie in a directory of any name.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from supervision.sandbox import cards
from supervision.sandbox.cards import period_dates
from supervision.sandbox.centre import EXPERIMENT, MODEL, SPACE, Centre
from supervision.sandbox.plans import Plan

COMMANDS: Final = {
    "sbx-submit": "keeper",
    "sbx-queue": "commands.queue",
    "sbx-cancel": "commands.cancel",
    "sbx-mail": "mail",
    "sbx-compute": "compute",
    "sbx-post": "post",
}
"""Each command of the centre, and the module (and function, else `main`) that answers it."""

_COMMAND: Final = """\
#!/bin/sh
# {name} of a sandbox centre; the standard library alone makes it quick to start.
exec {python} -I -S -c {start} {root} "$@"
"""

_START: Final = """\
import sys
sys.path.append({package!r})
from supervision.sandbox import commands, {module}
sys.exit(commands.run({target}, sys.argv[1], sys.argv[2:]))
"""

_JOB: Final = """\
#!/usr/bin/env bash
#SBX -J {name}
#SBX -o Script_Output_{name}.000001
#SBX -e Script_Output_{name}.000001
# Compute job of {name}: runs some periods, then submits this file again until the end date.
MODIPSL={modipsl}
SUBMIT_DIR={directory}
cd "$SUBMIT_DIR" || exit 1
exec {compute} {name}
"""

_POST_JOB: Final = """\
#!/usr/bin/env bash
#SBX -J {task}
#SBX -o Post_{name}.{task}.{date}.out
#SBX -e Post_{name}.{task}.{date}.out
# Post-processing job of {name}: {task} of the period that ends on {date}.
cd {directory} || exit 1
exec {post} {name} {period}
"""


def command_text(centre: Centre, name: str) -> str:
    """Give the executable text of one of the centre's commands."""
    module, _, function = COMMANDS[name].partition(".")
    start = _START.format(
        package=centre.package, module=module, target=f"{module}.{function or 'main'}"
    )
    return _COMMAND.format(
        name=name,
        python=shlex.quote(centre.python),
        start=shlex.quote(start),
        root=shlex.quote(str(centre.root)),
    )


def write_command(centre: Centre, name: str) -> None:
    """Put one of the centre's commands into its `bin`."""
    path = centre.bin / name
    path.write_text(command_text(centre, name))
    path.chmod(0o755)


def write_job(centre: Centre, name: str) -> Path:
    """Write Job_<NAME>, which keeps an absolute MODIPSL as libIGCM's ins_job does."""
    path = centre.directory_of(name) / f"Job_{name}"
    path.write_text(
        _JOB.format(
            name=name,
            modipsl=shlex.quote(str(centre.modipsl)),
            directory=shlex.quote(str(path.parent)),
            compute=shlex.quote(str(centre.bin / "sbx-compute")),
        )
    )
    path.chmod(0o755)
    return path


def write_post_job(centre: Centre, name: str, *, task: str, period: int) -> Path:
    """Write Post_<NAME>.<task>.<YYYYMMDD>.job beside Job_<NAME>; the date is the period's last."""
    date = cards.compact(period_dates(period)[1])
    path = centre.directory_of(name) / f"Post_{name}.{task}.{date}.job"
    path.write_text(
        _POST_JOB.format(
            name=name,
            task=task,
            date=date,
            period=period,
            directory=shlex.quote(str(path.parent)),
            post=shlex.quote(str(centre.bin / "sbx-post")),
        )
    )
    path.chmod(0o755)
    return path


def config_card(centre: Centre, plan: Plan) -> str:
    """Spell a simulation's config.card, as far as the miniature libIGCM reads it."""
    choices = {
        "JobName": plan.name,
        "LongName": f'"{plan.name}, a make-believe simulation"',
        "TagName": MODEL,
        "SpaceName": SPACE,
        "ExperimentName": EXPERIMENT,
        "CalendarType": "noleap",
        "DateBegin": period_dates(1)[0],
        "DateEnd": period_dates(plan.periods)[1],
        "PeriodLength": "1M",
        "PeriodNb": str(centre.pace.periods_per_job),
    }
    return cards.render({"UserChoices": choices})


def site_file(centre: Centre) -> str:
    """Spell what libIGCM must know of this centre: where output goes, how jobs are submitted."""
    return (
        "# Where this centre keeps output, and how it takes jobs.\n"
        f"SBX_SCRATCH={shlex.quote(str(centre.root / 'scratch'))}\n"
        f"SUBMIT={shlex.quote(str(centre.bin / 'sbx-submit'))}\n"
    )
