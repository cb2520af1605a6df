"""Reads and writes what is known of credentials: how their files are, and who refused them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import String, case, or_, select, update
from sqlalchemy.orm import Session

from db.dao_common import FRESH, UNSYNCED, Row, core, upsert
from db.sets import SetStatement
from db.types_credentials import CredentialRow
from db.validator_dao_credentials import validate_credential, validate_refusal

Login = tuple[str, str]
"""A site, and a login there."""


def every(session: Session) -> dict[Login, CredentialRow]:
    """Read what is known of every credential."""
    rows = session.scalars(select(CredentialRow), execution_options=FRESH)
    return {(row.site, row.login): row for row in rows}


def expiries(session: Session, logins: Iterable[Login]) -> dict[Login, datetime]:
    """Tell when the credentials of these logins expire; those that do not are left out."""
    wanted = [{"site": site, "login": login} for site, login in sorted(set(logins))]
    return {(row.site, row.login): row.expires_at for row in _EXPIRIES.execute(session, wanted)}


_COLUMNS: Final = core(CredentialRow).c
_EXPIRIES: Final = SetStatement(
    {"site": String(), "login": String()},
    lambda given: select(_COLUMNS.site, _COLUMNS.login, _COLUMNS.expires_at).where(
        _COLUMNS.site == given.c.site,
        _COLUMNS.login == given.c.login,
        _COLUMNS.expires_at.is_not(None),
    ),
)


def note(session: Session, rows: Sequence[Row]) -> list[Login]:
    """Keep how credentials' files are: rows of site, login, mark, expires_at.

    Returns those that were new to the table or had other contents before. A content that was not
    refused clears the refusals of the one before.
    """
    if not rows:
        return []
    for row in rows:
        validate_credential(row)
    ordered = sorted(rows, key=lambda row: (row["site"], row["login"]))
    insert = upsert(session, CredentialRow)
    given = insert.excluded
    other = CredentialRow.refused_mark.is_distinct_from(given.mark)
    statement = insert.on_conflict_do_update(
        index_elements=["site", "login"],
        set_={
            "mark": given.mark,
            "expires_at": given.expires_at,
            "refusals": case((other, 0), else_=CredentialRow.refusals),
            "not_before": case((other, None), else_=CredentialRow.not_before),
        },
        where=or_(
            CredentialRow.mark.is_distinct_from(given.mark),
            CredentialRow.expires_at.is_distinct_from(given.expires_at),
        ),
    ).returning(CredentialRow.site, CredentialRow.login)
    found = session.execute(statement, ordered, execution_options=UNSYNCED)
    return [(row.site, row.login) for row in found]


def refuse(session: Session, row: Row) -> int:
    """Note a refusal: site, login, refused_mark, refused_for, not_before.

    Returns how often this very content was refused in a row.
    """
    validate_refusal(row)
    insert = upsert(session, CredentialRow)
    given = insert.excluded
    same = CredentialRow.refused_mark == given.refused_mark
    statement = insert.on_conflict_do_update(
        index_elements=["site", "login"],
        set_={
            "refusals": case((same, CredentialRow.refusals + 1), else_=1),
            "refused_mark": given.refused_mark,
            "refused_for": given.refused_for,
            "not_before": given.not_before,
        },
    ).returning(CredentialRow.refusals)
    counted = session.scalars(statement, [{**row, "refusals": 1}], execution_options=UNSYNCED)
    return counted.one()


def forgive(session: Session, login: Login) -> None:
    """Forget the refusals of a login: the same content may be shown again. Idempotent."""
    session.execute(
        update(CredentialRow)
        .where(
            CredentialRow.site == login[0],
            CredentialRow.login == login[1],
            CredentialRow.refusals > 0,
        )
        .values(refusals=0, not_before=None),
        execution_options=UNSYNCED,
    )


def one(session: Session, login: Login) -> CredentialRow | None:
    """Read what is known of one login's credential."""
    return session.get(CredentialRow, login, populate_existing=True)
