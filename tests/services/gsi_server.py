"""A login node that takes gssapi-with-mic with GSI: paramiko's server, the same Globus library.

A process of its own, started by `gsisshd.py`. Its one argument is a folder with host_key,
host.pem, certificates/ and node.json, which is read anew for each connection.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from ctypes import byref, c_uint32, c_void_p
from pathlib import Path
from threading import Event, Thread
from typing import Any, BinaryIO, Final

import paramiko
from paramiko import common
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message

from supervision.adapters.gsi_authentication import METHOD, OID, signed
from supervision.adapters.gsi_library import Buffer, GsiError, Library, given, load

_ROOT: Final = Path(__file__).parents[2]
_PATIENCE_SECONDS: Final = 20.0
_GO_ON: Final = 1
_CHUNK: Final = 65536
_ERROR_TOKEN: Final = bytes([common.MSG_USERAUTH_GSSAPI_ERRTOK])


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 its log


class Acceptor:
    """The accepting side of one handshake."""

    def __init__(self, library: Library, pem: bytes) -> None:
        self._library = library
        self._handle, self._credential, self._delegated = c_void_p(), c_void_p(), c_void_p()
        self.complete = False
        self.token = b""
        content = byref(given(pem))
        library.call("gss_import_cred", byref(self._credential), None, 0, content, 0, None)

    def step(self, token: bytes) -> None:
        """Take a token; `token` is the answer, also after a GsiError."""
        answer, flags, name = Buffer(), c_uint32(), c_void_p()
        try:
            status = self._library.call(
                *("gss_accept_sec_context", byref(self._handle), self._credential),
                *(byref(given(token)), None, byref(name), None, byref(answer)),
                *(byref(flags), None, byref(self._delegated)),
            )
        finally:
            self.token = self._library.taken(answer)
            if name.value:
                self._library.call("gss_release_name", byref(name))
        self.complete = not status & _GO_ON

    def peer(self) -> str:
        """Name the person on the other side, without the proxies' own names."""
        name, text = c_void_p(), Buffer()
        nothing = [None] * 6
        self._library.call("gss_inquire_context", self._handle, byref(name), *nothing)
        self._library.call("gss_display_name", name, byref(text), byref(c_void_p()))
        self._library.call("gss_release_name", byref(name))
        return self._library.taken(text).decode()

    def verify(self, message: bytes, code: bytes) -> None:
        """Return when the code is about this message; raises GsiError."""
        about, shown = byref(given(message)), byref(given(code))
        self._library.call("gss_verify_mic", self._handle, about, shown, None)

    @property
    def delegated(self) -> bool:
        """Whether a proxy was handed over."""
        return bool(self._delegated.value)

    def close(self) -> None:
        """Give everything back."""
        self._library.call("gss_delete_sec_context", byref(self._handle), None)
        for credential in (self._delegated, self._credential):
            self._library.call("gss_release_cred", byref(credential))


class Desk(AuthHandler):
    """The server's side of RFC 4462; `mode` of node.json makes it err on purpose."""

    def __init__(self, transport: Any, node: Node) -> None:  # noqa: ANN401
        super().__init__(transport)
        self._node = node
        self._over = False
        self.acceptor: Acceptor | None = None

    @property
    def _server_handler_table(self) -> Mapping[int, Callable[[Message], None]]:
        return {
            **super()._server_handler_table,  # type: ignore[misc]
            common.MSG_USERAUTH_REQUEST: self._request,
            common.MSG_USERAUTH_GSSAPI_TOKEN: self._token,
            common.MSG_USERAUTH_GSSAPI_ERRTOK: lambda _: self._result("", passed=False),
            common.MSG_USERAUTH_GSSAPI_MIC: self._mic,
        }

    def _request(self, message: Message) -> None:
        self.auth_username = message.get_text()
        message.get_text()
        method = message.get_text()
        mechanisms = [message.get_string() for _ in range(message.get_int())]
        if self._node.mode == "lax":
            self._result("nobody", passed=True)
        elif self._node.mode == "keys" or method != METHOD or OID not in mechanisms:
            self._result(method, passed=False)
        else:
            chosen = b"\x06\x01\x00" if self._node.mode == "another" else OID
            self.acceptor = Acceptor(self._node.library, self._node.pem)
            self._send(common.cMSG_USERAUTH_GSSAPI_RESPONSE, chosen)

    def _token(self, message: Message) -> None:
        assert self.acceptor is not None
        if self._node.mode == "mute":
            return
        try:
            self.acceptor.step(message.get_string())
        except GsiError as error:
            self._explain(str(error))
            if self.acceptor.token:
                self._send(_ERROR_TOKEN, self.acceptor.token)
            self._result(str(error), passed=False)
            self._over = True
        else:
            if self.acceptor.token:
                self._send(common.cMSG_USERAUTH_GSSAPI_TOKEN, self.acceptor.token)

    def _mic(self, message: Message) -> None:
        assert self.acceptor is not None
        if self._over:
            return  # it was on its way when the login had been refused
        user = self.auth_username or ""
        try:
            about = signed(self.transport.session_id or b"", user)
            self.acceptor.verify(about, message.get_string())
            person = self.acceptor.peer()
        except GsiError as error:
            self._result(str(error), passed=False)
            return
        if self.acceptor.delegated:
            _say(f"Delegated by {person}")
        self._result(person, passed=self._node.gridmap.get(person, {}).get("login") == user)

    def _explain(self, words: str) -> None:
        """Say why, as gsisshd does: two numbers, words, and no language."""
        message = Message()
        message.add_byte(bytes([common.MSG_USERAUTH_GSSAPI_ERROR]))
        message.add_int(0)
        message.add_int(0)
        message.add_string(words)
        message.add_string("")
        self.transport._send_message(message)  # type: ignore[attr-defined]  # noqa: SLF001

    def _result(self, whom: str, *, passed: bool) -> None:
        _say(f"{'Accepted' if passed else 'Refused'} {METHOD} for {self.auth_username}: {whom}")
        result = common.AUTH_SUCCESSFUL if passed else common.AUTH_FAILED
        self._node.person = whom
        self._send_auth_result(self.auth_username, METHOD, result)  # type: ignore[attr-defined]

    def _send(self, kind: bytes, content: bytes) -> None:
        message = Message()
        message.add_byte(kind)
        message.add_string(content)
        self.transport._send_message(message)  # type: ignore[attr-defined]  # noqa: SLF001


