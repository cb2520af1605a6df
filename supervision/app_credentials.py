"""How the credentials of the settings' logins are: the port Credentials over their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from supervision.errors import SiteUnavailable
from supervision.facts import Credential, Level, Policy
from supervision.settings import SiteSettings, TransportKind


def logins_of(policy: Policy, site: SiteSettings) -> Iterator[str]:
    """Name the logins of a site that the service may have to be there, each once."""
    rules = next((rules for rules in policy.sites if rules.name == site.name), None)
    if rules is None or rules.retired:
        return
    yield from dict.fromkeys(
        user.login
        for user in policy.users
        if user.level is not Level.NOTHING and (not user.sites or site.name in user.sites)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What was read, and of what: which file of which kind, in which state."""

    of: tuple[str, bool, tuple[int, ...]]
    credential: Credential


class FileCredentials:
    """The credentials of the present sites' logins; files are read again once they have changed.

    `current` gives the policy and the sites of this moment. Safe for many threads.
    """

    def __init__(self, current: Callable[[], tuple[Policy, Sequence[SiteSettings]]]) -> None:
        self._current = current
        self._known: dict[tuple[str, str], _Known] = {}
        self._lock = Lock()

    def read(self) -> Sequence[Credential]:
        """Tell how each is; see the port."""
        policy, sites = self._current()
        with self._lock:
            return [
                self._one(site, login)
                for site in sites
                if site.transport is not TransportKind.LOCAL
                for login in logins_of(policy, site)
            ]

    def _one(self, site: SiteSettings, login: str) -> Credential:
        blank = Credential(site=site.name, login=login, proxy=site.transport is TransportKind.GSI)
        path = site.credential_of(login)
        if path is None:
            return replace(blank, problem="the site names no credential_file")
        # The certificate beside a key, as ssh-keygen names it; a proxy has none, a state too.
        beside = path.with_name(f"{path.name.removesuffix('.pub')}-cert.pub")
        of = (str(path), blank.proxy, state_of(path, beside))
        known = self._known.get((site.name, login))
        if known is None or known.of != of:
            credential = _examined(replace(blank, path=str(path)), path)
            known = _Known(of=of, credential=credential)
            self._known[site.name, login] = known
        return known.credential


def state_of(*files: Path | None) -> tuple[int, ...]:
    """Tell two states of files apart without reading them; none, or one that is away, is zeros."""
    found: list[int] = []
    for file in files:
        try:
            info = None if file is None else file.stat()
        except OSError:
            info = None
        found += [info.st_mtime_ns, info.st_size, info.st_ino] if info else [0, 0, 0]
    return tuple(found)


def _examined(blank: Credential, path: Path) -> Credential:
    # What reads certificates takes a quarter of a second to load: only who asks waits for it.
    from supervision.adapters import gsi_credentials  # noqa: PLC0415
    from supervision.adapters.ssh_credentials import (  # noqa: PLC0415
        certificate_of,
        mark_of,
        validity,
    )

    found = replace(blank, mark=mark_of(path) or None)
    if found.mark is None or not path.exists():
        return replace(found, mark=None, problem=f"there is no {path}")
    try:
        lasting = gsi_credentials.validity(path) if blank.proxy else validity(path)
    except SiteUnavailable as error:
        return replace(found, problem=str(error))
    if lasting is None:
        return found
    file = path if blank.proxy else certificate_of(path)
    return replace(
        found,
        path=str(file),
        valid_from=lasting.after,
        expires_at=lasting.before,
        proxy=lasting.proxy,
    )
