"""Hostile strings from the message to the shell: whatever they say, they stay strings.

Messages go through the service as they always do; the script that comes of them runs under both
shells in a directory whose names, cards and queue are hostile as well. No canary may ever appear.
More examples: `python -m pytest --hypothesis-profile=long`, and the name of this file.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervision.facts import JobKind, ScriptFacts, SitePolicy, Task, TriggerKind
from supervision.fsm.engine.reading import Show, Why
from supervision.script import build, text_of
from supervision.testing import AgentDouble
from supervision.wire import decode_monitoring
from tests.integration.end_to_end_kit import work_through
from tests.integration.stubs import fake_centre
from tests.integration.stubs.fake_centre import FakeCentre, make
from tests.integration.test_end_to_end_hostile import (
    JOB,
    SIMULATION,
    composed,
    config,
    message,
    start,
)

__all__ = ["config"]

CANARY: Final = "CANARY"
PAYLOADS: Final = (
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"'; touch {CANARY}; '",
    f'"; touch {CANARY}; "',
    f"';touch {CANARY}\n'",
    f"\ntouch {CANARY}\n",
    f"\r\ntouch {CANARY}",
    f"| touch {CANARY} &",
    f"&& touch {CANARY} #",
    f"a[$(touch {CANARY})]",
    f"${{x:=$(touch {CANARY})}}",
    f"$((a[$(touch {CANARY})]))",
    f"<(touch {CANARY})",
    f"x>{CANARY}",
    f"-o{CANARY}",
    f"--output={CANARY}",
    f"{{{{ touch {CANARY} }}}}{{% raw %}}",
    f"\\'; touch {CANARY} #",
    f"$'\\x27; touch {CANARY} #'",
    f"!touch {CANARY}",
    f"EOF\ntouch {CANARY}\nEOF",
    "*",
    "?[a-z]*",
    "~root",
    "%s%n%%",
    "\\",
    " ",
    "\t\u00e9\u2028\u202e",
    "0x10",
    "1 -o 1",
    "= )",
)
HOSTILE: Final = st.sampled_from(PAYLOADS)
_NUMBERS: Final = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a stranger may choose: fields of messages, and what lies in the directory."""

    name: str
    folder: str
    scheduler_id: str
    period: str
    others: tuple[str, ...]
    card: str
    file: str
    queue: str


def _mild(usual: str) -> st.SearchStrategy[str]:
    """Mostly as usual, so that the script gets far; else hostile, or hostile behind the usual."""
    return st.just(usual) | HOSTILE | HOSTILE.map(lambda payload: usual + payload)


