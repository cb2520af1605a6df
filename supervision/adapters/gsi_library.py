"""The GSI mechanism of the Globus library, by ctypes: loading it, calling it, its words.

What a handshake is: `gsi_context.py`. Nothing here connects or reads a file of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from ctypes import byref, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Final

from supervision.errors import SettingsError

_NAME: Final = "libglobus_gssapi_gsi.so.4"
_ERRORS: Final = 0xFFFF0000  # what else is set in a status is no error: 1 means "go on"
_MECHANISM_CODE: Final = 2
_LONGEST_WORDS: Final = 600
_ENVIRONMENT: Final = {
    # else handshakes of several threads fail now and then
    "GLOBUS_THREAD_MODEL": "pthread",
    # else login-anything.example.org is believed with a certificate for login.example.org
    "GLOBUS_GSSAPI_NAME_COMPATIBILITY": "STRICT_RFC2818",
}

MECHANISM: Final = bytes.fromhex("2b060104019b50010101")
"""GSI with the second kind of integrity checks, 1.3.6.1.4.1.3536.1.1.1; the first one is gone."""


class GsiError(Exception):
    """The library refused; the text is its own, on one line. Never leaves the gsi adapters."""


class Buffer(ctypes.Structure):
    """Bytes on their way into the library (`given`) or out of it (`Library.taken`)."""

    _fields_ = (("length", c_size_t), ("value", c_void_p))
    kept: bytes


class Library:
    """The loaded library. For many threads; nothing is kept in it between two calls.

    `functions` gives its functions by name, as a `ctypes.CDLL` does.
    """

    def __init__(self, functions: ctypes.CDLL) -> None:
        self._functions = functions
        self.mechanism = c_void_p.in_dll(functions, "gss_mech_globus_gssapi_openssl_micv2")
        self.host_based = c_void_p.in_dll(functions, "gss_nt_service_name")

    def call(self, name: str, *arguments: object) -> int:
        """Call a GSSAPI function with all but its first argument; returns the status.

        Raises GsiError with the library's own words.
        """
        minor = c_uint32()
        status = self.function(name, c_uint32)(byref(minor), *arguments)
        if status & _ERRORS:
            raise GsiError(self._words(minor.value))
        return status

    def taken(self, buffer: Buffer) -> bytes:
        """Copy what the library put there, and give its memory back."""
        found = ctypes.string_at(buffer.value, buffer.length) if buffer.value else b""
        self.call("gss_release_buffer", byref(buffer))
        return found

    def function(self, name: str, result: type[c_uint32 | c_void_p] | None) -> Callable[..., int]:
        """Give a function that returns `result`; each call has one of its own."""
        found = self._functions[name]
        found.restype = result
        return found

    def _words(self, minor: int) -> str:
        """Say what a status means, and let go of what the library keeps of it."""
        text, ignored, more = Buffer(), c_uint32(), c_uint32()
        display = self.function("gss_display_status", c_uint32)
        display(byref(ignored), minor, _MECHANISM_CODE, self.mechanism, byref(more), byref(text))
        said = self.taken(text).decode(errors="replace")
        self._forget(minor)
        return cleaned(said.partition(":")[2])

    def _forget(self, minor: int) -> None:
        kept = c_void_p(self.function("globus_error_get", c_void_p)(c_uint32(minor)))
        if kept.value:
            self.function("globus_object_free", None)(kept)


def load(certificate_directory: Path) -> Library:
    """Load the library, which will believe the authorities of this directory. Idempotent.

    It holds for the whole process, and is to be called before there are threads: the library reads
    the C environment, which has no lock. Raises SettingsError when the library is not installed.
    """
    for name, value in {**_ENVIRONMENT, "X509_CERT_DIR": str(certificate_directory)}.items():
        os.putenv(name, value)  # for the library alone: os.environ stays as it is
    try:
        library = Library(ctypes.CDLL(_NAME))
        _begin(library)
    except (OSError, ValueError, AttributeError, GsiError) as error:
        raise SettingsError(
            f"gsi-ssh needs {_NAME}, which cannot be loaded here ({error}): "
            "apt-get install libglobus-gssapi-gsi4, then start the service again"
        ) from error
    return library


def _begin(library: Library) -> None:
    """Have the library start its threads, and undo what else it does then.

    It blocks every signal in the thread that it begins in, and so in all threads and children that
    come later: neither this service nor a script could be ended by a signal any more.
    """
    mechanisms = c_void_p()
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        library.call("gss_indicate_mechs", byref(mechanisms))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)
    library.call("gss_release_oid_set", byref(mechanisms))


def given(content: bytes) -> Buffer:
    """Wrap bytes for the library. They stay where they are as long as the buffer does."""
    buffer = Buffer(len(content), ctypes.cast(ctypes.c_char_p(content), c_void_p))
    buffer.kept = content
    return buffer


def cleaned(text: str) -> str:
    """Put foreign words on one line, printable and not too long."""
    words = " ".join(text.split())
    return "".join(each for each in words if each.isprintable())[:_LONGEST_WORDS] or "no reason"
