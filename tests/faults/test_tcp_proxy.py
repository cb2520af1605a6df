"""The network that the faults are made of does what it is told to: reset, half open, slow."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread
from time import monotonic

import pytest

from tests.faults.tcp_proxy import TcpProxy


@pytest.fixture
def echo() -> Iterator[int]:
    """Serve the bytes that come back; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    try:
        while True:
            peer, _ = server.accept()
            Thread(target=_echo, args=(peer,), daemon=True).start()
    except OSError:
        return


def _echo(peer: socket.socket) -> None:
    with peer:
        try:
            while data := peer.recv(100):
                peer.sendall(data)
        except OSError:
            return


@pytest.fixture
def proxy(echo: int) -> Iterator[TcpProxy]:
    """Stand before the echo."""
    with TcpProxy(f"tcp://127.0.0.1:{echo}") as made:
        yield made


def _client(proxy: TcpProxy) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=20)
    made.sendall(b"hello")
    assert b"hello" == made.recv(5)
    return made


def test_a_reset_is_no_farewell(proxy: TcpProxy) -> None:
    """The peer sees an error, where a closed connection would only end."""
    with _client(proxy) as client:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_what_is_cut_ends(proxy: TcpProxy) -> None:
    """The peer sees the end of the stream."""
    with _client(proxy) as client:
        proxy.cut()
        assert b"" == client.recv(1)


def test_half_open_swallows_and_is_reset_in_the_end(proxy: TcpProxy) -> None:
    """What is said meanwhile never comes back; a new connection is not concerned."""
    with _client(proxy) as old:
        silence = Thread(target=proxy.half_open, args=(0.2,))
        silence.start()
        while not proxy.pipes[0].silent:
            pass
        old.sendall(b"anybody?")
        _client(proxy).close()
        with pytest.raises(ConnectionResetError):
            old.recv(1)
        silence.join()


def test_a_slow_link_hands_on_later(proxy: TcpProxy) -> None:
    """There and back, each way its delay."""
    with _client(proxy) as client:
        proxy.delay_seconds = 0.1
        began = monotonic()
        client.sendall(b"x")
        assert b"x" == client.recv(1)
        assert monotonic() - began >= 0.2
