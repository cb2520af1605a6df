"""The rights that PostgreSQL gives to whom: as SQL, for a person to read and to run.

Three roles, so that the service, whose password lies on the machine that reads strangers' mail,
can neither change the tables' shape nor rewrite history, and who makes reports changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Table

from db import schema
from supervision.errors import InvalidValue

HIDDEN: Final = {
    "tbl_credential": ("mark", "refused_mark"),
    "tbl_message": ("body",),
    "tbl_policy": ("text", "settings_text"),
    "tbl_simulation": ("config_card",),
    "tbl_simulation_supervision": ("script_content", "output_tail", "looked", "wanted"),
    "tbl_supervision_decision": ("facts", "looks"),
}
"""What reports do not need: digests, scripts, outputs, cards, raw messages, settings."""

APPENDED: Final = {
    "tbl_supervision_transition": "SELECT, INSERT, DELETE",
    "tbl_policy": "SELECT, INSERT",
}
"""What the service adds to and never rewrites; the history is deleted after its retention."""

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_WHOLE: Final = "SELECT, INSERT, UPDATE, DELETE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """Names of the three roles: who owns the tables, who works with them, who only reads."""

    owner: str
    service: str
    reader: str

    def __post_init__(self) -> None:
        """Refuse what is no plain name, or the same one twice; raises InvalidValue."""
        names = (self.owner, self.service, self.reader)
        for name in names:
            if not _NAME.fullmatch(name):
                raise InvalidValue(f"role {name!r:.80}: a-z, 0-9 and _ are allowed")
        if len(set(names)) < len(names):
            raise InvalidValue("the three roles must be different: that is what they are for")


def creation(roles: Roles) -> list[str]:
    """Make the roles; for a superuser, connected to the service's database. Idempotent."""
    public = "REVOKE ALL ON SCHEMA public FROM PUBLIC"
    return [
        *(_created(name) for name in (roles.owner, roles.service, roles.reader)),
        public,
        f"GRANT USAGE, CREATE ON SCHEMA public TO {roles.owner}",
        f"GRANT USAGE ON SCHEMA public TO {roles.service}, {roles.reader}",
    ]


def grants(roles: Roles) -> list[str]:
    """Say who may do what with the tables; for their owner, after each upgrade. Idempotent."""
    both = f"{roles.service}, {roles.reader}"
    return [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, {both}",
        f"GRANT SELECT ON alembic_version TO {both}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {roles.service}",
        *(_working(table, roles.service) for table in schema.METADATA.sorted_tables),
        *(_reading(table, roles.reader) for table in schema.METADATA.sorted_tables),
    ]


def _created(name: str) -> str:
    return (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN "
        f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE; END IF; END $$"
    )


def _working(table: Table, role: str) -> str:
    return f"GRANT {APPENDED.get(table.name, _WHOLE)} ON {table.name} TO {role}"


def _reading(table: Table, role: str) -> str:
    hidden = HIDDEN.get(table.name, ())
    shown = ", ".join(f'"{column.name}"' for column in table.columns if column.name not in hidden)
    return f"GRANT SELECT ({shown}) ON {table.name} TO {role}"
