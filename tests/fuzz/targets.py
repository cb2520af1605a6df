"""What is fuzzed: each target takes any bytes, and raises only where a promise was broken.

A target is made with a folder of its own.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from hpc_agent import serve, signing
from hpc_agent.attempts import Attempts
from hpc_agent.home import Home
from hpc_agent.serve import STUMBLED, Agent, respond
from supervision import wire
from supervision.adapters import mailfiles
from supervision.adapters.agent_protocol import Conversation, Login
from supervision.errors import DecodeError, ProtocolError, SiteUnavailable
from supervision.facts import JobKind, Key, Subject
from supervision.fsm.states import Queue
from supervision.messages import MONITORING_QUEUE_PREFIX, Envelope, unstorable
from supervision.testing import FrozenClock
from tests.agent_kit import KEY, LOGIN, SITE, make_home, make_order
from tests.fuzz.seeds import HELLO, MESSAGE, REPLY

Target = Callable[[bytes], None]

_KEPT: Final = ("journal", "locks", "tmp")


class AgentTarget:
    """Lines from somebody without the key: one answer each, no effect, and the session goes on."""

    def __init__(self, folder: Path) -> None:
        self._home = make_home(folder)
        self._root = Path(self._home.root)

    def __call__(self, data: bytes) -> None:
        """Say these lines and then a good one."""
        said = data + b"\n"
        heard = io.BytesIO()
        serve.serve(self._home.path, io.BytesIO(said + json.dumps(HELLO).encode() + b"\n"), heard)
        answers = [json.loads(line) for line in heard.getvalue().splitlines()]
        assert said.count(b"\n") + 1 == len(answers)
        assert ("good", 1) == (answers[-1]["id"], answers[-1].get("version"))
        assert not any(STUMBLED in str(answer.get("error")) for answer in answers)
        assert [] == [path for name in _KEPT for path in (self._root / name).iterdir()]


class SignedTarget:
    """Lines from somebody who holds the key: answers all the same, and nothing but the journal."""

    def __init__(self, folder: Path) -> None:
        self._home = make_home(folder)
        self._journal = Path(self._home.root) / "journal"
        self._started: list[tuple[str, int]] = []
        start = Attempts(self._home, lambda *key: self._started.append(key))
        self._agent = Agent(self._home, start)

    def __call__(self, data: bytes) -> None:
        """Sign what can be signed, say it, and forget what was journalled."""
        for line in data.splitlines():
            answer = respond(self._signed(line), self._agent.answer)
            assert STUMBLED not in str(answer.get("error"))
            json.dumps(answer, sort_keys=True)
        for record in self._journal.iterdir():
            shutil.rmtree(record)

    def _signed(self, line: bytes) -> bytes:
        fields = _object(line)
        if fields is None:
            return line
        whole = {**_whose(self._home), **fields}
        try:
            return json.dumps({**whole, "signature": signing.signature(whole, KEY)}).encode()
        except RecursionError:
            return line


class AnswersTarget:
    """Lines from a hostile agent: values that can be stored come of them, or errors of ours."""

    def __init__(self, folder: Path) -> None:
        self._order = make_order(
            Key(supervision_id="s-1", attempt=1), folder, clock=FrozenClock(), text="true"
        )

    def __call__(self, data: bytes) -> None:
        """Greet with the first line, answer every verb with each of the others."""
        first, *others = data.split(b"\n")
        verbs: list[Callable[[Conversation], object]] = [
            lambda agent: agent.submit([self._order]),
            lambda agent: agent.status([self._order.key]),
            lambda agent: agent.cancel([self._order.key]),
            lambda agent: agent.look([_SUBJECT]),
            lambda agent: agent.output(self._order.key),
        ]
        for verb in verbs:
            for other in others or [first]:
                self._say(verb, [first if others else b"{}", other])

    def _say(self, verb: Callable[[Conversation], object], replies: Sequence[bytes]) -> None:
        line = _HostileLine(replies)
        login = Login(site=SITE, login=LOGIN, key=KEY)
        try:
            said = verb(Conversation(line, login, FrozenClock()))
        except (ProtocolError, SiteUnavailable) as error:
            said = str(error)
        assert [] == [text for text in _texts(said) if unstorable(text)]


class MailTarget:
    """Mails, mailboxes and files of lines: every line is a message or says why it is none."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "mail"

    def __call__(self, data: bytes) -> None:
        """Read it as `ingest` does."""
        self._file.write_bytes(data)
        done: list[int] = []
        for line in mailfiles.read([self._file], progress=done.append):
            assert line.raw.strip()
            assert unstorable(line.config_card or "") is None
            _decoded(partial(_line, line))
        assert len(data) == sum(done)


