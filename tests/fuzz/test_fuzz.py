"""A short, repeatable piece of what `run.py` does for hours: each target keeps its promise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_agent.attempts import Attempts
from hpc_agent.serve import Agent, respond
from supervision.adapters import mailfiles
from supervision.wire import decode_line, decode_monitoring
from tests.agent_kit import make_home
from tests.fuzz.seeds import MESSAGE, seeds
from tests.fuzz.targets import TARGETS

EXAMPLES: Final = 60
NAMES: Final = (
    *("id", "verb", "supervision_id", "attempt", "keys", "subjects", "directory", "scheduler_id"),
    *("signature", "expires_at", "timeout_seconds", "script", "sha256", "interpreter", "error"),
    *("answers", "looks", "kind", "report", "period", "exit_code", "clock", "at", "run_card"),
    *("msgCode", "msgTimestamp", "jobuid", "simuid", "arguments", "command", "config_card"),
)
NASTY: Final[tuple[object, ...]] = (
    *("", "\0", "\ud800", "\udcff", "/", "/\0", "../x", "-x", "\u00b2", "NaN", "$(id)", "\n"),
    *(0, -1, 2**31, 2**63, 10**400, 1e308, float("inf"), float("nan"), True, None),
    *([], {}, [[[]]], {"a": {"b": {}}}),
)

_LEAVES: Final = st.sampled_from(NASTY) | st.text(max_size=20) | st.integers() | st.floats()
_VALUES: Final = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
        | inner.map(lambda value: _nested(value, 900))
    ),
    max_leaves=6,
)


def _nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


@st.composite
def _said(draw: st.DrawFn, usual: list[bytes]) -> bytes:
    """Draw a few lines: usual ones, with fields changed, or with bytes changed, or none of that."""
    ways = [
        st.binary(max_size=200),
        st.sampled_from(usual),
        st.builds(_changed, st.sampled_from(usual), st.dictionaries(_names, _VALUES, max_size=3)),
        st.builds(_damaged, st.sampled_from(usual), st.integers(0, 400), st.binary(max_size=9)),
    ]
    return b"\n".join(draw(st.lists(st.one_of(ways), min_size=1, max_size=3)))


_names: Final = st.sampled_from(NAMES)


def _changed(line: bytes, fields: dict[str, object]) -> bytes:
    try:
        return json.dumps({**json.loads(line), **fields}).encode()
    except (ValueError, RecursionError):
        return line


def _replaced(value: object, other: object) -> Iterator[object]:
    """Give the value as often as it has parts, each time with another part replaced."""
    yield other
    if isinstance(value, dict):
        for name, part in value.items():
            yield from ({**value, name: changed} for changed in _replaced(part, other))
    if isinstance(value, list):
        for place, part in enumerate(value):
            for changed in _replaced(part, other):
                yield [*value[:place], changed, *value[place + 1 :]]


def _damaged(line: bytes, place: int, piece: bytes) -> bytes:
    return line[:place] + piece + line[place + len(piece) // 2 :]


@pytest.mark.parametrize("name", ["agent", "signed", "answers", "wire"])
@pytest.mark.parametrize("nasty", NASTY, ids=lambda value: ascii(value)[:12])
def test_each_part_may_be_nasty(name: str, nasty: object, tmp_path: Path) -> None:
    """Whatever part of a usual line is replaced by whatever breaks programs, the promise holds."""
    target = TARGETS[name](tmp_path)
    for seed in seeds(name, tmp_path / "seeds"):
        for line in _replaced(json.loads(seed), nasty):
            target(json.dumps(line).encode())


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    """Neither a traceback nor an effect, whatever is said; `tox -e fuzz-long` goes on for hours."""
    target = TARGETS[name](tmp_path)
    usual = seeds(name, tmp_path / "seeds")

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(_said(usual))
    def keeps_its_promise(data: bytes) -> None:
        target(data)

    whole: Callable[[], None] = keeps_its_promise
    whole()


def test_the_seeds_are_what_peers_say(tmp_path: Path) -> None:
    """Fuzzing begins with what is understood: nonsense alone would never get past the door."""
    home = make_home(tmp_path)
    agent = Agent(home, Attempts(home, lambda *_: None)).answer
    answers = [respond(line, agent) for line in seeds("agent", tmp_path)]
    assert [] == [answer for answer in answers if "error" in answer]
    mail = tmp_path / "mail"
    mail.write_bytes(seeds("mail", tmp_path)[2])
    read = [decode_line(line.raw) for line in mailfiles.read([mail]) if line.raw.startswith(b"{")]
    assert [MESSAGE["msgUID"]] == [message.uid for message in read]
    assert MESSAGE["msgUID"] == decode_monitoring(seeds("wire", tmp_path)[0]).uid
