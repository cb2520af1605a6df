"""Dead letters, over the broker in memory and over RabbitMQ alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from supervision import topology
from supervision.adapters.dead_letters import DeadLetters, among
from supervision.errors import BrokerUnavailable, InvalidValue
from supervision.messages import Envelope
from supervision.ports import Broker, Depths
from tests.contract.broker_kit import FACTS, FORMAT, envelope, eventually, taken
from tests.contract.test_broker import broker

__all__ = ["broker"]  # the fixture of the broker's own contract: both kinds


class Counting(Broker, Depths, Protocol):
    """What both adapters are."""


def buried(broker: Counting, count: int, queue: str = FACTS, reason: str = "no JSON") -> list[str]:
    """Publish messages, take them and bury them; name them."""
    sent = [envelope(queue, b"poison %d" % number, producer_id="x") for number in range(count)]
    broker.publish(sent)
    for delivery in taken(broker, queue, count):
        broker.bury(delivery, reason)
    dead = topology.dead_queue(queue)
    eventually(lambda: broker.depth(dead) == count, "the letters are buried")
    return [each.message_id for each in sent]


def lie(broker: Counting, count: int, queue: str = FACTS) -> None:
    """Wait until as many letters lie there, in nobody's hands."""
    eventually(lambda: broker.depth(topology.dead_queue(queue)) == count, "so many lie there")


def test_the_queues_with_letters_are_counted(broker: Counting) -> None:
    """Those without are not named."""
    buried(broker, 2, FACTS)
    buried(broker, 1, FORMAT)
    assert {FACTS: 2, FORMAT: 1} == DeadLetters(broker, broker).counts()


def test_letters_are_read_in_order_and_stay(broker: Counting) -> None:
    """Twice the same answer: reason, body and properties as they were sent."""
    ids = buried(broker, 3)
    letters = DeadLetters(broker, broker).read(FACTS)
    lie(broker, 3)
    assert [(each, "no JSON") for each in ids] == [
        (letter.envelope.message_id, letter.reason) for letter in letters
    ]
    assert letters == DeadLetters(broker, broker).read(FACTS)
    assert (b"poison 0", "x") == (
        letters[0].envelope.body,
        letters[0].envelope.headers["producer_id"],
    )


def test_a_letter_is_sent_again_as_it_was(broker: Counting) -> None:
    """To the queue where it died, without the reason; the others stay."""
    ids = buried(broker, 3)
    graves = DeadLetters(broker, broker)
    key = graves.read(FACTS)[1].key
    assert (1, 0) == graves.replay(FACTS, among([key]))
    (again,) = taken(broker, FACTS, 1)
    assert (ids[1], {"producer_id": "x"}) == (
        again.envelope.message_id,
        dict(again.envelope.headers),
    )
    lie(broker, 2)
    assert [ids[0], ids[2]] == [each.envelope.message_id for each in graves.read(FACTS)]


def test_all_letters_are_sent_again_once(broker: Counting) -> None:
    """What died again meanwhile would be for the next time."""
    buried(broker, 25)
    assert (25, 0) == DeadLetters(broker, broker).replay(FACTS, among([]))
    assert 25 == len(taken(broker, FACTS, 25))
    lie(broker, 0)


def test_a_dropped_letter_is_gone(broker: Counting) -> None:
    """It is in no queue any more, the others are."""
    ids = buried(broker, 2)
    graves = DeadLetters(broker, broker)
    assert 1 == graves.drop(FACTS, among([graves.read(FACTS)[0].key]))
    lie(broker, 1)
    assert [ids[1]] == [each.envelope.message_id for each in graves.read(FACTS)]
    assert 0 == broker.depth(FACTS)


class Failing:
    """A broker that publishes nothing; all else is the other's."""

    def __init__(self, real: Counting, error: Exception) -> None:
        self._error = error
        self.take, self.ack, self.bury = real.take, real.ack, real.bury
        self.release, self.close, self.depth = real.release, real.close, real.depth

    def publish(self, envelopes: object) -> None:
        """Fail, whatever was to be sent."""
        assert envelopes
        raise self._error


def test_a_letter_that_could_not_be_sent_is_not_lost(broker: Counting) -> None:
    """The broker went away between taking and sending: all letters lie where they lay."""
    buried(broker, 2)
    failing = Failing(broker, BrokerUnavailable("gone"))
    with pytest.raises(BrokerUnavailable):
        DeadLetters(failing, failing).replay(FACTS, among([]))
    lie(broker, 2)
    assert 0 == broker.depth(FACTS)


def test_a_letter_that_no_broker_takes_stays(broker: Counting) -> None:
    """It is counted and left; nothing else happens to it."""
    buried(broker, 1)
    failing = Failing(broker, InvalidValue("too large"))
    assert (0, 1) == DeadLetters(failing, failing).replay(FACTS, among([]))
    lie(broker, 1)


def test_a_letter_without_a_reason_is_one_that_the_broker_gave_up(broker: Counting) -> None:
    """RabbitMQ buries by itself what was given back too often, and says no reason of ours."""
    dead = replace(envelope(FACTS, b"x"), queue=topology.dead_queue(FACTS))
    broker.publish([dead])
    lie(broker, 1)
    (letter,) = DeadLetters(broker, broker).read(FACTS)
    assert ("the broker gave up delivering it", FACTS) == (letter.reason, letter.queue)


def test_equal_letters_have_one_key(broker: Counting) -> None:
    """The same message that died twice is sent or dropped as one."""
    one: Envelope = replace(envelope(FACTS, b"x"), queue=topology.dead_queue(FACTS))
    broker.publish([one, one])
    lie(broker, 2)
    graves = DeadLetters(broker, broker)
    first, second = graves.read(FACTS)
    assert first.key == second.key
    assert 2 == graves.drop(FACTS, among([first.key]))
