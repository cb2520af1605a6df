"""Mails over a real SMTP server on the loopback, into a real Maildir, and into the log."""

from __future__ import annotations

import ipaddress
import mailbox
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from supervision.adapters.smtp import LoggedNotifier, MaildirNotifier, SmtpNotifier
from supervision.errors import MailRefused, MailUnavailable, SettingsError, SupervisionError
from supervision.facts import Mail
from supervision.ports import Notifier
from supervision.settings import MailSettings
from supervision.testing import FrozenClock

NOW = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
SCRIPT = "#!/bin/ksh\n.\nprint 'é'\t\r\n" + "x" * 2000 + "\nFrom here\n"
MAIL = Mail(
    message_id="<acted.0b5e9a1e.2@example.org>",
    to="abc@example.org",
    subject="[supervision] Été was restarted",
    text="Déjà vu.\n.\nFrom the start\n" + "y" * 2000 + "\n",
    attachments=(("supervise-0b5e9a1e-2.sh", SCRIPT),),
)


@dataclass
class Inbox:
    """What the server was given; each command is answered as the test says."""

    answers: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)

    async def handle_EHLO(  # noqa: N802, D102  (aiosmtpd's name)
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, said: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [self.answers["EHLO"]] if "EHLO" in self.answers else said

    async def handle_HELO(  # noqa: N802, D102
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str
    ) -> str:
        session.host_name = hostname
        return self.answers.get("EHLO", "250 OK")

    async def handle_MAIL(  # noqa: N802, D102
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802, D102
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(  # noqa: N802, D102
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        message = message_from_bytes(envelope.content or b"", policy=default)  # type: ignore[arg-type]
        assert isinstance(message, EmailMessage)
        self.received.append((str(envelope.mail_from), envelope.rcpt_tos, message))
        return self.answers.get("DATA", "250 OK")

    async def handle_QUIT(  # noqa: N802, D102
        self, _server: SMTP, _session: Session, _envelope: Envelope
    ) -> str:
        return self.answers.get("QUIT", "221 Bye")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(inbox: Inbox, **options: Any) -> Iterator[MailSettings]:  # noqa: ANN401
    """Run a mail server for the inbox, and give the settings that lead to it."""
    controller = Controller(inbox, hostname="127.0.0.1", port=_free_port(), **options)
    controller.start()
    try:
        yield MailSettings(
            host="127.0.0.1",
            port=controller.port,
            sender="supervision@example.org",
            operator="op@example.org",
            timeout=timedelta(seconds=5),
        )
    finally:
        controller.stop()


def notifier(settings: MailSettings) -> Notifier:
    """Build what the service would use."""
    return SmtpNotifier(settings, clock=FrozenClock(NOW))


def test_a_mail_arrives_whole() -> None:
    """Headers, text, and the script byte for byte; the envelope names one recipient."""
    inbox = Inbox()
    with serving(inbox) as settings:
        notifier(settings).send(MAIL)
    ((sender, recipients, message),) = inbox.received
    assert ("supervision@example.org", ["abc@example.org"]) == (sender, recipients)
    expected = {
        "From": "prodiguer-supervision <supervision@example.org>",
        "To": "abc@example.org",
        "Reply-To": "op@example.org",
        "Subject": MAIL.subject,
        "Message-ID": MAIL.message_id,
        "Date": "Sun, 01 Mar 2026 08:30:00 +0000",
        "Auto-Submitted": "auto-generated",
    }
    assert expected == {name: str(message[name]) for name in expected}
    body = message.get_body()
    assert body is not None
    assert MAIL.text == body.get_content().replace("\r\n", "\n")
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == "supervise-0b5e9a1e-2.sh"
    assert SCRIPT.encode() == attachment.get_payload(decode=True)


def test_one_notifier_sends_many_mails() -> None:
    """Each has a connection of its own; a repeat carries the same Message-ID."""
    inbox = Inbox()
    with serving(inbox) as settings:
        one = notifier(settings)
        threads = [threading.Thread(target=one.send, args=(MAIL,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [MAIL.message_id] * 4 == [message["Message-ID"] for _, _, message in inbox.received]


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        ("RCPT", "550 no such user", MailRefused),
        ("RCPT", "450 mailbox busy", MailUnavailable),
        ("RCPT", "451 greylisted, come back", MailUnavailable),
        ("DATA", "554 spam", MailRefused),
        ("DATA", "452 disk full", MailUnavailable),
        ("MAIL", "552 too large", MailRefused),
        ("MAIL", "421 shutting down", MailUnavailable),
        ("MAIL", "530 login first", MailUnavailable),
        ("EHLO", "554 you are blocked", MailUnavailable),
    ],
)
def test_the_servers_word_decides(
    command: str, answer: str, expected: type[SupervisionError]
) -> None:
    """5xx about the mail is final; 4xx, and whatever concerns the login or us, comes again."""
    with serving(Inbox(answers={command: answer})) as settings:
        with pytest.raises(expected, match=answer) as caught:
            notifier(settings).send(MAIL)
        assert caught.value.__cause__ is not None


def test_a_bad_farewell_does_not_bring_a_mail_back() -> None:
    """After the server took the mail it is sent, whatever QUIT says."""
    inbox = Inbox(answers={"QUIT": "500 what?"})
    with serving(inbox) as settings:
        notifier(settings).send(MAIL)
    assert len(inbox.received) == 1


def test_a_server_that_is_away_is_unavailable() -> None:
    """Nobody listens on the port."""
    settings = MailSettings(host="127.0.0.1", port=_free_port(), timeout=timedelta(seconds=1))
    with pytest.raises(MailUnavailable, match="cannot be used"):
        notifier(settings).send(MAIL)


def _dripping(listener: socket.socket, stop: threading.Event, line: bytes) -> None:
    """Accept one connection and send a byte at a time, for ever: no single read times out."""
    connection, _ = listener.accept()
    with connection:
        while not stop.wait(0.02):
            try:
                connection.sendall(line)
            except OSError:
                return


@pytest.mark.parametrize("line", [b"2", b"220-still thinking\r\n", b""])
def test_a_server_that_never_finishes_is_cut_off(line: bytes) -> None:
    """The deadline holds for the whole mail, not for each read; a silent server meets it too."""
    stop = threading.Event()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        thread = threading.Thread(target=_dripping, args=(listener, stop, line))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        port = listener.getsockname()[1]
        settings = MailSettings(host="127.0.0.1", port=port, timeout=timedelta(seconds=0.3))
        sending = threading.Thread(target=_swallow, args=(notifier(settings),))
        sending.start()
        sending.join(timeout=5)
        assert not sending.is_alive()


def _swallow(one: Notifier) -> None:
    with pytest.raises(MailUnavailable):
        one.send(MAIL)


@dataclass(frozen=True)
class Authority:
    """A certificate for 127.0.0.1 that signs itself, as a server's context and as a file."""

    context: ssl.SSLContext
    ca_file: Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make a key and a certificate that are valid for ever, as far as the test sees."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, ca_file = tmp_path / "server.key", tmp_path / "server.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ca_file, key_file)
    return Authority(context=context, ca_file=ca_file)


def _knows(
    _server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: object
) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data.password == b"hunter2 ok", handled=False)


@pytest.fixture
def guarded(authority: Authority, tmp_path: Path) -> Iterator[tuple[Inbox, MailSettings]]:
    """Run a server that wants TLS and a login, and give settings that satisfy it."""
    inbox = Inbox()
    password = tmp_path / "password"
    password.write_text("hunter2 ok\n")
    password.chmod(0o600)
    options = {"tls_context": authority.context, "require_starttls": True}
    with serving(inbox, **options, authenticator=_knows, auth_required=True) as settings:
        yield (
            inbox,
            replace(
                settings,
                starttls=True,
                ca_file=authority.ca_file,
                user="supervision",
                password_file=password,
            ),
        )


def test_tls_and_login(guarded: tuple[Inbox, MailSettings]) -> None:
    """With its certificate believed and the password right, the mail goes."""
    inbox, settings = guarded
    notifier(settings).send(MAIL)
    assert len(inbox.received) == 1


def _set_password(text: str, mode: int = 0o600) -> Callable[[MailSettings], MailSettings]:
    def change(settings: MailSettings) -> MailSettings:
        assert settings.password_file is not None
        settings.password_file.write_text(text)
        settings.password_file.chmod(mode)
        return settings

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set_password("hunter2 wrong"), "said: 535"),
        (_set_password("hunter2 é"), "ASCII only"),
        (_set_password("hunter2 ok", 0o644), "0644"),
        (lambda it: replace(it, password_file=it.password_file / "gone"), "cannot be read"),
        (lambda it: replace(it, user=None), "said: 530"),
        (lambda it: replace(it, starttls=False), "no password travels in clear"),
        (lambda it: replace(it, ca_file=None), "certificate"),
        (lambda it: replace(it, ca_file=Path("/nonexistent")), "No such file"),
        (lambda it: replace(it, host="localhost"), "certificate"),
    ],
)
def test_what_a_correction_would_cure_is_unavailable(
    guarded: tuple[Inbox, MailSettings],
    change: Callable[[MailSettings], MailSettings],
    words: str,
) -> None:
    """Login, password file and certificate: the mail waits, and no error shows the password."""
    inbox, settings = guarded
    with pytest.raises(MailUnavailable, match=words) as caught:
        notifier(change(settings)).send(MAIL)
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert inbox.received == []