class WireTarget:
    """Bodies from any AMQP client: decoded, or a DecodeError; what was decoded comes back equal."""

    def __init__(self, folder: Path) -> None:
        del folder  # nothing is written

    def __call__(self, data: bytes) -> None:
        """Put it into every kind of queue, with headers out of it as well."""
        headers = {"emitted_as": _head(data), "mailed_at": _head(data), "producer_id": _head(data)}
        for names in ({}, headers):
            envelope = _envelope(f"{MONITORING_QUEUE_PREFIX}1999", data, names)
            _decoded(partial(_there_and_back, envelope))
        for queue in Queue:
            _decoded(partial(wire.decode_wakeup, _envelope(queue, data, {})))


TARGETS: Final[dict[str, Callable[[Path], Target]]] = {
    "agent": AgentTarget,
    "signed": SignedTarget,
    "answers": AnswersTarget,
    "mail": MailTarget,
    "wire": WireTarget,
}
"""Every target by its name."""

_SUBJECT: Final = Subject(ref="r", name="EXP00", directory="/run", kind=JobKind.COMPUTE)


class _HostileLine:
    """A Line whose answers fit but for what they were told to say; the last one stays."""

    def __init__(self, replies: Sequence[bytes]) -> None:
        self._replies = list(replies)

    def exchange(self, requests: Sequence[bytes]) -> Sequence[bytes]:
        return [self._reply(json.loads(line)["id"]) for line in requests]

    def _reply(self, number: int) -> bytes:
        raw = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        fields = _object(raw)
        if fields is None:
            return raw + b"\n"
        try:
            return json.dumps(_merged({"id": number, **REPLY}, fields)).encode() + b"\n"
        except RecursionError:
            return raw + b"\n"


def _merged(usual: object, said: object) -> object:
    """Change what is usual where something is said, element by element."""
    if isinstance(usual, dict) and isinstance(said, dict):
        return {**usual, **{name: _merged(usual.get(name), said[name]) for name in said}}
    if isinstance(usual, list) and isinstance(said, list) and len(usual) == len(said):
        return [_merged(*pair) for pair in zip(usual, said, strict=True)]
    return said


def _object(line: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _whose(home: Home) -> dict[str, object]:
    return {"site": SITE, "login": LOGIN, "journal_id": home.journal_id}


def _texts(value: object) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif hasattr(value, "__dataclass_fields__"):
        yield from _texts(asdict(value))  # type: ignore[call-overload]


def _decoded(decode: Callable[[], object]) -> None:
    try:
        decode()
    except DecodeError as error:
        assert unstorable(str(error)) is None  # noqa: PT017 - the error is what is looked at


def _line(line: mailfiles.Line) -> object:
    return wire.decode_line(line.raw, mailed_at=line.mailed_at, config_card=line.config_card)


def _head(data: bytes) -> str:
    return data[:40].decode("utf-8", "replace")


def _envelope(queue: str, body: bytes, headers: Mapping[str, str]) -> Envelope:
    return Envelope(
        queue=queue,
        body=body,
        message_id=str(MESSAGE["msgUID"]),
        type="1999",
        app_id="monitoring",
        timestamp=datetime(2016, 2, 19, tzinfo=UTC),
        headers=headers,
    )


def _there_and_back(envelope: Envelope) -> None:
    message = wire.decode_monitoring_envelope(envelope)
    assert message == wire.decode_monitoring(
        message.body.encode(), mailed_at=message.mailed_at, config_card=message.config_card
    )
