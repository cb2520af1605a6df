"""What new settings change, in words; and what of them waits for a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from supervision import settings
from supervision.app_settings import InForce
from supervision.facts import EngineSettings
from supervision.settings import Settings
from supervision.settings_changes import Changes, between, taken_over
from supervision.settings_values import ObserveSettings

FILE: Final = """\
[sites.curie]
centres = ["tgcc"]
machines = ["curie"]

[users.abc]
level = 0
set_by = "test"
set_on = 2026-01-15

[users."abc.d"]
level = 0

[policy]
grace = "10 min"
"""

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Read a text as the settings file of one place."""

    def read(text: str) -> Settings:
        (tmp_path / "supervision.toml").write_text(text)
        return settings.load(tmp_path / "supervision.toml", {})

    return read


def _words(load: Load, before: str, after: str) -> list[str]:
    """What is told of values, without the digests of the policies."""
    found = between(load(before), load(after)).words
    return [word for word in found if not word.startswith("policy: ")]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("level = 0\nset_by", "level = 2\nset_by", ["users.abc.level: 0 -> 2"]),
        ("10 min", "1 h", ["policy.grace: 10 min -> 1 h"]),
        ("[users.abc]", "[users.xyz]", ["user xyz is new", "user abc is gone"]),
        ('abc]\nlevel = 0\nset_by = "test"\nset_on = 2026-01-15\n\n[users."abc.d"]\nlevel = 0',
         '"abc.d"]\nlevel = 0\nmail = "d@example.org"',
         ["user abc is gone", "users.abc.d.mail_to: - -> d@example.org"]),
        ("[sites.curie]", "[sites.irene]", ["site irene is new", "site curie is gone"]),
        ('"curie"]', '"curie"]\nhosts = ["a"]\nport = 2222',
         ["sites.curie.hosts: - -> a", "sites.curie.port: 22 -> 2222"]),
        ("[policy]", "# a comment\n[policy]", []),
    ],
)  # fmt: skip
def test_what_changes_is_told_by_its_key(load: Load, old: str, new: str, words: list[str]) -> None:
    """As `supervision settings` spells it; a table that came or went is told once."""
    assert words == _words(load, FILE, FILE.replace(old, new))


def test_the_policies_are_told_by_their_digests(load: Load) -> None:
    """What decisions depend on has changed; what they do not depend on leaves it alone."""
    old, new = load(FILE), load(FILE.replace("level = 0\nset_by", "level = 2\nset_by"))
    told = f"policy: {old.policy.digest[:12]} -> {new.policy.digest[:12]}"
    assert told == between(old, new).words[-1]
    assert () == between(old, load(FILE + "[retention]\n")).words


def test_a_site_that_is_gone_is_named(load: Load) -> None:
    """For its rows are left behind."""
    assert ("curie",) == between(load(FILE), load("")).gone


def test_no_password_is_told(load: Load) -> None:
    """Of a URL only that it changed."""
    urls = [f'broker_url = "amqp://me:{secret}@h/v"\n{FILE}' for secret in ("hunter2", "hunter3")]
    found = between(*map(load, urls))
    assert (("broker_url",), False) == (found.restart, "hunter" in repr(found))


_OTHER: Final[dict[str, dict[str, Any]]] = {
    "database_url": {"database_url": "sqlite:////elsewhere.db"},
    "broker_url": {"broker_url": "amqp://h/v"},
    "observe.address": {"observe": ObserveSettings(address="127.0.0.1:9180")},
    "engine.lease": {"engine": EngineSettings(lease=timedelta(hours=1))},
    "engine.deadline": {"engine": EngineSettings(deadline=timedelta(seconds=119))},
    "engine.batch": {"engine": EngineSettings(batch=7)},
    "engine.outage_first": {"engine": EngineSettings(outage_first=timedelta(seconds=2))},
    "engine.outage_cap": {"engine": EngineSettings(outage_cap=timedelta(hours=1))},
}


@pytest.mark.parametrize("key", _OTHER)
def test_what_threads_and_connections_were_made_with_stays(load: Load, key: str) -> None:
    """It is named, nothing else is said, and it is not taken over."""
    old = load(FILE)
    new = replace(old, **_OTHER[key])
    assert Changes(restart=(key,)) == between(old, new)
    assert old == taken_over(old, new)


def test_the_rest_of_the_engine_is_taken_over(load: Load) -> None:
    """Its rhythm is read at each turn."""
    old = load(FILE)
    quick = replace(old.engine, sweep_interval=timedelta(seconds=2), lease=timedelta(hours=1))
    found = taken_over(old, replace(old, engine=quick))
    assert ("engine.sweep_interval: 1 s -> 2 s",) == between(old, replace(old, engine=quick)).words
    assert (timedelta(seconds=2), timedelta(seconds=120)) == (
        found.engine.sweep_interval,
        found.engine.lease,
    )


def test_who_took_a_value_keeps_it_whole(load: Load) -> None:
    """The holder gives another value afterwards; the one in hand is what it was."""
    holder = InForce(load(FILE))
    taken = holder.settings
    holder.refused = "a mistake"
    holder.swap(load(""))
    assert (1, 0) == (len(taken.sites), len(holder.settings.sites))
    assert not holder.refused
