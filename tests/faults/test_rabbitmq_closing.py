"""Closing while the connection is still being made: commands that refuse something do so."""

from __future__ import annotations

from threading import Event

import pytest

from supervision.adapters.rabbitmq import RabbitBroker
from supervision.adapters.system import SystemClock
from supervision.errors import BrokerUnavailable
from supervision.testing import SeededIds
from tests.contract.broker_kit import envelope

_NEVER = Event()


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032])
def test_a_broker_may_be_closed_at_any_moment(amqp_url: str, pause: float) -> None:
    """Its thread ends well, and what is asked afterwards is refused.

    A thread that dies of an error is an error of the test: pytest watches them.
    """
    made = RabbitBroker(amqp_url, ids=SeededIds(), clock=SystemClock())
    _NEVER.wait(pause)
    made.close()
    with pytest.raises(BrokerUnavailable):
        made.publish([envelope()])
