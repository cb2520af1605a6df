"""Secrets stay where they belong: not in processes, logs, reprs, answers, nor in any table."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
import structlog

from hpc_agent.home import load
from supervision import app, logs, settings
from supervision.adapters.agent_protocol import Login, derive_key
from supervision.adapters.local import LocalAgent, LocalTransport
from supervision.adapters.smtp import MaildirNotifier
from supervision.adapters.system import SystemClock
from supervision.facts import AnswerKind, Key, Mail
from supervision.replay import dump_policy
from supervision.settings import inheritable
from supervision.testing import FrozenClock
from supervision.wire import decode_monitoring
from tests.agent_kit import KEY, LOGIN, MASTER, SITE, make_home, make_order, until
from tests.integration.cli_kit import give
from tests.integration.end_to_end_kit import dump, environment, work_through
from tests.integration.test_end_to_end_hostile import FAILED, JOB, SETTINGS, composed, start

DATABASE: Final = "hunter2-database"
BROKER: Final = "hunter2-broker"
MAIL: Final = "hunter2-mail"
MASTER_KEY: Final = b"master-of-every-key-hunter2-32by"
PEM: Final = "-----BEGIN RSA PRIVATE KEY-----\nhunter2-pem\n-----END RSA PRIVATE KEY-----\n"
PROXY: Final = f"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n{PEM}"
DERIVED: Final = derive_key(MASTER_KEY, "curie", "user1")
FORBIDDEN: Final = ("hunter2", DERIVED.hex(), repr(DERIVED), MASTER_KEY.hex())
FILE: Final = f"""\
database_url = "postgresql://u:{DATABASE}@127.0.0.1:1/d"
broker_url = "amqp://u:{BROKER}@127.0.0.1:1/v"
{SETTINGS}
[mail]
host = "127.0.0.1"
port = 1
operator = "o@example.org"
sender = "a@example.org"
starttls = true
user = "u"
password_file = "mail.password"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings that name every secret there is."""
    for name, content in (("master.key", MASTER_KEY), ("mail.password", MAIL.encode())):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "supervision.toml").write_text(FILE)
    return tmp_path / "supervision.toml"


@pytest.fixture(autouse=True)
def _logs_restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _clean(text: str) -> None:
    assert [] == [secret for secret in FORBIDDEN if secret in text]


def test_no_table_and_no_answer_holds_a_secret(
    config: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure and its restart leave their settings, facts and logs behind, and no password."""
    logs.configure(json=True, level="debug")
    with composed(config, database=sqlite_url) as made:
        lines = [json.dumps(each).encode() for each in (start(), *FAILED)]
        made.engine.record([decode_monitoring(line) for line in lines])
        work_through(made)
    known = settings.load(config, {})
    _clean(dump_policy(known.policy) + known.text + repr(known) + str(known.shown()))
    tables = dump(sqlite_url)
    assert tables["tbl_policy"]
    assert "***" in str(tables["tbl_policy"])
    _clean(str(tables))
    _clean(str(capsys.readouterr()))
    env = {"SUPERVISION_DATABASE_URL": sqlite_url}
    for words in (
        ("why", JOB, "--json"),
        ("show", "--json"),
        ("settings",),
        ("settings", "--json"),
    ):
        said = give("--config", config, *words, env=env)
        assert 0 == said.code
        _clean(said.out + said.err)


def test_a_traceback_of_a_command_holds_no_secret(config: Path) -> None:
    """The database and the broker are away: what is told, logged and shown names no password."""
    for words in (("show",), ("-v", "show"), ("-v", "run", "dispatch"), ("-v", "db", "upgrade")):
        line = [sys.executable, "-P", "-m", "supervision", "--config", str(config), *words]
        done = subprocess.run(
            line, env=environment(), capture_output=True, text=True, check=False, timeout=90
        )
        assert 3 == done.returncode, done.stderr
        _clean(done.stdout + done.stderr)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("secret", [PEM, PROXY, f"amqp://u:{BROKER}@h/v", f"a://u:{DATABASE}@h"])
def test_a_logged_exception_holds_no_secret(
    capsys: pytest.CaptureFixture[str], secret: str, *, as_json: bool
) -> None:
    """Its text, its cause's, and the source line in the traceback are masked like any value."""
    logs.configure(json=as_json, level="info")
    try:
        _fail(secret)
    except RuntimeError:
        structlog.get_logger().exception("a.thing.failed", about=secret)
    said = capsys.readouterr().err
    assert "a.thing.failed" in said
    assert "RuntimeError" in said
    _clean(said)


