"""The loop of every consumer: what is acked, what is buried, what an outage leaves untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event as Signal
from typing import Final, cast

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from supervision.adapters.memory import MemoryBroker
from supervision.consumers import (
    caretaker,
    detection,
    dispatching,
    execution,
    formatting,
    late_jobs,
    monitoring,
    sweeper,
)
from supervision.consumers.base import Consumer, Settled, consume, decoded, firing, run
from supervision.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    DecodeError,
    InvalidValue,
    SiteUnavailable,
    SupervisionError,
)
from supervision.facts import EngineSettings, RetentionSettings
from supervision.fsm.engine.recording import Fate, Recorded
from supervision.fsm.engine.sweeping import Swept
from supervision.fsm.engine.verbs import Engine
from supervision.fsm.states import Event, Queue
from supervision.messages import (
    MONITORING_CODES,
    Envelope,
    LateCheck,
    MonitoringMessage,
    WakeUp,
    monitoring_queue,
)
from supervision.ports import Delivery
from supervision.topology import dead_queue
from supervision.wire import monitoring_envelope, wakeup_envelope
from tests.factories import JOB, NOW, SIMULATION, SUPERVISION
from tests.unit.engine_kit import message

QUEUE: Final = Queue.FORMAT


class Broker(MemoryBroker):
    """A broker in memory that can be told to fail, and counts what was given back."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[SupervisionError] = []
        self.released: list[str] = []
        self.buries_fail = False

    def take(self, queue: str, *, limit: int, timeout_seconds: float) -> Sequence[Delivery]:
        """Take at once, or fail as programmed."""
        assert timeout_seconds >= 0
        if self.failures:
            raise self.failures.pop(0)
        return super().take(queue, limit=limit, timeout_seconds=0)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Bury, unless the dead letter is not confirmed."""
        if self.buries_fail:
            raise BrokerUnavailable("not confirmed")
        super().bury(delivery, reason)

    def release(self, queue: str) -> None:
        """Give back, and note it."""
        self.released.append(queue)
        super().release(queue)

    def put(self, *ids: str, queue: Queue = QUEUE) -> None:
        """Publish wake-ups about these supervisions."""
        wakeups = [WakeUp(queue=queue, supervision_id=each) for each in ids]
        self.publish([wakeup_envelope(each, message_id="m", now=NOW) for each in wakeups])

    def put_raw(self, body: bytes, queue: str = QUEUE) -> None:
        """Publish any bytes."""
        self.publish(
            [Envelope(queue=queue, body=body, message_id="", type="", app_id="x", timestamp=NOW)]
        )

    def all_of(self, queue: str) -> list[Delivery]:
        """Take everything that waits there."""
        return list(super().take(queue, limit=100, timeout_seconds=0))

    def unsettled(self, queue: str) -> int:
        """How many come back when what is in hands is given back."""
        super().release(queue)
        return self.depth(queue)


class Stop(Signal):
    """A stop signal whose waits cost no time: it notes them, and is set after the last one."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waited: list[float] = []
        self._left = waits

    def wait(self, timeout: float | None = None) -> bool:
        """Note how long somebody would have waited."""
        self.waited.append(timeout or 0)
        self._left -= 1
        if self._left <= 0:
            self.set()
        return self.is_set()


