"""The verbs about attempts: submit, status, cancel, output. Every answer comes from the journal.

Order matters more than speed here. A fence is written before the entries below it are looked at,
and an entry is written before the fences are looked at again: whichever of two agents comes
second sees the first.
"""

import base64
import binascii
import hashlib
import os
import re
import time
from typing import Any, Callable, Dict, Optional

from hpc_agent import journal, process, signing
from hpc_agent.home import Home
from hpc_agent.journal import CANCELLED, ENDED, ENTRY, HEARTBEAT, SEEN, STARTED, Record

Json = Dict[str, Any]

SCRIPT_LIMIT_BYTES = 1024 * 1024
LONGEST_TIMEOUT_SECONDS = 24 * 3600.0
TAIL_CHARACTERS = 4000
HEARTBEAT_STALE_SECONDS = 120.0
_MARGIN_SECONDS = 60.0
_DAY_SECONDS = 86400.0
_PATIENCE = 2  # the wait for the directory's lock, and the script: each at most its timeout
_INTERPRETER = re.compile(r"(/[A-Za-z0-9._+-]+)+\Z|[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")

ACCEPTED, RUNNING, NEVER_SEEN, LOST = "accepted", "running", "never-seen", "lost"
UNKNOWN, EXPIRED, BUSY, OPTED_OUT = "unknown", "expired", "busy", "opted-out"
STALE, FENCED, REFUSED, CONFLICT = "stale", "fenced", "refused", "conflict"
FOREIGN_JOURNAL = "foreign-journal"


class Attempts:
    """The attempts of one home. `start` is told of every attempt that needs a runner."""

    def __init__(self, home: Home, start: Callable[[str, int], object]) -> None:
        """`start` must return soon: the receipt waits for it. It may be told of a key again."""
        self._home = home
        self._start = start

    def submit(self, request: Json) -> Json:
        """Journal a signed script and start it; a repeat is answered from the journal."""
        veto = self._unacceptable(request)
        if veto:
            return veto
        script = _script(request)
        if script is None:
            return _say(REFUSED, "the script is not base64")
        veto = _unsound(request, script)
        if veto:
            return veto
        record = self._home.record(request["supervision_id"])
        try:
            return self._submit(record, request, script)
        except journal.JournalError as error:
            return _say(UNKNOWN, str(error))

    def status(self, supervision_id: str, attempt: int, *, start: bool = True) -> Json:
        """Tell how an attempt is; one whose runner never came to be is started, unless told not."""
        record = self._home.record(supervision_id)
        try:
            return self._state(record, attempt, start=start)
        except journal.JournalError as error:
            return _say(UNKNOWN, str(error))

    def cancel(self, request: Json) -> Json:
        """Fence a signed key and all lower ones; an attempt that has started goes on."""
        veto = self._unacceptable(request)
        if veto:
            return veto
        record = self._home.record(request["supervision_id"])
        try:
            return self._cancel(record, request["attempt"])
        except journal.JournalError as error:
            return _say(UNKNOWN, str(error))

    def output(self, supervision_id: str, attempt: int) -> Json:
        """Give the outputs that were kept; empty before the end."""
        record = self._home.record(supervision_id)
        return {name: _text(record.kept(attempt, name)) for name in ("stdout", "stderr")}

    def _unacceptable(self, request: Json) -> Optional[Json]:
        home = self._home
        if not signing.signed(request, home.key):
            return _say(REFUSED, "the signature is missing or does not fit")
        if (request.get("site"), request.get("login")) != (home.site, home.login):
            return _say(REFUSED, "this agent serves %s at %s" % (home.login, home.site))
        if request.get("journal_id") != home.journal_id:
            return _say(FOREIGN_JOURNAL, "the journal here is %s" % home.journal_id)
        return None

    def _submit(self, record: Record, request: Json, script: bytes) -> Json:
        attempt = request["attempt"]
        entry = record.read(attempt, ENTRY)
        if entry is None:
            veto = self._veto(record, request)
            if veto:
                return veto
            entry = self._enter(record, request, script)
        if entry["sha256"] != request["sha256"]:
            return _say(CONFLICT, "this key stands for another script")
        return self._entered(record, attempt, start=True)

    def _veto(self, record: Record, request: Json) -> Optional[Json]:
        fence = record.fence(request["attempt"])
        if fence:
            return _say(STALE, fence)
        now = time.time()
        if not now <= request["expires_at"]:
            return _say(EXPIRED, "expired %.0f s ago" % (now - request["expires_at"]))
        if request["expires_at"] > now + self._home.keep_days * _DAY_SECONDS:
            return _say(REFUSED, "it expires after the journal would have forgotten it")
        out = self._home.opted_out(request["directory"])
        if out:
            return _say(OPTED_OUT, "%s is there" % out)
        return self._lower_running(record, request["attempt"])

    def _lower_running(self, record: Record, attempt: int) -> Optional[Json]:
        """Fence the lower attempts, then tell of one that has had its start and no end."""
        if attempt == 1:
            return None
        record.make(attempt, SEEN, {})
        for lower in record.attempts(ENTRY):
            if lower < attempt and not record.take_start(lower, "attempt %d was seen" % attempt):
                state = self._started(record, lower)
                if state["kind"] in (RUNNING, UNKNOWN) and not _long_over(record, lower):
                    return _say(BUSY, "attempt %d is %s" % (lower, state["kind"]))
        return None

    def _enter(self, record: Record, request: Json, script: bytes) -> Json:
        """Write script and entry down; gives the entry that is there, ours or another agent's."""
        attempt = request["attempt"]
        record.keep(attempt, request["sha256"], script)
        left_out = ("script", "signature", "verb", "id")
        entry = {name: value for name, value in request.items() if name not in left_out}
        entry.update(accepted_at=time.time(), host=process.host())
        return entry if record.make(attempt, ENTRY, entry) else record.read(attempt, ENTRY) or {}

    def _state(self, record: Record, attempt: int, *, start: bool = True) -> Json:
        if record.read(attempt, ENTRY) is None:
            fence = record.fence(attempt)
            return _say(STALE, fence) if fence else _say(NEVER_SEEN, "")
        return self._entered(record, attempt, start=start)

    def _entered(self, record: Record, attempt: int, *, start: bool) -> Json:
        """Tell how an attempt with an entry is; it is begun here only, behind this look at fences.

        Here, not before the entry: a cancel that came in between saw no entry to take a start from.
        """
        if record.read(attempt, STARTED) is not None:
            return self._started(record, attempt)
        fence = record.fence(attempt)
        if fence and record.take_start(attempt, fence):
            return _say(STALE, fence)
        if start:
            self._start(record.supervision_id, attempt)
        return _say(ACCEPTED, "")

    def _started(self, record: Record, attempt: int) -> Json:
        started = record.read(attempt, STARTED) or {}
        if "fenced" in started:
            return _say(STALE, started["fenced"])
        ended, fate = record.read(attempt, ENDED), process.UNKNOWN
        if ended is None:
            fate = process.fate(started)
            ended = record.read(attempt, ENDED)  # once more: what died may have ended well
        if ended is not None:
            return _ended(record, attempt, ended)
        if fate == process.DEAD:
            return _say(LOST, "its runner on %s is gone" % started["host"])
        beating = fate == process.ALIVE or _beats(record, attempt)
        return _say(RUNNING if beating else UNKNOWN, "on %s" % started["host"])

    def _cancel(self, record: Record, attempt: int) -> Json:
        record.make(attempt, CANCELLED, {"at": time.time()})
        fence = "attempt %d was cancelled" % attempt
        entries = [entry for entry in record.attempts(ENTRY) if entry <= attempt]
        started = [entry for entry in entries if not record.take_start(entry, fence)]
        if attempt not in started:
            return _say(FENCED, fence)
        state = self._started(record, attempt)
        if state["kind"] == RUNNING:
            return _say(BUSY, _how_to_stop(record.read(attempt, STARTED) or {}))
        return state


