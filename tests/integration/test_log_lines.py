"""Every line that a stage logs names what it is about: message, job, supervision, or several."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from supervision import logs
from supervision.consumers import base, monitoring
from supervision.errors import BrokerUnavailable
from supervision.messages import MONITORING_CODES, Envelope, monitoring_queue
from supervision.ports import Delivery
from supervision.wire import monitoring_envelope
from tests.integration.cli_kit import JOB, SIMULATION, Desk, a_desk, decoded, failure

OF_THE_PROCESS: Final = {
    "broker.connected",
    "broker.lost",
    "incident.opened",
    "observe.listening",
    "retention.cleaned",
    "service.started",
    "service.stopping",
    "service.stopped",
}
"""Lines that are about the process, or about a whole site; every other one names its subject."""

SUBJECTS: Final = ("message_id", "job_uid", "supervision_id")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give structlog and the root logger back as they were."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    logs.configure(json=True, level="debug")
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    """A service that has been told nothing."""
    with a_desk(tmp_path, sqlite_url) as made:
        yield made


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def _nameless(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        line["event"]
        for line in lines
        if line["event"] not in OF_THE_PROCESS
        and not any(name in line or f"{name}s" in line for name in SUBJECTS)
    ]


def _deliver(desk: Desk, messages: Sequence[Mapping[str, str]]) -> None:
    """Have the consumers of the facts take these messages from the queues, as with RabbitMQ."""
    broker = desk.made.broker
    broker.publish([monitoring_envelope(each) for each in decoded(messages)])
    for consumer in monitoring.consumers(desk.made.engine, 200):
        taken = broker.take(consumer.queue, limit=200, timeout_seconds=0)
        if taken:
            base.consume(consumer, broker, taken)


def _others(number: int) -> dict[str, str]:
    return {
        "simuid": f"{number:08x}{SIMULATION[8:]}",
        "jobuid": f"{number:08x}{JOB[8:]}",
        "name": f"CPL{number}",
        "jobSubmissionPath": f"/ccc/work/p86user1/IPSLCM6/modipsl/config/IPSLCM6/CPL{number}",
    }


def test_a_failure_is_named_from_its_message_to_its_restart(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line of each stage names it, and the lines of one row name that row alone."""
    _deliver(desk, failure())
    desk.work()
    lines = _lines(capsys)
    assert [] == _nameless(lines)
    row = desk.row()
    settled = [line for line in lines if line["event"] == "supervision.settled"]
    assert [("format", row.id, JOB), ("dispatch", row.id, JOB), ("execute", row.id, JOB)] == [
        (line["fired"], line["supervision_id"], line["job_uid"]) for line in settled
    ]
    assert all("queue" in line and "message_id" in line for line in settled)
    (decision,) = (line for line in lines if line["event"] == "decision.made")
    assert (JOB, SIMULATION) == (decision["job_uid"], decision["simulation_uid"])
    assert [JOB] == sorted({line["job_uid"] for line in lines if "job_uid" in line})


def test_of_a_batch_each_row_is_told_by_its_own_name(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is about all says how many; what is about one does not drag the others along."""
    for number in (1, 2, 3):
        desk.hear(failure(**_others(number)))
    desk.work()
    lines = _lines(capsys)
    assert [] == _nameless(lines)
    told = [line for line in lines if line["event"] in {"decision.made", "supervision.settled"}]
    assert [] == [line for line in told if "job_uids" in line or "supervision_ids" in line]
    assert 3 == len({line["job_uid"] for line in told})
    batches = [line for line in lines if line["event"] == "messages.settled"]
    assert 3 in {line.get("message_count") for line in batches}


def _unpublished(envelopes: Sequence[Envelope]) -> None:
    raise BrokerUnavailable(f"nobody takes {len(envelopes)}")


def test_what_goes_wrong_is_named_too(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poisoned message, a centre that is away, a stage that breaks; and nothing stays behind."""
    broker = desk.made.broker
    desk.agents.unreachable.add("curie")
    _deliver(desk, failure())
    desk.work()
    consumer = monitoring.consumers(desk.made.engine, 200)[0]
    good = [monitoring_envelope(each) for each in decoded(failure()) if each.code == "0000"]
    broker.publish([replace(good[0], body=b"no json"), *good])
    base.consume(consumer, broker, broker.take(consumer.queue, limit=9, timeout_seconds=0))
    broker.publish(good * 2)

    def break_down(deliveries: Sequence[Delivery]) -> base.Settled:
        raise ZeroDivisionError(len(deliveries))

    broken = replace(consumer, handle=break_down)
    base.consume(broken, broker, broker.take(consumer.queue, limit=9, timeout_seconds=0))
    with monkeypatch.context() as patched:
        patched.setattr(broker, "publish", _unpublished)
        desk.hear(failure(**_others(1)))
    assert {} == structlog.contextvars.get_contextvars()
    lines = _lines(capsys)
    assert [] == _nameless(lines)
    assert "wakeups.unsent" in [line["event"] for line in lines]
    failed = [line for line in lines if line["event"] == "message.failed"]
    assert [good[0].message_id] * 2 == [line["message_id"] for line in failed]
    assert [monitoring_queue(MONITORING_CODES[0])] * 2 == [line["queue"] for line in failed]
