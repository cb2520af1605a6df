"""The one place where errors become exit codes and sentences."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import structlog

from supervision import errors
from supervision.cli import root
from supervision.cli.common import Exit
from supervision.errors import DecodeError, SupervisionError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """Logs are set up by a command; the next test finds them as they were."""
    yield
    structlog.reset_defaults()


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Have `supervision show` raise this."""

    @click.command()
    def show() -> None:
        raise error

    monkeypatch.setattr(root.Commands, "get_command", lambda *_: show)


CODES = {
    errors.DatabaseUnavailable: Exit.AWAY,
    errors.BrokerUnavailable: Exit.AWAY,
    errors.SiteUnavailable: Exit.AWAY,
    errors.MailUnavailable: Exit.AWAY,
    errors.SettingsError: Exit.BAD_USE,
    errors.InvalidValue: Exit.BAD_USE,
    errors.Refused: Exit.REFUSED,
    errors.IllegalTransition: Exit.REFUSED,
    errors.NotFound: Exit.NOTHING,
    errors.RenderError: Exit.NOTHING,
    errors.MailRefused: Exit.NOTHING,
    errors.ProtocolError: Exit.NOTHING,
}


@pytest.mark.parametrize("kind", CODES)
def test_an_error_of_ours_is_a_sentence_and_a_code(
    kind: type[SupervisionError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback; what would drive a terminal is not let through."""
    raising(monkeypatch, kind("it is\x1b[0m so"))
    assert CODES[kind] == root.run(["show"])
    said = capsys.readouterr()
    assert ("", "supervision: it is?[0m so\n") == (said.out, said.err)


def test_every_error_has_a_code() -> None:
    """The tree of errors and the table above know the same leaves."""
    leaves = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, SupervisionError)
    }
    assert {*CODES, DecodeError, SupervisionError, errors.Transient, errors.Permanent} == leaves


def test_a_mistake_of_ours_is_a_sentence_a_log_line_and_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The traceback is in the log on stderr, where whoever mends it finds it."""
    raising(monkeypatch, ZeroDivisionError("by nothing"))
    assert 70 == root.run(["show"])
    said = capsys.readouterr()
    assert "" == said.out
    assert "supervision: a mistake of ours: ZeroDivisionError: by nothing" in said.err
    assert "command.failed" in said.err
    assert "Traceback" in said.err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As shells expect it."""
    raising(monkeypatch, error)
    assert 130 == root.run(["show"])
    assert "interrupted" in capsys.readouterr().err


def test_a_command_that_is_unknown_is_bad_use(capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is on stderr."""
    assert 2 == root.run(["dispense"])
    assert "No such command 'dispense'" in capsys.readouterr().err


def test_the_help_imports_nothing_heavy() -> None:
    """A newcomer's first command is answered at once."""
    code = (
        "import sys; from supervision.cli import root; code = root.run(['--help']);"
        "heavy = {'sqlalchemy', 'pika', 'structlog', 'rich', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    """`supervision settings | head -1` ends without a complaint."""
    line = f"{sys.executable} -m supervision --help | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=ROOT, capture_output=True, check=False
    )
    assert (0, b"") == (done.returncode, done.stderr)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Also from a checkout that was never installed."""
    assert 0 == root.run(["--version"])
    assert capsys.readouterr().out.startswith("supervision ")
