"""The miniature libIGCM under bash and ksh: cards, configuration, and clean with its questions."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision.sandbox import builder, cards, plans, scripts
from supervision.sandbox.cards import RunCard
from supervision.sandbox.centre import Centre
from supervision.sandbox.output import begin
from supervision.sandbox.plans import Plan
from supervision.sandbox.reporter import this_job

UID = "6513270e-269e-4d37-b2a7-4de452e6b438"
FILES = "The files of period {period} above: delete them ? (y/N)"
REBUILD = "The rebuild directories of period {period} above: delete them ? (y/N)"
STATE = "PeriodState is {state}: change the state to OnQueue ? (y/N)"
CARD = "CumulPeriod is 1: delete run.card, and with it the identity of the simulation ? (y/N)"


@pytest.fixture(params=["bash", "ksh"])
def shell(request: pytest.FixtureRequest) -> str:
    """Both shells: the sandbox's own, and the one that real centres demand."""
    return str(request.param)


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """A centre with one simulation that has never run, in a directory that needs quoting."""
    made = builder.make_centre(tmp_path / "it's $(here)", ingest=("/bin/true",))
    plan = Plan(name="demo", uid=UID, periods=4)
    plans.save(made, plan)
    made.directory_of("demo").mkdir(parents=True)
    (made.directory_of("demo") / "config.card").write_text(scripts.config_card(made, plan))
    yield made
    builder.stop(made)


def fail(centre: Centre, period: int, state: str = "Fatal") -> None:
    """Leave everything that a failed period leaves."""
    value = RunCard(period=period, state=state, simulation_uid=UID, submit_path="/w")
    cards.write_run_card(centre.directory_of("demo") / "run.card", value)
    begin(this_job(centre, plans.load(centre, "demo")), period)


