"""What `supervision doctor` says of each site: what is needed to get there, login by login.

Nobody is contacted, but for the agents' greeting where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from supervision.adapters.agent_answers import Health as Good
from supervision.app import App
from supervision.app_agent import examine
from supervision.app_credentials import logins_of
from supervision.app_doctor import Finding, ok, problem, warning
from supervision.app_gsi import gsi_access
from supervision.errors import SettingsError, SupervisionError
from supervision.facts import Credential, Hold, Mode, SitePolicy
from supervision.fsm.engine.tools import Tools
from supervision.settings import Settings, SiteSettings, TransportKind

if TYPE_CHECKING:
    from supervision.adapters.ssh_access import Access


@dataclass(frozen=True, kw_only=True, slots=True)
class CredentialFiles:
    """The question how the files of the credentials are."""

    def answer(self, tools: Tools) -> Sequence[Credential]:
        """Read them."""
        return tools.ports.credentials.read()


def sites(made: App, names: Sequence[str], held: Sequence[Hold]) -> Iterator[Finding]:
    """Examine these sites, or all; raises NotFound for a name that none has."""
    chosen = [made.settings.site(name) for name in names] or list(made.settings.sites)
    if not chosen:
        yield warning("sites", "the settings name no site: nobody is ever helped")
    for site in chosen:
        yield from _Examination(made, site, held).findings()


class _Examination:
    """One site: what is needed to get there, login by login."""

    def __init__(self, made: App, site: SiteSettings, held: Sequence[Hold]) -> None:
        self._made = made
        self._site = site
        self._held = held
        self._rules = rules_of(made.settings, site)
        self._logins = list(logins_of(made.settings.policy, site))
        # Where nobody is contacted what is missing is not missed yet.
        contacted = self._rules.mode is Mode.ACT or self._rules.ask
        self._missing = problem if contacted else warning

    def findings(self) -> Iterator[Finding]:
        """Examine it; what cannot be examined for want of something else is left out."""
        site, name = self._site, self._site.name
        if self._rules.retired:
            yield ok(name, "retired: nobody goes there")
            return
        yield ok(name, f"mode {self._rules.mode}, by {site.transport}")
        yield from self._master_key()
        if site.transport is not TransportKind.LOCAL:
            yield from self._remote()
        yield from self._stopped()

    def _master_key(self) -> Iterator[Finding]:
        try:
            self._site.master_key()
        except SettingsError as error:
            yield self._missing(self._site.name, str(error))
        else:
            yield ok(self._site.name, "the master key is ours alone")

    def _remote(self) -> Iterator[Finding]:
        site, name = self._site, self._site.name
        if site.transport is TransportKind.GSI:
            yield from self._grid()
        if not site.hosts:
            yield self._missing(name, f"no login node: set sites.{name}.hosts")
        if not self._logins:
            yield warning(name, "no user with level 1 or 2 may be helped here: see [users]")
        for host in site.hosts:
            yield from self._known(host)
        found = {
            each.login: each
            for each in self._made.engine.read(CredentialFiles())
            if each.site == name
        }
        for login in self._logins:
            yield self._credential(login, found[login])

    def _grid(self) -> Iterator[Finding]:
        try:
            gsi_access(self._site, self._made.clock)
        except SupervisionError as error:
            yield self._missing(self._site.name, str(error))
        else:
            yield ok(self._site.name, "the Globus library is there")

    def _known(self, host: str) -> Iterator[Finding]:
        from supervision.adapters.ssh_hosts import KnownHosts  # noqa: PLC0415 - slow to load

        about = f"{self._site.name} {host}"
        try:
            KnownHosts.read(self._site.known_hosts_file).algorithms(host, self._site.port)
        except SupervisionError as error:
            yield self._missing(about, str(error))
        else:
            yield ok(about, "its host key is known")

    def _credential(self, login: str, found: Credential) -> Finding:
        about = f"{self._site.name} {login}"
        trouble = found.problem or self._refusal(login)
        if trouble is not None:
            return self._missing(about, trouble)
        return _expiry(about, found, self._made)

    def _refusal(self, login: str) -> str | None:
        """What is wrong with a credential that a login node would refuse; None for nothing."""
        try:
            with self._access().opened(login):
                return None
        except SettingsError:
            return None  # the Globus library is missing, which is said already
        except SupervisionError as error:
            return str(error)

    def _access(self) -> Access:
        from supervision.adapters.ssh_access import KeyAccess  # noqa: PLC0415 - slow to load

        if self._site.transport is TransportKind.GSI:
            return gsi_access(self._site, self._made.clock)
        return KeyAccess(self._site, self._made.clock)

    def _stopped(self) -> Iterator[Finding]:
        name = self._site.name
        for hold in self._held:
            kind, _, whose = hold.scope.partition(":")
            if kind in {"site", "login", "credential"} and whose.partition("/")[0] == name:
                release = f"supervision release {hold.scope} --reason ..."
                what = "parked" if kind == "credential" else f"on hold by {hold.actor}"
                yield warning(
                    f"{name} {whose.partition('/')[2]}".strip(),
                    (
                        f"{what} since {hold.since:%Y-%m-%d %H:%M} UTC: {hold.reason}; "
                        f"to take it back: {release}"
                    ),
                )


def rules_of(settings: Settings, site: SiteSettings) -> SitePolicy:
    """What may be done at a site."""
    return next(rules for rules in settings.policy.sites if rules.name == site.name)


def _expiry(about: str, found: Credential, made: App) -> Finding:
    now, kind = made.clock.now(), "proxy" if found.proxy else "key or certificate"
    if found.expires_at is None:
        return ok(about, f"{found.path} is a key that does not expire")
    until = f"{found.expires_at:%Y-%m-%d %H:%M} UTC"
    if found.expires_at <= now:
        return problem(about, f"{found.path} EXPIRED on {until}: put a new {kind} in its place")
    engine = made.settings.engine
    spans = engine.proxy_warnings if found.proxy else engine.certificate_warnings
    left = _left(found.expires_at, now)
    if found.expires_at - now <= max(spans, default=timedelta()):
        return warning(about, f"{found.path} is valid until {until}, {left}: renew it in time")
    return ok(about, f"{found.path} is valid until {until}, {left}")


def _left(end: datetime, now: datetime) -> str:
    hours = int((end - now).total_seconds()) // 3600
    return f"in {hours // 24} d" if hours >= 48 else f"in {hours} h"  # noqa: PLR2004


def contacts(made: App, names: Sequence[str], held: Sequence[Hold]) -> Iterator[Finding]:
    """Have the agent of each login examine itself, within the budget; what is held is left."""
    stopped = {hold.scope.casefold() for hold in held}
    for site in [made.settings.site(name) for name in names] or list(made.settings.sites):
        for login in _reachable(made, site):
            scopes = {f"site:{site.name}", *_of_login(site.name, login)}
            about = f"{site.name} {login}"
            if stopped & {scope.casefold() for scope in scopes}:
                yield warning(about, "not contacted: it is on hold, see `supervision holds`")
            else:
                yield from _hello(made, site.name, login)


def _of_login(site: str, login: str) -> tuple[str, str]:
    return f"login:{site}/{login}", f"credential:{site}/{login}"


def _reachable(made: App, site: SiteSettings) -> Iterator[str]:
    rules, now = rules_of(made.settings, site), made.clock.now()
    closed = any(window.start <= now < window.end for window in rules.maintenance)
    if not rules.retired and not closed:
        yield from logins_of(made.settings.policy, site)


def _hello(made: App, site: str, login: str) -> Iterator[Finding]:
    """What the agent of a login says of itself: what is not good, or how its clock is."""
    about = f"{site} {login}"
    try:
        found = examine(made, site, login, None)
    except SupervisionError as error:
        yield problem(about, str(error))
        return
    worse = [each for each in found if each.state is not Good.GOOD]
    for each in worse:
        says = problem if each.state is Good.BAD else warning
        yield says(about, f"its agent says of {each.check}: {each.words}")
    if not worse:
        clock = next((each.words for each in found if each.check == "clock"), "")
        yield ok(about, f"its agent answers and is well; {clock}")
