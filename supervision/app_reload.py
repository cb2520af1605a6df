"""New settings for a process that runs: read and checked whole, then put in force at once, or not.

What they change is told by `settings_changes.py`; what cannot be changed here waits for a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event as Signal
from typing import Final

import structlog

from supervision.adapters.systemd import ServiceManager
from supervision.app import App
from supervision.app_credentials import state_of
from supervision.app_ways import Made
from supervision.consumers.base import Beat
from supervision.errors import SettingsError, Transient
from supervision.fsm.engine.reading_now import Now
from supervision.settings import Settings
from supervision.settings_changes import Changes, between, taken_over

_LOG = structlog.get_logger()

_LOOK_SECONDS: Final = 1.0
_LISTED: Final = 100
_REFUSED: Final = "; the settings file was refused: the former settings are in force"


class FileWatch:
    """Notices that a file is another one than was taken, once two looks saw it the same.

    An editor that writes in place, or renames, is so given a second to finish. The first look
    always finds news: the file may have changed since it was read. No path: nothing changes.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._taken: tuple[int, ...] | None = None if path else state_of(path)
        self._seen = self._taken

    def changed(self) -> bool:
        """Look; True when it came to rest as another one."""
        before, self._seen = self._seen, state_of(self.path)
        return self._seen == before and self._seen != self._taken

    def take(self) -> None:
        """Take it as it is now."""
        self._taken = self._seen = state_of(self.path)

    def moves(self) -> bool:
        """Whether it is another one already than was taken."""
        return state_of(self.path) != self._taken


class Reloader:
    """Has a process go by the settings that lie there now. For one thread.

    `reread` reads them as at the start; it raises SettingsError, and then nothing is different.
    """

    def __init__(self, app: App, reread: Callable[[], Settings], manager: ServiceManager) -> None:
        self._app = app
        self._reread = reread
        self._manager = manager
        self._watch = FileWatch(app.settings.source)
        self._owed: list[float] = []

    def run(self, wanted: Signal, stop: Signal, beat: Beat, status: str) -> None:
        """Until `stop` is set: reload when `wanted` is, and when the file is another one."""
        while not stop.is_set():
            beat()
            if wanted.wait(_LOOK_SECONDS):
                wanted.clear()
                self._manager.reloading()
                self.reload(asked=True)
                self._manager.ready(self._status(status))
            elif self._watch.changed():
                self.reload(asked=False)
                self._manager.status(self._status(status))
            self.settle()

    def reload(self, *, asked: bool) -> None:
        """Take over what lies there now, or say why not. `asked`: a person waits for an answer.

        Unasked, a file that is changing again is left for the next look, and the same problem is
        said once.
        """
        self._watch.take()
        try:
            read = self._read(asked=asked)
            ways = self._app.ways
            wanted = taken_over(self._app.settings, read)
            made = ways.prepared(wanted) if ways else {}
        except SettingsError as error:
            if asked or not self._watch.moves():
                self._refuse(str(error), asked=asked)
            return
        if asked or not self._watch.moves():
            self._adopt(wanted, made, between(self._app.settings, read), asked=asked)

    def settle(self) -> None:
        """Record the new policy: at once, and again after a lease.

        Only then is what was being decided by the former one in the ledger too. A database that is
        away is asked again at the next turn.
        """
        while self._owed and self._owed[0] <= self._app.clock.monotonic_seconds():
            try:
                woken = self._app.engine.record_policy()
            except Transient as error:
                _LOG.warning("settings.unrecorded", problem=str(error))
                return
            del self._owed[0]
            _LOG.info("settings.recorded", woken=woken)

    def _read(self, *, asked: bool) -> Settings:
        source = self._app.settings.source
        if source is not None and not _is_plain(source):
            raise SettingsError(f"{source}: cannot be read: there is no plain file of that name")
        read = self._reread()
        if source is not None and not asked and not read.text.strip():
            raise SettingsError(f"{source}: is empty, as while it is written; SIGHUP takes it over")
        return read

    def _refuse(self, problem: str, *, asked: bool) -> None:
        said = self._app.in_force.refused == problem
        self._app.in_force.refused = problem
        if asked or not said:
            _LOG.error("settings.refused", problems=problem.splitlines(), asked=asked)

    def _adopt(
        self, wanted: Settings, made: Mapping[str, Made], changes: Changes, *, asked: bool
    ) -> None:
        former, refused = self._app.settings, self._app.in_force.refused
        if self._app.ways is not None:
            self._app.ways.renew(made)
        self._app.in_force.swap(wanted)
        if wanted.source != self._watch.path:
            self._watch = FileWatch(wanted.source)
        if wanted.policy.digest != former.policy.digest:
            now = self._app.clock.monotonic_seconds()
            self._owed = [now, now + wanted.engine.lease.total_seconds()]
        if changes.words or changes.restart:
            self._tell(wanted, changes, asked=asked)
        elif asked or refused is not None:
            _LOG.info("settings.unchanged", asked=asked)

    def _tell(self, wanted: Settings, changes: Changes, *, asked: bool) -> None:
        _LOG.info(
            "settings.reloaded",
            changes=list(changes.words[:_LISTED]),
            more=max(len(changes.words) - _LISTED, 0),
            policy_digest=wanted.policy.digest,
            asked=asked,
        )
        if changes.restart:
            _LOG.warning("settings.restart_needed", keys=list(changes.restart))
        for site, unfinished in self._left_behind(changes.gone).items():
            _LOG.warning("settings.site_gone", site=site, unfinished=unfinished)

    def _left_behind(self, gone: tuple[str, ...]) -> dict[str, int]:
        """Count the rows of sites that are no more; they wait, and say why."""
        if not gone:
            return {}
        try:
            found = self._app.engine.read(Now(sites=gone, acts=0)).sites
        except Transient as error:
            _LOG.warning("settings.uncounted", problem=str(error))
            return {}
        return {site.name: site.unfinished for site in found if site.name in gone}

    def _status(self, status: str) -> str:
        return status + (_REFUSED if self._app.in_force.refused else "")


def _is_plain(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that nobody may enter
        return False
