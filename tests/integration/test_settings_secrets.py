"""Settings: keys and passwords are read with care and shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervision.errors import InvalidValue, SettingsError
from supervision.settings import MailSettings, Settings, SiteSettings, load


def loaded(tmp_path: Path, text: str) -> Settings:
    """Write the text to a settings file and load it."""
    path = tmp_path / "supervision.toml"
    path.write_text(text)
    return load(path, {})


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither repr nor what is printed nor the text that is stored holds a password."""
    settings = loaded(
        tmp_path,
        'database_url = "postgresql://u:hunter2@db/d"\nbroker_url = "amqp://u:hun:t@er2@mq/v"',
    )
    shown = settings.shown()
    assert shown["database_url"] == "postgresql+psycopg2://u:***@db/d"
    assert shown["broker_url"] == "amqp://u:***@mq/v"
    assert "hunter2" in settings.database_url
    for text in (repr(settings), str(shown), settings.text):
        assert "hunter2" not in text
        assert "er2" not in text


def test_a_mistake_does_not_show_other_values(tmp_path: Path) -> None:
    """The complaint about one key prints no other: a URL may hold a password."""
    text = 'database_url = "postgresql://u:hunter2@db/d"\nsites = 3'
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value)


def test_a_login_fills_paths_and_never_leads_out_of_them() -> None:
    """Logins come from messages: only plain names are put into a path."""
    site = SiteSettings(name="curie", agent_home="/home/{login}", credential_file="/k/{login}.pem")
    assert site.home_of("abc") == "/home/abc"
    assert Path("/k/abc.pem") == site.credential_of("abc")
    assert SiteSettings(name="curie").home_of("abc") is None
    assert SiteSettings(name="curie").credential_of("abc") is None
    for login in ("../root", "", ".ssh", "a/b", "a\nb", "-x", "x" * 100):
        with pytest.raises(InvalidValue, match="is not a login"):
            site.home_of(login)
        with pytest.raises(InvalidValue, match="is not a login"):
            site.credential_of(login)


def _site_with_key(path: Path) -> SiteSettings:
    return SiteSettings(name="curie", master_key_file=path)


def test_a_master_key_is_read_unchanged(tmp_path: Path) -> None:
    """Random bytes: a newline at the end belongs to them."""
    path = tmp_path / "k"
    path.write_bytes(b"0123456789abcdef\n")
    path.chmod(0o600)
    assert _site_with_key(path).master_key() == b"0123456789abcdef\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """The error names the setting, the file, its mode and the one that is allowed."""
    path = tmp_path / "k"
    path.write_bytes(b"0" * 32)
    path.chmod(mode)
    with pytest.raises(SettingsError, match=rf"sites\.curie\.master_key_file: .*{mode:04o}.*0600"):
        _site_with_key(path).master_key()


def test_a_key_that_is_no_key_is_refused(tmp_path: Path) -> None:
    """Absent, short, huge, a directory, a pipe, or not set: each says so and none blocks."""
    short, huge, pipe = tmp_path / "short", tmp_path / "huge", tmp_path / "pipe"
    short.write_bytes(b"x")
    huge.write_bytes(b"x" * 70_000)
    os.mkfifo(pipe)
    tmp_path.chmod(0o700)
    for path in (short, huge, pipe):
        path.chmod(0o600)
    expected = {
        short: "holds 1 bytes, at least 16",
        huge: "is larger than",
        pipe: "is not a plain file",
        tmp_path: "cannot be read: Is a directory|is not a plain file",
        tmp_path / "gone": "cannot be read: No such file",
    }
    for path, words in expected.items():
        with pytest.raises(SettingsError, match=words):
            _site_with_key(path).master_key()
    with pytest.raises(SettingsError, match="is not set"):
        SiteSettings(name="curie").master_key()


def test_a_mail_password_is_the_first_line(tmp_path: Path) -> None:
    """Editors end a file with a newline; the error for bytes that are no text shows none."""
    path = tmp_path / "p"
    path.write_bytes(b"hunter2\r\n# comment\n")
    path.chmod(0o600)
    mail = MailSettings(password_file=path, sender="a@mail.example.org")
    assert mail.password() == "hunter2"
    assert mail.domain == "mail.example.org"
    path.write_bytes(b"hunter2\xff")
    with pytest.raises(SettingsError, match="UTF-8") as caught:
        mail.password()
    assert caught.value.__cause__ is None
