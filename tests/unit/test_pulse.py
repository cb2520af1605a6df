"""Whether loops come round is known, and told to systemd while it is so."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path
from typing import Final

from supervision.adapters.systemd import ServiceManager
from supervision.pulse import Pulse
from supervision.settings import notify_socket
from supervision.testing import FrozenClock

LIMIT: Final = timedelta(seconds=120)


def test_a_loop_that_comes_round_is_not_silent() -> None:
    """Each beat counts anew."""
    clock = FrozenClock()
    pulse = Pulse(clock, LIMIT)
    for _ in range(5):
        pulse.beat("detect")
        clock.advance(LIMIT)
    assert pulse.silent() == []


def test_loops_that_stopped_are_named() -> None:
    """The others are not."""
    clock = FrozenClock()
    pulse = Pulse(clock, LIMIT)
    for name in ("sweep", "format", "detect"):
        pulse.beat(name)
    clock.advance(LIMIT + timedelta(seconds=1))
    pulse.beat("format")
    assert pulse.silent() == ["detect", "sweep"]


def test_systemd_hears_that_the_service_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    """One datagram each, as sd_notify(3) says."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(address))
        manager = ServiceManager(str(address))
        manager.ready("running sweep")
        manager.alive()
        manager.stopping()
        heard = [channel.recv(4096).decode().split("\n")[0] for _ in range(3)]
    assert heard == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_the_abstract_namespace_is_spelt_with_an_at_sign() -> None:
    """So does systemd for its user instances."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0supervision-test-notify")
        ServiceManager("@supervision-test-notify").alive()
        assert channel.recv(4096) == b"WATCHDOG=1"


def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    """Nobody at the address, or no address at all."""
    ServiceManager(str(tmp_path / "nobody")).ready("running")
    ServiceManager(None).alive()


def test_the_environment_names_the_socket() -> None:
    """Only settings read it."""
    assert notify_socket({"NOTIFY_SOCKET": "/run/n"}) == "/run/n"
    assert notify_socket({"NOTIFY_SOCKET": ""}) is None
