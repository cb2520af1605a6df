"""The ssh method gssapi-with-mic (RFC 4462) with GSI, which paramiko does not have.

A handler of paramiko's own kind: its `_` methods run in the connection's thread, `prove` in the
caller's. paramiko lets nobody add a method in public: three names of its inside are used, marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Final

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.common import (
    MSG_USERAUTH_GSSAPI_ERROR,
    MSG_USERAUTH_GSSAPI_ERRTOK,
    MSG_USERAUTH_GSSAPI_RESPONSE,
    MSG_USERAUTH_GSSAPI_TOKEN,
    cMSG_USERAUTH_GSSAPI_MIC,
    cMSG_USERAUTH_GSSAPI_TOKEN,
    cMSG_USERAUTH_REQUEST,
)
from paramiko.message import Message

from supervision.adapters.gsi_context import Context
from supervision.adapters.gsi_library import MECHANISM, GsiError, cleaned
from supervision.errors import SiteUnavailable

METHOD: Final = "gssapi-with-mic"
SERVICE: Final = "ssh-connection"
OID: Final = bytes([6, len(MECHANISM)]) + MECHANISM
"""The mechanism as it travels: DER, tag and length included."""


class GsiProof(AuthHandler):
    """Proves to a login node who we are, once; the node has to prove its name first."""

    def __init__(self, client: paramiko.Transport, context: Context) -> None:
        super().__init__(client)
        self._client = client
        self._context = context
        self._proven = False
        self._problem = ""
        self._said = ""

    def prove(self, user: str) -> None:
        """Log in as `user`; blocks until the node has decided or the line is shut.

        Raises paramiko.AuthenticationException when the node refuses the credential, with what it
        says about it, and SiteUnavailable when the node itself is not believed.
        """
        self._client.auth_handler = self
        self.auth_method, self.username = METHOD, user
        self.auth_event = Event()
        with self._client.lock:
            self._request_auth()  # type: ignore[attr-defined]  # inside of paramiko
        try:
            needed = self.wait_for_response(self.auth_event)
        except paramiko.BadAuthenticationType as error:
            offered = cleaned(", ".join(error.allowed_types))
            raise SiteUnavailable(
                f"{self._context.host} does not offer {METHOD} but {offered}: look whether its "
                "port is that of its gsi-ssh"
            ) from error
        except paramiko.AuthenticationException as error:
            raise self._told(error) from error
        if not needed and not self._proven:
            raise SiteUnavailable(f"{self._context.host} let us in without proving its own name")

    @property
    def _client_handler_table(self) -> Mapping[int, Callable[[Message], None]]:
        return {
            **super()._client_handler_table,  # type: ignore[misc]  # inside of paramiko
            MSG_USERAUTH_GSSAPI_RESPONSE: self._chosen,
            MSG_USERAUTH_GSSAPI_TOKEN: self._answered,
            MSG_USERAUTH_GSSAPI_ERROR: self._explained,
            MSG_USERAUTH_GSSAPI_ERRTOK: _ignored,
        }

    def _told(self, error: paramiko.AuthenticationException) -> Exception:
        if self._problem:
            return SiteUnavailable(self._problem)
        return paramiko.AuthenticationException(self._said or str(error))

    def _parse_service_accept(self, _: Message) -> None:
        request = Message()
        request.add_byte(cMSG_USERAUTH_REQUEST)
        for text in (self.username or "", SERVICE, METHOD):
            request.add_string(text)
        request.add_int(1)
        request.add_string(OID)
        self._send(request)

    def _chosen(self, message: Message) -> None:
        if message.get_string() != OID:
            self._give_up("wants another mechanism than GSI")
        else:
            self._step(b"")

    def _answered(self, message: Message) -> None:
        self._step(message.get_string())

    def _step(self, token: bytes) -> None:
        try:
            ours = self._context.step(token)
            if ours:
                self._send(_holding(cMSG_USERAUTH_GSSAPI_TOKEN, ours))
            if self._context.complete:
                about = signed(self._client.session_id or b"", self.username or "")
                code = self._context.sign(about)
                self._proven = True
                self._send(_holding(cMSG_USERAUTH_GSSAPI_MIC, code))
        except GsiError as error:
            self._give_up(
                "is not believed to be that host: look whether its host certificate names it as "
                f"`hosts` does, and compare certificate_directory with the centre's: {error}"
            )

    def _send(self, message: Message) -> None:
        self._client._send_message(message)  # type: ignore[attr-defined]  # noqa: SLF001 inside

    def _explained(self, message: Message) -> None:
        """Keep the node's reason, if it gives one: two numbers, then words."""
        message.get_int()
        message.get_int()
        self._said = cleaned(message.get_string().decode(errors="replace"))

    def _give_up(self, problem: str) -> None:
        self._problem = f"{self._context.host} {problem}"
        self.authenticated = False
        if self.auth_event is not None:
            self.auth_event.set()


def _ignored(_: Message) -> None:
    """Take a last token, which says no more than the refusal that follows it."""


def _holding(kind: bytes, content: bytes) -> Message:
    message = Message()
    message.add_byte(kind)
    message.add_string(content)
    return message


def signed(session_id: bytes, user: str) -> bytes:
    """Spell what the integrity code is about: that this user logs in over this very connection.

    RFC 4462, section 3.5.
    """
    message = Message()
    message.add_string(session_id)
    message.add_byte(cMSG_USERAUTH_REQUEST)
    for text in (user, SERVICE, METHOD):
        message.add_string(text)
    return message.asbytes()
