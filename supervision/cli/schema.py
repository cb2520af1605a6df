"""Whether the database has the tables of this version: one short query, and what to do if not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from supervision import app
from supervision.app import App
from supervision.errors import Refused
from supervision.fsm.engine.reading_schema import Revision, revisions
from supervision.settings import Settings

__all__ = ["Revision", "ensure", "make_file", "revisions"]

_SQLITE: Final = "sqlite:///"


def is_made(settings: Settings) -> bool:
    """Whether there is a database to ask; only a SQLite file may not be there yet."""
    url = settings.database_url
    return not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE).partition("?")[0]).exists()


def make_file(settings: Settings) -> None:
    """Make a SQLite database that is not there, tables and all; other databases are left alone."""
    if not is_made(settings):
        app.prepare(settings)


def ensure(made: App) -> None:
    """Upgrade a SQLite database that is behind; Refused for another one, and for a later version.

    A database that others share is upgraded when somebody says so: processes of the version before
    may be running on it.
    """
    known, found = revisions(), made.engine.read(Revision())
    if found == known[-1]:
        return
    if found is not None and found not in known:
        raise Refused(f"the database is at revision {found}, which a later version of this made")
    if not made.settings.database_url.startswith(_SQLITE):
        there = "has no tables yet" if found is None else f"is at revision {found}"
        raise Refused(f"the database {there}; run first: supervision db upgrade")
    app.prepare(made.settings)
