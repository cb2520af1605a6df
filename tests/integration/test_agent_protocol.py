"""The service's side of the protocol: what is asked, and that no nonsense gets past."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from supervision.adapters.agent_protocol import Conversation, Login
from supervision.errors import ProtocolError, SiteUnavailable
from supervision.facts import AnswerKind, EndReason, JobKind, Key, RunCard, Sight, Subject
from supervision.testing import FrozenClock
from tests.agent_kit import KEY, LOGIN, SITE, MemoryLine, make_home, make_order

FIRST = Key(supervision_id="s-1", attempt=1)
WHOSE = Login(site=SITE, login=LOGIN, key=KEY)
HELLO = {
    "version": 1,
    "site": SITE,
    "login": LOGIN,
    "journal_id": "j",
    "host": "h",
    "boot_id": "b",
    "clock": 1426669200.0,
}
ANSWER = {"supervision_id": "s-1", "attempt": 1, "kind": "executed", "exit_code": 0}
SUBJECT = Subject(ref="r", name="EXP00", directory="/run", kind=JobKind.COMPUTE)

Reply = dict[str, Any]


class ScriptedLine:
    """A Line whose answers were written beforehand; `id` is filled in unless it is there.

    Asked for its clock again, it greets as it did first.
    """

    def __init__(self, *replies: Reply | bytes) -> None:
        self._greeting = replies[0]
        self._greeted = False
        self._replies = list(replies)

    def exchange(self, requests: Sequence[bytes]) -> Sequence[bytes]:
        """Give the next answers."""
        return [self._reply(json.loads(line)) for line in requests]

    def _reply(self, request: Reply) -> bytes:
        again = request["verb"] == "hello" and self._greeted
        reply = self._greeting if again else self._replies.pop(0)
        self._greeted = True
        if isinstance(reply, bytes):
            return reply
        return json.dumps({"id": request["id"], **reply}).encode() + b"\n"


def _talk(*replies: Reply | bytes) -> Conversation:
    return Conversation(ScriptedLine(HELLO, *replies), WHOSE, FrozenClock())


def _answers(*rows: object) -> Reply:
    return {"journal_id": "j", "answers": list(rows)}


@pytest.mark.parametrize(
    "hello",
    [
        {**HELLO, "version": 2},
        {**HELLO, "site": "another"},
        {**HELLO, "login": "another"},
        {**HELLO, "clock": "now"},
        {**HELLO, "clock": 1e300},
        {**HELLO, "journal_id": 7},
        {**HELLO, "id": 99},
        {"error": "not prepared"},
        b"Last login: yesterday\n",
        b"\xff\n",
        b"7\n",
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_bad_hello(hello: Reply | bytes) -> None:
    """Another version, another login, no time, no agent at all: not spoken to."""
    with pytest.raises(ProtocolError):
        Conversation(ScriptedLine(hello), WHOSE, FrozenClock())


@pytest.mark.parametrize(
    "reply",
    [
        {"journal_id": "j"},
        {"journal_id": "j", "answers": {}},
        {"journal_id": 7, "answers": [ANSWER]},
        _answers(),
        _answers(ANSWER, ANSWER),
        _answers(7),
        _answers({**ANSWER, "supervision_id": "s-2"}),
        _answers({**ANSWER, "attempt": 2}),
        _answers({**ANSWER, "kind": "done"}),
        _answers({**ANSWER, "kind": None}),
        _answers({**ANSWER, "exit_code": "0"}),
        _answers({**ANSWER, "detail": ["x"]}),
        _answers({**ANSWER, "output_tail": 7}),
        {**_answers(ANSWER), "id": 1},
        {"error": "no such verb"},
    ],
)
def test_a_bad_answer(reply: Reply) -> None:
    """What an agent of ours never says raises, whatever it is."""
    with pytest.raises(ProtocolError):
        _talk(reply).status([FIRST])


def test_an_agent_in_trouble_is_asked_again() -> None:
    """An error that the agent calls passing is no verdict."""
    with pytest.raises(SiteUnavailable, match="no space"):
        _talk({"error": "no space left", "later": True}).status([FIRST])


@pytest.mark.parametrize(
    ("said", "report", "scheduler_id", "period"),
    [
        (None, {}, None, None),
        ([1], {}, None, None),
        (
            {"scheduler_id": 12, "period": 3},
            {"scheduler_id": 12, "period": 3},
            "12",
            3,
        ),
        (
            {"scheduler_id": None, "period": "3", "deleted": ["a", 1], "more": {"x": 1.5}},
            {"scheduler_id": None, "period": "3", "deleted": ["a", "1"], "more": '{"x": 1.5}'},
            None,
            None,
        ),
    ],
)
def test_a_script_may_say_anything(
    said: object, report: Reply, scheduler_id: str | None, period: int | None
) -> None:
    """A report is read as far as it goes, and never breaks the answer."""
    (answer,) = _talk(_answers({**ANSWER, "report": said})).status([FIRST])
    assert answer.kind is AnswerKind.EXECUTED
    assert (answer.report, answer.scheduler_id, answer.period) == (report, scheduler_id, period)


LOOK = {"ref": "r", "at": 1426669210.0, "sight": "ended", "reason": "timeout", "others": None}


def test_a_look() -> None:
    """Words become values; the time is carried over to our clock."""
    card = {"simulation_uid": "u", "state": "Fatal", "period": 7, "begin": ""}
    clock = FrozenClock()
    line = ScriptedLine(
        {**HELLO, "clock": clock.now().timestamp() + 3600},
        {"looks": [{**LOOK, "at": clock.now().timestamp() + 3600, "run_card": card}]},
    )
    (look,) = Conversation(line, WHOSE, clock).look([SUBJECT])
    assert (look.at, look.sight, look.reason) == (clock.now(), Sight.ENDED, EndReason.TIMEOUT)
    assert look.run_card == RunCard(simulation_uid="u", state="Fatal", period=7, begin=None)
    assert (look.others, look.scheduler_alive, look.problem) == (None, False, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"sight": "gone"},
        {"reason": "tired"},
        {"others": "yes"},
        {"at": None},
        {"free_bytes": "7"},
    ],
)
def test_a_bad_look(changes: Reply) -> None:
    """A word that is not of ours is no sight."""
    with pytest.raises(ProtocolError):
        _talk({"looks": [{**LOOK, **changes}]}).look([SUBJECT])


def test_long_lists_are_asked_in_parts(tmp_path: Path) -> None:
    """A thousand keys are some requests of a size that agents take, answered in order."""
    line = MemoryLine(make_home(tmp_path))
    keys = [Key(supervision_id=f"s-{number}", attempt=1) for number in range(1000)]
    answers = Conversation(line, WHOSE, FrozenClock()).status(keys)
    assert [answer.key for answer in answers] == keys
    assert {answer.kind for answer in answers} == {AnswerKind.NEVER_SEEN}
    assert len(line.sent) == 6


def test_the_expiry_is_told_in_the_agents_time(tmp_path: Path) -> None:
    """What is sent is the lease's end plus the difference of the clocks."""
    clock = FrozenClock()
    line = MemoryLine(make_home(tmp_path))
    conversation = Conversation(line, WHOSE, clock)
    order = make_order(FIRST, tmp_path / "run", clock=clock)
    conversation.submit([order])
    expected = order.expires_at + conversation.greeting.offset
    assert line.sent[-1]["expires_at"] == pytest.approx(expected.timestamp())
    assert conversation.greeting.offset > timedelta(days=365)


