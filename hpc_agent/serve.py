"""The session: newline-delimited JSON in, one line out for each line in, until the input ends.

A bad line is answered with its reason and the session goes on. Nothing here knows a verb's rules.
Submits that come together are answered side by side, so that they share the disk's flushes, and
further ones are read meanwhile: their threads have ended before a process is forked.
"""

import contextlib
import io
import json
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import IO, Any, Callable, Dict, Generator, Iterator, List, Tuple

from hpc_agent import doctor, journal, process, reading, starter
from hpc_agent import home as homes
from hpc_agent.arrivals import LINE_LIMIT_BYTES, Arrivals
from hpc_agent.attempts import Attempts
from hpc_agent.home import Home, HomeError
from hpc_agent.looks import Subject, look
from hpc_agent.waiting import Room

Json = Dict[str, Any]
Answers = Generator[Json, None, None]

VERSION = 1  # of the protocol, the newest that is spoken here; no answer of it ever changes meaning
OLDEST_VERSION = 1
_SIDE_BY_SIDE = 16
_MOST_UNDER_WAY = 2 * _SIDE_BY_SIDE
MOST_SUBJECTS = 500
STUMBLED = "the journal here is damaged"
# A mark that somebody changed lacks a field, or has a text in place of a number. One damaged
# supervision must not end the session in which the others are answered.
_STUMBLES = (ArithmeticError, LookupError, TypeError, ValueError)


class BadRequest(Exception):
    """A line that no verb understands; the text says why."""


class Agent:
    """Answers requests for one home. Every answer names the journal that it comes from."""

    def __init__(self, home: Home, attempts: Attempts) -> None:
        """Serve this home with these attempts."""
        self._home = home
        self._attempts = attempts
        self._verbs: Dict[str, Callable[[Json], Json]] = {
            "hello": self._hello,
            "submit": self._submit,
            "status": self._status,
            "look": self._look,
            "cancel": self._cancel,
            "output": self._output,
            "doctor": self._doctor,
        }

    def answer(self, request: Json) -> Json:
        """Answer one request; raises BadRequest when it is none."""
        verb = request.get("verb")
        if not isinstance(verb, str) or verb not in self._verbs:
            raise BadRequest("no such verb: %r; there are %s" % (verb, ", ".join(self._verbs)))
        return dict(self._verbs[verb](request), journal_id=self._home.journal_id)

    def _hello(self, request: Json) -> Json:  # noqa: ARG002 - verbs are called alike
        homes.tidy(self._home)
        return {
            "version": VERSION,
            "oldest_version": OLDEST_VERSION,
            "site": self._home.site,
            "login": self._home.login,
            "host": process.host(),
            "boot_id": process.boot_id(),
            "clock": time.time(),
        }

    def _submit(self, request: Json) -> Json:
        return _named(_key(request), self._attempts.submit(request))

    def _cancel(self, request: Json) -> Json:
        return _named(_key(request), self._attempts.cancel(request))

    def _status(self, request: Json) -> Json:
        keys = [_key(key) for key in _list(request, "keys")]
        start = request.get("start") is not False  # whoever only wants to know says so
        said = [dict(self._attempts.status(*key, start=start), **_names(key)) for key in keys]
        return {"answers": said}

    def _look(self, request: Json) -> Json:
        subjects = [_subject(subject) for subject in _list(request, "subjects")]
        return {"looks": look(self._home, subjects)}

    def _output(self, request: Json) -> Json:
        return dict(self._attempts.output(*_key(request)))

    def _doctor(self, request: Json) -> Json:
        directory = request.get("directory")
        if not isinstance(directory, (str, type(None))) or "\0" in (directory or ""):
            raise BadRequest("directory must be a path or null")
        return {"findings": doctor.report(doctor.examine(self._home.path, directory))}


class Begin:
    """Remembers who needs a runner until the receipts have left: no answer waits for a fork."""

    def __init__(self, home: Home) -> None:
        """Begin runners of this home."""
        self._home = home
        self._room = Room(home.root)
        self._wanted = False

    def wait(self, supervision_id: str, attempt: int) -> None:
        """Have an attempt wait for its runner; raises OSError when the disk refuses."""
        self._room.put(supervision_id, attempt)
        self._wanted = True

    def all(self) -> None:
        """Have those begun who were told of since the last time."""
        if self._wanted:
            self._wanted = False
            starter.ring(self._home)


def serve(path: str, requests: io.BufferedIOBase, answers: IO[bytes]) -> None:
    """Answer every line until the input ends. A home that must not be used is each one's answer."""
    try:
        home = homes.load(path)
    except HomeError as error:
        _converse(requests, answers, _refusing(str(error)), lambda: None)
        return
    begin = Begin(home)
    agent = Agent(home, Attempts(home, begin.wait))
    _converse(requests, answers, agent.answer, begin.all)


