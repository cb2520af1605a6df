"""`supervision db`, and what every command does about a database that is not of this version."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text

from db.session import create, migrations_config
from supervision.cli import schema
from tests.integration.cli_kit import Said, failure, give, lines
from tests.integration.end_to_end_kit import dump


@pytest.fixture
def empty_postgres(postgres_url: str) -> str:
    """A PostgreSQL database without any table of ours: a schema of its own."""
    engine = create(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return postgres_url


def on(url: str, *words: str | Path) -> Said:
    """Give a command about this database."""
    return give(*words, env={"SUPERVISION_DATABASE_URL": url})


def at_revision(url: str, number: str) -> None:
    """Write another revision into a database."""
    engine = create(url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE alembic_version SET version_num = :number"), {"number": number}
        )
    engine.dispose()


def test_the_cheap_look_knows_the_newest_revision() -> None:
    """What stands in the files' names is what alembic finds in them."""
    config = migrations_config("sqlite:///nowhere")
    assert schema.revisions()[-1] == ScriptDirectory.from_config(config).get_current_head()


def test_sqlite_is_made_by_whatever_comes_first(tmp_path: Path) -> None:
    """Folder and all; nobody has to know the word upgrade."""
    url = f"sqlite:///{tmp_path}/a/b/supervision.db"
    assert (1, []) == (on(url, "show", "--json").code, on(url, "show", "--json").json)
    assert on(url, "db", "upgrade").out.endswith(", as before.\n")


def test_an_empty_sqlite_file_is_filled(tmp_path: Path) -> None:
    """A file that is there and has no tables is behind, not broken."""
    (tmp_path / "supervision.db").touch()
    assert 1 == on(f"sqlite:///{tmp_path}/supervision.db", "show").code


def test_postgresql_is_upgraded_when_somebody_says_so(empty_postgres: str) -> None:
    """Before, every command says how; after, it works, and a second time changes nothing."""
    before = on(empty_postgres, "show")
    assert 4 == before.code
    assert "run first: supervision db upgrade" in before.err
    newest = schema.revisions()[-1]
    assert f"The database is at revision {newest}.\n" == on(empty_postgres, "db", "upgrade").out
    assert 1 == on(empty_postgres, "show").code
    assert 0 == on(empty_postgres, "db", "upgrade").code


def test_a_service_does_not_begin_on_a_postgresql_that_is_behind(empty_postgres: str) -> None:
    """`run` says what to do, and nothing was made behind anybody's back."""
    said = on(empty_postgres, "run")
    assert 4 == said.code
    assert "supervision db upgrade" in said.err


def test_a_database_of_a_later_version_is_left_alone(database_url: str) -> None:
    """Whoever went back to an older version is told so."""
    at_revision(database_url, "9999")
    for words in (("show",), ("db", "clean")):
        said = on(database_url, *words)
        assert 4 == said.code
        assert "9999" in said.err


@pytest.mark.parametrize("words", [("db", "upgrade"), ("db", "clean"), ("show",)])
def test_a_server_that_is_away_is_an_exit_of_3(words: tuple[str, ...], free_port: int) -> None:
    """A sentence; no traceback."""
    said = on(f"postgresql://nobody@127.0.0.1:{free_port}/supervision", *words)
    assert (3, "") == (said.code, said.out)
    assert "the database does not answer" in said.err


def test_a_password_is_not_told(free_port: int) -> None:
    """Not in the sentence about a server that is away either."""
    url = f"postgresql://me:s3cret@127.0.0.1:{free_port}/supervision"
    said = on(url, "show")
    assert 3 == said.code
    assert "s3cret" not in said.err


def test_clean_forgets_what_is_past_its_retention(tmp_path: Path, database_url: str) -> None:
    """With a retention of next to nothing the raw bodies go; what is younger stays."""
    (tmp_path / "mail").write_bytes(lines(failure()))
    assert 0 == on(database_url, "ingest", "--history", tmp_path / "mail").code
    assert 0 == on(database_url, "db", "clean").code
    assert 3 == sum('"msgCode"' in str(row) for row in dump(database_url)["tbl_message"])
    (tmp_path / "short.toml").write_text("[retention]\nraw_bodies = 0.001\n")
    words = ("--config", tmp_path / "short.toml", "db", "clean", "--json")
    assert 3 in on(database_url, *words).json.values()
    assert 0 == sum('"msgCode"' in str(row) for row in dump(database_url)["tbl_message"])


def test_the_driver_is_named_in_no_url(postgres_url: str) -> None:
    """People write postgresql://, as the settings say."""
    plain = (
        make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    )
    assert 1 == on(plain, "show").code