def _script(request: Json) -> Optional[bytes]:
    """Decode the script of a submit; None when it is not base64."""
    try:
        return base64.b64decode(request["script"], validate=True)
    except (binascii.Error, ValueError, TypeError, KeyError):
        return None


def _unsound(request: Json, script: bytes) -> Optional[Json]:
    """Say what is wrong with a submit whose sender is known; None when nothing is."""
    wrong = {
        "the script is longer than 1 MB": len(script) > SCRIPT_LIMIT_BYTES,
        "the script was altered": hashlib.sha256(script).hexdigest() != request.get("sha256"),
        "the directory must be an absolute path": not _absolute(request.get("directory")),
        "the interpreter must be a name or an absolute path": not _program(request),
        "timeout_seconds must be a number up to 24 h": not _span(request.get("timeout_seconds")),
        "expires_at must be a number": not _number(request.get("expires_at")),
    }
    return next((_say(REFUSED, text) for text, is_wrong in wrong.items() if is_wrong), None)


def _absolute(path: Any) -> bool:
    return isinstance(path, str) and os.path.isabs(path) and "\0" not in path


def _program(request: Json) -> bool:
    name = request.get("interpreter")
    return isinstance(name, str) and _INTERPRETER.match(name) is not None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _span(value: Any) -> bool:
    return _number(value) and 0 < value <= LONGEST_TIMEOUT_SECONDS


def _say(kind: str, detail: str) -> Json:
    return {"kind": kind, "detail": detail}


def _ended(record: Record, attempt: int, ended: Json) -> Json:
    outputs = record.kept(attempt, "stdout"), record.kept(attempt, "stderr")
    tail = "".join(_text(output) for output in outputs)[-TAIL_CHARACTERS:]
    names = ("kind", "detail", "exit_code", "report")
    return dict({name: ended.get(name) for name in names}, output_tail=tail)


def _text(content: bytes) -> str:
    """Decode what a script said; no NUL, for no database keeps one."""
    return content.decode("utf-8", "replace").replace("\0", "\ufffd")


def _beats(record: Record, attempt: int) -> bool:
    """Tell whether a runner was heard lately; its start counts until its heart beats first."""
    paths = [record.path(attempt, kind) for kind in (HEARTBEAT, STARTED)]
    heard = next((path for path in paths if os.path.exists(path)), paths[0])
    try:
        return time.time() - os.stat(heard).st_mtime < HEARTBEAT_STALE_SECONDS
    except OSError:
        return False


def _long_over(record: Record, attempt: int) -> bool:
    """Tell whether an attempt that nobody can see must have been ended by its own deadline."""
    entry, started = record.read(attempt, ENTRY) or {}, record.read(attempt, STARTED) or {}
    longest = _PATIENCE * float(entry["timeout_seconds"]) + _MARGIN_SECONDS
    return time.time() > float(started["at"]) + longest


def _how_to_stop(started: Json) -> str:
    return "running; to stop it by hand, on %s: pkill -TERM -s %s" % (
        started["host"],
        started["session"],
    )
