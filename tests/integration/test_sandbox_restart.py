"""A supervision's own script, run at a sandbox centre: it restarts what failed there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision import script
from supervision.facts import ExitCode, JobKind, ScriptFacts, SitePolicy, Task, TriggerKind
from supervision.sandbox.centre import Centre
from supervision.sandbox.plans import Plan
from tests.integration.sandbox_centre import a_centre, at_rest, card, codes, jobs, paced, start

ATTEMPT = "8d116ece-1738-47d9-bd9c-172411e20b8f"


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """A quick centre whose failures are short."""
    with a_centre(tmp_path) as made:
        yield paced(made, failed_commands=3)


def facts(centre: Centre, plan: Plan, trigger: TriggerKind) -> ScriptFacts:
    """What the service would know of demo's failed job."""
    post = trigger is TriggerKind.POST_PROCESSING
    failed = [job for job in jobs(centre) if job.reason != "completed"] or jobs(centre)
    return ScriptFacts(
        supervision_id=ATTEMPT,
        attempt=1,
        kind=JobKind.POST_PROCESSING if post else JobKind.COMPUTE,
        trigger=trigger,
        simulation_uid=plan.uid,
        job_uid=ATTEMPT,
        job_name="demo",
        login=centre.login,
        directory=str(centre.directory_of("demo")),
        scheduler_id=failed[-1].id,
        task=Task(name="pack_output", date="18500228") if post else None,
        submit_only=trigger is TriggerKind.STALLED,
    )


def supervise(centre: Centre, wanted: ScriptFacts, shell: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the agent does: by the site's interpreter, the commands on PATH."""
    site = SitePolicy(
        name="sandbox",
        centres=("SANDBOX",),
        machines=("sandbox",),
        scheduler="sandbox",
        interpreter=shell,
    )
    text = script.text_of(script.build(wanted, site))
    environment = {**os.environ, "PATH": f"{centre.bin}:{os.environ['PATH']}"}
    return subprocess.run(
        [shell, "-c", text], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize("shell", ["bash", "ksh"])
@pytest.mark.parametrize(
    ("fault", "trigger"),
    [
        ("error:3", TriggerKind.FATAL),
        ("silent:2", TriggerKind.LATE),
        ("stalled:2", TriggerKind.STALLED),
    ],
)
def test_a_script_restarts_a_compute_job(
    centre: Centre, fault: str, trigger: TriggerKind, shell: str
) -> None:
    """The same simulation completes after the script has acted once."""
    plan = start(centre, fault)
    at_rest(centre)
    done = supervise(centre, facts(centre, plan, trigger), shell)
    assert ExitCode.ACTED == done.returncode, done.stdout
    at_rest(centre)
    assert ("Completed", plan.uid) == (card(centre).state, card(centre).simulation_uid)
    assert 1 == codes(centre).count("0100")


def test_a_script_restarts_a_post_processing_job_alone(centre: Centre) -> None:
    """No compute job is submitted, and the task ends well this time."""
    plan = start(centre, "post:2")
    at_rest(centre)
    before = len(jobs(centre))
    done = supervise(centre, facts(centre, plan, TriggerKind.POST_PROCESSING), "bash")
    assert ExitCode.ACTED == done.returncode, done.stdout
    at_rest(centre)
    assert ["pack_output"] == [job.name for job in jobs(centre)[before:]]
    assert "2100" == codes(centre)[-1]


def test_a_script_declines_a_simulation_that_is_complete(centre: Centre) -> None:
    """Somebody was quicker: nothing is submitted."""
    plan = start(centre)
    at_rest(centre)
    before = len(jobs(centre))
    done = supervise(centre, facts(centre, plan, TriggerKind.FATAL), "bash")
    assert ExitCode.COMPLETED == done.returncode, done.stdout
    assert before == len(jobs(centre))


def test_a_script_finds_a_run_card_that_a_full_quota_emptied(centre: Centre) -> None:
    """It touches nothing and says which damage it saw."""
    plan = start(centre, "quota:2")
    at_rest(centre)
    before = len(jobs(centre))
    done = supervise(centre, facts(centre, plan, TriggerKind.FATAL), "bash")
    assert ExitCode.NO_RUN_CARD == done.returncode, done.stdout
    assert before == len(jobs(centre))
