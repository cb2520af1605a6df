"""The agent's home: its private folder, its settings, its key, and the id of its journal."""

import json
import os
import shutil
import stat
import time
from typing import Any, Dict, NamedTuple

from hpc_agent import compaction, journal

FOLDER = ".supervision-agent"
SETTINGS = "agent.json"
KEY = "agent.key"
JOURNAL_ID = "journal.id"
OPT_OUT_HOME = ".no_supervision"
OPT_OUT_DIRECTORY = "NO_SUPERVISION"
KEY_BYTES = 32
QUERY_INTERVAL_SECONDS = 30.0
KEEP_DAYS = 60.0  # longer than any supervision waits, so that no fence is forgotten too early
_DAY_SECONDS = 86400.0


class HomeError(Exception):
    """The home is not prepared, or its folder or key could be read by others."""


class Home(NamedTuple):
    """A prepared home. `path` is the login's home, `root` the agent's private folder in it."""

    path: str
    root: str
    site: str
    login: str
    scheduler: str
    bin: str
    query_interval_seconds: float
    keep_days: float
    key: bytes
    journal_id: str

    def __repr__(self) -> str:
        """Show where it is; the key is shown nowhere."""
        return "Home(path=%r, site=%r, login=%r)" % (self.path, self.site, self.login)

    def record(self, supervision_id: str) -> journal.Record:
        """Open what is known of one supervision."""
        return journal.Record(self.root, supervision_id)

    def opted_out(self, directory: str) -> str:
        """Name the file by which the owner keeps this service out; empty when there is none."""
        files = (
            os.path.join(self.path, OPT_OUT_HOME),
            os.path.join(directory, OPT_OUT_DIRECTORY),
        )
        return next((file for file in files if os.path.lexists(file)), "")


def load(path: str) -> Home:
    """Open a home; raises HomeError with the reason when it must not be used."""
    root = os.path.join(os.path.abspath(path), FOLDER)
    _private(root, 0o700)
    try:
        settings = journal.read_json(os.path.join(root, SETTINGS)) or {}
        identity = journal.read_json(os.path.join(root, JOURNAL_ID)) or {}
        return Home(
            path=os.path.abspath(path),
            root=root,
            site=settings["site"],
            login=settings["login"],
            scheduler=settings["scheduler"],
            bin=settings.get("bin") or "",
            query_interval_seconds=float(
                settings.get("query_interval_seconds", QUERY_INTERVAL_SECONDS)
            ),
            keep_days=float(settings.get("keep_days", KEEP_DAYS)),
            key=_key(os.path.join(root, KEY)),
            journal_id=identity["journal_id"],
        )
    except (journal.JournalError, KeyError, ValueError, TypeError) as error:
        raise HomeError("%s is not prepared: %r" % (root, error)) from error


def prepare(path: str, settings: Dict[str, Any], key: bytes) -> Home:
    """Make or renew the agent's folder. The journal and its id stay when they are there."""
    if len(key) != KEY_BYTES:
        raise HomeError("a key has %d bytes, this one has %d" % (KEY_BYTES, len(key)))
    root = os.path.join(os.path.abspath(path), FOLDER)
    for folder in ("", "journal", "locks", "tmp", "waiting"):
        os.makedirs(os.path.join(root, folder), mode=0o700, exist_ok=True)
    os.chmod(root, 0o700)
    identity = {"journal_id": os.urandom(16).hex()}
    workshop = os.path.join(root, "tmp")
    journal.write_json_once(os.path.join(root, JOURNAL_ID), identity, workshop)
    _replace(os.path.join(root, SETTINGS), json.dumps(settings, sort_keys=True).encode("utf-8"))
    _replace(os.path.join(root, KEY), key.hex().encode("ascii"))
    return load(path)


def tidy(home: Home) -> None:
    """Forget what is long past, at most once a day; the marker's own time remembers when.

    It never stands in anybody's way: what cannot be tidied today is left for tomorrow.
    """
    try:
        if not _tidied_today(os.path.join(home.root, "tidied")):
            compaction.compact(home.root, home.keep_days * _DAY_SECONDS)
            _drop_drafts(os.path.join(home.root, "tmp"))
    except OSError:
        return


def _tidied_today(marker: str) -> bool:
    if os.path.exists(marker) and abs(time.time() - os.stat(marker).st_mtime) < _DAY_SECONDS:
        return True
    with open(marker, "a", encoding="ascii"):
        os.utime(marker, None)
    return False


def _drop_drafts(workshop: str) -> None:
    """Delete what writers that died have left, once it is a day old."""
    for name in os.listdir(workshop):
        draft = os.path.join(workshop, name)
        if time.time() - os.lstat(draft).st_mtime > _DAY_SECONDS:
            if os.path.isdir(draft):
                shutil.rmtree(draft, ignore_errors=True)
            else:
                os.unlink(draft)


def _replace(path: str, content: bytes) -> None:
    draft = "%s.%d" % (path, os.getpid())
    journal.write_synced(draft, content)
    os.replace(draft, path)


def _key(path: str) -> bytes:
    _private(path, 0o600)
    key = bytes.fromhex((journal.read_bytes(path) or b"").decode("ascii").strip())
    if len(key) != KEY_BYTES:
        raise HomeError("%s does not hold a key of %d bytes" % (path, KEY_BYTES))
    return key


def _private(path: str, mode: int) -> None:
    """Raise HomeError unless this is the login's own and nobody else's; a link is neither."""
    try:
        status = os.lstat(path)
    except OSError as error:
        raise HomeError("%s is not prepared: %s" % (path, error.strerror)) from error
    if stat.S_IMODE(status.st_mode) != mode or status.st_uid != os.getuid():
        raise HomeError("%s must be mode %o, no link, and belong to this login" % (path, mode))
