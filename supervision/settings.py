"""Where settings come from: one TOML file and two variables of the environment, checked together.

The only reader of the environment. The values stand in `settings_values.py`, how they are written
in `settings_forms.py`, whether they fit together in `settings_checks.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from supervision.errors import SettingsError
from supervision.facts import EngineSettings, Policy, RetentionSettings
from supervision.masking import mask
from supervision.settings_checks import mistakes
from supervision.settings_forms import SCHEDULERS, Parsed, read, refuse
from supervision.settings_values import (
    MailSettings,
    Settings,
    SiteSettings,
    TransportKind,
)

__all__ = [
    "SCHEDULERS",
    "EngineSettings",
    "MailSettings",
    "RetentionSettings",
    "Settings",
    "SiteSettings",
    "TransportKind",
    "inheritable",
    "load",
    "notify_socket",
    "set_outside",
]

FILE_NAME: Final = "supervision.toml"
_CONFIG: Final = "SUPERVISION_CONFIG"
_DATABASE: Final = "SUPERVISION_DATABASE_URL"
_BROKER: Final = "SUPERVISION_BROKER_URL"


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    instead_of: Path | None = None,
) -> Settings:
    """Read the settings: `path`, else SUPERVISION_CONFIG, else ./supervision.toml, else defaults.

    SUPERVISION_DATABASE_URL and SUPERVISION_BROKER_URL win over the file. Without a database URL
    it is the SQLite file supervision.db beside the settings file, or in the current directory
    where there is none. Paths count as if the file lay where `instead_of` does, if that is given.
    Raises SettingsError with every mistake, a line each. Reads no secret.
    """
    env = os.environ if environ is None else environ
    source = _find(path, env)
    text = "" if source is None else _read(source)
    name, base = _called(source), _base(instead_of or source)
    parsed = read(_document(text, name), name, base)
    refuse(list(mistakes(parsed)), name)
    return Settings(
        source=source,
        text=mask(text),
        database_url=_database_url(parsed, env, name, base),
        broker_url=_broker_url(parsed, env, name),
        policy=replace(parsed.policy, digest=_digest(parsed.policy)),
        sites=parsed.sites,
        mail=parsed.mail,
        engine=parsed.engine,
        retention=parsed.retention,
        observe=parsed.observe,
    )


def notify_socket(environ: Mapping[str, str] | None = None) -> str | None:
    """Name the socket at which a service manager listens, as systemd tells it; None for none."""
    env = os.environ if environ is None else environ
    return env.get("NOTIFY_SOCKET") or None


def inheritable(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give what a child may inherit: the environment without ours, whose URLs hold passwords."""
    env = os.environ if environ is None else environ
    return {name: value for name, value in env.items() if not name.startswith("SUPERVISION_")}


def set_outside(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the keys that the environment sets, as a settings file anywhere would spell them.

    Raises SettingsError for a URL that cannot be used.
    """
    env, nothing = os.environ if environ is None else environ, read({}, "environment", Path.cwd())
    found = {}
    if env.get(_DATABASE):
        found["database_url"] = _database_url(nothing, env, "environment", Path.cwd())
    if env.get(_BROKER):
        found["broker_url"] = _broker_url(nothing, env, "environment")
    return found


def _find(path: Path | None, env: Mapping[str, str]) -> Path | None:
    named = path or (Path(env[_CONFIG]) if env.get(_CONFIG) else None)
    if named is not None:
        return named.expanduser().absolute()
    usual = Path.cwd() / FILE_NAME
    return usual if usual.exists() else None


def _called(source: Path | None) -> str:
    return "defaults" if source is None else str(source)


def _base(source: Path | None) -> Path:
    return Path.cwd() if source is None else source.parent


def _read(source: Path) -> str:
    try:
        return source.read_bytes().decode()
    except OSError as error:
        raise SettingsError(f"{source}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{source}: must be UTF-8 text: byte {error.start} is not") from error


def _document(text: str, name: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number too long, tables too deep
        raise SettingsError(f"{name}: is not TOML: {error}") from error


def _digest(policy: Policy) -> str:
    """SHA-256 over the values that a decision depends on: comments and order of keys are none."""
    values = {key: value for key, value in asdict(policy).items() if key != "digest"}
    canonical = json.dumps(values, default=_plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _plain(value: object) -> str | float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _database_url(parsed: Parsed, env: Mapping[str, str], name: str, base: Path) -> str:
    written, key = parsed.database_url or "sqlite:///supervision.db", "database_url"
    if env.get(_DATABASE):
        written, name, key, base = env[_DATABASE], "environment", _DATABASE, Path.cwd()
    scheme, mark, rest = written.partition("://")
    if mark and scheme == "sqlite":
        return _sqlite_url(rest, base, f"{name}: {key}")
    # The driver is named, for what a bare "postgresql" means changes between releases.
    if scheme in {"postgresql", "postgresql+psycopg2"} and _has_host(written):
        return f"postgresql+psycopg2://{rest}"
    raise SettingsError(
        f"{name}: {key}: is {mask(written)!r}; allowed: sqlite:///FILE or "
        "postgresql://USER:PASSWORD@HOST:PORT/NAME"
    )


def _sqlite_url(rest: str, base: Path, where: str) -> str:
    path, mark, query = rest.removeprefix("/").partition("?")
    if not rest.startswith("/") or not path or path == ":memory:":
        raise SettingsError(
            f"{where}: a database in memory forgets everything; allowed: sqlite:///FILE"
        )
    return f"sqlite:///{base / path}{mark}{query}"


def _broker_url(parsed: Parsed, env: Mapping[str, str], name: str) -> str:
    written, key = parsed.broker_url, "broker_url"
    if env.get(_BROKER):
        written, name, key = env[_BROKER], "environment", _BROKER
    remote = written.startswith(("amqp://", "amqps://")) and _has_host(written)
    if written == "memory://" or remote:
        return written
    raise SettingsError(
        f"{name}: {key}: is {mask(written)!r}; allowed: memory:// or "
        "amqp://USER:PASSWORD@HOST:PORT/VHOST (amqps:// for TLS)"
    )


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname or parts.query) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
