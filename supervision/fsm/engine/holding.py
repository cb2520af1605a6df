"""Taking holds back: a person's, or the one that parks a login whose credential was refused."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db import dao_brakes, dao_credentials, dao_holds
from supervision.fsm.engine.tools import Tools

_CREDENTIAL = "credential:"


def parked_scope(site: str, login: str) -> str:
    """Spell the scope of the hold that parks a login."""
    return f"{_CREDENTIAL}{site}/{login}"


def release(tools: Tools, session: Session, scope: str) -> bool:
    """Take a hold away, and have what it held decided again; returns whether there was one.

    A parked login's credential may then be shown again, as if nobody had refused it.
    """
    found = dao_holds.release(session, scope)
    if scope.startswith(_CREDENTIAL):
        site, _, login = scope.removeprefix(_CREDENTIAL).partition("/")
        dao_credentials.forgive(session, (site, login))
    dao_brakes.wake(session, tools.database.now(session))
    return found
