"""Scripts as text: the golden files, the quoting, and everything that cannot be built."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervision import script
from supervision.errors import RenderError
from supervision.facts import JobKind, ScriptFacts, SitePolicy, Task, TriggerKind
from supervision.quoting import Shell, quote

GOLDEN = Path(__file__).parent.parent / "golden"
FACTS = ScriptFacts(
    supervision_id="0f9c1d2e-1111-4222-8333-444455556666",
    attempt=1,
    kind=JobKind.COMPUTE,
    trigger=TriggerKind.FATAL,
    simulation_uid="a3b1f0de-0000-4000-8000-000000000001",
    job_uid="b3b1f0de-0000-4000-8000-000000000002",
    job_name="CTL-LMDZ.exp1",
    login="anna",
    directory="/home/anna/modipsl/config/LMDZ/CTL",
    scheduler_id="4711",
    restarted_period=2,
)
POST = replace(
    FACTS,
    kind=JobKind.POST_PROCESSING,
    trigger=TriggerKind.POST_PROCESSING,
    task=Task(name="pack_output", date="18591231"),
)
TEMPLATES = {
    "failed": FACTS,
    "late": replace(FACTS, trigger=TriggerKind.LATE),
    "broken_chain": replace(FACTS, trigger=TriggerKind.STALLED, submit_only=True),
    "post_processing": POST,
}


def _site(scheduler: str = "slurm", interpreter: str | None = None) -> SitePolicy:
    return SitePolicy(
        name="irene",
        centres=("TGCC",),
        machines=("IRENE*",),
        scheduler=scheduler,
        interpreter=interpreter or ("bash" if scheduler == "sandbox" else "ksh"),
    )


def _text(facts: ScriptFacts, site: SitePolicy | None = None) -> str:
    return script.text_of(script.build(facts, site or _site()))


@pytest.mark.parametrize("scheduler", script.SCHEDULERS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_golden(template: str, scheduler: str) -> None:
    """Each template with each scheduler is, byte for byte, the file that people have read."""
    golden = GOLDEN / f"{template}.{scheduler}.sh"
    assert golden.read_text() == _text(TEMPLATES[template], _site(scheduler))


@pytest.mark.parametrize("shell", ["ksh", "bash"])
@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.sh")), ids=lambda path: path.name)
def test_golden_files_are_shell(golden: Path, shell: str) -> None:
    """Both shells read every script without a word."""
    read = subprocess.run([shell, "-n", golden], capture_output=True, text=True, check=False)
    assert (0, "") == (read.returncode, read.stdout + read.stderr)


def test_the_same_facts_give_the_same_script() -> None:
    """Stored and sent are one: base64 of the text, and the digest of what it decodes to."""
    built = script.build(FACTS, _site())
    raw = base64.b64decode(built.content)
    assert built == script.build(FACTS, _site())
    assert ("base64", hashlib.sha256(raw).hexdigest()) == (built.encoding, built.sha256)
    assert raw.decode() == script.text_of(built)


def test_a_stalled_chain_is_never_cleaned() -> None:
    """The trigger alone chooses the script without clean, whoever began the attempt."""
    stalled = replace(FACTS, trigger=TriggerKind.STALLED, submit_only=False)
    assert _text(TEMPLATES["broken_chain"]) == _text(stalled)


@pytest.mark.parametrize(
    ("interpreter", "line"),
    [("ksh", "#!/usr/bin/env ksh"), ("bash", "#!/usr/bin/env bash"), ("/bin/ksh", "#!/bin/ksh")],
)
def test_the_first_line_names_the_interpreter(interpreter: str, line: str) -> None:
    """Who gets the script by mail can start it."""
    assert line == _text(FACTS, _site(interpreter=interpreter)).splitlines()[0]


@pytest.mark.parametrize("interpreter", ["", "dash", "python", "ksh -x", "/bin/ksh\nrm", "ksh/"])
def test_other_interpreters_are_refused(interpreter: str) -> None:
    """Under another shell libIGCM fails silently; and the first line cannot be quoted."""
    site = replace(_site(), interpreter=interpreter)
    with pytest.raises(RenderError, match="is no ksh and no bash"):
        script.build(FACTS, site)


def test_a_directory_that_ends_in_a_new_line_is_refused() -> None:
    """The shell's $(pwd) would cut it, and look elsewhere: no retry could mend that."""
    with pytest.raises(RenderError, match="ends in a new line"):
        script.build(replace(FACTS, directory="/work/x\n"), _site())


