"""Settings: defaults, the example, the environment, and a sentence for every mistake."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from supervision.errors import NotFound, SettingsError
from supervision.facts import Cap, Level, LoginAlias, Mode, Policy, Silence, SitePolicy, UserPolicy
from supervision.settings import (
    EngineSettings,
    MailSettings,
    RetentionSettings,
    Settings,
    SiteSettings,
    TransportKind,
    load,
)
from supervision.settings_values import ObserveSettings
from supervision.settings_words import duration

EXAMPLE = Path(__file__).parents[2] / "supervision.example.toml"
SITE = '[sites.curie]\ncentres = ["tgcc"]\nmachines = ["curie*"]\n'
USER = '[users.abc]\nlevel = 1\nmail = "abc@x.org"\nset_by = "op"\nset_on = 2026-01-01\n'


def loaded(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Write the text to a settings file and load it."""
    path = tmp_path / "supervision.toml"
    path.write_text(text)
    return load(path, environ or {})


def complaint(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    """Load a text that must be refused, and give the error's words without the file's name."""
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text, environ)
    return str(caught.value).replace(f"{tmp_path}/supervision.toml: ", "")


def test_nothing_needs_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without file and environment: SQLite here, the broker in memory, every default."""
    monkeypatch.chdir(tmp_path)
    settings = load(environ={})
    expected = Settings(
        source=None,
        text="",
        database_url=f"sqlite:///{tmp_path}/supervision.db",
        broker_url="memory://",
        policy=Policy(digest=settings.policy.digest),
    )
    assert expected == settings


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    """The database stands beside the file, wherever the process was started."""
    settings = loaded(tmp_path, "")
    assert tmp_path / "supervision.toml" == settings.source
    assert f"sqlite:///{tmp_path}/supervision.db" == settings.database_url
    assert (MailSettings(), EngineSettings(), RetentionSettings()) == (
        settings.mail,
        settings.engine,
        settings.retention,
    )


def test_the_argument_wins_over_the_variable_and_that_over_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order in which a settings file is looked for."""
    monkeypatch.chdir(tmp_path)
    for name in ("one.toml", "two.toml", "supervision.toml"):
        (tmp_path / name).write_text("")
    env = {"SUPERVISION_CONFIG": str(tmp_path / "two.toml")}
    assert tmp_path / "one.toml" == load(Path("one.toml"), env).source
    assert tmp_path / "two.toml" == load(environ=env).source
    assert tmp_path / "supervision.toml" == load(environ={}).source
    assert tmp_path / "supervision.toml" == load(environ={"SUPERVISION_CONFIG": ""}).source