def test_a_server_without_tls_gets_nothing() -> None:
    """Where TLS is asked for and not offered, no mail and no password goes in clear."""
    inbox = Inbox()
    with serving(inbox) as settings, pytest.raises(MailUnavailable, match="STARTTLS"):
        notifier(replace(settings, starttls=True)).send(MAIL)
    assert inbox.received == []


@pytest.mark.parametrize(
    "bad",
    [
        {"to": ""},
        {"to": "nobody"},
        {"to": "éa@example.org"},
        {"to": "a@éxample.org"},
        {"to": "abc@example.org, all@example.org"},
        {"to": "abc@example.org\r\nBcc: all@example.org"},
        {"subject": "a\r\nBcc: all@example.org"},
        {"subject": "a\nb"},
        {"message_id": "<a\n@b>"},
        {"text": "\ud800"},
        {"attachments": (("a.sh", "\ud800"),)},
        {"attachments": (("a\r\nX: y.sh", "ok"),)},
    ],
)
def test_what_no_header_may_hold_is_refused(bad: dict[str, Any]) -> None:
    """No line of a header comes from a name; nothing is sent at all."""
    inbox = Inbox()
    with serving(inbox) as settings, pytest.raises(MailRefused):
        notifier(settings).send(replace(MAIL, **bad))
    assert inbox.received == []


