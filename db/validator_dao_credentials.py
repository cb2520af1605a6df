"""Checks what dao_credentials is asked to store, before any statement is sent."""

from __future__ import annotations

from collections.abc import Mapping

from db.types_common import NAME_LENGTH, UID_LENGTH
from db.validator_common import check_filled, check_text, check_time


def validate_credential(row: Mapping[str, object]) -> None:
    """A login of a site, what its files are, until when they are good; raises InvalidValue."""
    _validate_login(row)
    check_text("mark", row["mark"], 64)
    check_time("expires_at", row["expires_at"])


def validate_refusal(row: Mapping[str, object]) -> None:
    """A login of a site, what was refused and why; raises InvalidValue."""
    _validate_login(row)
    check_text("refused_mark", row["refused_mark"], 64)
    check_filled("refused_for", row["refused_for"])
    check_time("not_before", row["not_before"])


def _validate_login(row: Mapping[str, object]) -> None:
    for name, length in (("site", UID_LENGTH), ("login", NAME_LENGTH)):
        check_filled(name, row[name])
        check_text(name, row[name], length)
