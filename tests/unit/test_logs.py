"""Logs: the form of a line, and what no line ever holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import structlog

from supervision import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give structlog and the root logger back as they were."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_daemon_writes_json_lines_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line with event, level, UTC time and the keys; nothing on stdout."""
    logs.configure(json=True, level="info")
    structlog.get_logger().info("message.settled", outcome="acked", attempt=2)
    (line,) = _lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    expected = {"event": "message.settled", "level": "info", "outcome": "acked", "attempt": 2}
    assert expected == line


def test_a_terminal_gets_keys_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Readable, without colours where stderr is no terminal."""
    logs.configure(json=False, level="info")
    structlog.get_logger().warning("site.parked", site="curie")
    line = capsys.readouterr().err
    assert "site.parked" in line
    assert "site=curie" in line
    assert "\x1b" not in line


def test_a_terminal_is_not_driven_by_what_came_from_outside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Control characters of values become question marks; a newline makes no second line."""
    logs.configure(json=False, level="info")
    structlog.get_logger().info("x.happened", name="\x1b[2Ja\rb\x9b", other="a\nlevel=error")
    err = capsys.readouterr().err
    assert "name=?[2Ja?b?" in err
    assert len(err.splitlines()) == 1


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The level is the first that is shown."""
    logs.configure(json=True, level="warning")
    log = structlog.get_logger()
    log.info("quiet.thing")
    log.warning("loud.thing")
    assert ["loud.thing"] == [line["event"] for line in _lines(capsys)]


@pytest.mark.parametrize("level", ["", "INFO", "verbose", "10"])
def test_an_unknown_level_is_refused(level: str) -> None:
    """The error names the levels that there are."""
    with pytest.raises(ValueError, match="allowed: debug, info, warning, error, critical"):
        logs.configure(json=True, level=level)


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "smtp_password", "secret", "key", "master_key", "x509-proxy", "token"],
)
def test_a_value_under_a_telling_name_is_masked(name: str) -> None:
    """The name's last word tells, in any case and at any depth."""
    event = logs.masked(None, "info", {"event": "e", "site": {name: "hunter2"}, name: "hunter2"})
    assert {"event": "e", "site": {name: "***"}, name: "***"} == event


@pytest.mark.parametrize(
    "name", ["master_key_file", "key_count", "monkey", "routing_key", "proxy_expires_at"]
)
def test_a_harmless_name_is_shown(name: str) -> None:
    """Where a secret lies, and how many there are, is no secret."""
    assert {name: "seen"} == logs.masked(None, "info", {name: "seen"})


class _Word(Enum):
    ONE = "one"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("amqp://u:p@ss/word@h:5672/v", "amqp://u:***@h:5672/v"),
        (["postgresql://u:p@h/db", 3], ["postgresql://u:***@h/db", 3]),
        (({"url": "amqp://u:p@h"},), [{"url": "amqp://u:***@h"}]),
        (RuntimeError("cannot reach amqp://u:p@h"), "cannot reach amqp://u:***@h"),
        ({("a", 1): "b"}, {"('a', 1)": "b"}),
        (Path("/tmp/x"), "/tmp/x"),  # noqa: S108
        (_Word.ONE, "_Word.ONE"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc", "***"),
        ("http://h:80/x", "http://h:80/x"),
        (None, None),
        (True, True),
        (1.5, 1.5),
    ],
)
def test_secrets_inside_values_are_masked(value: object, expected: object) -> None:
    """Passwords in URLs and private keys go, in lists, mappings and errors too."""
    assert {"value": expected} == logs.masked(None, "info", {"value": value})


def test_a_traceback_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """Masking comes after the traceback was made."""
    logs.configure(json=True, level="info")
    try:
        int("amqp://u:hunter2@h")
    except ValueError:
        structlog.get_logger().exception("consumer.failed")
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "amqp://u:***@h" in err
    assert "hunter2" not in err


def test_libraries_speak_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Their warnings are JSON lines and masked; their chatter is not written."""
    logs.configure(json=True, level="debug")
    log = logging.getLogger("some.library")
    log.info("chatter")
    log.warning("lost %s", "amqp://u:p@h")
    (line,) = _lines(capsys)
    assert ("lost amqp://u:***@h", "warning", "some.library") == (
        line["event"],
        line["level"],
        line["logger"],
    )


def test_configuring_twice_does_not_double_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """The last call wins, for loggers that exist already too."""
    log = structlog.get_logger()
    logs.configure(json=False, level="error")
    log.error("first.form")
    logs.configure(json=True, level="info")
    capsys.readouterr()
    log.info("second.form")
    logging.getLogger("lib").error("once")
    assert ["second.form", "once"] == [line["event"] for line in _lines(capsys)]