def test_a_notifier_without_a_server_cannot_be_built() -> None:
    """The composition chooses another one."""
    with pytest.raises(SettingsError, match=r"mail\.host"):
        notifier(MailSettings())


def test_a_maildir_holds_each_mail(tmp_path: Path) -> None:
    """Any mail reader opens it; the directory comes with the first mail."""
    directory = tmp_path / "trial" / "mails"
    one: Notifier = MaildirNotifier(directory, sender="s@example.org", clock=FrozenClock(NOW))
    one.send(MAIL)
    one.send(replace(MAIL, message_id="<slow.1.0@example.org>"))
    found = sorted(str(it["Message-ID"]) for it in mailbox.Maildir(directory, create=False))
    assert [MAIL.message_id, "<slow.1.0@example.org>"] == found
    (new, _) = sorted((directory / "new").iterdir())
    message = message_from_bytes(new.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    assert message["To"] == "abc@example.org"


def test_a_maildir_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """A file stands where the directory should be."""
    (tmp_path / "mails").write_text("")
    one = MaildirNotifier(tmp_path / "mails", sender="s@example.org", clock=FrozenClock(NOW))
    with pytest.raises(MailUnavailable, match="mails"):
        one.send(MAIL)


def test_a_maildir_refuses_what_a_server_would(tmp_path: Path) -> None:
    """Trials show the same mistakes."""
    one = MaildirNotifier(tmp_path / "mails", sender="s@example.org", clock=FrozenClock(NOW))
    with pytest.raises(MailRefused):
        one.send(replace(MAIL, subject="a\nb"))
    assert list(tmp_path.iterdir()) == []


def test_without_mail_nothing_is_lost_in_silence() -> None:
    """Subject and recipient are logged, the text is not."""
    with capture_logs() as lines:
        LoggedNotifier().send(MAIL)
    expected = {
        "event": "mail.not_configured",
        "log_level": "warning",
        "to": MAIL.to,
        "subject": MAIL.subject,
        "mail_id": MAIL.message_id,
    }
    assert [expected] == lines
