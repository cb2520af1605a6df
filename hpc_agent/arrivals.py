"""The lines of a session as they arrive: which of them came together, and when it is quiet."""

import io
import select
import time
from typing import Iterator

LINE_LIMIT_BYTES = 2 * 1024 * 1024  # a script of 1 MB in base64, and room for the rest
TOGETHER_SECONDS = 0.1  # half of the starter's pause: it is rung while more and more is accepted
_CHUNK_BYTES = 1024 * 1024
_SOON_SECONDS = 0.005


class Arrivals:
    """What a session is asked. `ended` tells that nothing more will come."""

    def __init__(self, requests: io.BufferedIOBase) -> None:
        """Read from these requests, and nobody else does."""
        self.ended = False
        self._requests = requests
        self._rest = b""

    def together(self) -> Iterator[bytes]:
        """Wait for a line, then give it and those that follow at once; of one without end a part.

        Behind half a line more is under way: it is awaited for a moment, so that submits come
        together. It never goes on for long, however much there is: scripts wait for the end.
        """
        end = time.monotonic() + TOGETHER_SECONDS
        given = False
        while not self.ended:
            chunk = self._requests.read1(_CHUNK_BYTES)
            self.ended = not chunk
            lines = (self._rest + chunk).split(b"\n")
            self._rest = lines.pop()[: LINE_LIMIT_BYTES + 1]
            yield from lines
            given = given or bool(lines)
            if given and (not self._rest or time.monotonic() > end or not self._soon()):
                return
        if self._rest:
            yield self._rest

    def _soon(self) -> bool:
        return bool(select.select([self._requests], [], [], _SOON_SECONDS)[0])
