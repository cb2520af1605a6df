"""Whether settings that are right each in itself also fit together. Pure.

Every check yields (dotted key, what is wrong and allowed). What a site needs before anybody may be
contacted there is asked only where its mode contacts anybody: a first file in observe stays short.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import date, timedelta
from itertools import combinations, pairwise
from typing import Final

from supervision.facts import (
    EngineSettings,
    Level,
    LoginAlias,
    Mode,
    Policy,
    SitePolicy,
    UserPolicy,
)
from supervision.settings_forms import Mistake, Parsed, nearest
from supervision.settings_values import (
    SAFE_NAME,
    MailSettings,
    ObserveSettings,
    SiteSettings,
    TransportKind,
)

_ADDRESS: Final = re.compile(r"[^@\s<>\",;:()\\]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_PROGRAM: Final = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+-]*")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]*")
_ADDRESS_OF_HOST: Final = re.compile(r"[0-9.]+|[^:]*:.*")
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_LAST_PORT: Final = 65535
_PATTERN_KEYS: Final = {"login", "model", "name"}
_MAY_BE_NOTHING: Final = {
    "grace", "future_tolerance", "maintenance_margin", "command_wait", "unknown_kind_wait",
    "mail_late_wait", "want_tries", "not_yet_tries", "failure_tries",
}  # fmt: skip
"""Policy's values that may be 0. Any other one would be a loop that never waits."""
_RISING: Final = (
    ("rewake_first", "rewake_cap"),
    ("transport_backoff_first", "transport_backoff_cap"),
    ("status_first", "status_cap"),
    ("watch_first", "watch_cap"),
    ("outage_first", "outage_cap"),
    ("dispatched_tell", "dispatched_fail"),
    ("claim_alone_above", "crash_loop_above"),
)
_NEEDED: Final[dict[TransportKind, tuple[str, ...]]] = {
    TransportKind.LOCAL: ("agent_home", "master_key_file"),
    TransportKind.SSH: ("hosts", "credential_file", "known_hosts_file", "master_key_file"),
    TransportKind.GSI: (
        *("hosts", "credential_file", "known_hosts_file", "certificate_directory"),
        "master_key_file",
    ),
}
"""What each way to a site cannot do without."""


def mistakes(parsed: Parsed) -> Iterator[Mistake]:
    """Name everything that does not fit together; nothing when all is well."""
    yield from _engine(parsed.engine)
    yield from _positive("retention", parsed.retention)
    yield from _policy(parsed.policy)
    yield from _under("mail", _mail(parsed.mail))
    yield from _under("observe", _observe(parsed.observe))
    for rules, site in zip(parsed.policy.sites, parsed.sites, strict=True):
        yield from _under(f"sites.{site.name}", _site(rules, parsed.policy.sites))
        yield from _under(f"sites.{site.name}", _connection(site))
        yield from _under(f"sites.{site.name}", _reach(rules, site))
    yield from _one_directory(parsed.sites)
    yield from _same_machine(parsed.policy.sites)
    names = [site.name for site in parsed.sites]
    for user in parsed.policy.users:
        yield from _under(f"users.{user.login}", _user(user, names))


def _under(table: str, found: Iterator[Mistake]) -> Iterator[Mistake]:
    return ((f"{table}.{key}", problem) for key, problem in found)


def _positive(
    table: str, values: object, *, but: Sequence[str] | set[str] = ()
) -> Iterator[Mistake]:
    for name in (item.name for item in fields(values)):  # type: ignore[arg-type]
        value = getattr(values, name)
        if isinstance(value, int | timedelta) and not value and name not in but:
            yield f"{table}.{name}", "must be more than 0"


def _engine(engine: EngineSettings) -> Iterator[Mistake]:
    yield from _positive("engine", engine)
    if engine.lease <= engine.deadline:
        yield "engine.lease", f"is {engine.lease}; must be longer than deadline ({engine.deadline})"
    for low, high in _RISING:
        if getattr(engine, low) > getattr(engine, high):
            yield f"engine.{low}", f"must not be more than {high} ({getattr(engine, high)})"


def _policy(policy: Policy) -> Iterator[Mistake]:
    yield from _positive("policy", policy, but=_MAY_BE_NOTHING)
    for name in ("site_cap", "simulation_cap", "user_cap", "incident"):
        if not getattr(policy, name).window:
            yield f"policy.{name}.window", "must be more than 0"
    if policy.unreachable_delay > policy.unreachable_cap:
        yield "policy.unreachable_delay", "must not be more than unreachable_cap"


def _observe(observe: ObserveSettings) -> Iterator[Mistake]:
    if observe.address is None:
        return
    host, _, port = observe.address.rpartition(":")
    known = (_HOST.fullmatch(host) and ":" not in host) or _IPV6.fullmatch(host)
    if not known or not port.isdecimal() or int(port) > _LAST_PORT:
        allowed = 'allowed: HOST:PORT, like "127.0.0.1:9180" or "[::1]:9180"'
        yield "address", f"is {observe.address!r}; {allowed}"


def _mail(mail: MailSettings) -> Iterator[Mistake]:
    if mail.host is not None and mail.directory is not None:
        yield "directory", "excludes host: mails go to a server or into a directory"
    if mail.host is not None and mail.operator is None:
        yield "operator", "is missing: somebody must hear what the service cannot solve"
    yield from _address("sender", mail.sender)
    yield from _address("operator", mail.operator)
    yield from _port(mail.port)
    if (mail.user is None) != (mail.password_file is None):
        yield "user", "goes with password_file: both or none"
    if mail.user is not None and not mail.starttls:
        yield "starttls", "must be true where there is a user: no password travels in clear"


