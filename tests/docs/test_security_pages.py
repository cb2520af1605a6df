"""What the page for security officers promises is what the code does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from hpc_agent import attempts, commands, home, script
from supervision.facts import EngineSettings, Policy, RetentionSettings
from supervision.settings import SiteSettings

_PAGE: Final = " ".join(
    (Path(__file__).parents[2] / "docs" / "for-site-security.md").read_text().split()
)
_SITE: Final = SiteSettings(name="x")
_KEPT: Final = RetentionSettings()
_POLICY: Final = Policy(digest="x")


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"


@pytest.mark.parametrize(
    "promise",
    [
        home.FOLDER,
        home.OPT_OUT_HOME,
        home.OPT_OUT_DIRECTORY,
        home.KEY,
        f"{home.KEY_BYTES} random-looking bytes",
        f"{home.KEEP_DAYS:.0f} days after the last sign |",
        f"one query in {home.QUERY_INTERVAL_SECONDS:.0f} s",
        f"ended after {commands.COMMAND_TIMEOUT_SECONDS:.0f} s",
        f"the last {script.KEPT_BYTES // 1024} KB of each output",
        f"last {attempts.TAIL_CHARACTERS:,} characters",
        f"never more than {attempts.LONGEST_TIMEOUT_SECONDS / 3600:.0f} h",
        f"for {EngineSettings().script_timeout.total_seconds() / 60:.0f} minutes at most",
        f"at most {_SITE.max_sessions} at once",
        f"one new connection in {_seconds(_SITE.connect_every)}",
        f"closed after {_seconds(_SITE.idle_close)}",
        f"left alone for {_seconds(_SITE.failure_pause)}",
        f"as they came | {_KEPT.raw_bodies.days} days",
        f"{_KEPT.rest.days} days after the last sign of the simulation",
        f"{_POLICY.site_cap.count} in an hour for the site",
        f"{_POLICY.simulation_cap.count} in a day for a simulation",
        f"{_POLICY.user_cap.count} in an hour for a user",
    ],
)
def test_the_page_tells_what_the_code_does(promise: str) -> None:
    """A number that changes in the code changes on the page, or this fails."""
    assert promise in _PAGE
