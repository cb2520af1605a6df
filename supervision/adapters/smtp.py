"""The Notifier port: by SMTP, into a Maildir, or, where no mail is set up, into the log.

Errors of smtplib, ssl and the file system end here. What concerns only this mail is MailRefused;
what a correction of the server or of the settings would cure is MailUnavailable: the mail waits.
"""

from __future__ import annotations

import mailbox
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from threading import Timer
from typing import Final, Protocol

import structlog

from supervision.errors import MailRefused, MailUnavailable, SettingsError
from supervision.facts import Mail
from supervision.ports import Clock

_PERMANENT: Final = 500
_LOGIN_CODES: Final = {530, 534, 535, 538}
"""5xx that speak of the login and not of the mail: a corrected password cures them."""
_NOT_OF_THE_MAIL: Final = (
    smtplib.SMTPConnectError,
    smtplib.SMTPHeloError,
    smtplib.SMTPAuthenticationError,
)
_ANSWER_LIMIT: Final = 300
_LOG: Final = structlog.get_logger()


class MailServer(Protocol):
    """What must be known of a mail server; the settings' mail table has this shape."""

    @property
    def host(self) -> str | None:
        """Name or address; None where there is no server."""

    @property
    def port(self) -> int:
        """TCP port, 25 or 587 as a rule."""

    @property
    def sender(self) -> str:
        """Address that mails come from."""

    @property
    def operator(self) -> str | None:
        """Address that answers go to."""

    @property
    def starttls(self) -> bool:
        """Whether nothing is said before TLS."""

    @property
    def user(self) -> str | None:
        """Login at the server; None for none."""

    @property
    def ca_file(self) -> Path | None:
        """Who signs the server's certificate; None for the system's list."""

    @property
    def timeout(self) -> timedelta:
        """Hard deadline of one mail, counted from the connection; a connection's own limit too."""

    def password(self) -> str:
        """Read the user's password anew; may raise SettingsError."""


class SmtpNotifier:
    """Hands mails to a mail server, one connection each. Safe for many threads.

    At least once: where the server's last word was lost, the mail counts as unavailable and comes
    again with its Message-ID. Never logs in without TLS, nor without a verified certificate.
    """

    def __init__(self, server: MailServer, *, clock: Clock) -> None:
        if server.host is None:
            raise SettingsError("mail.host: is missing: there is no server to send mails to")
        self._host = server.host
        self._server = server
        self._clock = clock

    def send(self, mail: Mail) -> None:
        """Deliver one mail within the server's timeout; raises as the port says."""
        message = _composed(mail, self._server.sender, self._clock)
        if self._server.operator is not None:
            message["Reply-To"] = self._server.operator
        with _translated(), self._session() as client:
            # Flattened here: smtplib's own way writes ">From" where a line begins with "From".
            client.sendmail(self._server.sender, [mail.to], message.as_bytes())

    def greet(self) -> None:
        """Say hello, log in where a user is set, and leave; raises as `send` does."""
        with _translated(), self._session() as client:
            client.noop()

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        client = _Client(
            self._host,
            self._server.port,
            # Our own name by DNS may take minutes to learn; the sender's domain is known.
            local_hostname=self._server.sender.rpartition("@")[2],
            timeout=self._server.timeout.total_seconds(),
        )
        try:
            self._introduce(client)
            yield client
            # The mail is the server's by now: a bad farewell does not bring it back.
            with suppress(smtplib.SMTPException, OSError):
                client.quit()
        finally:
            client.close()

    def _introduce(self, client: smtplib.SMTP) -> None:
        if self._server.starttls:
            client.starttls(context=ssl.create_default_context(cafile=self._server.ca_file))
        client.ehlo_or_helo_if_needed()
        if self._server.user is not None:
            client.login(self._server.user, self._password())

    def _password(self) -> str:
        if not self._server.starttls:
            raise MailUnavailable("no password travels in clear: set mail.starttls")
        try:
            password = self._server.password()
        except SettingsError as error:
            raise MailUnavailable(str(error)) from error
        if not password.isascii():
            # smtplib would fail with an error that holds the password.
            raise MailUnavailable("mail.password_file: the mail protocol allows ASCII only")
        return password