@dataclass(kw_only=True)
class FakeEngine:
    """Notes what it is asked to do; `fails` are raised first, one a call."""

    fired: list[tuple[Event, list[str]]] = field(default_factory=list)
    decided: list[str] = field(default_factory=list)
    late: list[LateCheck] = field(default_factory=list)
    recorded: list[MonitoringMessage] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    swept: list[int] = field(default_factory=list)
    cleaned: int = 0
    cared: list[str] = field(default_factory=list)
    fails: list[SupervisionError] = field(default_factory=list)

    def fire(self, event: Event, ids: Sequence[str]) -> None:
        """Note it."""
        self._fail()
        self.fired.append((event, list(ids)))

    def decide(self, job_uids: Sequence[str]) -> None:
        """Note it."""
        self.decided += job_uids

    def record_late(self, checks: Sequence[LateCheck]) -> None:
        """Note it."""
        self.late += checks

    def record(self, messages: Sequence[MonitoringMessage]) -> Recorded:
        """Note it; the broken ones are reported."""
        self._fail()
        self.recorded += messages
        errors = {m.uid: self.broken[m.uid] for m in messages if m.uid in self.broken}
        fates = tuple(Fate.BROKEN if m.uid in errors else Fate.NEW for m in messages)
        return Recorded(fates=fates, errors=errors)

    def sweep(self, limit: int) -> Swept:
        """Send as many as are left, at most `limit`."""
        self._fail()
        number = min(limit, self.swept.pop(0)) if self.swept else 0
        return Swept(supervisions=number, decisions=0, late_jobs=0)

    def clean(self, retention: RetentionSettings) -> dict[str, int]:
        """Count the cleanings."""
        assert retention.raw_bodies
        self.cleaned += 1
        return {"bodies": 0}

    def tend_incidents(self) -> None:
        """Note it."""
        self._fail()
        self.cared.append("incidents")

    def watch_credentials(self) -> int:
        """Note it."""
        self._fail()
        self.cared.append("credentials")
        return 0

    def tell_daily(self) -> bool:
        """Note it."""
        self.cared.append("daily")
        return False

    def _fail(self) -> None:
        if self.fails:
            raise self.fails.pop(0)


