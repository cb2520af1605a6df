"""The settings as the rest of the house reads them: plain frozen values, with every default.

What decisions and the engine depend on is in `facts.py`, the rest is here. How a TOML file becomes
these is in `settings_forms.py`. Passwords and keys are read from their files on demand.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum, StrEnum
from pathlib import Path
from typing import Final

from supervision.errors import InvalidValue, NotFound, SettingsError
from supervision.facts import EngineSettings, Policy, RetentionSettings, SitePolicy, UserPolicy
from supervision.masking import mask

SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SECRET_LIMIT: Final = 64 * 1024
_KEY_MINIMUM: Final = 16


class TransportKind(StrEnum):
    """The way to a site's agent: a child process here, ssh, or gsi-ssh."""

    LOCAL = "local"
    SSH = "ssh"
    GSI = "gsi"


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteSettings:
    """How a site is reached. What may be done there is its `facts.SitePolicy`, of the same name.

    `agent_home` and `credential_file` may hold {login}. `agent_home` None: the login's own home.
    `credential_file` is a private key (a certificate KEY-cert.pub beside it is used) or a proxy.
    `credential_file`, `known_hosts_file` and `certificate_directory` are absolute once loaded.
    """

    name: str
    transport: TransportKind = TransportKind.SSH
    hosts: tuple[str, ...] = ()
    port: int = 22
    agent_home: str | None = None
    agent_python: str = "python3"
    master_key_file: Path | None = None
    credential_file: str | None = None
    known_hosts_file: Path | None = None
    certificate_directory: Path | None = None
    delegate: bool = False
    max_sessions: int = 4
    connect_every: timedelta = timedelta(seconds=2)
    idle_close: timedelta = timedelta(seconds=60)
    failure_pause: timedelta = timedelta(seconds=30)

    def master_key(self) -> bytes:
        """Read the key that the logins' keys derive from: the file's bytes, unchanged.

        Read anew each time. Raises SettingsError when there is no such file, when others may
        read it, or when it is shorter than 16 bytes.
        """
        key = read_secret(self.master_key_file, f"sites.{self.name}.master_key_file")
        if len(key) < _KEY_MINIMUM:
            raise SettingsError(
                f"sites.{self.name}.master_key_file: {self.master_key_file} holds {len(key)} "
                f"bytes, at least {_KEY_MINIMUM} random ones are needed"
            )
        return key

    def home_of(self, login: str) -> str | None:
        """Tell where this login's agent lives; None for its own home. Raises InvalidValue."""
        return _filled(self.agent_home, login)

    def credential_of(self, login: str) -> Path | None:
        """Name this login's private key or proxy; None where the site names none."""
        filled = _filled(self.credential_file, login)
        return None if filled is None else Path(filled)


