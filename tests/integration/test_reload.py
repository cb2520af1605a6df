"""A process takes over new settings, or says why not and goes on by the former ones."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, Final

import pytest
import structlog
from structlog.testing import capture_logs

from supervision import app, settings
from supervision.adapters.systemd import ServiceManager
from supervision.app_reload import FileWatch, Reloader
from supervision.errors import DatabaseUnavailable
from supervision.fsm.states import State
from supervision.settings import Settings
from supervision.testing import FrozenClock
from tests.integration.cli_kit import Desk, a_desk, failure

GRACE: Final = ("grace = 0", "grace = 60")
BAD: Final = ('mode = "act"', 'mode = "do it"')


class Reloaded:
    """A service at a desk, its reloader, and what the reloader logged."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.file = desk.config
        self.clock = FrozenClock()
        self.app = replace(desk.made, clock=self.clock)
        self.made = Reloader(self.app, self.read, ServiceManager(None))
        self.logs: list[Any] = []

    def read(self) -> Settings:
        """Read the settings as the service does."""
        return settings.load(self.file, {"SUPERVISION_DATABASE_URL": self.desk.url})

    def edit(self, old: str, new: str) -> None:
        """Put an edited file in the place of the former one, as editors do."""
        written = self.file.with_name("new.toml")
        written.write_text(self.file.read_text().replace(old, new))
        written.replace(self.file)

    def asked(self) -> None:
        """A person sends SIGHUP."""
        with capture_logs() as logs:
            self.made.reload(asked=True)
            self.made.settle()
        self.logs += logs

    def noticed(self) -> None:
        """It looks for itself, as a loop does."""
        with capture_logs() as logs:
            self.made.reload(asked=False)
        self.logs += logs

    def events(self) -> list[str]:
        """Take the names of what was logged since the last time."""
        taken, self.logs = self.logs, []
        return [each["event"] for each in taken]


@pytest.fixture
def made(tmp_path: Path, sqlite_url: str) -> Iterator[Reloaded]:
    """A service that knows one site and one user, and logs whatever happens."""
    structlog.reset_defaults()  # commands that other tests gave log warnings only
    with a_desk(tmp_path, sqlite_url) as desk:
        yield Reloaded(desk)


def _grace(made: Reloaded) -> float:
    return made.app.settings.policy.grace.total_seconds()


def test_what_changed_is_in_force_and_told(made: Reloaded) -> None:
    """Once: one line with the words, and the policy is recorded."""
    made.edit(*GRACE)
    made.asked()
    told = made.logs[0]
    assert "policy.grace: 0 s -> 1 min" == told["changes"][0]
    assert (made.app.settings.policy.digest, True) == (told["policy_digest"], told["asked"])
    assert ["settings.reloaded", "settings.recorded"] == made.events()
    assert 60 == _grace(made)


def test_a_bad_file_changes_nothing_and_every_mistake_is_told(made: Reloaded) -> None:
    """The former settings are in force, and the process says that the file is not."""
    made.edit(*GRACE)
    made.edit(*BAD)
    made.edit("[policy]", "[policy]\ngraze = 1")
    made.asked()
    (line,) = made.logs
    assert ("settings.refused", "error") == (line["event"], line["log_level"])
    assert ["sites.curie.mode", "policy.graze"] == [
        problem.split(": ")[1] for problem in line["problems"]
    ]
    assert (0, True) == (_grace(made), made.app.in_force.refused is not None)


@pytest.mark.parametrize(
    "content",
    [
        b"[sites",
        b"\xff\xfe",
        b"database_url = 7",
        b"x = " + b"[" * 5000,
        b"x = " + b"1" * 5000,
        b'[sites.curie]\ncentres = ["tgcc"]\nmachines = ["c"]\nmode = "act"\n',
    ],
    ids=["cut off", "no text", "no URL", "too deep", "too long", "impossible"],
)
def test_no_file_ends_the_process(made: Reloaded, content: bytes) -> None:
    """Whatever lies there: it is refused, and the settings in force hold."""
    made.file.write_bytes(content)
    made.asked()
    assert (["settings.refused"], 1) == (made.events(), len(made.app.settings.sites))