def test_an_unknown_scheduler_is_refused() -> None:
    """The error names those that there are."""
    with pytest.raises(RenderError, match="slurm, ccc, loadleveler, pbs, sandbox"):
        script.build(FACTS, _site("oar"))


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (replace(FACTS, directory="modipsl/config"), "not absolute"),
        (replace(FACTS, directory=""), "not absolute"),
        (replace(FACTS, job_name=""), "job name is empty"),
        (replace(FACTS, job_name="../../evil"), "part of a file's name"),
        (replace(FACTS, job_name="-rf"), "part of a file's name"),
        (replace(FACTS, login=""), "login is empty"),
        (replace(FACTS, supervision_id="../x"), "part of a file's name"),
        (replace(FACTS, job_name="a\0b"), "NUL"),
        (replace(FACTS, simulation_uid="a\0b"), "NUL"),
        (replace(FACTS, login="\ud800"), "surrogate"),
        (replace(POST, task=None), "without a task's name and date"),
        (replace(POST, task=Task(name="create_ts")), "without a task's name and date"),
        (replace(POST, task=Task(date="18591231")), "without a task's name and date"),
        (replace(POST, task=Task(name="clean_month", date="1")), "can be resubmitted"),
        (replace(POST, task=Task(name="pack_output\n", date="1")), "can be resubmitted"),
        (replace(POST, task=Task(name="pack_output", date="../1")), "part of a file's name"),
    ],
)
def test_what_cannot_be_built_is_said(facts: ScriptFacts, why: str) -> None:
    """A value that would lead elsewhere, or that no script carries, is an error of ours."""
    with pytest.raises(RenderError, match=why):
        script.build(facts, _site())


def test_a_task_of_the_sandbox_is_still_part_of_a_files_name() -> None:
    """The sandbox knows no list of tasks, but a path stays a path."""
    with pytest.raises(RenderError, match="part of a file's name"):
        script.build(replace(POST, task=Task(name="a/b", date="1")), _site("sandbox"))


def test_a_template_that_asks_for_too_much_is_our_error() -> None:
    """The renderer's own errors never leave this room."""
    with pytest.raises(RenderError, match="'nothing'"):
        script._environment().from_string("{{ nothing }}").render()  # noqa: SLF001
    with pytest.raises(RenderError, match="missing"):
        script._render("missing", {})  # noqa: SLF001


@pytest.mark.parametrize("value", [None, 1.5, b"x", ["x"], object()])
def test_only_text_and_integers_are_quoted(value: object) -> None:
    """Nothing is spelled by accident."""
    with pytest.raises(RenderError, match="text and integers"):
        quote(value)


@pytest.mark.parametrize(
    ("value", "word"),
    [(True, "'1'"), (False, "'0'"), (7, "'7'"), ("", "''"), ("it's", "'it'\\''s'")],
)
def test_quoted_words(value: object, word: str) -> None:
    """Everything stands in single quotes, the empty text too."""
    assert word == quote(value)


def test_opting_out_is_a_type() -> None:
    """Shell is the only thing that enters as it is."""
    assert "$(x)" == quote(Shell("$(x)"))


NASTY = (
    "'",
    '"',
    "`",
    "$",
    "\\",
    "\n",
    "\t",
    " ",
    ";",
    "&",
    "|",
    "(",
    ")",
    "<",
    ">",
    "*",
    "?",
    "~",
)
PIECES = (
    *NASTY,
    "!",
    "#",
    "-",
    "--",
    "=",
    "%",
    "{",
    "}",
    "[",
    "]",
    "$(",
    "${",
    "'\\''",
    "é",
    "日",
    "\r",
)
CANARY = st.sampled_from(
    ("$(touch {})", "`touch {}`", "'; touch {}; '", '"; touch {}; "', "\n touch {}\n")
)
HOSTILE = st.lists(st.sampled_from(PIECES) | CANARY | st.text(max_size=5), max_size=8).map("".join)
LEGAL = HOSTILE.filter(
    lambda text: "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
)


@pytest.mark.parametrize("shell", ["ksh", "bash"])
@settings(max_examples=10, deadline=None)
@given(values=st.lists(LEGAL, min_size=8, max_size=8))
def test_no_value_is_ever_a_command(
    tmp_path_factory: pytest.TempPathFactory, shell: str, values: list[str]
) -> None:
    """Quoted and read back by the shell, every value is itself, and no canary is touched."""
    canary = tmp_path_factory.mktemp("canary") / "canary"
    values = [value.replace("{}", str(canary)) for value in values]
    lines = "".join(f"x={quote(value)}\nprintf '%s\\0' \"$x\"\n" for value in values)
    ran = subprocess.run([shell], input=lines.encode(), capture_output=True, check=True)
    assert [value.encode() for value in values] == ran.stdout.split(b"\0")[:-1]
    assert not canary.exists()


@pytest.mark.parametrize("shell", ["ksh", "bash"])
@settings(max_examples=6, deadline=None)
@given(value=LEGAL)
def test_no_fact_is_ever_a_command(
    tmp_path_factory: pytest.TempPathFactory, shell: str, value: str
) -> None:
    """A whole script full of hostile facts ends as it should: there is no such directory."""
    canary = tmp_path_factory.mktemp("canary") / "canary"
    value = value.replace("{}", str(canary))
    name = "x" + value.replace("/", "_")
    facts = replace(
        FACTS,
        supervision_id=name,
        simulation_uid=value,
        job_name=name,
        login=name,
        directory=f"{canary.parent}/{name}".rstrip("\n"),
        scheduler_id=value,
    )
    site = replace(_site(interpreter=shell), libigcm=value)
    ran = subprocess.run(
        [shell], input=_text(facts, site).encode(), capture_output=True, check=False
    )
    assert 65 == ran.returncode
    assert ran.stdout.splitlines()[-1].startswith(b'{"did": "nothing", ')
    assert not canary.exists()