def _fail(secret: str) -> None:
    try:
        int(secret)
    except ValueError as error:
        raise RuntimeError(f"because of {secret}") from error


def test_no_repr_shows_a_key(tmp_path: Path) -> None:
    """Who prints or logs a value by mistake shows whose it is, and not what signs for it."""
    home = load(make_home(tmp_path).path)
    agent = LocalAgent(home=tmp_path, python="python3", key=KEY, environment={"A": DATABASE})
    for value in (home, agent, Login(site=SITE, login=LOGIN, key=KEY)):
        for form in (KEY.hex(), repr(KEY), DATABASE):
            assert form not in repr(value)


def test_no_process_shows_a_secret(tmp_path: Path) -> None:
    """Neither the command lines nor the environments of the agent, its runner and its script."""
    urls = {
        "SUPERVISION_DATABASE_URL": f"postgresql://u:{DATABASE}@h/d",
        "SUPERVISION_BROKER_URL": f"amqp://u:{BROKER}@h/v",
        "PGPASSWORD": DATABASE,
    }
    home = make_home(tmp_path)
    seen = inheritable({**os.environ, **urls})
    assert set(urls) & set(seen) == {"PGPASSWORD"}
    agent = LocalAgent(home=tmp_path, python=sys.executable, key=KEY, environment=seen)
    transport = LocalTransport({(SITE, LOGIN): agent}, clock=SystemClock())
    key = Key(supervision_id="s-1", attempt=1)
    text = "env >seen; tr '\\0' '\\n' </proc/$PPID/cmdline >>seen; until [ -e go ]; do :; done"
    order = make_order(key, tmp_path / "run", clock=SystemClock(), text=text)
    try:
        transport.submit(SITE, LOGIN, [order])
        until((tmp_path / "run" / "seen").exists)
        lines = [_line(path) for path in Path("/proc").glob("[0-9]*") if _ours(path, tmp_path)]
        (tmp_path / "run" / "go").touch()
        until(lambda: _kind(transport, key) is AnswerKind.EXECUTED)
    finally:
        (tmp_path / "run" / "go").touch()
        transport.close()
    assert lines
    shown = "\n".join([*lines, (tmp_path / "run" / "seen").read_text()])
    assert [] == [each for each in (DATABASE, BROKER, KEY.hex(), MASTER.decode()) if each in shown]
    assert home.path in shown


def _kind(transport: LocalTransport, key: Key) -> AnswerKind:
    return transport.status(SITE, LOGIN, [key])[0].kind


def _ours(process: Path, home: Path) -> bool:
    return str(home) in _line(process)


def _line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it ended meanwhile


def test_a_new_sqlite_file_is_its_accounts_alone(tmp_path: Path) -> None:
    """Scripts and messages lie in it; its companions are as private, under any umask."""
    before = os.umask(0)
    try:
        url = f"sqlite:///{tmp_path}/a/supervision.db"
        app.prepare(settings.load(None, {"SUPERVISION_DATABASE_URL": url}))
        env = {"SUPERVISION_DATABASE_URL": url}
        assert 0 == give("db", "clean", env=env).code
    finally:
        os.umask(before)
    files = list((tmp_path / "a").iterdir())
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}


def test_an_operators_mode_of_the_file_is_kept(tmp_path: Path) -> None:
    """Who lets a group read it meant it."""
    file = tmp_path / "supervision.db"
    file.touch()
    file.chmod(0o640)
    app.prepare(settings.load(None, {"SUPERVISION_DATABASE_URL": f"sqlite:///{file}"}))
    assert 0o640 == stat.S_IMODE(file.stat().st_mode)


def test_a_maildir_is_its_accounts_alone(tmp_path: Path) -> None:
    """Mails carry scripts: nobody else may enter the folder, under any umask."""
    clock = FrozenClock(datetime(2016, 2, 19, tzinfo=UTC))
    mail = Mail(to="a@example.org", subject="s", text="t", message_id="<1@example.org>")
    before = os.umask(0)
    try:
        MaildirNotifier(tmp_path / "mails", sender="b@example.org", clock=clock).send(mail)
    finally:
        os.umask(before)
    folders = [tmp_path / "mails", *(tmp_path / "mails").glob("*/")]
    assert {0o700} == {stat.S_IMODE(path.stat().st_mode) for path in folders if path.is_dir()}
