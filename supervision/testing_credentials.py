"""A typed double of the port Credentials: what lies in no file, and changes when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from supervision.facts import Credential


class CredentialsDouble:
    """Credentials that a test puts in place; reading them fails never, as the port promises."""

    def __init__(self, *credentials: Credential) -> None:
        self._found = {(each.site, each.login): each for each in credentials}
        self._count = 0

    def put(
        self, site: str, login: str, expires_at: datetime | None, **changes: object
    ) -> Credential:
        """Put a new credential in place; its mark is one that none had before."""
        self._count += 1
        made = Credential(site=site, login=login, mark=f"mark-{self._count}", expires_at=expires_at)
        made = replace(made, **changes)  # type: ignore[arg-type]
        self._found[site, login] = made
        return made

    def read(self) -> Sequence[Credential]:
        """Tell them all, by site and login."""
        return [self._found[key] for key in sorted(self._found)]