def _converse(
    requests: io.BufferedIOBase,
    answers: IO[bytes],
    answer: Callable[[Json], Json],
    afterwards: Callable[[], None],
) -> None:
    """Answer the lines that are there, each at once; then do what no answer waits for."""
    arrivals = Arrivals(requests)
    while not arrivals.ended:
        try:
            with contextlib.closing(_answered(arrivals.together(), answer)) as answered:
                for said in answered:
                    answers.write(json.dumps(said, sort_keys=True).encode("ascii") + b"\n")
                    answers.flush()
        finally:
            afterwards()  # also where nobody hears any more: what is in the journal is to run


def _answered(lines: Iterator[bytes], answer: Callable[[Json], Json]) -> Answers:
    """Answer in order; submits that follow each other at once, everything else by itself.

    Two submits of one supervision are as from two agents: the journal knows which came first.
    """
    for together, some in groupby(lines, key=_is_submit):
        if together:
            yield from _side_by_side(some, answer)
        else:
            yield from (respond(line, answer) for line in some)


def _side_by_side(lines: Iterator[bytes], answer: Callable[[Json], Json]) -> Iterator[Json]:
    """Answer in order, some at a time, while more lines come. No thread is left at the end."""
    first, second = next(lines), next(lines, None)
    if second is None:
        yield respond(first, answer)
        return
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        under_way = deque(pool.submit(respond, line, answer) for line in (first, second))
        for line in lines:
            under_way.append(pool.submit(respond, line, answer))
            while len(under_way) > _MOST_UNDER_WAY or (under_way and under_way[0].done()):
                yield under_way.popleft().result()
        yield from (one.result() for one in under_way)


def _is_submit(line: bytes) -> bool:
    """Tell by the end that the service gives a submit; spelled otherwise it is only slower."""
    return line.endswith(b'"verb": "submit"}')


def respond(line: bytes, answer: Callable[[Json], Json]) -> Json:
    """Turn a line into its answer; `id` is given back as it came."""
    request_id = None
    try:
        request = _decode(line)
        request_id = request.get("id")
        return dict(answer(request), id=request_id)
    except BadRequest as error:
        return {"id": request_id, "error": str(error)}
    except (OSError, journal.JournalError) as error:
        return {"id": request_id, "error": str(error), "later": True}
    except _STUMBLES as error:
        return {"id": request_id, "error": "%s: %r" % (STUMBLED, error), "later": True}


def _decode(line: bytes) -> Json:
    if len(line) > LINE_LIMIT_BYTES:
        raise BadRequest("the line is longer than %d bytes" % LINE_LIMIT_BYTES)
    try:
        request = reading.parse(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequest("the line is not JSON: %s" % error) from error
    except reading.Unreadable as error:
        raise BadRequest("the line is %s" % error) from error
    if not isinstance(request, dict):
        raise BadRequest("the line is no JSON object")
    return request


def _refusing(reason: str) -> Callable[[Json], Json]:
    def refuse(request: Json) -> Json:
        raise BadRequest("%s (asked for %s)" % (reason, request.get("verb")))

    return refuse


def _list(request: Json, name: str) -> List[Any]:
    value = request.get(name)
    if not isinstance(value, list) or len(value) > MOST_SUBJECTS:
        raise BadRequest("%s must be a list of at most %d" % (name, MOST_SUBJECTS))
    return value


def _key(request: Any) -> Tuple[str, int]:
    names = request if isinstance(request, dict) else {}
    supervision_id, attempt = names.get("supervision_id"), names.get("attempt")
    if not isinstance(supervision_id, str) or not journal.ID_PATTERN.match(supervision_id):
        raise BadRequest("supervision_id must match %s" % journal.ID_PATTERN.pattern)
    if type(attempt) is not int or not 0 < attempt <= journal.HIGHEST_ATTEMPT:
        raise BadRequest("attempt must be a whole number from 1 to %d" % journal.HIGHEST_ATTEMPT)
    return supervision_id, attempt


def _names(key: Tuple[str, int]) -> Json:
    return {"supervision_id": key[0], "attempt": key[1]}


def _named(key: Tuple[str, int], answer: Json) -> Json:
    return {"answers": [dict(answer, **_names(key))]}


def _subject(value: Any) -> Subject:
    names = value if isinstance(value, dict) else {}
    texts = [names.get(name) for name in ("ref", "name", "directory", "kind")]
    scheduler_id = names.get("scheduler_id")
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest("a subject needs ref, name, directory and kind, all texts")
    if not isinstance(scheduler_id, (str, type(None))):
        raise BadRequest("scheduler_id must be a text or null")
    if not os.path.isabs(names["directory"]) or "\0" in names["directory"]:
        raise BadRequest("directory must be an absolute path")
    return Subject(names["ref"], names["name"], names["directory"], names["kind"], scheduler_id)