def _engine(fake: FakeEngine) -> Engine:
    return cast("Engine", fake)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Draw no tracebacks on the terminal: it takes longer than all that is tested here."""
    with capture_logs():
        yield


def _consumer(handle: Callable[[Sequence[Delivery]], Settled]) -> Consumer:
    return Consumer(queue=QUEUE, handle=handle, batch=10)


def _all_fine(deliveries: Sequence[Delivery]) -> Settled:
    return Settled(acked=deliveries)


def _consume(broker: Broker, handle: Callable[[Sequence[Delivery]], Settled]) -> None:
    consume(_consumer(handle), broker, broker.all_of(QUEUE))


def _dead(broker: Broker, queue: str = QUEUE) -> list[str]:
    return [each.envelope.headers["reason"] for each in broker.all_of(dead_queue(queue))]


def test_what_was_handled_is_acked() -> None:
    """Nothing of it comes back."""
    broker = Broker()
    broker.put(SUPERVISION, JOB)
    _consume(broker, _all_fine)
    assert (0, []) == (broker.unsettled(QUEUE), _dead(broker))


def test_what_a_handler_buries_goes_to_the_dead_letters_with_its_reason() -> None:
    """And nothing else of its set does."""
    broker = Broker()
    broker.put(SUPERVISION, JOB)

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        return Settled(acked=deliveries[1:], buried=[(deliveries[0], "poison")])

    _consume(broker, handle)
    assert (0, ["poison"]) == (broker.unsettled(QUEUE), _dead(broker))


def test_a_set_that_fails_is_handed_over_one_by_one() -> None:
    """Only the message that fails alone is a dead letter."""
    broker = Broker()
    broker.put(SUPERVISION, JOB, SIMULATION)
    sizes = []

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        sizes.append(len(deliveries))
        if any(JOB.encode() in each.envelope.body for each in deliveries):
            raise InvalidValue("this one is impossible")
        return Settled(acked=deliveries)

    _consume(broker, handle)
    assert [3, 1, 1, 1] == sizes
    assert (0, ["this one is impossible"]) == (broker.unsettled(QUEUE), _dead(broker))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidValue("no row may hold this"), "no row may hold this"),
        (SiteUnavailable("no route"), "SiteUnavailable: no route"),
        (KeyError("slip"), "KeyError: 'slip'"),
    ],
)
def test_a_message_that_fails_alone_says_why(error: Exception, reason: str) -> None:
    """A mistake of ours is named by its kind, so that it can be found; it never loops."""
    broker = Broker()
    broker.put(SUPERVISION)

    def handle(_deliveries: Sequence[Delivery]) -> Settled:
        raise error

    _consume(broker, handle)
    assert (0, [reason]) == (broker.unsettled(QUEUE), _dead(broker))


def test_a_reason_is_not_longer_than_anybody_reads() -> None:
    """Errors of databases quote whole statements."""
    broker = Broker()
    broker.put(SUPERVISION)

    def handle(_deliveries: Sequence[Delivery]) -> Settled:
        raise InvalidValue("x" * 5000)

    _consume(broker, handle)
    assert ["x" * 1000] == _dead(broker)


@pytest.mark.parametrize("error", [DatabaseUnavailable("gone"), BrokerUnavailable("gone")])
def test_an_outage_settles_nothing(error: SupervisionError) -> None:
    """Everything that was taken comes back; nothing is buried, whatever the size of the set."""
    broker = Broker()
    broker.put(SUPERVISION, JOB)

    def handle(_deliveries: Sequence[Delivery]) -> Settled:
        raise error

    with pytest.raises(type(error)):
        _consume(broker, handle)
    assert (2, []) == (broker.unsettled(QUEUE), _dead(broker))


def test_an_outage_in_the_midst_of_the_one_by_one_settles_nothing_either() -> None:
    """What was handled before comes again: everything here may be done twice."""
    broker = Broker()
    broker.put(SUPERVISION, JOB)
    errors: list[SupervisionError | None] = [InvalidValue("set"), None, DatabaseUnavailable("gone")]

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        if (error := errors.pop(0)) is not None:
            raise error
        return Settled(acked=deliveries)

    with pytest.raises(DatabaseUnavailable):
        _consume(broker, handle)
    assert (2, []) == (broker.unsettled(QUEUE), _dead(broker))


def test_a_dead_letter_that_was_not_confirmed_acks_nothing() -> None:
    """A crash doubles, and never loses."""
    broker = Broker()
    broker.put(SUPERVISION, JOB)
    broker.buries_fail = True

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        return Settled(acked=deliveries[1:], buried=[(deliveries[0], "poison")])

    with pytest.raises(BrokerUnavailable):
        _consume(broker, handle)
    assert 2 == broker.unsettled(QUEUE)


def test_the_loop_pauses_longer_and_longer_while_the_database_is_away() -> None:
    """A second, doubling to a minute; each time everything is given back."""
    broker, stop = Broker(), Stop(waits=8)
    broker.put(SUPERVISION)

    def handle(_deliveries: Sequence[Delivery]) -> Settled:
        raise DatabaseUnavailable("gone")

    run(_consumer(handle), broker, stop)
    assert [1, 2, 4, 8, 16, 32, 60, 60] == stop.waited
    assert [QUEUE] * 9 == broker.released
    assert (1, []) == (broker.unsettled(QUEUE), _dead(broker))


def test_the_loop_pauses_as_the_settings_say() -> None:
    """The first pause and the longest belong to the consumer."""
    broker, stop = Broker(), Stop(waits=4)
    broker.put(SUPERVISION)

    def handle(_deliveries: Sequence[Delivery]) -> Settled:
        raise DatabaseUnavailable("gone")

    patient = replace(_consumer(handle), first_pause_seconds=2.0, longest_pause_seconds=5.0)
    run(patient, broker, stop)
    assert [2, 4, 5, 5] == stop.waited


def test_the_loop_starts_afresh_once_the_outage_is_over() -> None:
    """A second outage is not punished for the first."""
    broker, stop = Broker(), Stop(waits=4)
    gone = BrokerUnavailable("gone")
    broker.failures = [gone, gone]
    turns = [0]

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        turns[0] += 1
        broker.failures = [gone, gone]
        return Settled(acked=deliveries)

    broker.put(SUPERVISION)
    run(_consumer(handle), broker, stop)
    assert ([1, 2, 1, 2], [1]) == (stop.waited, turns)


def test_a_loop_that_is_stopped_gives_back_and_takes_no_more() -> None:
    """Whoever stops a process loses nothing."""
    broker, stop = Broker(), Signal()
    broker.put(SUPERVISION, JOB)

    def handle(deliveries: Sequence[Delivery]) -> Settled:
        stop.set()
        return Settled(acked=deliveries)

    run(Consumer(queue=QUEUE, handle=handle, batch=1), broker, stop)
    assert ([QUEUE], 1) == (broker.released, broker.unsettled(QUEUE))


def test_decoding_parts_what_can_be_read_from_what_cannot() -> None:
    """A bad message never spoils its set; any other error is a mistake, and is not hidden."""
    broker = Broker()
    broker.put_raw(b"1")
    broker.put_raw(b"x")

    def decode(delivery: Delivery) -> int:
        try:
            return int(delivery.envelope.body)
        except ValueError as error:
            raise DecodeError("no number", delivery.envelope.body) from error

    good, bad = decoded(broker.all_of(QUEUE), decode)
    assert [1] == [value for _, value in good]
    assert [(b"x", "no number")] == [(each.envelope.body, reason) for each, reason in bad]


@pytest.mark.parametrize(
    ("made", "queue", "event"),
    [
        (formatting.consumer, Queue.FORMAT, Event.FORMAT),
        (dispatching.consumer, Queue.DISPATCH, Event.DISPATCH),
        (execution.consumer, Queue.EXECUTION, Event.EXECUTE),
    ],
)
def test_a_stage_fires_its_event_for_the_ids_that_came(
    made: Callable[[Engine, int], Consumer], queue: Queue, event: Event
) -> None:
    """And knows nothing else; what is no wake-up is buried."""
    broker, engine = Broker(), FakeEngine()
    broker.put(SUPERVISION, JOB, queue=queue)
    broker.put_raw(b"not JSON", queue)
    consumer = made(_engine(engine), 50)
    consume(consumer, broker, broker.all_of(queue))
    assert (queue, 50) == (consumer.queue, consumer.batch)
    assert [(event, [SUPERVISION, JOB])] == engine.fired
    assert 1 == len(_dead(broker, queue))


def test_a_stage_without_a_database_acks_nothing() -> None:
    """The verb's own error passes through."""
    broker, engine = Broker(), FakeEngine(fails=[DatabaseUnavailable("gone")])
    broker.put(SUPERVISION)
    with pytest.raises(DatabaseUnavailable):
        consume(firing(_engine(engine), QUEUE, Event.FORMAT, 10), broker, broker.all_of(QUEUE))
    assert 1 == broker.unsettled(QUEUE)