def _gone(file: Path) -> None:
    file.unlink()


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("put", [_gone, _folder, _pipe])
def test_what_is_no_file_is_not_waited_for(made: Reloaded, put: Any) -> None:  # noqa: ANN401
    """Nothing there, a folder, a pipe that nobody writes into."""
    put(made.file)
    made.asked()
    assert "cannot be read" in made.logs[0]["problems"][0]
    assert ["settings.refused"] == made.events()


def test_a_problem_that_was_noticed_is_said_once(made: Reloaded) -> None:
    """However often the file is written with it; who asks is answered each time."""
    made.edit(*BAD)
    made.noticed()
    made.noticed()
    assert ["settings.refused"] == made.events()
    made.asked()
    assert ["settings.refused"] == made.events()
    made.edit('"do it"', '"do that"')
    made.noticed()
    assert ["settings.refused"] == made.events()
    made.edit('"do that"', '"act"')
    made.noticed()
    assert (["settings.unchanged"], None) == (made.events(), made.app.in_force.refused)


def test_what_says_nothing_new_is_only_told_to_who_asks(made: Reloaded) -> None:
    """A comment changes no decision."""
    made.edit("[policy]", "# patience\n[policy]")
    made.noticed()
    assert [] == made.events()
    made.asked()
    assert ["settings.unchanged"] == made.events()


def test_an_empty_file_is_only_taken_over_when_somebody_asks(made: Reloaded) -> None:
    """An editor that writes in place leaves one behind for a moment."""
    made.file.write_text("\n")
    made.noticed()
    assert (["settings.refused"], 1) == (made.events(), len(made.app.settings.sites))
    made.asked()
    assert "settings.reloaded" in made.events()
    assert 0 == len(made.app.settings.sites)


def test_a_file_that_is_still_written_is_left_for_the_next_look(
    made: Reloaded,
) -> None:
    """What was read of it is forgotten, right or wrong; then the whole is taken over."""

    def while_written() -> Settings:
        try:
            return made.read()
        finally:
            made.file.write_text(made.file.read_text() + "\n")

    reloader = Reloader(made.app, while_written, ServiceManager(None))
    for change in (GRACE, BAD):
        made.edit(*change)
        with capture_logs() as logs:
            reloader.reload(asked=False)
        assert ([], 0, None) == (logs, _grace(made), made.app.in_force.refused)
    made.edit(*BAD[::-1])
    made.noticed()
    assert 60 == _grace(made)


def test_a_change_is_noticed_when_it_has_come_to_rest(tmp_path: Path) -> None:
    """Two looks that see the same; a rename is a change, and what was taken is none."""
    file = tmp_path / "file"
    file.write_text("one")
    watch = FileWatch(file)
    assert [False, True] == [watch.changed(), watch.changed()]  # it may have changed since
    watch.take()
    assert [False, False] == [watch.changed(), watch.changed()]
    (tmp_path / "other").write_text("two")
    os.utime(tmp_path / "other", ns=(0, file.stat().st_mtime_ns))
    (tmp_path / "other").replace(file)
    assert [False, True] == [watch.changed(), watch.changed()]
    watch.take()
    file.write_text("three")
    assert not watch.changed()
    file.write_text("four, and more")
    assert [False, True] == [watch.changed(), watch.changed()]
    assert [False, False] == [FileWatch(None).changed(), FileWatch(None).moves()]


def test_what_needs_a_restart_is_named_and_kept(made: Reloaded) -> None:
    """The rest of the file is in force."""
    made.edit(*GRACE)
    made.file.write_text(f'broker_url = "amqp://me:hunter2@h/v"\n{made.file.read_text()}')
    made.asked()
    warned = next(each for each in made.logs if each["event"] == "settings.restart_needed")
    assert ["broker_url"] == warned["keys"]
    assert ("memory://", 60) == (made.app.settings.broker_url, _grace(made))
    assert "hunter2" not in str(made.logs)


def test_a_mistake_in_a_url_is_told_without_its_password(made: Reloaded) -> None:
    """The log names the key and what is allowed."""
    made.file.write_text('broker_url = "kafka://me:hunter2@h/d"\n')
    made.asked()
    assert "broker_url: is 'kafka://me:***@h/d'" in made.logs[0]["problems"][0]
    assert "hunter2" not in str(made.logs)


