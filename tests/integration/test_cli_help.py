"""The help: every command teaches, by an example and a sentence; and nothing else is said there."""

from __future__ import annotations

import click
import pytest

from supervision.cli.common import Exit
from supervision.cli.root import COMMANDS, supervision
from tests.integration.cli_kit import give


def found(name: str) -> click.Command:
    """Import a command."""
    command = supervision.get_command(click.Context(supervision), name)
    assert command is not None
    return command


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says_first(name: str) -> None:
    """The help lists commands without importing them: both sentences are kept the same."""
    text = found(name).help or ""
    assert COMMANDS[name] == " ".join(text.split("\n\n")[0].split())


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"db", "sandbox"}))
def test_every_command_has_an_example(name: str) -> None:
    """The example begins with the command itself."""
    said = give(name, "--help", env={})
    assert 0 == said.code
    assert f"supervision {name}" in said.out.partition("Example")[2].replace(
        "--config curie.toml ", ""
    ).replace("--config /etc/supervision.toml ", "")


@pytest.mark.parametrize("words", [("db", "upgrade"), ("db", "clean")])
def test_the_commands_of_a_group_have_examples(words: tuple[str, ...]) -> None:
    """As the others."""
    assert f"supervision {' '.join(words)}" in give(*words, "--help", env={}).out


def test_the_help_lists_every_exit_code() -> None:
    """What scripts build on is told to people."""
    said = give("--help", env={}).out
    for code in Exit:
        assert f"\n    {code.value:<4}" in said


@pytest.mark.parametrize("words", [("dispense",), ("show", "--colour"), ("hold",), ()])
def test_bad_use_is_an_exit_of_2(words: tuple[str, ...]) -> None:
    """With the usage on stderr."""
    said = give(*words, env={})
    assert (2, True) == (said.code, "Usage: supervision" in said.err)