class Node(paramiko.ServerInterface):
    """One connection to the node, and what it may do once it is let in: one command."""

    def __init__(self, library: Library, folder: Path) -> None:
        settings = json.loads((folder / "node.json").read_text())
        self.library = library
        self.mode: str = settings["mode"]
        self.gridmap: dict[str, dict[str, str]] = settings["gridmap"]
        self.pem = (folder / "host.pem").read_bytes()
        self.person = ""

    def get_allowed_auths(self, _username: str) -> str:
        """Name the methods; a node of mode keys has others."""
        return "publickey" if self.mode == "keys" else METHOD

    def check_channel_request(self, _kind: str, _chanid: int) -> int:
        """Let every channel be opened."""
        return common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Run the person's command in place of what was asked for, or that where he has none."""
        forced = self.gridmap.get(self.person, {"command": "true"})["command"]
        Thread(target=_run, args=(channel, forced or command.decode()), daemon=True).start()
        return True


class Server(paramiko.Transport):
    """A transport whose logins go through the desk."""

    def __init__(self, sock: socket.socket, node: Node) -> None:
        super().__init__(sock)
        self._node = node
        self.desk = Desk(self, node)

    def _parse_newkeys(self, message: Message) -> None:
        if self.auth_handler is None:
            self.auth_handler = self.desk
        super()._parse_newkeys(message)  # type: ignore[misc]


def _run(channel: paramiko.Channel, command: str) -> None:
    with subprocess.Popen(
        ["/bin/sh", "-c", command],  # as sshd runs a forced command
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        feeder = Thread(target=_feed, args=(channel, process.stdin), daemon=True)
        feeder.start()
        errors = Thread(target=_drain, args=(process.stderr, channel.sendall_stderr))
        errors.start()
        _drain(process.stdout, channel.sendall)
        errors.join()
        code = process.wait()
    channel.send_exit_status(code)
    channel.close()


def _feed(channel: paramiko.Channel, pipe: BinaryIO) -> None:
    try:
        while chunk := channel.recv(_CHUNK):
            pipe.write(chunk)
            pipe.flush()
        pipe.close()
    except OSError:
        _say("a line ended early")


def _drain(pipe: Any, send: Callable[[bytes], None]) -> None:  # noqa: ANN401
    try:
        while chunk := pipe.read1(_CHUNK):
            send(chunk)
    except OSError:
        _say("a line ended early")


def _serve(client: socket.socket, node: Node, key: paramiko.PKey) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = Server(client, node)
    server.add_server_key(key)
    try:
        server.start_server(event=Event(), server=node)
        server.join()
    finally:
        server.close()
        if server.desk.acceptor is not None:
            server.desk.acceptor.close()


def main() -> None:
    """Listen until killed."""
    folder = Path(sys.argv[1])
    library = load(folder / "certificates")
    key = paramiko.PKey.from_path(folder / "host_key")
    address, port = json.loads((folder / "node.json").read_text())["listens"]
    with socket.create_server((address, port)) as listener:
        _say(f"Server listening on {address}")
        while True:
            client, _ = listener.accept()
            _say("Connection from a client")
            Thread(target=_serve, args=(client, Node(library, folder), key), daemon=True).start()


if __name__ == "__main__":
    main()
