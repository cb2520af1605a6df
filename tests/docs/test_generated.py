"""The pages that are written from the code: they say what it says, and leave nothing out."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from docs.generate import codes, example, policy, queues, settings
from docs.generate.commands import Command, tree
from docs.generate.pages import COMMAND, PAGES
from supervision.cli.common import EXITS, Exit
from supervision.facts import ExitCode
from supervision.fsm.states import Queue
from supervision.messages import Meaning
from supervision.policy import RULES
from supervision.topology import WORK_QUEUES

_ROOT: Final = Path(__file__).parents[2]
_DOCS: Final = _ROOT / "docs"
_MANUAL: Final = _DOCS / "man" / "supervision.1"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    """Whoever changes the code writes the pages anew."""
    assert PAGES[name]() == (_DOCS / name).read_text(), f"run: {COMMAND}"


def test_every_page_of_the_reference_is_written_by_the_code() -> None:
    """Nothing in that folder is written by hand."""
    found = {f"reference/{path.name}" for path in (_DOCS / "reference").iterdir()}
    assert {name for name in PAGES if name.startswith("reference/")} == found


@pytest.mark.parametrize("command", list(tree().walk()), ids=lambda each: each.name)
def test_every_command_stands_in_the_reference_and_in_the_manual(command: Command) -> None:
    """With each of its options."""
    reference = (_DOCS / "reference" / "cli.md").read_text()
    manual = _MANUAL.read_text().replace("\\-", "-")
    assert f"# {command.name}\n" in reference
    assert command.name == "supervision" or f".SS {command.name}\n" in manual
    for option in command.options:
        assert option.written.replace("|", "\\|") in reference
        assert option.written in manual


@pytest.mark.parametrize("command", list(tree().walk()), ids=lambda each: each.name)
def test_every_command_that_does_something_has_an_example(command: Command) -> None:
    """One of itself, and not of its neighbour."""
    lines = [line for text in command.blocks.values() for line in text.splitlines()]
    words = re.compile(
        rf"supervision (--config \S+ )?{command.name.removeprefix('supervision ')}\b"
    )
    assert command.commands or any(map(words.match, lines))


def test_the_example_says_what_each_key_is_for() -> None:
    """And speaks of no key, and of no table, that a settings file may not hold."""
    said = {table.name: [k for g in table.groups for k in g.keys] for table in example.tables()}
    tables = settings.forms()
    keys = {
        name: {key for key in form.model_fields if settings.place_of(name, key) not in tables}
        for name, form in tables.items()
    }
    assert keys == {name: set(found) for name, found in said.items()}


def test_whoever_adds_a_code_says_what_it_means() -> None:
    """Meanings of messages, ends of scripts and of commands, queues of wake-ups."""
    assert set(Meaning) == set(codes.MEANT)
    assert set(ExitCode) == set(codes.SCRIPTS)
    assert set(Exit) == set(EXITS)
    assert set(Queue) == set(queues.WAKES)


def test_the_queues_of_the_page_are_declared_alike() -> None:
    """The page shows the arguments of one queue for all."""
    shown = {queues.arguments(name) for name in WORK_QUEUES}
    assert 1 == len(shown)


def test_rules_are_called_as_verdicts_call_them() -> None:
    """The page's names are those that `supervision why` prints."""
    said = "".join(path.read_text() for path in (_ROOT / "supervision" / "rules").glob("*.py"))
    spoken = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', said))
    assert set() == {policy.name_of(ranked) for ranked in RULES} - spoken


def test_the_manual_page_has_no_mistakes() -> None:
    """As groff sees it, which formats it on most systems."""
    man = shutil.which("groff")
    assert man is not None, "please install: apt-get install groff-base"
    command = (man, "-man", "-Tutf8", "-ww", "-z", _MANUAL)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_the_manual_page_shows_examples_as_people_type_them() -> None:
    """A quote, a tilde and a hyphen can be copied from the page."""
    command = ("groff", "-man", "-Tutf8", "-P-cbou", "-rLL=200n", _MANUAL)
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    missing = [line for line in _examples() if line not in shown]
    assert [] == missing


def _examples() -> list[str]:
    lines = (
        line for each in tree().walk() for text in each.blocks.values() for line in text.split("\n")
    )
    return [line for line in lines if line.startswith("supervision ")]
