"""Logs: structlog set up once by whoever starts a process, for our events and for libraries'.

Events are constant dotted past facts with keys. Lines go to stderr: JSON for daemons, key=value for
a terminal. Secrets are masked in the last step but one, whoever logs them. `logs_about.py` binds
what a line is about.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Final, TextIO

import structlog
from structlog.contextvars import merge_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.types import EventDict, Processor, WrappedLogger

from supervision.masking import MASK, mask

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_SECRET_NAMES: Final = {"password", "passwd", "passphrase", "secret", "key", "proxy", "token"}
_HARMLESS: Final = {"routing_key"}
_UNSEEN: Final = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "?")
"""Control characters but tab and newline: what came from outside must not drive a terminal."""


def configure(*, json: bool, level: str) -> None:
    """Send every log line of this process to stderr, from `level` on (one of LEVELS).

    Libraries' own lines appear from warning on, in the same form. Idempotent: the last call wins.
    Raises ValueError for another level.
    """
    if level not in LEVELS:
        raise ValueError(f"no level is called {level!r}; allowed: {', '.join(LEVELS)}")
    structlog.configure(
        processors=[merge_contextvars, *_common(), *_rendered(json=json)],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=_StderrLogger,
        # Loggers stand in modules and outlive a second call: a cached one would not hear of it.
        cache_logger_on_first_use=False,
    )
    _configure_libraries(_rendered(json=json), max(_number(level), logging.WARNING))


def masked(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets in an event: values under telling names, passwords in URLs, private keys."""
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: str, value: object) -> object:
    if _is_secret(key):
        return MASK
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {str(name): _masked(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(str(value))


def _is_secret(key: str) -> bool:
    # The last word tells: `master_key` is one, `master_key_file` and `key_count` name no secret.
    name = key.lower().replace("-", "_")
    return name not in _HARMLESS and name.rpartition("_")[2] in _SECRET_NAMES


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {k: v.translate(_UNSEEN) if isinstance(v, str) else v for k, v in event.items()}


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _common() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _rendered(*, json: bool) -> list[Processor]:
    if json:
        return [masked, structlog.processors.JSONRenderer(sort_keys=True)]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [masked, _printable, console]


def _configure_libraries(rendered: list[Processor], level: int) -> None:
    handler = logging.StreamHandler(_Stderr())
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*_common(), structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [other for other in root.handlers if not _is_ours(other)] + [handler]
    root.setLevel(level)


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(getattr(handler, "stream", None), _Stderr)


class _Stderr:
    """Whatever stderr is at the moment of writing: it may have been exchanged since."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _StderrLogger:
    """Writes one whole line at a time, so that lines of threads do not mix."""

    def __init__(self, *_names: object) -> None:
        self._stream: TextIO = sys.stderr

    def msg(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    log = debug = info = warning = warn = error = critical = exception = fatal = failure = msg