HUGE = 10**400


@pytest.mark.parametrize(
    "changes",
    [
        {"detail": "a\0b"},
        {"detail": "\ud800"},
        {"detail": "x" * 20_000},
        {"output_tail": "\0"},
        {"kind": "x" * 1000},
        {"exit_code": 256},
        {"exit_code": -1},
        {"exit_code": True},
        {"exit_code": 0.0},
        {"exit_code": HUGE},
    ],
)
def test_an_answer_that_no_database_would_keep(changes: Reply) -> None:
    """NUL, half a surrogate pair, endless texts, numbers out of range: not the agent's words."""
    with pytest.raises(ProtocolError):
        _talk(_answers({**ANSWER, **changes})).status([FIRST])


@pytest.mark.parametrize(
    "changes",
    [
        {"journal_id": "j" * 64},
        {"host": "h\0"},
        {"clock": True},
        {"clock": -1},
        {"clock": 1e11},
        {"clock": float("nan")},
        {"clock": HUGE},
        {"version": HUGE},
        {"site": "x" * 100_000},
    ],
)
def test_a_hello_that_no_database_would_keep(changes: Reply) -> None:
    """The journal's id goes into the row, the clock into every expiry: both are bounded."""
    with pytest.raises(ProtocolError) as raised:
        Conversation(ScriptedLine({**HELLO, **changes}), WHOSE, FrozenClock())
    assert len(str(raised.value)) < 1000