def _address(key: str, value: str | None) -> Iterator[Mistake]:
    if value is not None and not (value.isascii() and _ADDRESS.fullmatch(value)):
        yield key, f"is {value!r}; allowed: one mail address, like abc@example.org"


def _port(port: int) -> Iterator[Mistake]:
    if not 0 < port <= _LAST_PORT:
        yield "port", f"is {port}; allowed: 1 to {_LAST_PORT}"


def _site(site: SitePolicy, others: Sequence[SitePolicy]) -> Iterator[Mistake]:
    for key in ("centres", "machines"):
        if not getattr(site, key):
            yield key, "must hold at least one, or no message would ever match"
    if not _PROGRAM.fullmatch(site.interpreter):
        yield "interpreter", "must be a program's name or absolute path, like ksh"
    if site.libigcm is not None and not site.libigcm.startswith("/"):
        yield "libigcm", "must be an absolute path at the site"
    yield from _pattern(site.directory_pattern)
    for index, window in enumerate(site.maintenance):
        if window.end <= window.start:
            yield f"maintenance[{index}].end", "must be later than start"
    yield from _aliases(site.logins)
    names = [other.name for other in others if other.name != site.name]
    if site.successor is not None and site.successor not in names:
        yield "successor", f"is {site.successor!r}, no other site; {nearest(site.successor, names)}"


def _pattern(pattern: str | None) -> Iterator[Mistake]:
    allowed = "must be an absolute path; {login}, {model} and {name} are filled in"
    try:
        parts = list(string.Formatter().parse(pattern or "/"))
    except ValueError:
        parts = [("", "", "", None)]
    plain = all(
        key is None or (key in _PATTERN_KEYS and not spec and not conversion)
        for _, key, spec, conversion in parts
    )
    if not plain or not (pattern or "/").startswith("/"):
        yield "directory_pattern", allowed


def _aliases(aliases: Sequence[LoginAlias]) -> Iterator[Mistake]:
    for index, alias in enumerate(aliases):
        if not SAFE_NAME.fullmatch(alias.login):
            yield f"logins[{index}].login", "must be letters, digits, '.', '_', '-'"
        if _first(alias) >= _last(alias):
            yield f"logins[{index}].until", "must be later than since"
    for (_, one), (index, other) in combinations(enumerate(aliases), 2):
        if one.announced == other.announced and _overlap(one, other):
            yield f"logins[{index}]", f"{other.announced!r} has another alias at the same time"


def _overlap(one: LoginAlias, other: LoginAlias) -> bool:
    # On the day of `until` an alias holds no longer: one may begin where another ends.
    return _first(one) < _last(other) and _first(other) < _last(one)


def _first(alias: LoginAlias) -> date:
    return alias.since or date.min


def _last(alias: LoginAlias) -> date:
    return alias.until or date.max


def _connection(site: SiteSettings) -> Iterator[Mistake]:
    yield from _port(site.port)
    if not site.max_sessions:
        yield "max_sessions", "must be more than 0"
    if not _PROGRAM.fullmatch(site.agent_python):
        yield "agent_python", "must be a program's name or absolute path, like python3"
    for index, host in enumerate(site.hosts):
        if not _HOST.fullmatch(host):
            yield f"hosts[{index}]", f"is {host!r}; allowed: a host's name or address"
        elif site.transport is TransportKind.GSI and _ADDRESS_OF_HOST.fullmatch(host):
            yield f"hosts[{index}]", f"is {host!r}; must be the name in its host certificate"
    for key in ("agent_home", "credential_file"):
        if re.search(r"[{}]", str(getattr(site, key)).replace("{login}", "")):
            yield key, "only {login} is filled in"


def _reach(rules: SitePolicy, site: SiteSettings) -> Iterator[Mistake]:
    if rules.retired or not (rules.mode is Mode.ACT or rules.ask):
        return
    why = "mode act" if rules.mode is Mode.ACT else "ask = true"
    for key in _NEEDED[site.transport]:
        if not getattr(site, key):
            yield key, f"is missing: {why} over transport {site.transport} needs it"


def _one_directory(sites: Sequence[SiteSettings]) -> Iterator[Mistake]:
    """The Globus library believes one directory of authorities in a process, docs/adr/0031."""
    over_gsi = [site for site in sites if site.transport is TransportKind.GSI]
    for one, other in pairwise(over_gsi):
        if one.certificate_directory != other.certificate_directory:
            problem = f"must be that of site {one.name!r}: gsi sites share one directory"
            yield f"sites.{other.name}.certificate_directory", problem


def _same_machine(sites: Sequence[SitePolicy]) -> Iterator[Mistake]:
    for one, other in combinations(sites, 2):
        for centre, machine in sorted(_machines(one) & _machines(other)):
            problem = f"{machine!r} of centre {centre!r} belongs to site {one.name!r} already"
            yield f"sites.{other.name}.machines", problem


def _machines(site: SitePolicy) -> set[tuple[str, str]]:
    return {(c.casefold(), m.casefold()) for c in site.centres for m in site.machines}


def _user(user: UserPolicy, sites: list[str]) -> Iterator[Mistake]:
    for index, name in enumerate(user.sites):
        if name not in sites:
            yield f"sites[{index}]", f"is {name!r}, no site; {nearest(name, sites)}"
    yield from _address("mail", user.mail_to)
    if user.level is Level.MAIL and user.mail_to is None:
        yield "mail", "is missing: level 1 sends scripts by mail"
    if user.level is not Level.NOTHING:
        for key in ("set_by", "set_on"):
            if getattr(user, key) is None:
                yield key, f"is missing: level {int(user.level)} is a consent, recorded by whom"
