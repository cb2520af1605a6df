"""What a settings file may look like: pydantic tables, derived from the frozen values they become.

Names, types and defaults stand once, in the values (`facts.py`, `settings_values.py`); here each
type learns how people write it (`settings_words.py`). What fits together: `settings_checks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from supervision.errors import SettingsError
from supervision.facts import EngineSettings, Policy, RetentionSettings, SitePolicy, UserPolicy
from supervision.masking import mask
from supervision.settings_values import (
    MailSettings,
    ObserveSettings,
    SiteSettings,
)
from supervision.settings_words import NAME, STRING, WRITTEN

Mistake = tuple[str, str]
"""A dotted key, and what is wrong with it and allowed there."""

SCHEDULERS: Final = ("slurm", "ccc", "loadleveler", "pbs", "sandbox")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """A file's tables as values: each right in itself, not yet known to fit together."""

    database_url: str | None
    broker_url: str
    policy: Policy
    sites: tuple[SiteSettings, ...]
    mail: MailSettings
    engine: EngineSettings
    retention: RetentionSettings
    observe: ObserveSettings


def read(document: Mapping[str, object], source: str, base: Path) -> Parsed:
    """Turn a TOML document into values; relative paths count from `base`.

    Raises SettingsError with every mistake that was found, a line each: file, dotted key, what is
    allowed. A misspelt key is answered with the nearest one.
    """
    try:
        root = dict(ROOT.model_validate(dict(document), context=base))
    except ValidationError as error:
        # Without its cause: that one would print the values, and URLs may hold passwords.
        raise _complaint([_mistake(detail) for detail in error.errors()], source) from None
    sites = {name: dict(table) for name, table in root.pop("sites").items()}
    users = {login: dict(table) for login, table in root.pop("users").items()}
    policy = Policy(
        digest="",
        sites=tuple(SitePolicy(name=name, **_of(SitePolicy, it)) for name, it in sites.items()),
        users=tuple(_user(login, table) for login, table in users.items()),
        **dict(root.pop("policy")),
    )
    connections = tuple(_site(name, table, base) for name, table in sites.items())
    return Parsed(policy=policy, sites=connections, **root)


def refuse(mistakes: list[Mistake], source: str) -> None:
    """Raise SettingsError for all mistakes together; return when there is none."""
    if mistakes:
        raise _complaint(mistakes, source)


def _complaint(mistakes: list[Mistake], source: str) -> SettingsError:
    return SettingsError("\n".join(f"{source}: {key}: {problem}" for key, problem in mistakes))


def nearest(word: str, known: list[str]) -> str:
    """Say which known word was probably meant, and which there are."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(sorted(known)) or 'none'}"


class _Table(BaseModel):
    """A TOML table that knows its keys by heart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, table: object) -> object:
        known = list(cls.model_fields)
        for key in table if isinstance(table, dict) else ():
            if key not in known:
                context = {"key": key, "hint": nearest(str(key), known)}
                raise PydanticCustomError("misspelt", "is not a key; {hint}", context)
        return table


def _becomes(kind: type[object]) -> Any:  # noqa: ANN401  (a type that is made at run time)
    """Take a table for a dataclass, and give back the dataclass."""
    table = _derive(kind)
    return Annotated[table, AfterValidator(lambda form: kind(**dict(form)))]


def _derive(*kinds: type, skip: tuple[str, ...] = (), **own: tuple[Any, Any]) -> type[_Table]:
    """Make a table out of dataclasses' fields; a field without a default must be written."""
    keys: dict[str, Any] = {key: entry for kind in kinds for key, entry in _keys(kind)}
    kept: dict[str, Any] = {key: entry for key, entry in keys.items() if key not in skip}
    name = "".join(kind.__name__ for kind in kinds)
    return create_model(name, __base__=_Table, **(kept | own))


def _keys(kind: type) -> Iterator[tuple[str, tuple[Any, Any]]]:
    hints = get_type_hints(kind)
    for item in fields(kind):
        default = ... if item.default is MISSING else item.default
        yield item.name, (_written(hints[item.name]), default)


def _written(hint: Any) -> Any:  # noqa: ANN401  (any type there is)
    """Say how people write a value of this type. TOML has no null: `| None` means not written."""
    if isinstance(hint, UnionType):
        return _written(get_args(hint)[0])
    if get_origin(hint) is tuple:
        return GenericAlias(tuple, (_written(get_args(hint)[0]), ...))
    if isinstance(hint, type) and is_dataclass(hint):
        return _becomes(hint)
    return WRITTEN.get(hint, hint)


def _tables(table: type[_Table]) -> Any:  # noqa: ANN401  (a type that is made at run time)
    return GenericAlias(dict, (NAME, table))


_SITE: Final = _derive(
    SitePolicy, SiteSettings, skip=("name",), scheduler=(Literal[SCHEDULERS], "slurm")
)
_USER: Final = _derive(UserPolicy, skip=("login", "mail_to"), mail=(STRING, None))
_POLICY: Final = _derive(Policy, skip=("digest", "sites", "users"))
ROOT: Final = create_model(
    "Root",
    __base__=_Table,
    database_url=(STRING, None),
    broker_url=(STRING, "memory://"),
    sites=(_tables(_SITE), {}),
    users=(_tables(_USER), {}),
    policy=(_POLICY, _POLICY()),
    mail=(_becomes(MailSettings), MailSettings()),
    engine=(_becomes(EngineSettings), EngineSettings()),
    retention=(_becomes(RetentionSettings), RetentionSettings()),
    observe=(_becomes(ObserveSettings), ObserveSettings()),
)
"""A whole file: every key that there is, and how it is written."""


def _of(kind: type, table: Mapping[str, Any]) -> dict[str, Any]:
    return {item.name: table[item.name] for item in fields(kind) if item.name in table}


def _user(login: str, table: dict[str, Any]) -> UserPolicy:
    mail_to = table.pop("mail")
    return UserPolicy(login=login, mail_to=mail_to, **table)


def _site(name: str, table: dict[str, Any], base: Path) -> SiteSettings:
    values = _of(SiteSettings, table)
    for key in ("agent_home", "credential_file"):
        here = key == "credential_file" or values["transport"] == "local"
        if here and isinstance(values[key], str):
            values[key] = str(base / Path(str(values[key])).expanduser())
    return SiteSettings(name=name, **values)


_SAID: Final[dict[str, str]] = {
    "missing": "is missing",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list, like [...]",
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
}


def _mistake(detail: ErrorDetails) -> Mistake:
    context = detail.get("ctx", {})
    place = [*detail["loc"], context["key"]] if "key" in context else detail["loc"]
    key = ""
    for step in place:
        key += f"[{step}]" if isinstance(step, int) else "" if step == "[key]" else f".{step}"
    return key.removeprefix(".") or "the file", _problem(detail)


def _problem(detail: ErrorDetails) -> str:
    if detail["type"] in {"enum", "literal_error"}:
        return f"is {mask(repr(detail['input']))}; allowed: {detail['ctx']['expected']}"
    return _SAID.get(detail["type"], detail["msg"].removeprefix("Value error, "))
