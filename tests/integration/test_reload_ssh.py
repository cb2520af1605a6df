"""Sessions to a centre across a reload: those that nothing changes stay, the others are ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from db import session
from supervision.app_ssh import DatabaseSlots
from supervision.app_ways import Ways
from supervision.errors import SiteUnavailable
from supervision.facts import AnswerKind
from supervision.settings import Settings, SiteSettings
from tests.agent_kit import MASTER, SITE
from tests.factories import PolicyFactory
from tests.services.sshd import generate
from tests.ssh_kit import FIRST, ME, Centre, agent_command


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Open a centre with one login node, whose master key lies where its settings say."""
    centre = Centre.opened(tmp_path)
    master = tmp_path / "master"
    master.write_bytes(MASTER)
    master.chmod(0o600)
    centre.site = replace(centre.site, master_key_file=master)
    yield centre
    centre.close()


@pytest.fixture
def database(centre: Centre, sqlite_url: str) -> Iterator[session.Database]:
    """Open the database that keeps the site's budget."""
    database = session.Database(session.create(sqlite_url), centre.clock)
    yield database
    database.close()


@pytest.fixture
def ways(centre: Centre, database: session.Database) -> Iterator[Ways]:
    """Make the ways to the site, with a session that is open."""
    ways = Ways(_settings(centre.site), centre.clock, database)
    assert AnswerKind.NEVER_SEEN is _asked(ways)
    yield ways
    ways.routes.close()


def _settings(*sites: SiteSettings) -> Settings:
    policy = PolicyFactory.build()
    return Settings(
        source=None, text="", database_url="", broker_url="", policy=policy, sites=sites
    )


def _asked(ways: Ways) -> AnswerKind:
    return ways.routes.status(SITE, ME, [FIRST])[0].kind


def _reload(ways: Ways, *sites: SiteSettings) -> None:
    ways.renew(ways.prepared(_settings(*sites)))


def _leased(database: session.Database) -> bool:
    """Whether a session of the site is leased: no other owner gets its only place."""
    lasting = timedelta()
    return not DatabaseSlots(database).lease(SITE, "another", lasting=lasting, slots=1)


def test_a_site_that_stays_as_it_is_keeps_its_session(centre: Centre, ways: Ways) -> None:
    """A new site beside it costs it nothing."""
    _reload(ways, centre.site, replace(centre.site, name="irene"))
    assert AnswerKind.NEVER_SEEN is _asked(ways)
    assert 1 == centre.node.accepted()


def test_a_site_that_is_left_out_gives_its_lease_back(
    centre: Centre, ways: Ways, database: session.Database
) -> None:
    """Its session is ended, it says why it cannot be asked, and it can come back."""
    assert _leased(database)
    _reload(ways)
    assert not _leased(database)
    with pytest.raises(SiteUnavailable, match="is not in the settings"):
        _asked(ways)
    _reload(ways, centre.site)
    assert AnswerKind.NEVER_SEEN is _asked(ways)
    assert (True, 2) == (_leased(database), centre.node.accepted())


def test_another_credential_is_shown_by_a_new_session(centre: Centre, ways: Ways) -> None:
    """The former one is ended; what the login node takes now is the new key alone."""
    key = generate(centre.path / "new key")
    centre.node.authorize(key, agent_command(Path(centre.home.path)))
    centre.key.rename(centre.path / "away")
    _reload(ways, replace(centre.site, credential_file=str(key)))
    assert AnswerKind.NEVER_SEEN is _asked(ways)
    assert 2 == centre.node.accepted()


def test_another_master_key_is_used_after_a_reload(centre: Centre, ways: Ways) -> None:
    """The settings say the same; the file behind them does not, and the agent would not agree."""
    master = centre.path / "master"
    master.write_bytes(b"x" * 32)
    assert AnswerKind.ACCEPTED is ways.routes.submit(SITE, ME, [centre.order()])[0].kind
    _reload(ways, centre.site)
    other = replace(centre.order(), key=replace(FIRST, supervision_id="s-2"))
    assert AnswerKind.REFUSED is ways.routes.submit(SITE, ME, [other])[0].kind
    master.write_bytes(MASTER)
    _reload(ways, centre.site)
    assert AnswerKind.ACCEPTED is ways.routes.submit(SITE, ME, [other])[0].kind
