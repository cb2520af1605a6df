"""A small http server: /metrics, /healthz, /readyz. It only tells, and never holds work up.

Slow, silent and many peers are bounded: a few at once, a few seconds each; who is one too many is
hung up on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Thread
from typing import Any, Final

import structlog

from supervision.errors import SettingsError

_LOG = structlog.get_logger()
_AT_ONCE: Final = 8
_PATIENCE_SECONDS: Final = 5.0
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """An answer."""

    body: bytes
    status: int = 200
    content_type: str = _TEXT


Pages = Mapping[str, Callable[[], Page]]
"""What is told at each path; it raises nothing."""


def sentence(text: str, *, well: bool) -> Page:
    """Answer a question of health with a sentence: 200 when all is well, else 503."""
    return Page(body=f"{text}\n".encode(), status=200 if well else 503)


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE_SECONDS
    server_version = "supervision"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        """Answer with the page, or with 404."""
        page = self._page()
        self._head(page)
        self.wfile.write(page.body)

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self._head(self._page())

    def _page(self) -> Page:
        told = self.server.pages.get(self.path.partition("?")[0])
        if told is None:
            known = ", ".join(self.server.pages)
            return Page(body=f"there is only {known}\n".encode(), status=404)
        return told()

    def _head(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        """Keep quiet: who scrapes every few seconds is no news."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        self.pages = pages
        self._room = BoundedSemaphore(_AT_ONCE)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        _LOG.debug("observe.peer_left", exc_info=True)


class Observatory:
    """The server, listening from its making on."""

    def __init__(self, address: tuple[str, int], pages: Pages) -> None:
        """Listen; raises SettingsError where nobody may or somebody does already."""
        try:
            self._server = _Server(address, pages)
        except (OSError, OverflowError) as error:
            problem = f"observe.address: {address[0]}:{address[1]} cannot be listened at: {error}"
            raise SettingsError(problem) from error
        self._thread = Thread(target=self._server.serve_forever, name="observe", daemon=True)
        self._thread.start()
        _LOG.info("observe.listening", host=address[0], port=self.port)

    @property
    def port(self) -> int:
        """The port that it listens at; of one's choice for port 0."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Listen no more. Who is being answered is not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
