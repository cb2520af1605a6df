"""What new settings change, in words, and what of them a running process cannot take over. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from supervision.settings_values import Settings, SiteSettings

_BUILT_ON: Final = ("lease", "deadline", "batch", "outage_first", "outage_cap")
"""Keys of [engine] that threads, connections and their watch were made with."""
_DIGEST: Final = "policy.digest"
_DIGEST_LENGTH: Final = 12
_SILENT: Final = {"source", _DIGEST}


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What differs between two settings, in the words of `supervision settings`: no secrets.

    `words`: what is taken over, a phrase each. `restart`: keys that wait for a new process.
    `gone`: sites that are no more.
    """

    words: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def taken_over(old: Settings, new: Settings) -> Settings:
    """Give the new settings, with that part as it was which only a new process can change.

    What is kept fits together by itself, for it was checked together with nothing but itself.
    """
    kept = {name: getattr(old.engine, name) for name in _BUILT_ON}
    return replace(
        new,
        database_url=old.database_url,
        broker_url=old.broker_url,
        observe=old.observe,
        engine=replace(new.engine, **kept),
    )


def between(old: Settings, new: Settings) -> Changes:
    """Tell what changes when the new settings come in the old ones' place."""
    taken = taken_over(old, new)
    words = [
        *_tables("site", _names(old.sites), _names(taken.sites)),
        *_tables("user", _logins(old), _logins(taken)),
        *_values(old, taken),
    ]
    if old.policy.digest != new.policy.digest:
        words.append(f"policy: {_digest(old)} -> {_digest(new)}")
    gone = [name for name in _names(old.sites) if name not in _names(taken.sites)]
    return Changes(words=tuple(words), restart=tuple(_restart(old, new)), gone=tuple(gone))


def _names(sites: Sequence[SiteSettings]) -> list[str]:
    return [site.name for site in sites]


def _logins(settings: Settings) -> list[str]:
    return [user.login for user in settings.policy.users]


def _tables(kind: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    yield from (f"{kind} {name} is new" for name in new if name not in old)
    yield from (f"{kind} {name} is gone" for name in old if name not in new)


def _values(old: Settings, new: Settings) -> Iterator[str]:
    """Tell the keys whose value is another one, but for those of tables that came or went."""
    sites = {*_names(old.sites)} & {*_names(new.sites)}
    logins = {*_logins(old)} & {*_logins(new)}
    before, after = (_shown(each, sites, logins) for each in (old, new))
    for key in dict.fromkeys([*before, *after]):
        if key not in _SILENT and before.get(key, "-") != after.get(key, "-"):
            yield f"{key}: {before.get(key, '-')} -> {after.get(key, '-')}"


def _shown(settings: Settings, sites: set[str], logins: set[str]) -> dict[str, str]:
    policy = replace(
        settings.policy,
        sites=tuple(site for site in settings.policy.sites if site.name in sites),
        users=tuple(user for user in settings.policy.users if user.login in logins),
    )
    reached = tuple(site for site in settings.sites if site.name in sites)
    return replace(settings, policy=policy, sites=reached).shown()


def _digest(settings: Settings) -> str:
    return settings.policy.digest[:_DIGEST_LENGTH]


def _restart(old: Settings, new: Settings) -> Iterator[str]:
    for key in ("database_url", "broker_url"):
        if getattr(old, key) != getattr(new, key):
            yield key
    if old.observe != new.observe:
        yield "observe.address"
    for key in _BUILT_ON:
        if getattr(old.engine, key) != getattr(new.engine, key):
            yield f"engine.{key}"
