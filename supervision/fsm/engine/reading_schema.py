"""Which tables a database has, and which this version needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from db import session as database_session
from supervision.fsm.engine.tools import Tools


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """Which revision a database is at."""

    def answer(self, tools: Tools) -> str | None:
        """Read it; None for a database without our tables."""
        with tools.database.read() as session:
            connection = session.connection()
            if connection.dialect.name == "sqlite":
                there = "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
            else:
                there = "SELECT to_regclass('alembic_version')"
            if connection.exec_driver_sql(there).scalar() is None:
                return None
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return None if found is None else str(found)


def revisions() -> list[str]:
    """List the revisions that this version knows, oldest first, by the names of their files."""
    folder = Path(database_session.__file__).parent / "migrations" / "versions"
    return sorted(path.name.partition("_")[0] for path in folder.glob("[0-9]*.py"))
