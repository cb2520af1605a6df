"""`supervision doctor`, `holds` and `daily`, as an operator meets them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from db.session import Database, create
from supervision.adapters.ssh_standing import Refusal
from supervision.app_ssh import DatabaseRefusals
from tests.integration.cli_kit import SIMULATION, a_desk, failure, give
from tests.services.sshd import generate, public, sign

SETTINGS: Final = """\
[sites.curie]
centres = ["tgcc"]
machines = ["curie"]
mode = "act"
hosts = ["127.0.0.1", "127.0.0.2"]
credential_file = "{login}"
known_hosts_file = "known_hosts"
master_key_file = "master.key"

[sites.irene]
centres = ["tgcc"]
machines = ["irene"]
transport = "gsi"

[users.abc]
level = 2
sites = ["curie"]
set_by = "test"
set_on = 2015-01-01
"""


def _settings(folder: Path, text: str = SETTINGS) -> dict[str, str]:
    (folder / "supervision.toml").write_text(text)
    (folder / "master.key").write_bytes(b"k" * 32)
    (folder / "master.key").chmod(0o600)
    key = generate(folder / "abc")
    lines = [f"{host} {public(key)}\n" for host in ("127.0.0.1", "127.0.0.2")]
    (folder / "known_hosts").write_text("".join(lines))
    return {"SUPERVISION_CONFIG": str(folder / "supervision.toml")}


def _doctor(env: dict[str, str], *words: str) -> tuple[int, dict[str, str], dict[str, str]]:
    """Ask: the exit code, the health of each thing (its worst), and what is said of it."""
    said = give("doctor", "--json", *words, env=env)
    health: dict[str, str] = {}
    sentences: dict[str, str] = {}
    worst = ["ok", "warning", "problem"]
    for each in said.json:
        about = each["about"]
        health[about] = max(health.get(about, "ok"), each["health"], key=worst.index)
        sentences[about] = " ".join([sentences.get(about, ""), each["sentence"]]).strip()
    return said.code, health, sentences


def _certified(folder: Path, span: str) -> None:
    sign(generate(folder / "ca"), folder / "abc", "-n", "abc", "-V", span)


def test_all_is_well(tmp_path: Path, sqlite_url: str) -> None:
    """Exit 0; what is only trial-like is a warning."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": sqlite_url}
    code, health, sentences = _doctor(env, "curie")
    assert 0 == code
    assert {
        "settings": "ok",
        "database": "ok",
        "broker": "ok",
        "mail": "warning",
        "curie": "ok",
        "curie 127.0.0.1": "ok",
        "curie 127.0.0.2": "ok",
        "curie abc": "ok",
    } == health
    assert "is a key that does not expire" in sentences["curie abc"]


@pytest.mark.parametrize(
    ("span", "health", "said"),
    [
        ("-1h:+52w", "ok", "is valid until"),
        ("-30d:+5d", "warning", "in 4 d: renew it in time"),
        ("-30d:+30h", "warning", "in 29 h: renew it in time"),
        ("-30d:-1d", "problem", "expired at"),
        ("+1d:+30d", "problem", "is not valid before"),
    ],
)
def test_each_credential_is_listed_with_its_last_day(
    tmp_path: Path, sqlite_url: str, span: str, health: str, said: str
) -> None:
    """Valid until, soon over, over, not yet."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": sqlite_url}
    _certified(tmp_path, span)
    code, found, sentences = _doctor(env, "curie")
    assert (int(health == "problem"), health) == (code, found["curie abc"])
    assert said in sentences["curie abc"]


def _key_for_all(folder: Path) -> None:
    (folder / "abc").chmod(0o644)


def _no_key(folder: Path) -> None:
    (folder / "abc").unlink()


def _master_for_all(folder: Path) -> None:
    (folder / "master.key").chmod(0o644)


def _a_host_unknown(folder: Path) -> None:
    lines = (folder / "known_hosts").read_text().splitlines()
    (folder / "known_hosts").write_text(f"{lines[0]}\n")


@pytest.mark.parametrize(
    ("spoil", "about", "said"),
    [
        (_key_for_all, "curie abc", "chmod 600"),
        (_no_key, "curie abc", "there is no"),
        (_master_for_all, "curie", "allowed is 0600"),
        (_a_host_unknown, "curie 127.0.0.2", "is not known: ask the centre for it"),
    ],
)
def test_what_would_fail_at_night_is_said_by_day(
    tmp_path: Path,
    sqlite_url: str,
    spoil: Callable[[Path], None],
    about: str,
    said: str,
) -> None:
    """A problem, a sentence that says what to do, exit 1; the rest is examined all the same."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": sqlite_url}
    spoil(tmp_path)
    code, health, sentences = _doctor(env, "curie")
    assert (1, [about]) == (code, [name for name, each in health.items() if each == "problem"])
    assert said in sentences[about]


