"""One connection to RabbitMQ: how it is asked for, and pika's class made to survive odd frames.

Here alone is pika's inside touched: everything else uses what pika documents.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import structlog
from pika import spec
from pika.adapters.select_connection import SelectConnection
from pika.connection import Parameters, URLParameters
from pika.exceptions import InvalidFieldTypeException, StreamLostError
from pika.frame import Header, decode_frame

from supervision.errors import SettingsError

HEARTBEAT_SECONDS: Final = 20

_URL_FORM: Final = "the broker's URL is not of the form amqp[s]://user:password@host[:port]/vhost"
_UNREADABLE: Final = (
    InvalidFieldTypeException,
    ValueError,
    OverflowError,
    OSError,  # datetime passes on what the C library says of a year beyond its reach
    RecursionError,
    struct.error,
)
_LOG = structlog.get_logger()


def parameters_from(url: str) -> Parameters:
    """Read an AMQP URL; its query may set `heartbeat` and whatever else pika reads there.

    Raises SettingsError without repeating the URL, which holds a password.
    """
    try:
        parameters = URLParameters(url)
        known = urlsplit(url).scheme in {"amqp", "amqps"}
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(_URL_FORM) from error
    if not known:
        raise SettingsError(_URL_FORM)
    if parameters.heartbeat is None:
        parameters.heartbeat = HEARTBEAT_SECONDS
    if parameters.tcp_options is None:
        # The kernel notices a peer that vanished even while we have nothing to say (keepalive),
        # and while it owes us an acknowledgement (user timeout, in milliseconds).
        parameters.tcp_options = {
            "TCP_KEEPIDLE": 30,
            "TCP_KEEPINTVL": 10,
            "TCP_KEEPCNT": 3,
            "TCP_USER_TIMEOUT": 60_000,
        }
    return parameters


class Connection(SelectConnection):
    """pika's connection. The annotations are what its type stubs leave out."""

    frames_received: int
    _frame_buffer: bytes
    _terminate_stream: Callable[[Exception], None]

    def abort(self) -> None:
        """Drop the socket without the goodbye that a dead peer would never answer."""
        self._terminate_stream(StreamLostError("given up while closing"))

    def _read_frame(self) -> tuple[int, object]:
        # A header that Python cannot hold, such as a date in the year 57000, makes pika drop the
        # connection. The message would come again over the next one, and every consumer of the
        # process would lose its connection for ever: it is read without its properties instead.
        try:
            return decode_frame(self._frame_buffer)
        except _UNREADABLE:
            if self._frame_buffer[0] != spec.FRAME_HEADER:
                raise
            _LOG.warning("broker.properties_unreadable")
            return _without_properties(self._frame_buffer)


def _without_properties(buffer: bytes) -> tuple[int, Header]:
    """Read a content header frame, which is complete, as if it had no properties."""
    channel, size = struct.unpack_from(">HL", buffer, 1)
    (body_size,) = struct.unpack_from(">Q", buffer, spec.FRAME_HEADER_SIZE + 4)
    consumed = spec.FRAME_HEADER_SIZE + size + spec.FRAME_END_SIZE
    return consumed, Header(channel, body_size, spec.BasicProperties())
