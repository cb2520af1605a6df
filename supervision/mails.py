"""Mails to owners and operators: typed values in, `facts.Mail` out, through templates/mail. Pure.

One function a kind. Every value is cleaned by the renderer: one line each, or a block of lines;
control characters, passwords in URLs and private keys never come through.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from supervision.errors import RenderError
from supervision.facts import Mail, Supervision, TriggerKind
from supervision.masking import mask
from supervision.resources import template_root

Report = Mapping[str, str | int | list[str] | None]

_SUBJECT_LIMIT: Final = 150
_LINE_LIMIT: Final = 500
_BLOCK_LIMIT: Final = 60
_HIDDEN: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that a reader cannot see: controls, direction marks, lone surrogates."""


class MailKind(StrEnum):
    """What a mail is about; part of its Message-ID."""

    SCRIPT = "script"
    ACTED = "acted"
    DECLINED = "declined"
    GAVE_UP = "gave-up"
    SLOW = "slow"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    WATCH_OVER = "watch-over"
    NEW_JOB_CANCELLED = "new-job-cancelled"
    CREDENTIAL = "credential"
    DAILY = "daily"
    INCIDENT = "incident"


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """What one mail tells. `id` is the supervision's, or the decision's where there is none.

    `domain` is the sender's, for the Message-ID; `sentence` what was done or decided, `seen` what
    was seen before that; `script` the decoded text; `report` what the script reported, looked for
    in `output_tail` when empty; `at` the time of the trigger, `acted_at` of the act; `hold_command`
    what an operator types to stop the service here.
    """

    id: str
    to: str
    domain: str
    simulation_uid: str
    job_uid: str
    sentence: str
    attempt: int = 0
    simulation_name: str | None = None
    site: str | None = None
    login: str | None = None
    directory: str | None = None
    trigger: TriggerKind | None = None
    at: datetime | None = None
    acted_at: datetime | None = None
    seen: str | None = None
    scheduler_id: str | None = None
    period: int | None = None
    script: str | None = None
    interpreter: str = "ksh"
    report: Report = field(default_factory=dict)
    output_tail: str = ""
    hold_command: str | None = None

    @classmethod
    def about(cls, row: Supervision, *, to: str, domain: str, sentence: str) -> Incident:
        """Take from a supervision's row what it knows; `dataclasses.replace` adds the rest."""
        return cls(
            id=row.id,
            to=to,
            domain=domain,
            simulation_uid=row.simulation_uid,
            job_uid=row.job_uid,
            sentence=sentence,
            attempt=row.attempt,
            site=row.site,
            login=row.login,
            directory=row.directory,
            trigger=row.trigger,
            scheduler_id=row.scheduler_id,
            acted_at=row.acted_at,
            period=row.period,
            output_tail=row.output_tail or "",
        )


def script_by_mail(incident: Incident) -> Mail:
    """Level 1: the script as a file, what was seen, how to run it, how to stop these mails.

    Raises RenderError without a script or a directory: such a mail would help nobody.
    """
    if not incident.script or not incident.directory:
        raise RenderError(
            f"supervision {incident.id}: a mail with a script needs both it and its directory"
        )
    name = f"supervise-{_token(incident.id)[:8]}-{incident.attempt}.sh"
    attached = ((name, incident.script),)
    return _mail(MailKind.SCRIPT, incident, "needs you: a script to restart it", attached)


def acted(incident: Incident) -> Mail:
    """Level 2: what was seen, what was deleted and submitted, how to stop it."""
    told = replace(incident, report=incident.report or _reported(incident.output_tail))
    return _mail(MailKind.ACTED, told, "was restarted")


def declined(incident: Incident) -> Mail:
    """Say in one sentence why the script touched nothing."""
    return _mail(MailKind.DECLINED, incident, "was left alone")


def gave_up(incident: Incident) -> Mail:
    """Tell user or operator that no further attempt follows, and what remains to be done."""
    return _mail(MailKind.GAVE_UP, incident, "could not be restarted")


def slow(incident: Incident) -> Mail:
    """A late job is still queued, running or held: it is slow, and nothing is done."""
    return _mail(MailKind.SLOW, incident, "is late, but not lost")