def test_where_nobody_is_contacted_nothing_is_missed_yet(tmp_path: Path, sqlite_url: str) -> None:
    """A site that only observes may lack everything: warnings, and exit 0."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": sqlite_url}
    code, health, sentences = _doctor(env, "irene")
    assert (0, "warning") == (code, health["irene"])
    assert "set sites.irene.hosts" in sentences["irene"]
    assert "certificate_directory: is not set" in sentences["irene"]


def test_settings_that_cannot_be_read_are_a_problem(tmp_path: Path) -> None:
    """Each mistake is a finding; a site that is none is said as everywhere."""
    env = _settings(tmp_path, SETTINGS.replace("mode =", "mdoe ="))
    code, health, sentences = _doctor(env)
    assert (1, {"settings": "problem"}) == (code, health)
    assert "did you mean 'mode'" in sentences["settings"]
    (tmp_path / "supervision.toml").write_text(SETTINGS)
    said = give("doctor", "nowhere", env=env)
    assert (1, True) == (said.code, "there are: curie, irene" in said.err)


def test_nothing_is_made(tmp_path: Path) -> None:
    """The doctor looks: before the first command there is no database, and none afterwards."""
    env = _settings(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, health, _ = _doctor(env, "curie")
    assert (0, "warning", before) == (code, health["database"], sorted(tmp_path.iterdir()))


def test_servers_that_are_away_are_problems(tmp_path: Path, free_port: int) -> None:
    """Database, broker and mail server: each is said, and the sites are examined all the same."""
    mail = f'\n[mail]\nhost = "127.0.0.1"\nport = {free_port}\noperator = "op@example.org"\n'
    env = _settings(tmp_path, SETTINGS + mail)
    env["SUPERVISION_DATABASE_URL"] = f"postgresql://x@127.0.0.1:{free_port}/x"
    env["SUPERVISION_BROKER_URL"] = f"amqp://guest:guest@127.0.0.1:{free_port}/"
    code, health, _ = _doctor(env, "curie", "--contact")
    bad = [name for name, each in health.items() if each == "problem"]
    assert (1, ["database", "broker", "mail", "agents"]) == (code, bad)
    assert "ok" == health["curie abc"]


def test_a_broker_that_answers(tmp_path: Path, sqlite_url: str, amqp_url: str) -> None:
    """Before the first run it has no queues; that is no problem."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": sqlite_url}
    env["SUPERVISION_BROKER_URL"] = amqp_url
    code, health, sentences = _doctor(env, "curie")
    assert (0, True) == (code, health["broker"] in {"ok", "warning"})
    assert sentences["broker"].startswith("reachable")


def test_a_database_behind_this_version(tmp_path: Path) -> None:
    """It says which command mends it."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": f"sqlite:///{tmp_path}/empty.db"}
    (tmp_path / "empty.db").touch()
    code, health, sentences = _doctor(env, "curie")
    assert (1, "problem") == (code, health["database"])
    assert "supervision db upgrade" in sentences["database"]


def test_contact_says_hello_to_each_agent(tmp_path: Path, sqlite_url: str) -> None:
    """Those that do not answer are a problem; those on hold are left alone."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": sqlite_url}
    code, health, _ = _doctor(env, "curie", "--contact")
    assert (1, "problem") == (code, health["curie abc"])
    assert 0 == give("hold", "site:curie", "--yes", "--reason", "storm", env=env).code
    code, health, sentences = _doctor(env, "curie", "--contact")
    assert (0, "warning") == (code, health["curie abc"])
    assert "not contacted: it is on hold" in sentences["curie abc"]


def test_contact_hears_an_agent_that_is_well(tmp_path: Path) -> None:
    """The sandbox's own agent: version, clock and home are right."""
    assert 0 == give("sandbox", "new", tmp_path / "centre", env={}).code
    env = {"SUPERVISION_CONFIG": str(tmp_path / "centre" / "supervision.toml")}
    give("show", env=env)  # makes the database
    code, health, sentences = _doctor(env, "--contact")
    (login,) = [name for name in health if name.startswith("sandbox ")]
    assert (0, True) == (code, "its agent" in sentences[login]), sentences


def test_a_parked_login_is_seen_and_released(tmp_path: Path, sqlite_url: str) -> None:
    """By doctor and by holds, with the command that takes it back."""
    env = {**_settings(tmp_path), "SUPERVISION_DATABASE_URL": sqlite_url}
    assert 1 == give("holds", env=env).code
    database = Database(create(sqlite_url), None)
    later = datetime.now(UTC) + timedelta(minutes=1)
    refusals = DatabaseRefusals(Database(create(sqlite_url), Now()))
    for _ in range(2):
        refusals.note("curie", "abc", Refusal(mark="m", reason="no\x1b[2J entry", not_before=later))
    database.close()
    _, health, sentences = _doctor(env, "curie")
    assert "warning" == health["curie abc"]
    assert "supervision release credential:curie/abc --reason" in sentences["curie abc"]
    said = give("holds", env=env)
    assert (0, True) == (said.code, said.out.startswith("credential:curie/abc  since "))
    assert said.out.endswith(", by service: refused 2 times: no?[2J entry\n")
    (held,) = give("holds", "--json", env=env).json
    assert ("credential:curie/abc", "service") == (held["scope"], held["actor"])
    released = give("release", "credential:curie/abc", "--yes", "--reason", "mended", env=env)
    assert (0, 1) == (released.code, give("holds", env=env).code)


class Now:
    """The machine's clock, as a SQLite database wants it."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


def test_the_list_of_the_day(tmp_path: Path, sqlite_url: str) -> None:
    """Empty is exit 1; a failure of somebody unknown is a line; --since looks further back."""
    with a_desk(tmp_path, sqlite_url) as desk:
        empty = desk.give("daily")
        assert (1, True) == (empty.code, empty.out.endswith("Nothing.\n"))
        desk.hear(failure(login="stranger"))
        desk.work()
        said = desk.give("daily")
        found = desk.give("daily", "--json", "--since", "2015-01-01").json
    assert (0, True) == (said.code, f"- CPL01 ({SIMULATION}), stranger at TGCC/curie" in said.out)
    lines = {each["title"]: len(each["lines"]) for each in found["sections"]}
    assert 1 == lines["Failures of users at level 0, and of unknown users"]
    assert found["since"].startswith("2015-01-01T00:00:00")