def test_the_environment_of_the_process_is_read_when_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon passes nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERVISION_BROKER_URL", "amqp://h/v")
    monkeypatch.delenv("SUPERVISION_CONFIG", raising=False)
    assert load().broker_url == "amqp://h/v"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Both URLs, which are the place for passwords."""
    env = {
        "SUPERVISION_DATABASE_URL": "postgresql://u:p@db/supervision",
        "SUPERVISION_BROKER_URL": "amqps://u:p@mq/v",
    }
    settings = loaded(tmp_path, 'database_url = "sqlite:///x.db"\nbroker_url = "memory://"', env)
    assert settings.database_url == "postgresql+psycopg2://u:p@db/supervision"
    assert settings.broker_url == "amqps://u:p@mq/v"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sqlite:///a.db", "sqlite:///{here}/a.db"),
        ("sqlite:////var/a.db", "sqlite:////var/a.db"),
        ("sqlite:///a.db?timeout=5", "sqlite:///{here}/a.db?timeout=5"),
        ("postgresql://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg2://u:p@h:5433/d", "postgresql+psycopg2://u:p@h:5433/d"),
        ("postgresql:///d?host=/run/pg", "postgresql+psycopg2:///d?host=/run/pg"),
    ],
)
def test_a_database_url_is_made_whole(tmp_path: Path, written: str, expected: str) -> None:
    """Files count from the settings file; the PostgreSQL driver is named."""
    settings = loaded(tmp_path, f'database_url = "{written}"')
    assert expected.format(here=tmp_path) == settings.database_url


@pytest.mark.parametrize(
    "written",
    ["mysql://h/d", "postgres", "postgresql://", "sqlite://", "sqlite:///:memory:", "sqlite:x",
     "postgresql://h:port/d"],
)  # fmt: skip
def test_another_database_is_refused(tmp_path: Path, written: str) -> None:
    """The error says what is allowed."""
    text = complaint(tmp_path, f'database_url = "{written}"')
    assert text.startswith("database_url: ")
    assert "allowed: sqlite:///FILE" in text


@pytest.mark.parametrize("written", ["redis://h", "amqp://", "memory", "amqp://h:99999/v"])
def test_another_broker_is_refused(tmp_path: Path, written: str) -> None:
    """The error says what is allowed."""
    text = complaint(tmp_path, f'broker_url = "{written}"')
    assert text.startswith(f"broker_url: is '{written}'; allowed: memory:// or amqp://")


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    """Nobody searches the file for it; the password is not shown."""
    env = {"SUPERVISION_DATABASE_URL": "mysql://u:hunter2@h/d"}
    text = complaint(tmp_path, "", env)
    assert text.startswith("environment: SUPERVISION_DATABASE_URL: is 'mysql://u:***@h/d'")


def test_the_example_loads_and_begins_with_observing() -> None:
    """What a newcomer copies is right, and does nothing to anybody."""
    settings = load(EXAMPLE, {})
    assert {Mode.OBSERVE} == {site.mode for site in settings.policy.sites}
    assert EXAMPLE.read_text().replace(":PASSWORD@", ":***@") == settings.text


def test_the_example_explains_every_key() -> None:
    """Whoever adds a setting adds a line to the example."""
    written = tomllib.loads(EXAMPLE.read_text().replace("# directory =", "directory ="))
    for table, kinds, silent in (
        (written["policy"], (Policy,), {"digest", "sites", "users"}),
        (written["sites"]["curie"], (SitePolicy, SiteSettings), {"name"}),
        (written["users"]["abc"] | {"mail_to": ""}, (UserPolicy,), {"login"}),
        (written["mail"], (MailSettings,), set()),
        (written["engine"], (EngineSettings,), set()),
        (written["retention"], (RetentionSettings,), set()),
        (written["observe"], (ObserveSettings,), set()),
    ):
        names = {item.name for kind in kinds for item in fields(kind)}
        assert names - silent == set(table) - {"mail"}


@pytest.mark.parametrize("table", ["policy", "engine", "retention"])
def test_the_example_shows_the_defaults(table: str) -> None:
    """Where it says that these are the defaults, they are."""
    shown = {k: v for k, v in load(EXAMPLE, {}).shown().items() if k.startswith(f"{table}.")}
    defaults = Settings(
        source=None, text="", database_url="", broker_url="", policy=Policy(digest="")
    )
    expected = {k: v for k, v in defaults.shown().items() if k.startswith(f"{table}.")}
    shown["policy.digest"] = expected.get("policy.digest", "")
    assert expected.items() <= shown.items()


def test_a_whole_site(tmp_path: Path) -> None:
    """One table becomes what policy reads and what the transport reads."""
    settings = loaded(
        tmp_path,
        SITE
        + """
mode = "act"
absent = "act"
scheduler = "sandbox"
interpreter = "bash"
transport = "local"
agent_home = "home"
master_key_file = "master.key"
max_sessions = 2
logins = [{ announced = "p86abc", login = "abc", since = 2015-01-01 }]
maintenance = [{ start = 2026-01-01T08:00:00+01:00, end = 2026-01-01T09:00:00Z }]
""",
    )
    (rules,), (site,) = settings.policy.sites, settings.sites
    assert (Mode.ACT, Silence.ACT, Silence.MAIL) == (rules.mode, rules.absent, rules.stalled)
    assert (LoginAlias(announced="p86abc", login="abc", since=date(2015, 1, 1)),) == rules.logins
    assert datetime(2026, 1, 1, 7, tzinfo=UTC) == rules.maintenance[0].start
    expected = SiteSettings(
        name="curie",
        transport=TransportKind.LOCAL,
        agent_home=str(tmp_path / "home"),
        master_key_file=tmp_path / "master.key",
        max_sessions=2,
    )
    assert expected == site


def test_a_whole_user(tmp_path: Path) -> None:
    """Consent, its limits, and who recorded it."""
    settings = loaded(
        tmp_path, SITE + USER + 'sites = ["curie"]\nspaces = ["PROD"]\nwants_mail = false\n'
    )
    expected = UserPolicy(
        login="abc",
        level=Level.MAIL,
        sites=("curie",),
        spaces=("PROD",),
        mail_to="abc@x.org",
        wants_mail=False,
        set_by="op",
        set_on=date(2026, 1, 1),
    )
    assert (expected,) == settings.policy.users


def test_policy_engine_and_retention_are_read(tmp_path: Path) -> None:
    """Caps are a count in a window; spans are numbers of seconds or texts."""
    settings = loaded(
        tmp_path,
        """