def refused(incident: Incident) -> Mail:
    """A verdict that the owner should hear: its sentence, and how to ask for a retry."""
    return _mail(MailKind.REFUSED, incident, "is not restarted")


def unanswered(incident: Incident) -> Mail:
    """To the operator: a centre or an attempt has not answered for long, or work is parked."""
    return _mail(MailKind.UNANSWERED, incident, "waits for an answer")


def watch_over(incident: Incident) -> Mail:
    """To the operator: a script acted, no new job was ever seen, and nobody looks any more."""
    return _mail(MailKind.WATCH_OVER, incident, "was restarted, and nothing came of it")


def new_job_cancelled(incident: Incident) -> Mail:
    """The job that a restart submitted was cancelled at the centre: the service stops there."""
    return _mail(MailKind.NEW_JOB_CANCELLED, incident, "was stopped by somebody")


def message_id(kind: MailKind, about: str, attempt: int = 0, *, domain: str) -> str:
    """Name a mail by what it is about, so that a repeat is the same mail: <kind.id.attempt@domain>.

    Characters that no Message-ID may hold become "-".
    """
    return f"<{kind}.{_token(about)}.{attempt}@{_token(domain)}>"


def one_line(value: object) -> str:
    """Make a value fit for one line: whitespace becomes a space, what nobody sees is dropped."""
    line = " ".join("".join(c for c in mask(str(value)) if _visible(c) or c.isspace()).split())
    return line if len(line) <= _LINE_LIMIT else line[: _LINE_LIMIT - 1] + "…"


def _visible(character: str) -> bool:
    return unicodedata.category(character) not in _HIDDEN


class _Block(str):
    """Text that was cleaned line by line and may stand as it is."""

    __slots__ = ()


def _block(text: str) -> _Block:
    """Keep the last lines of an output, indented, so that none of them reads as ours."""
    lines = mask(text).expandtabs().splitlines()[-_BLOCK_LIMIT:]
    seen = ("".join(c for c in line[:_LINE_LIMIT] if _visible(c)) for line in lines)
    return _Block("\n".join(f"    {line}".rstrip() for line in seen))


def _quoted(value: str) -> _Block:
    """Quote a value for a shell command that people copy: what is shown must be what is meant."""
    if not _typeable(value):
        raise RenderError(f"no command can be shown for {value!r}")
    return _Block(shlex.quote(value))


def _typeable(value: str) -> bool:
    return bool(value) and value == one_line(value)


def _finalize(value: object) -> str:
    return value if isinstance(value, _Block) else one_line(value)


def _reported(output: str) -> Report:
    """Find the script's JSON object among its last lines; stderr may have come after it."""
    for line in reversed(output.splitlines()):
        with suppress(ValueError, RecursionError):
            report = json.loads(line)
            if isinstance(report, dict) and "did" in report:
                return report
    return {}


def _listed(value: object) -> list[str]:
    """Read a field of the report that may be a list, a text of lines, or absent."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [] if value is None else str(value).splitlines()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(template_root() / "mail"),
        autoescape=select_autoescape(enabled_extensions=()),
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(block=_block, quoted=_quoted, listed=_listed, when=_when)
    environment.tests["typeable"] = _typeable
    return environment


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def rendered(template: str, values: Mapping[str, object]) -> str:
    """Render a template of templates/mail; raises RenderError for a value that it lacks."""
    try:
        text = _environment().get_template(template).render(values)
    except TemplateError as error:
        raise RenderError(f"{template}: {error}") from error
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _mail(
    kind: MailKind, incident: Incident, what: str, attachments: tuple[tuple[str, str], ...] = ()
) -> Mail:
    name = one_line(incident.simulation_name or incident.simulation_uid)[:_SUBJECT_LIMIT]
    return Mail(
        message_id=message_id(kind, incident.id, incident.attempt, domain=incident.domain),
        to=one_line(incident.to),
        subject=f"[supervision] {name} {what}",
        text=rendered(f"{kind}.txt.j2", {"it": incident, "name": name}),
        attachments=attachments,
    )


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", text) or "-"
