"""Reads and writes policies: each text once, by digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dao_common import insert_new_rows
from db.types_decisions import PolicyText


def store(session: Session, digest: str, texts: Mapping[str, str], now: datetime) -> bool:
    """Keep a policy once, by digest; returns whether it is new.

    `texts` has its values (`text`) and its `settings_text`.
    """
    values = {"digest": digest, "since": now, **texts}
    return bool(insert_new_rows(session, PolicyText, [values], "digest"))


def texts(session: Session, digests: Iterable[str]) -> dict[str, str]:
    """Read the values of these policies, as they were stored, by digest."""
    query = select(PolicyText.digest, PolicyText.text).where(PolicyText.digest.in_(set(digests)))
    return {found.digest: found.text for found in session.execute(query)}