def run(centre: Centre, shell: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run lines of shell as the supervision scripts begin: libIGCM sourced, only checking."""
    libigcm = centre.modipsl / "libIGCM"
    head = f"export libIGCM={shlex.quote(str(libigcm))}; TaskType=checking\n"
    parts = ("debug", "card", "date", "sys", "config")
    sourced = "".join(f'. "$libIGCM/libIGCM_{part}/libIGCM_{part}.ksh"\n' for part in parts)
    return subprocess.run(
        [shell, "-c", head + sourced + text],
        capture_output=True,
        text=True,
        check=False,
        cwd=centre.directory_of("demo"),
    )


def clean(centre: Centre, shell: str, answers: str) -> subprocess.CompletedProcess[str]:
    """Run clean in the submission directory with these lines as answers."""
    return subprocess.run(
        [shell, str(centre.modipsl / "libIGCM" / "clean_PeriodLenght.job")],
        input=answers,
        capture_output=True,
        text=True,
        check=False,
        cwd=centre.directory_of("demo"),
    )


def questions(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The questions that were asked, in order; nothing was said on stderr."""
    assert "" == done.stderr
    return [line.rstrip() for line in done.stdout.splitlines() if line.endswith("(y/N) ")]


def left(centre: Centre) -> set[str]:
    """Names of the files below the place of output."""
    return {path.name for path in centre.buffer_of("demo").rglob("*") if path.is_file()}


def state(centre: Centre) -> str | None:
    """What run.card says; None where it is gone."""
    found = cards.read_run_card(centre.directory_of("demo") / "run.card")
    return None if found is None else found.state


def test_the_scripts_parse_under_both_shells(centre: Centre, shell: str) -> None:
    """Every file that is sourced or run, the generated ones included."""
    found = [path for path in (centre.modipsl / "libIGCM").rglob("*") if path.is_file()]
    scripts.write_job(centre, "demo")
    found += [centre.directory_of("demo") / "Job_demo", *centre.bin.iterdir()]
    assert 14 == len(found)
    bad = [
        path.name for path in found if subprocess.run([shell, "-n", path], check=False).returncode
    ]
    assert [] == bad


def test_the_configuration_names_job_and_output(centre: Centre, shell: str) -> None:
    """The two variables that a supervision script looks at."""
    text = 'IGCM_config_CommonConfiguration "$PWD/config.card"\n'
    done = run(centre, shell, text + 'printf "%s\\n" "$config_UserChoices_JobName" "$R_BUF_KSH"')
    assert f"demo\n{centre.buffer_of('demo')}\n" == done.stdout
    assert "" == done.stderr


def test_a_missing_config_card_is_answered_with_nothing_and_zero(
    centre: Centre, shell: str
) -> None:
    """As its model does: the caller has to look at the variables, not at the exit code."""
    text = "IGCM_config_CommonConfiguration /nowhere/config.card\n"
    done = run(centre, shell, text + 'echo "$? [$config_UserChoices_JobName] [$R_BUF_KSH]"')
    assert "0 [] []\n" == done.stdout


def test_an_option_becomes_a_variable_named_after_card_and_section(
    centre: Centre, shell: str
) -> None:
    """run.card's PeriodState is run_Configuration_PeriodState."""
    fail(centre, 3)
    text = 'IGCM_card_DefineVariableFromOption "$PWD/run.card" Configuration {}\n'
    lines = "".join(text.format(option) for option in ("PeriodState", "CumulPeriod", "simuid"))
    shown = 'echo "$run_Configuration_PeriodState $run_Configuration_CumulPeriod"\n'
    done = run(centre, shell, lines + shown + 'echo "$run_Configuration_simuid"')
    assert f"Fatal 3\n{UID}\n" == done.stdout


@pytest.mark.parametrize(
    "value", ["$(touch canary)", "`touch canary`", "a; touch canary", '" ; touch canary ; "', "\\n"]
)
def test_a_value_is_never_run(centre: Centre, shell: str, value: str) -> None:
    """A card is written by its owner, and may hold anything."""
    path = centre.directory_of("demo") / "run.card"
    path.write_text(f"[Configuration]\nPeriodState= {value}\n")
    text = 'IGCM_card_DefineVariableFromOption "$PWD/run.card" Configuration PeriodState\n'
    done = run(centre, shell, text + 'printf "%s" "$run_Configuration_PeriodState"')
    assert value.strip('"') == done.stdout
    assert not (path.parent / "canary").exists()


def test_an_option_of_another_section_is_not_taken(centre: Centre, shell: str) -> None:
    """A variable is empty where its section does not have the option, whatever it was before."""
    (centre.directory_of("demo") / "run.card").write_text(
        "[Log]\nPeriodState= x\n[Configuration]\n"
    )
    text = "run_Configuration_PeriodState=old\n"
    text += 'IGCM_card_DefineVariableFromOption "$PWD/run.card" Configuration PeriodState\n'
    assert "[]\n" == run(centre, shell, text + 'echo "[$run_Configuration_PeriodState]"').stdout


def test_an_option_that_is_not_there_cannot_be_written(centre: Centre, shell: str) -> None:
    """The card stays byte for byte, and no temporary file is left."""
    fail(centre, 3)
    directory = centre.directory_of("demo")
    before = (directory / "run.card").read_text()
    names = sorted(path.name for path in directory.iterdir())
    done = run(centre, shell, 'IGCM_card_WriteOption "$PWD/run.card" Configuration Nope 1')
    assert (1, before) == (done.returncode, (directory / "run.card").read_text())
    assert names == sorted(path.name for path in directory.iterdir())


def test_a_missing_site_file_ends_a_ksh_script(centre: Centre) -> None:
    """So a caller has to wrap the sourcing; under bash it goes on."""
    (centre.modipsl / "libIGCM" / "libIGCM_sys" / "libIGCM_sys_sandbox.ksh").unlink()
    assert "" == run(centre, "ksh", "echo went on").stdout
    assert "went on\n" == run(centre, "bash", "echo went on").stdout


def test_clean_asks_three_questions_and_does_what_is_said(centre: Centre, shell: str) -> None:
    """A failed period beyond the first: files, rebuild directories, state."""
    fail(centre, 2)
    fail(centre, 3)
    done = clean(centre, shell, "y\ny\ny\n")
    asked = [FILES.format(period=3), REBUILD.format(period=3), STATE.format(state="Fatal")]
    assert (0, asked) == (done.returncode, questions(done))
    kept = {"demo_18500201_18500228_1M_histmth.nc", "demo_18500228_restart.nc", "histmth_0000.nc"}
    assert kept == left(centre)
    assert "OnQueue" == state(centre)


@pytest.mark.parametrize("answers", ["", "n\nn\nn\n", "\n\n\n", "yy\nYess\nno\n"])
def test_anything_but_yes_and_the_end_of_input_mean_no(
    centre: Centre, shell: str, answers: str
) -> None:
    """Nothing is deleted, nothing is changed."""
    fail(centre, 3)
    before = left(centre)
    done = clean(centre, shell, answers)
    assert (0, 3) == (done.returncode, len(questions(done)))
    assert (before, "Fatal") == (left(centre), state(centre))


def test_each_question_is_about_one_thing(centre: Centre, shell: str) -> None:
    """Yes to the directories alone leaves files and state as they are."""
    fail(centre, 3)
    clean(centre, shell, "n\ny\nn\n")
    assert {"demo_18500301_18500331_1M_histmth.nc", "demo_18500331_restart.nc"} == left(centre)
    assert "Fatal" == state(centre)


@pytest.mark.parametrize(("answer", "expected"), [("n", "OnQueue"), ("y", None)])
def test_in_the_first_period_clean_asks_about_the_run_card(
    centre: Centre, shell: str, answer: str, expected: str | None
) -> None:
    """The fourth question ends the simulation's identity, and needs its own answer."""
    fail(centre, 1, "Running")
    done = clean(centre, shell, f"y\ny\ny\n{answer}\n")
    assert 4 == len(questions(done))
    assert CARD == questions(done)[-1]
    assert expected == state(centre)


def test_clean_asks_nothing_where_nothing_is_left(centre: Centre, shell: str) -> None:
    """After a clean the next one has nothing to ask."""
    fail(centre, 3)
    clean(centre, shell, "y\ny\ny\n")
    done = clean(centre, shell, "")
    assert (0, []) == (done.returncode, questions(done))


@pytest.mark.parametrize("text", [None, "", "[Configuration]\nPeriodState= Fatal\n"])
def test_clean_without_a_whole_run_card_ends_with_one(
    centre: Centre, shell: str, text: str | None
) -> None:
    """Absent, empty or cut: it says so, asks nothing and changes nothing."""
    fail(centre, 3)
    path = centre.directory_of("demo") / "run.card"
    path.unlink()
    if text is not None:
        path.write_text(text)
    before = left(centre)
    done = clean(centre, shell, "y\ny\ny\ny\n")
    assert (1, []) == (done.returncode, questions(done))
    assert before == left(centre)