class MaildirNotifier:
    """Writes mails into a Maildir, which any mail reader opens: for trials without a server.

    The directory comes into being with the first mail. A repeat is a second file with the same
    Message-ID. Safe for many threads and processes.
    """

    def __init__(self, directory: Path, *, sender: str, clock: Clock) -> None:
        self._directory = directory
        self._sender = sender
        self._clock = clock

    def send(self, mail: Mail) -> None:
        """Write one mail to `new/`; raises MailUnavailable while the disk does not take it."""
        message = _composed(mail, self._sender, self._clock)
        try:
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            mailbox.Maildir(self._directory, create=True).add(message)
        except OSError as error:
            raise MailUnavailable(f"{self._directory}: {error.strerror or error}") from error


class LoggedNotifier:
    """Stands in where no mail is set up: each mail is logged as not sent, without its text."""

    def send(self, mail: Mail) -> None:
        """Log subject and recipient as a warning; never raises."""
        _LOG.warning(
            "mail.not_configured", to=mail.to, subject=mail.subject, mail_id=mail.message_id
        )


class _Client(smtplib.SMTP):
    """An SMTP client that a timer cuts off: smtplib's own timeout holds for each read alone."""

    _line: socket.socket | None = None
    _timer: Timer | None = None

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        made = socket.create_connection((host, port), timeout)
        # A second handle on the connection, for TLS will take the first one away.
        self._line = made.dup()
        self._timer = Timer(timeout, _cut, [self._line])
        self._timer.daemon = True
        self._timer.start()
        return made

    def close(self) -> None:
        """End the connection and its timer. Idempotent."""
        super().close()
        if self._timer is not None and self._line is not None:
            self._timer.cancel()
            self._timer.join()
            self._line.close()


def _cut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        code, answer = next(iter(error.recipients.values()))
        raise _failure(code, answer) from error
    except _NOT_OF_THE_MAIL as error:
        raise MailUnavailable(_said(error.smtp_code, error.smtp_error)) from error
    except smtplib.SMTPResponseException as error:
        raise _failure(error.smtp_code, error.smtp_error) from error
    except (smtplib.SMTPException, OSError) as error:
        raise MailUnavailable(f"the mail server cannot be used: {error}") from error


def _failure(code: int, answer: bytes | str) -> MailRefused | MailUnavailable:
    final = code >= _PERMANENT and code not in _LOGIN_CODES
    return (MailRefused if final else MailUnavailable)(_said(code, answer))


def _said(code: int, answer: bytes | str) -> str:
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    return f"the mail server said: {code} {' '.join(text.split())[:_ANSWER_LIMIT]}"


def _composed(mail: Mail, sender: str, clock: Clock) -> EmailMessage:
    """Build the message; what no header may hold makes it a refused one."""
    message = EmailMessage(policy=SMTP)
    if not mail.to.isascii():
        raise MailRefused(f"{mail.to!r} is no address that every mail server knows: not ASCII")
    try:
        message["From"] = Address("prodiguer-supervision", addr_spec=sender)
        message["To"] = Address(addr_spec=mail.to)
        message["Subject"] = mail.subject
        message["Message-ID"] = mail.message_id
        message["Date"] = format_datetime(clock.now())
        # Absence notes and other machines do not answer a machine (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text, cte="quoted-printable")
        _attach(message, mail.attachments)
    except (ValueError, MessageError, IndexError) as error:
        raise MailRefused(f"no mail can be made for {mail.to!r}: {error}") from error
    return message


def _attach(message: EmailMessage, attachments: tuple[tuple[str, str], ...]) -> None:
    # As bytes in base64: not one byte of a script changes on its way.
    for name, text in attachments:
        subtype = "x-shellscript" if name.endswith(".sh") else "plain"
        message.add_attachment(text.encode(), maintype="text", subtype=subtype, filename=name)
