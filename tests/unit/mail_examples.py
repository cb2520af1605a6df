"""One mail of each kind, as docs/mails.md shows them. Names and logins are made up.

To write the page's examples anew: `python -m tests.unit.mail_examples docs/mails.md`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from supervision import mails, mails_incidents, mails_operator
from supervision.facts import Credential, Mail, TriggerKind
from supervision.mails import Incident
from supervision.mails_incidents import Told
from supervision.mails_operator import Section

_ABOUT: Final = Incident(
    id="2f47b2b5-8f3c-4d59-9d0e-6c1d5b3a9f10",
    to="abc@example.org",
    domain="example.org",
    simulation_uid="71105649-17e8-491a-8f8f-4ee26a22524d",
    job_uid="3195c4c1-2278-4fd3-9c97-19091a26e3b6",
    sentence="the script was executed, period 7 begins again, as job 41300.",
    seen=(
        "job 3195c4c1-2278-4fd3-9c97-19091a26e3b6 failed (2026-01-15 03:12:40 UTC); "
        "it is restarted, as abc at curie."
    ),
    attempt=1,
    simulation_name="CPL01",
    site="curie",
    login="abc",
    directory="/ccc/work/abc/IPSLCM6/CPL01",
    trigger=TriggerKind.FATAL,
    at=datetime(2026, 1, 15, 3, 12, 40, tzinfo=UTC),
    acted_at=datetime(2026, 1, 15, 3, 23, 1, tzinfo=UTC),
    scheduler_id="41300",
    period=7,
    report={"did": "restarted", "deleted": ["1.2 GB OUT/ATM/CPL01_18500701_histmth.nc"]},
    output_tail="period 7 is cleaned\nsubmitted as job 41300\n",
    hold_command="supervision hold simulation:71105649-17e8-491a-8f8f-4ee26a22524d --reason 'why'",
)
_UNTOUCHED: Final = replace(
    _ABOUT, acted_at=None, scheduler_id="41234", report={}, output_tail="", seen=None
)
_TO_OPERATOR: Final = "operators@example.org"
_CERTIFICATE: Final = Credential(
    site="curie",
    login="abc",
    path="/srv/keys/abc-cert.pub",
    mark="0" * 64,
    expires_at=datetime(2026, 1, 22, 12, 0, tzinfo=UTC),
)
_STORM: Final = Told(
    id="9d0e6c1d-5b3a-4f10-8f3c-4d592f47b2b5",
    to="abc@example.org",
    domain="example.org",
    site="curie",
    opened_at=datetime(2026, 1, 15, 3, 12, tzinfo=UTC),
    simulations=42,
    window=timedelta(minutes=10),
    waiting=42,
    closed_by=None,
    reason=None,
)
_UNKNOWN: Final = (
    "CPL02 (6d773248-70eb-4a49-8ede-2590b18b68f3), xyz at TGCC/curie, 3 jobs: no consent of 'xyz' "
    "at curie to be helped is recorded."
)
_SECTIONS: Final = (
    Section(
        title="Failures of users at level 0, and of unknown users",
        advice="Nothing was done. Whoever wants help tells you the level to record.",
        lines=(_UNKNOWN,),
    ),
    Section(
        title="Parked logins",
        advice=(
            "Their work waits for a new credential; see: supervision doctor. One that was refused "
            "is shown again after: supervision release credential:SITE/LOGIN --reason ..."
        ),
        lines=("curie/abc: its credential expired at 2026-01-22 12:00 UTC",),
    ),
)


def _why(sentence: str, *, to: str = "abc@example.org") -> Incident:
    return replace(_UNTOUCHED, sentence=sentence, to=to)


def examples() -> Mapping[str, Mail]:
    """Compose them all, by the name of their kind."""
    waiting = "site:curie is on hold since 2026-01-15 03:30:00 UTC by ops: maintenance."
    running = "job 41234 is running, an hour later than the time that it asked for."
    failed = "job 3195c4c1-2278-4fd3-9c97-19091a26e3b6 failed (2026-01-15 03:12:40 UTC)"
    gets = f"{failed}; its owner gets the script by mail, as abc at curie."
    script = replace(_UNTOUCHED, sentence=gets, script="#!/bin/ksh\n")
    return {
        "script": mails.script_by_mail(script),
        "acted": mails.acted(_ABOUT),
        "declined": mails.declined(_why("another job CPL01 is queued as 41301 (exit code 15)")),
        "gave-up": mails.gave_up(_why("libIGCM is not found: set libigcm (exit code 60)")),
        "slow": mails.slow(_why(running)),
        "refused": mails.refused(_why("period 7 failed before, under another job.")),
        "new-job-cancelled": mails.new_job_cancelled(
            replace(_ABOUT, sentence="the new job was cancelled by its owner")
        ),
        "incident": mails_incidents.to_user(_STORM, "abc", [(_ABOUT.simulation_uid, "CPL01")]),
        "incident-operator": mails_incidents.to_operator(replace(_STORM, to=_TO_OPERATOR)),
        "unanswered": mails.unanswered(_why(waiting, to=_TO_OPERATOR)),
        "watch-over": mails.watch_over(
            replace(
                _ABOUT, sentence="the script acted, but no new job was ever seen", to=_TO_OPERATOR
            )
        ),
        "credential": mails_operator.expiring(
            _CERTIFICATE,
            now=datetime(2026, 1, 15, 12, 0, tzinfo=UTC),
            about="credential.curie.abc.0000000000000000.604800",
            to=_TO_OPERATOR,
            domain="example.org",
        ),
        "daily": mails_operator.daily(
            _SECTIONS, day=date(2026, 1, 23), to=_TO_OPERATOR, domain="example.org"
        ),
    }


def shown(mail: Mail) -> str:
    """Spell a mail as the page shows it."""
    attached = "".join(f"Attachment: {name}\n" for name, _ in mail.attachments)
    return f"To: {mail.to}\nSubject: {mail.subject}\n{attached}\n{mail.text}"


def written(page: str) -> str:
    """Put each example between its marks in the page."""
    for name, mail in examples().items():
        marks = re.compile(rf"(<!-- example: {name} -->\n```text\n).*?(```\n)", re.DOTALL)
        text = shown(mail)
        page = marks.sub(lambda found, text=text: found[1] + text + found[2], page)  # type: ignore[misc]
    return page


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text()))