def test_a_site_that_is_left_out_leaves_its_rows_waiting(made: Reloaded) -> None:
    """They are counted in the log, stay as they are, and say why they wait."""
    made.desk.agents.unreachable.add("curie")
    made.desk.hear(failure())
    made.desk.work()
    assert State.FORMATTED is made.desk.row().state
    made.file.write_text('[mail]\ndirectory = "mail"\n')
    made.asked()
    gone = next(each for each in made.logs if each["event"] == "settings.site_gone")
    assert ("curie", 1) == (gone["site"], gone["unfinished"])
    assert State.FORMATTED is made.desk.row().state


def test_the_policy_is_recorded_again_after_a_lease(made: Reloaded) -> None:
    """For what was being decided by the former one; and what the database refused is owed."""
    real, made.app.engine.record_policy = made.app.engine.record_policy, _away  # type: ignore[method-assign]
    made.edit(*GRACE)
    made.asked()
    assert ["settings.reloaded", "settings.unrecorded"] == made.events()
    made.app.engine.record_policy = real  # type: ignore[method-assign]
    assert ["settings.recorded"] == _settled(made)
    assert [] == _settled(made)
    made.clock.advance(made.app.settings.engine.lease)
    assert ["settings.recorded"] == _settled(made)
    assert [] == _settled(made)


def _away() -> int:
    raise DatabaseUnavailable("gone")


def _settled(made: Reloaded) -> Sequence[str]:
    with capture_logs() as logs:
        made.made.settle()
    return [each["event"] for each in logs]


@contextmanager
def _composed(desk: Desk) -> Iterator[app.App]:
    """The same settings with the ways that they name."""
    made = app.build(settings.load(desk.config, {"SUPERVISION_DATABASE_URL": desk.url}))
    try:
        yield made
    finally:
        made.close()


def test_a_way_that_cannot_be_made_is_a_mistake_of_the_file(made: Reloaded) -> None:
    """A local site's master key is read before anything is different."""
    with _composed(made.desk) as service:
        made.app = service
        made.made = Reloader(service, made.read, ServiceManager(None))
        made.edit(*GRACE)
        (made.file.parent / "master.key").chmod(0o644)
        made.asked()
        assert (["settings.refused"], 0) == (made.events(), _grace(made))
        (made.file.parent / "master.key").chmod(0o600)
        made.asked()
        assert ("settings.reloaded", 60) == (made.events()[0], _grace(made))


def test_only_ways_that_change_are_made_anew(made: Reloaded) -> None:
    """A new grace leaves the agents alone; another Python, or another master key, does not."""
    with _composed(made.desk) as service:
        made.app = service
        made.made = Reloader(service, made.read, ServiceManager(None))
        ways = service.ways
        assert ways is not None
        same = ways.prepared(service.settings)
        for changed, new in (
            (lambda: made.edit(*GRACE), False),
            (lambda: made.edit("/nowhere/python", "/elsewhere/python"), True),
            (lambda: (made.file.parent / "master.key").write_bytes(b"n" * 32), True),
            (lambda: None, False),
        ):
            changed()
            made.asked()
            found = ways.prepared(service.settings)
            assert new is (found["curie"].way is not same["curie"].way)
            same = found


def test_mails_go_where_the_present_settings_say(made: Reloaded) -> None:
    """The next one: nothing of the former way is kept."""
    made.edit('directory = "mail"', 'directory = "post"')
    made.asked()
    made.desk.hear(failure())
    made.desk.work()
    assert State.EXECUTED is made.desk.row().state
    assert (True, False) == ((made.file.parent / "post").exists(),
                             (made.file.parent / "mail").exists())  # fmt: skip


def test_systemd_hears_of_a_reload_and_how_it_went(tmp_path: Path, made: Reloaded) -> None:
    """RELOADING with the clock that it compares with, READY again, and a status in words."""
    stop, wanted = Event(), Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        manager = ServiceManager(str(tmp_path / "notify"))
        made.edit(*BAD)
        wanted.set()
        Reloader(made.app, made.read, manager).run(wanted, stop, stop.set, "running sweep")
        said = [channel.recv(4096).decode().split("\n") for _ in range(2)]
    assert ("RELOADING=1", "READY=1") == (said[0][0], said[1][0])
    assert said[0][1].removeprefix("MONOTONIC_USEC=").isdecimal()
    assert said[1][1].startswith("STATUS=running sweep; the settings file was refused")
