"""The error tree. The first split is what the caller does: wait and come back, or give up.

SupervisionError
├── Transient                 the same call may succeed later; nothing is lost by waiting
│   ├── DatabaseUnavailable   database gone, deadlock, serialization failure
│   ├── BrokerUnavailable     broker gone, publish not confirmed
│   ├── SiteUnavailable       a centre cannot be reached or does not answer in time
│   └── MailUnavailable       the mail server cannot be reached, or said "later"
└── Permanent                 repeating the call changes nothing
    ├── DecodeError           bytes that are not a message; keeps the bytes
    ├── SettingsError         a mistake in the settings; names file, key and what is allowed
    ├── RenderError           a script or mail cannot be built from these facts
    ├── InvalidValue          an argument that no row may ever hold
    ├── IllegalTransition     the state machine has no such edge
    ├── NotFound              nothing has this id; offers candidates where there are any
    ├── Refused               the service understood and will not do it; says why
    ├── MailRefused           the mail server will never take this mail
    └── ProtocolError         a peer spoke something that is not the agent's protocol
"""

from __future__ import annotations


class SupervisionError(Exception):
    """Root of everything that this service raises on purpose."""


class Transient(SupervisionError):
    """The same call may succeed later; the caller waits, backs off and comes back."""


class DatabaseUnavailable(Transient):
    """The database is away, or refused this transaction in favour of another one."""


class BrokerUnavailable(Transient):
    """The broker is away, or did not confirm that it holds what was published."""


class SiteUnavailable(Transient):
    """A centre's login node cannot be reached, or did not answer within its deadline."""


class MailUnavailable(Transient):
    """The mail server cannot be reached, or asked to come back later."""


class Permanent(SupervisionError):
    """Repeating the call changes nothing; somebody has to be told."""


class DecodeError(Permanent):
    """Bytes that are not a message. `raw` holds them unchanged, for the dead letter."""

    def __init__(self, reason: str, raw: bytes) -> None:
        """Keep the reason as the error's text, and the raw bytes beside it."""
        super().__init__(reason)
        self.raw = raw


class SettingsError(Permanent):
    """A mistake in the settings; the text names the file, the key and what is allowed."""


class RenderError(Permanent):
    """A script or a mail cannot be built from these facts; the text names what is missing."""


class InvalidValue(Permanent):
    """A value that no row may ever hold reached the database's door."""


class IllegalTransition(Permanent):
    """The state machine has no edge for this event from this state."""


class NotFound(Permanent):
    """Nothing has this id; the text offers candidates where there are any."""


class Refused(Permanent):
    """The service understood what was asked and will not do it; the text says why."""


class MailRefused(Permanent):
    """The mail server will never take this mail, whoever sends it again."""


class ProtocolError(Permanent):
    """A peer spoke something that is not the agent's protocol."""