def test_detection_decides_about_jobs() -> None:
    """A detect names the job; the seed's spelling is accepted too."""
    broker, engine = Broker(), FakeEngine()
    broker.put_raw(
        f'{{"job_uid": "{JOB}", "simulation_uid": "{SIMULATION}"}}'.encode(), Queue.DETECT
    )
    broker.put_raw(f'{{"job-uid": "{SUPERVISION}"}}'.encode(), Queue.DETECT)
    broker.put_raw(b"{}", Queue.DETECT)
    consume(detection.consumer(_engine(engine), 10), broker, broker.all_of(Queue.DETECT))
    assert ([JOB, SUPERVISION], 1) == (engine.decided, len(_dead(broker, Queue.DETECT)))


def test_late_jobs_become_checks() -> None:
    """The alarm is looked at in the database; the message is only a hint."""
    broker, engine = Broker(), FakeEngine()
    broker.put_raw(f'{{"job_uid": "{JOB}"}}'.encode(), Queue.LATE_JOBS)
    broker.put_raw(b'{"job_uid": 7}', Queue.LATE_JOBS)
    consume(late_jobs.consumer(_engine(engine), 10), broker, broker.all_of(Queue.LATE_JOBS))
    assert [LateCheck(job_uid=JOB)] == engine.late
    assert 1 == len(_dead(broker, Queue.LATE_JOBS))


def test_every_code_has_a_consumer() -> None:
    """One queue a code, the same handling for all."""
    queues = [each.queue for each in monitoring.consumers(_engine(FakeEngine()), 10)]
    assert [monitoring_queue(code) for code in MONITORING_CODES] == queues


