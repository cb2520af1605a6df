"""Takes an agent to a centre, over a Line to a bare Python there. Every step may be repeated.

The program that answers there is `hpc_agent/landing.py`; it arrives first, on the Python's stdin.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from supervision.adapters.agent_answers import Finding, findings_of, reply_of
from supervision.adapters.agent_archive import Archive, landing
from supervision.adapters.agent_protocol import Line, Login
from supervision.adapters.agent_values import OUTPUT_LENGTH, cleaned, text_of
from supervision.errors import ProtocolError, Refused

FOLDER: Final = ".supervision-agent"
FILE: Final = "agent.pyz"
_STARTER: Final = (
    'import sys;p=getattr(sys.stdin,"buffer",sys.stdin).read({size});'
    'sys.version_info>=(3,6) or sys.exit("Python 3.6 or later is needed, set agent_python");'
    "exec(p.decode())"
)
_SHORT: Final = 500


def starter() -> str:
    """Give the program text that makes a bare Python take `landing.py` from its stdin.

    It has neither single quotes nor exclamation marks: any login shell passes it on unchanged.
    """
    return _STARTER.format(size=len(landing()))


def command(python: str) -> str:
    """Spell how a login's shell runs the starter."""
    return f"{shlex.quote(python)} -c {shlex.quote(starter())}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What is there before anything is done.

    `home` is the agent's; `seen_from` the address that we came from, empty where it is not told;
    `sha256` that of the agent there, None for none; `journal` whether a home was prepared before.
    """

    host: str
    python: str
    login: str
    home: str
    seen_from: str
    sha256: str | None
    journal: bool

    @property
    def file(self) -> str:
        """Where the agent lies, or will lie."""
        return str(PurePosixPath(self.home) / FOLDER / FILE)


class Installer:
    """The steps of taking an agent to one login. Nothing is changed before `put`.

    `home` is where the agent shall live; None: the login's own home. Raises Refused where this
    credential may run the agent only, ProtocolError for what is no Python, else as the Line does.
    """

    def __init__(self, line: Line, login: Login, home: str | None) -> None:
        self._line = line
        self._login = login
        here = _landed(line.exchange([landing()])[0])
        self._home = home or text_of(here, "home")
        if not PurePosixPath(self._home).is_absolute() or not self._home.isprintable():
            raise Refused(f"the agent's home must be an absolute path, it is {self._home!r:.200}")
        self.found = self._look(here)

    def put(self, archive: Archive) -> None:
        """Have this agent there, whole: digest compared there and here, put in place at once.

        An agent that serves meanwhile goes on with what it has read.
        """
        content = base64.b64encode(archive.content).decode()
        said = self._ask("put", content=content, sha256=archive.sha256)
        if said.get("sha256") != archive.sha256:
            raise ProtocolError(f"the agent there has another digest: {said.get('sha256')!r:.80}")

    def prepare(self, scheduler: str, folder: str | None) -> str:
        """Write settings and key, make the journal unless it is there; gives the journal's id.

        `folder` is where the scheduler's commands are; None: as it was. The key travels on stdin.
        """
        words = ["init", "--home", self._home, "--site", self._login.site]
        words += ["--login", self._login.login, "--scheduler", scheduler]
        words += [] if folder is None else ["--bin", folder]
        done = self._ask("run", arguments=words, stdin=self._login.key.hex())
        if done.get("exit_code") != 0:
            raise Refused(f"the home could not be prepared: {_spoken(done)}")
        return text_of(done, "stdout").strip()

    def examine(self) -> list[Finding]:
        """Have the agent examine itself and its place."""
        done = self._ask("run", arguments=["doctor", "--home", self._home, "--json"])
        try:
            return findings_of({"findings": json.loads(text_of(done, "stdout", OUTPUT_LENGTH))})
        except ValueError as error:
            raise ProtocolError(f"the doctor there said: {_spoken(done)}") from error

    def _look(self, here: Mapping[str, object]) -> Found:
        there = self._ask("look")
        return Found(
            host=text_of(here, "host"),
            python=text_of(here, "python"),
            login=text_of(here, "login"),
            home=self._home,
            seen_from=text_of(here, "seen_from"),
            sha256=text_of(there, "sha256") or None,
            journal=there.get("journal") is True,
        )

    def _ask(self, verb: str, **fields: object) -> dict[str, object]:
        request = json.dumps({"verb": verb, "id": verb, "home": self._home, **fields})
        reply = reply_of(self._line.exchange([request.encode("ascii") + b"\n"])[0])
        if reply.get("id") != verb:
            raise ProtocolError("the answer is not that to what was asked")
        if "error" in reply:
            raise Refused(f"{self._login.login}: {cleaned(str(reply['error']), _SHORT)}")
        return reply


def _landed(line: bytes) -> dict[str, object]:
    """Read the first line out of a Python that has taken `landing.py`, and tell what else it is."""
    try:
        reply = reply_of(line)
    except ProtocolError:
        reply = {}
    if "landing" in reply:
        return reply
    if "error" in reply:
        raise Refused(
            "an agent answered: this credential may run the agent there and nothing else (a "
            "forced command in authorized_keys or in the certificate). To install or upgrade, "
            "name one that may run commands: --credential FILE"
        )
    raise ProtocolError(
        f"what answers there is no Python of ours, it said {line[:200]!r}: remove what prints "
        "in the login's start-up files"
    )


def _spoken(done: Mapping[str, object]) -> str:
    said = text_of(done, "stderr", OUTPUT_LENGTH) or text_of(done, "stdout", OUTPUT_LENGTH)
    return " ".join(said.split())[-_SHORT:] or "nothing"


def serve_command(python: str, found: Found) -> str:
    """Spell the forced command that serves this home."""
    words = (python, found.file, "serve", "--home", found.home)
    return " ".join(map(shlex.quote, words))


def authorized_line(forced: str, public: str, *, source: str) -> str:
    """Spell the line of authorized_keys: this key may run this command, from there, nothing else.

    `source` is a pattern as sshd's `from=` takes it; empty: from anywhere.
    """
    limits = [f'from="{source}"'] if source else []
    quoted = forced.replace("\\", "\\\\").replace('"', '\\"')
    return f'{",".join(["restrict", *limits])},command="{quoted}" {public}'
