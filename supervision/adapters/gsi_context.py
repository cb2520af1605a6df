"""One GSI handshake: our credential on one side, a login node's host certificate on the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ctypes import byref, c_uint32, c_void_p
from threading import Lock
from types import TracebackType
from typing import Final, Self

from supervision.adapters.gsi_library import Buffer, GsiError, Library, given

_DELEGATE: Final = 1
_MUTUAL: Final = 2
_INTEGRITY: Final = 32
_GO_ON: Final = 1
_PROOFS: Final = _MUTUAL | _INTEGRITY


class Context:
    """The initiating side. Lend it with `with`: its end gives back all that the library keeps.

    `pem` is the credential itself: no file, and no variable of the environment. `host` is the name
    that the node's certificate must carry. Safe for two threads: after `close` nothing is done
    any more, so that a handshake that comes too late touches no memory that is gone.
    """

    def __init__(self, library: Library, *, pem: bytes, host: str, delegate: bool) -> None:
        self._library = library
        self._wanted = _PROOFS | (_DELEGATE if delegate else 0)
        self._lock = Lock()
        self._closed = False
        self._handle, self._credential, self._name = c_void_p(), c_void_p(), c_void_p()
        self.host = host
        self.complete = False
        with ExitStack() as stack:
            stack.callback(self.close)
            self._import(pem, f"host@{host}")
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def step(self, token: bytes) -> bytes:
        """Take the other side's token (b"" to begin), give ours; `complete` tells the end.

        Raises GsiError when the other side is not believed, or does not believe us.
        """
        with self._opened():
            answer, flags = Buffer(), c_uint32()
            try:
                status = self._initiate(given(token), answer, flags)
            finally:
                ours = self._library.taken(answer)
            if not status & _GO_ON:
                if flags.value & _PROOFS != _PROOFS:
                    raise GsiError("the host did not prove who it is")
                self.complete = True
            return ours

    def sign(self, message: bytes) -> bytes:
        """Give the integrity code of a message; only when `complete`."""
        with self._opened():
            code = Buffer()
            self._library.call("gss_get_mic", self._handle, 0, byref(given(message)), byref(code))
            return self._library.taken(code)

    def close(self) -> None:
        """Give everything back. Idempotent; waits for a step that is under way."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release()

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise GsiError("the handshake was given up")
            yield

    def _release(self) -> None:
        release = self._library.call
        # What the library refuses to take back cannot be given back in any other way.
        with suppress(GsiError):
            release("gss_delete_sec_context", byref(self._handle), None)
        with suppress(GsiError):
            release("gss_release_cred", byref(self._credential))
        if self._name.value:  # of a name that there is not the library says that it is an error
            release("gss_release_name", byref(self._name))

    def _import(self, pem: bytes, target: str) -> None:
        lifetime = c_uint32()
        self._library.call(
            *("gss_import_cred", byref(self._credential), None, 0),
            *(byref(given(pem)), 0, byref(lifetime)),
        )
        self._library.call(
            *("gss_import_name", byref(given(target.encode()))),
            *(self._library.host_based, byref(self._name)),
        )

    def _initiate(self, theirs: Buffer, ours: Buffer, flags: c_uint32) -> int:
        library, lifetime = self._library, c_uint32()
        return library.call(
            *("gss_init_sec_context", self._credential, byref(self._handle), self._name),
            *(library.mechanism, self._wanted, 0, None, byref(theirs)),
            *(None, byref(ours), byref(flags), byref(lifetime)),
        )