def test_facts_are_acked_when_stored_and_buried_when_broken() -> None:
    """Undecodable, failed alone, and fine: each goes its own way."""
    fine, broken = message("1999", at=NOW), message("1999", at=NOW - timedelta(hours=1))
    broker, engine = Broker(), FakeEngine(broken={broken.uid: "DataError: too long"})
    broker.publish([monitoring_envelope(fine), monitoring_envelope(broken)])
    queue = monitoring_queue("1999")
    broker.put_raw(b"{", queue)
    consumer = next(c for c in monitoring.consumers(_engine(engine), 10) if c.queue == queue)
    consume(consumer, broker, broker.all_of(queue))
    assert [fine.uid, broken.uid] == [each.uid for each in engine.recorded]
    dead = _dead(broker, queue)
    assert (2, True, 0) == (len(dead), "DataError: too long" in dead, broker.unsettled(queue))


def test_the_sweeper_sweeps_every_second_and_cleans_at_once_and_every_hour() -> None:
    """What is due waits a second at most."""
    engine, stop = FakeEngine(), Stop(waits=3602)
    sweeper.run(_engine(engine), lambda: (EngineSettings(), RetentionSettings()), stop)
    assert ({1.0}, 3602, 2) == (set(stop.waited), len(stop.waited), engine.cleaned)


def test_a_sweep_that_was_full_is_followed_by_the_next_at_once() -> None:
    """A wave of alarms does not wait a second for each thousand."""
    engine, stop = FakeEngine(swept=[5000, 1000, 999]), Stop(waits=1)
    sweeper.run(_engine(engine), lambda: (EngineSettings(), RetentionSettings()), stop)
    assert ([], [1.0]) == (engine.swept, stop.waited)


def test_a_sweeper_outlives_an_outage() -> None:
    """The next sweep comes a second later."""
    engine, stop = FakeEngine(fails=[DatabaseUnavailable("gone")] * 2), Stop(waits=3)
    sweeper.run(_engine(engine), lambda: (EngineSettings(), RetentionSettings()), stop)
    assert ([1.0] * 3, 1) == (stop.waited, engine.cleaned)


def test_the_caretaker_tends_incidents_every_second_and_looks_at_credentials_now_and_then() -> None:
    """Their steps are short waits; a credential's end is known days before."""
    engine, stop = FakeEngine(), Stop(waits=5)
    settings = EngineSettings(credentials_every=timedelta(seconds=3))
    caretaker.run(_engine(engine), lambda: settings, stop)
    rest = ["credentials", "daily"]
    assert engine.cared == [
        *("incidents", *rest, "incidents", "incidents"),
        *("incidents", *rest, "incidents"),
    ]


def test_what_cannot_be_cared_for_now_keeps_nothing_else_waiting() -> None:
    """Without a database for a moment, incidents are tended a second later."""
    engine, stop = FakeEngine(fails=[DatabaseUnavailable("gone")]), Stop(waits=2)
    caretaker.run(_engine(engine), EngineSettings, stop)
    assert ["credentials", "daily", "incidents"] == engine.cared


def test_a_buried_message_is_told_by_its_ids() -> None:
    """The line in the log names the message, and the job that it speaks of."""
    broker = MemoryBroker()
    headers = {"correlation_id_1": "the-simulation", "correlation_id_2": "the-job"}
    sent = Envelope(
        queue=Queue.FORMAT,
        body=b"no json",
        message_id="m-1",
        type="format",
        app_id="supervision",
        timestamp=datetime(2015, 3, 18, tzinfo=UTC),
        headers=headers,
    )
    broker.publish([sent])
    taken = broker.take(Queue.FORMAT, limit=1, timeout_seconds=0)
    poison = Consumer(
        queue=Queue.FORMAT,
        handle=lambda deliveries: Settled(acked=(), buried=[(deliveries[0], "no JSON")]),
    )
    with capture_logs([merge_contextvars]) as lines:
        consume(poison, broker, taken)
    expected = {
        "event": "message.buried",
        "log_level": "error",
        "reason": "no JSON",
        "queue": "internal-supervision-format",
        "message_id": "m-1",
        "simulation_uid": "the-simulation",
        "job_uid": "the-job",
    }
    assert expected == lines[0]