@dataclass(frozen=True, kw_only=True, slots=True)
class MailSettings:
    """The way to people: a mail server, or a Maildir `directory`, or neither (then only logged).

    `timeout` is the hard deadline of one mail, from the connection to the server's last word.
    `ca_file` names who signs the server's certificate where the system's own list does not.
    """

    host: str | None = None
    port: int = 25
    sender: str = "supervision@localhost"
    operator: str | None = None
    starttls: bool = False
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout: timedelta = timedelta(seconds=30)
    directory: Path | None = None

    @property
    def domain(self) -> str:
        """The sender's domain, for Message-IDs."""
        return self.sender.rpartition("@")[2]

    def password(self) -> str:
        """Read the password's first line, anew each time; raises SettingsError like a key."""
        raw = read_secret(self.password_file, "mail.password_file")
        try:
            return raw.decode().partition("\n")[0].rstrip("\r")
        except UnicodeDecodeError:
            # Without its cause: that one would carry the bytes.
            raise SettingsError("mail.password_file: must hold UTF-8 text") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class ObserveSettings:
    """Where a process tells how it is: `address` is HOST:PORT, [HOST]:PORT for IPv6; None: nowhere.

    Whoever reaches it may read it: it is meant for this machine alone. `traces`: whether what it
    does is told to OpenTelemetry.
    """

    address: str | None = None
    traces: bool = False

    def endpoint(self) -> tuple[str, int] | None:
        """Split the address, which was checked when it was loaded."""
        if self.address is None:
            return None
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that is set. `source` None: no file, defaults and the environment only.

    `text` is the file's text for the table of policies, exact but for masked passwords; empty
    without a file. The URLs may hold passwords: they stay out of repr, print `shown()` instead.
    """

    source: Path | None
    text: str = field(repr=False)
    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    policy: Policy
    sites: tuple[SiteSettings, ...] = ()
    mail: MailSettings = field(default_factory=MailSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    observe: ObserveSettings = field(default_factory=ObserveSettings)

    def site(self, name: str) -> SiteSettings:
        """Find a site by its name; raises NotFound, which names those that there are."""
        for site in self.sites:
            if site.name == name:
                return site
        known = ", ".join(site.name for site in self.sites) or "none at all"
        raise NotFound(f"no site is called {name!r}; there are: {known}")

    def shown(self) -> dict[str, str]:
        """Every value by its dotted key, as text fit for a screen: passwords are masked."""
        flat: dict[str, str] = {"source": str(self.source or "defaults")}
        for name in _TABLES:
            _flatten(flat, name, getattr(self, name))
        for rules in self.policy.sites:
            _flatten(flat, f"sites.{rules.name}", rules)
        for site in self.sites:
            _flatten(flat, f"sites.{site.name}", site)
        for user in self.policy.users:
            _flatten(flat, f"users.{user.login}", user)
        return flat


_TABLES: Final = (
    *("database_url", "broker_url", "mail", "engine", "retention", "observe", "policy"),
)


def read_secret(path: Path | None, key: str) -> bytes:
    """Read a file that only its owner may read; `key` is the setting that names it.

    Raises SettingsError for none, for one that cannot be read, that is no plain file, that group
    or others may touch, or that is larger than 64 KB.
    """
    if path is None:
        raise SettingsError(f"{key}: is not set, and is needed now")
    try:
        # Not blocking, so that a pipe in the file's place is refused and not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _refuse_shared(os.fstat(file.fileno()), f"{key}: {path}")
            return file.read(_SECRET_LIMIT)
    except OSError as error:
        raise SettingsError(f"{key}: {path} cannot be read: {error.strerror}") from error


def spelled(span: timedelta) -> str:
    """Write a span as a settings file may hold it: "1 h 30 min"; "0 s" for none."""
    left, words = span.total_seconds(), []
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
        count, left = divmod(left, seconds)
        words += [f"{count:.0f} {unit}"] if count else []
    return " ".join(words + ([f"{left:g} s"] if left or not words else []))


def _refuse_shared(info: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise SettingsError(f"{what} is not a plain file")
    if info.st_mode & _OTHERS:
        mode = stat.S_IMODE(info.st_mode)
        raise SettingsError(f"{what} has mode {mode:04o}, others may touch it; allowed is 0600")
    if info.st_size > _SECRET_LIMIT:
        raise SettingsError(f"{what} is larger than {_SECRET_LIMIT} bytes")


def _filled(pattern: str | None, login: str) -> str | None:
    # Logins come from messages: one like ../root must not lead out of the directory.
    if not SAFE_NAME.fullmatch(login):
        raise InvalidValue(f"{login!r} is not a login: letters, digits, '.', '_', '-' are allowed")
    return None if pattern is None else pattern.replace("{login}", login)


_SHOWN_ELSEWHERE: Final[dict[object, tuple[str, ...]]] = {
    Policy: ("sites", "users"),
    SitePolicy: ("name",),
    SiteSettings: ("name",),
    UserPolicy: ("login",),
}
"""Fields that the keys say already, or that have keys of their own."""


def _flatten(flat: dict[str, str], key: str, value: object) -> None:
    if is_dataclass(value):
        for item in fields(value):
            if item.name not in _SHOWN_ELSEWHERE.get(type(value), ()):
                _flatten(flat, f"{key}.{item.name}", getattr(value, item.name))
    elif isinstance(value, tuple) and any(is_dataclass(item) for item in value):
        for index, item in enumerate(value):
            _flatten(flat, f"{key}[{index}]", item)
    else:
        flat[key] = _as_text(value)


def _as_text(value: object) -> str:
    if isinstance(value, timedelta):
        return spelled(value)
    if isinstance(value, Enum | bool):
        return str(value.value if isinstance(value, Enum) else value).lower()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, tuple):
        return ", ".join(map(_as_text, value)) or "-"
    return "-" if value is None else mask(str(value))