def test_a_script_that_lies_harms_only_itself() -> None:
    """A report comes from a script: it is cut and cleaned, and the other answers are read."""
    said = {
        "scheduler_id": "1\n2",
        "period": HUGE,
        "big": HUGE,
        "a\0b": "c\0\ud800",
        "list": ["\0", {"x": "y" * 20_000}, *range(2000)],
    }
    (answer,) = _talk(_answers({**ANSWER, "report": said})).status([FIRST])
    assert (answer.kind, answer.scheduler_id, answer.period) == (AnswerKind.EXECUTED, None, None)
    assert answer.report["a\ufffdb"] == "c\ufffd\ufffd\ufffd\ufffd"
    assert "\0" not in json.dumps(answer.report, ensure_ascii=False)
    kept = answer.report["list"]
    assert isinstance(kept, list)
    assert (len(kept), len(kept[1])) == (1000, 16_384)


@pytest.mark.parametrize("scheduler_id", ["x" * 512, "", True, "\u202e", ["7"]])
def test_what_can_be_no_jobs_id(scheduler_id: object) -> None:
    """An id that the row cannot hold, or that no scheduler gives, is no id."""
    report = {"scheduler_id": scheduler_id}
    (answer,) = _talk(_answers({**ANSWER, "report": report})).status([FIRST])
    assert answer.scheduler_id is None


def test_a_card_that_its_owner_broke() -> None:
    """What makes no sense in run.card is not known; the look itself counts."""
    card = {"simulation_uid": "u\0", "state": ["Fatal"], "period": HUGE, "begin": "x" * 20_000}
    (look,) = _talk({"looks": [{**LOOK, "run_card": card}]}).look([SUBJECT])
    assert look.run_card == RunCard(
        simulation_uid="u\ufffd", state=None, period=None, begin="x" * 16_384
    )


@pytest.mark.parametrize(
    "changes", [{"free_bytes": 2**63}, {"free_bytes": True}, {"at": HUGE}, {"problem": "\0"}]
)
def test_a_look_that_no_database_would_keep(changes: Reply) -> None:
    """Sizes and times out of range are not the agent's words."""
    with pytest.raises(ProtocolError):
        _talk({"looks": [{**LOOK, **changes}]}).look([SUBJECT])


def test_an_error_is_told_in_words_that_can_be_kept() -> None:
    """The reason of a refusal goes into the row as it can be kept there."""
    with pytest.raises(SiteUnavailable) as raised:
        _talk({"error": "no\0space" + "x" * 9000, "later": True}).status([FIRST])
    assert "no\ufffdspace" in str(raised.value)
    assert len(str(raised.value)) < 2100