[policy]
grace = 0
user_cap = { count = 2, window = "30 min" }
[engine]
rewake_first = 0.2
[retention]
rest = "1 d 12 h"
""",
    )
    assert timedelta(0) == settings.policy.grace
    assert Cap(count=2, window=timedelta(minutes=30)) == settings.policy.user_cap
    assert timedelta(milliseconds=200) == settings.engine.rewake_first
    assert timedelta(hours=36) == settings.retention.rest


def test_paths_count_from_the_file_and_know_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local files are made absolute; what lies at the centre stays as it was written."""
    monkeypatch.setenv("HOME", "/home/op")
    settings = loaded(
        tmp_path,
        SITE
        + 'agent_home = "rel"\nmaster_key_file = "~/k"\ncredential_file = "keys/{login}"\n'
        + 'known_hosts_file = "/etc/known"\n[mail]\ndirectory = "out"',
    )
    (site,) = settings.sites
    assert ("rel", Path("/home/op/k"), Path("/etc/known")) == (
        site.agent_home,
        site.master_key_file,
        site.known_hosts_file,
    )
    assert tmp_path / "keys" / "abc" == site.credential_of("abc")
    assert tmp_path / "out" == settings.mail.directory


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Given by hand or by the variable, it must exist."""
    gone = tmp_path / "gone.toml"
    for path, env in ((gone, {}), (None, {"SUPERVISION_CONFIG": str(gone)})):
        with pytest.raises(SettingsError, match=r"gone\.toml: cannot be read: No such file"):
            load(path, env)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    """The byte that is wrong is told."""
    path = tmp_path / "s.toml"
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(SettingsError, match=r"s\.toml: must be UTF-8 text: byte 5"):
        load(path, {})


def test_the_digest_names_what_decisions_depend_on(tmp_path: Path) -> None:
    """Comments, the order of keys and the rest of the file do not change it; a rule does."""
    plain = loaded(tmp_path, '[policy]\ngrace = 60\nmax_age = "1 d"')
    same = loaded(
        tmp_path, 'broker_url = "amqp://h/v"\n[policy] # why\nmax_age = 86400\ngrace = "1 min"'
    )
    other = loaded(tmp_path, '[policy]\ngrace = 61\nmax_age = "1 d"')
    assert len(plain.policy.digest) == 64
    assert plain.policy == same.policy
    assert plain.policy.digest != other.policy.digest
    assert plain.policy.digest != loaded(tmp_path, SITE + USER).policy.digest


def test_everything_is_shown_by_its_key() -> None:
    """What a person prints to see what holds."""
    shown = load(EXAMPLE, {}).shown()
    expected = {
        "engine.lease": "2 min",
        "retention.rest": "400 d",
        "policy.user_cap.window": "1 h",
        "sites.curie.mode": "observe",
        "sites.curie.machines": "curie, curie-*",
        "sites.curie.logins[0].announced": "p86abc",
        "sites.irene.hosts": "-",
        "users.abc.level": "1",
        "users.abc.wants_mail": "true",
        "mail.directory": "-",
    }
    assert expected == {key: shown[key] for key in expected}


@pytest.mark.parametrize(
    ("span", "expected"),
    [(0, "0 s"), (0.2, "0.2 s"), (90, "1 min 30 s"), (5400, "1 h 30 min"), (432000, "5 d")],
)
def test_a_span_is_shown_as_it_may_be_written(span: float, expected: str) -> None:
    """What is printed can be pasted back."""
    settings = load(EXAMPLE, {})
    engine = replace(settings.engine, lease=timedelta(seconds=span))
    assert expected == replace(settings, engine=engine).shown()["engine.lease"]
    assert timedelta(seconds=span) == duration(expected)


def test_a_site_is_found_by_name() -> None:
    """Another name is answered with those that there are."""
    settings = load(EXAMPLE, {})
    assert settings.site("irene").name == "irene"
    with pytest.raises(NotFound, match="no site is called 'irne'; there are: curie, irene"):
        settings.site("irne")


def test_values_are_frozen(tmp_path: Path) -> None:
    """A setting changes by loading anew, never in place."""
    settings: Any = loaded(tmp_path, SITE)
    for value, name in ((settings, "broker_url"), (settings.sites[0], "port")):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)
