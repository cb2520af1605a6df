"""Checks what dao_holds is asked to store, before any statement is sent."""

from __future__ import annotations

import re
from typing import Final

from db.types_common import NAME_LENGTH
from db.validator_common import check_filled, check_text, check_time
from supervision.errors import InvalidValue
from supervision.facts import Hold

SCOPE: Final = re.compile(r"site:[^/\s]+|(login|credential):[^/\s]+/[^/\s]+|simulation:[^/\s]+")


def validate_hold(hold: Hold) -> None:
    """A hold with a scope that exists, an actor and a reason; raises InvalidValue."""
    validate_scope(hold.scope)
    check_filled("actor", hold.actor)
    check_filled("reason", hold.reason)
    check_time("since", hold.since)


def validate_scope(scope: str) -> None:
    """A scope as people write it; raises InvalidValue saying which forms there are."""
    check_text("scope", scope, NAME_LENGTH)
    if not SCOPE.fullmatch(scope):
        raise InvalidValue(
            f"scope {scope!r:.80} is none of site:NAME, login:SITE/NAME, simulation:UID"
        )
