"""Alembic's entry: runs the migrations over one connection, in one transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from db import schema
from db.session import create

LOCK = 7_302_411
"""Advisory lock: two processes that upgrade at once wait for each other (PostgreSQL)."""


def run() -> None:
    """Upgrade the database that db.session.migrations_config names."""
    engine = create(context.config.attributes["url"])
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.configure(
            connection=connection,
            target_metadata=schema.METADATA,
            render_as_batch=connection.dialect.name == "sqlite",
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    engine.dispose()


run()