WORDS: Final = st.builds(
    Words,
    name=_mild("CTL02").filter(lambda name: not name.startswith(("-", ".")) and "/" not in name),
    folder=HOSTILE.filter(lambda name: name.strip() == name),
    scheduler_id=_mild("4711"),
    period=_mild("7"),
    others=st.tuples(*[HOSTILE] * 6),
    card=_mild("Fatal"),
    file=HOSTILE,
    queue=_mild("5000|COMPLETED|other|/elsewhere"),
)
MILD: Final = Words(
    name="CTL02", folder="CTL", scheduler_id="4711", period="7", others=("x",) * 6, card="Fatal",
    file="x", queue="5000|COMPLETED|other|/elsewhere",
)  # fmt: skip
EXAMPLES: Final = settings(
    max_examples=max(settings().max_examples // 6, 1), suppress_health_check=list(HealthCheck)
)


def test_no_string_becomes_a_command(config: Path, sqlite_url: str, tmp_path: Path) -> None:
    """From the message through policy and script to ksh and bash, with everything hostile."""
    codes: set[int] = set()

    @EXAMPLES
    @given(words=WORDS)
    def stay_strings(words: Words) -> None:
        for shell in ("ksh", "bash"):
            root = tmp_path / str(next(_NUMBERS))
            place = _place(root, shell, words)
            database = root / "supervision.db"
            shutil.copy(sqlite_url.removeprefix("sqlite:///"), database)
            for text in _scripts(words, config, f"sqlite:///{database}", place.directory):
                codes.add(_run(place, text))
            assert [] == _canaries(root)

    whole: Callable[[], None] = stay_strings
    whole()
    assert {0, 10} <= codes, "no script came far enough to prove anything"


@pytest.mark.parametrize("shell", ["ksh", "bash"])
def test_the_canary_sings(tmp_path: Path, shell: str) -> None:
    """Were one value not quoted, these tests would see it."""
    place = _place(tmp_path, shell, MILD)
    text = text_of(build(replace(fake_centre.FACTS, directory="/x"), _policy(shell)))
    _run(place, text.replace("our_login='anna'", f"our_login=$(touch {CANARY})"))
    assert [place.directory / CANARY] == _canaries(tmp_path)


def _canaries(root: Path) -> list[Path]:
    """Find what a payload would have made; names that only hold its text are none."""
    return list(root.rglob(CANARY))


def _policy(shell: str) -> SitePolicy:
    return SitePolicy(
        name="s", centres=("S",), machines=("*",), scheduler="slurm", interpreter=shell
    )


@dataclass(frozen=True, kw_only=True)
class Place:
    """A fake centre, and the hostile directory in it that a simulation was submitted from."""

    centre: FakeCentre
    directory: Path


def _place(root: Path, shell: str, words: Words) -> Place:
    """Make a centre whose submission directory, cards, files and queue are hostile."""
    centre = make(root, shell)
    directory = centre.directory.parent / words.folder.replace("/", "_")
    centre.directory.rename(directory)
    (directory / f"Job_{fake_centre.NAME}").rename(directory / f"Job_{words.name}")
    config_card = directory / "config.card"
    text = config_card.read_text().replace(fake_centre.NAME, words.name)
    config_card.write_text(f"{text}{words.file}={words.file}\n", newline="")
    (directory / "run.card").write_text(
        f"[Configuration]\nPeriodDateBegin= 1850-03-01{words.file}\nPeriodDateEnd= 1850-03-30\n"
        f"CumulPeriod= 3\nPeriodState= {words.card}\nsimuid= {SIMULATION}\n",
        newline="",
    )
    for folder in (root / "archive", directory):
        (folder / f"{words.file}_18500330_1M.nc".replace("/", "_")).touch()
    centre.put("queue", f"{words.queue}\n")
    centre.put("answer", f"4712{words.file}\n")
    return Place(centre=centre, directory=directory)


def _scripts(words: Words, config: Path, database: str, directory: Path) -> list[str]:
    """What the service sends for this failure; nothing, where it says in words why not."""
    activity, experiment, model, command, date, figure = words.others
    told = [
        start(
            name=words.name, jobSubmissionPath=str(directory), activity=activity,
            experiment=experiment, space=model, model=model, startDate=date[:60],
        ),
        message("1000", 4, jobSchedulerID=words.scheduler_id, jobWarningDelay=figure),
        message("1001", 2, CumulPeriod=words.period, PeriodDateBegin=date[:60]),
        message("1900", 5, command=command, instruction=figure),
        message("1999", 3),
    ]  # fmt: skip
    with composed(config, database=database) as made:
        made.engine.record([decode_monitoring(json.dumps(each).encode()) for each in told])
        work_through(made)
        rows, decisions = made.engine.read(Show()), made.engine.read(Why(job_uid=JOB))
        assert isinstance(made.transport, AgentDouble)
        sent = [base64.b64decode(order.script.content).decode() for order in made.transport.orders]
    assert sent or any(row.reason for row in rows) or any(each.sentence for each in decisions)
    return sent


def _run(place: Place, text: str) -> int:
    """Run a script as the agent does; its last line is its report, whatever happened."""
    centre = place.centre
    path = centre.root / "script.sh"
    path.write_text(text, newline="")
    environment = {
        "PATH": f"{centre.root / 'bin'}:/usr/bin:/bin",
        "HOME": str(centre.root),
        "STUB": str(centre.stub),
        "RUN_CARD": str(place.directory / "run.card"),
        "SUBMIT": "sbatch",
        "TMPDIR": str(centre.root / "tmp"),
    }
    ended = subprocess.run(
        [centre.shell, str(path)], capture_output=True, text=True, errors="replace", check=False,
        env=environment, cwd=place.directory, timeout=60,
    )  # fmt: skip
    report = json.loads(ended.stdout.splitlines()[-1])
    assert {"did", "period", "scheduler_id", "deleted", "exit"} == set(report)
    assert ended.returncode == report["exit"]
    return ended.returncode


@pytest.mark.parametrize("shell", ["ksh", "bash"])
def test_no_fact_becomes_a_command(shell: str, tmp_path: Path) -> None:
    """What messages cannot even say, ids and logins of any form, is quoted as everything else."""

    @EXAMPLES
    @given(said=st.tuples(*[HOSTILE] * 5))
    def stay_strings(said: tuple[str, ...]) -> None:
        name, date, simulation, login, site = (each.replace("/", "_") for each in said)
        root = tmp_path / str(next(_NUMBERS))
        place = _place(root, shell, replace(MILD, name=f"x{name}"))
        facts = ScriptFacts(
            supervision_id=f"0f9c1d2e{simulation}", attempt=1, kind=JobKind.POST_PROCESSING,
            trigger=TriggerKind.POST_PROCESSING, simulation_uid=simulation, job_uid=simulation,
            job_name=f"x{name}", login=login, directory=str(place.directory),
            scheduler_id=simulation, task=Task(name="pack_output", date=f"1{date}"),
        )  # fmt: skip
        _run(place, text_of(build(facts, replace(_policy(shell), libigcm=f"/nowhere/{site}"))))
        assert [] == _canaries(root)

    whole: Callable[[], None] = stay_strings
    whole()
