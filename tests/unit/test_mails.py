"""Mails: what each kind says, and what can never come through one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from supervision import mails, mails_operator
from supervision.errors import RenderError
from supervision.facts import JobKind, Level, Mail, Supervision, TriggerKind
from supervision.fsm.states import ExecutionStatus, State
from supervision.mails import Incident, MailKind
from supervision.mails_operator import Section

INCIDENT = Incident(
    id="0b5e9a1e-7d53-4d9c-8333-444455556666",
    to="abc@example.org",
    domain="supervision.example.org",
    simulation_uid="5e8f0c1a-2222-4333-8444-555566667777",
    job_uid="9c1d2e3f-aaaa-4bbb-8ccc-ddddeeeeffff",
    sentence="The job failed in period 7 at 03:12 UTC.",
    attempt=2,
    simulation_name="CM5.piControl",
    site="curie",
    login="abc",
    directory="/data/abc/My Config/CM5",
    trigger=TriggerKind.FATAL,
    at=datetime(2026, 1, 2, 3, 12, tzinfo=UTC),
    scheduler_id="4711",
    period=7,
    script="#!/bin/ksh\nprint é\t\x07\n",
    report={"did": "submitted", "deleted": ["out_1850.nc 12 KB", "out_1851.nc 3 KB"]},
    output_tail="first\nlast line\n",
    hold_command="supervision hold simulation:5e8f0c1a",
)
ONE_EACH: dict[MailKind, Callable[[Incident], Mail]] = {
    MailKind.SCRIPT: mails.script_by_mail,
    MailKind.ACTED: mails.acted,
    MailKind.DECLINED: mails.declined,
    MailKind.GAVE_UP: mails.gave_up,
    MailKind.SLOW: mails.slow,
    MailKind.REFUSED: mails.refused,
    MailKind.UNANSWERED: mails.unanswered,
    MailKind.WATCH_OVER: mails.watch_over,
    MailKind.NEW_JOB_CANCELLED: mails.new_job_cancelled,
}
every_kind = pytest.mark.parametrize(("kind", "compose"), ONE_EACH.items())


@every_kind
def test_every_kind_says_what_was_seen_and_of_what(
    kind: MailKind, compose: Callable[[Incident], Mail]
) -> None:
    """Sentence, simulation, job, place and reference are in each mail, the name in its subject."""
    mail = compose(INCIDENT)
    for part in (
        INCIDENT.sentence,
        INCIDENT.simulation_uid,
        INCIDENT.job_uid,
        "curie, login abc",
        "/data/abc/My Config/CM5",
        "fatal, 2026-01-02 03:12 UTC",
        f"{INCIDENT.id}, attempt 2",
    ):
        assert part in mail.text
    assert mail.subject.startswith("[supervision] CM5.piControl ")
    assert f"<{kind}.{INCIDENT.id}.2@supervision.example.org>" == mail.message_id
    assert mail.to == "abc@example.org"


@every_kind
def test_a_repeat_is_the_same_mail(kind: MailKind, compose: Callable[[Incident], Mail]) -> None:
    """Composing twice gives the same mail; another attempt is another mail."""
    assert compose(INCIDENT) == compose(INCIDENT)
    other = compose(replace(INCIDENT, attempt=3))
    assert f"<{kind}.{INCIDENT.id}.3@supervision.example.org>" == other.message_id


@every_kind
def test_a_name_with_a_newline_injects_nothing(
    kind: MailKind, compose: Callable[[Incident], Mail]
) -> None:
    """Newlines and control characters in names end neither a header nor a line of the text."""
    hostile = "X\r\nBcc: all@example.org\x00\x1b[2J\u202e\u2028Y\x85Z\ud800"
    mail = compose(
        replace(INCIDENT, simulation_name=hostile, to=f"abc@example.org{hostile}", id=hostile)
    )
    assert "[supervision] X Bcc: all@example.org[2J Y Z" in mail.subject
    for text in (mail.subject, mail.to, mail.message_id):
        assert not set("\r\n\x00\x1b\u2028\u202e\x85\ud800") & set(text)
    assert not set("\r\x00\x1b\u2028\u202e\x85\ud800") & set(mail.text)
    assert not [line for line in mail.text.splitlines() if line.startswith("Bcc")]
    assert mail.text.encode()
    assert mail.message_id.startswith(f"<{kind}.X--Bcc--all-example.org-")


@every_kind
def test_bare_facts_make_a_mail_too(kind: MailKind, compose: Callable[[Incident], Mail]) -> None:
    """Where nothing but ids is known the text has no holes, and says no None."""
    bare = Incident(
        id="42",
        to="op@example.org",
        domain="example.org",
        simulation_uid="sim-1",
        job_uid="job-1",
        sentence="Nobody knows the site.",
        script="#!/bin/ksh\n",
        directory="/data" if kind is MailKind.SCRIPT else None,
    )
    mail = compose(bare)
    assert "None" not in mail.text
    assert "\n\n\n" not in mail.text
    assert f"<{kind}.42.0@example.org>" == mail.message_id
    assert "sim-1" in mail.subject


def test_the_script_is_attached_byte_for_byte() -> None:
    """A script is never cleaned: what was checked is what the owner gets."""
    expected = (("supervise-0b5e9a1e-2.sh", INCIDENT.script),)
    assert expected == mails.script_by_mail(INCIDENT).attachments


def test_a_script_by_mail_says_how_to_run_and_how_to_stop_it() -> None:
    """The commands can be pasted: a blank in the directory is quoted."""
    text = mails.script_by_mail(INCIDENT).text
    assert "    cd '/data/abc/My Config/CM5'\n    ksh /path/to" in text
    assert "    touch '/data/abc/My Config/CM5/NO_SUPERVISION'\n" in text
    assert "supervision hold simulation:5e8f0c1a" in text


def test_a_directory_that_runs_a_command_is_harmless() -> None:
    """What a shell would run stands inside quotes wherever a command is shown."""
    text = mails.acted(replace(INCIDENT, directory="/data/$(rm -rf ~)")).text
    assert "    touch '/data/$(rm -rf ~)/NO_SUPERVISION'\n" in text


@pytest.mark.parametrize(
    "directory", ["/data/a\nb", "/data/a  b", "/data/\u202eb", "/" + "x" * 900]
)
def test_a_directory_that_cannot_be_shown_is_not_typed(directory: str) -> None:
    """Where the shown command would differ from the meant one, words stand in its place."""
    odd = replace(INCIDENT, directory=directory)
    assert "in the simulation's submission directory" in mails.acted(odd).text
    assert "too odd to be typed" in mails.script_by_mail(odd).text


@pytest.mark.parametrize("missing", [{"script": None}, {"script": ""}, {"directory": None}])
def test_a_script_by_mail_without_script_or_directory_is_an_error(
    missing: dict[str, str | None],
) -> None:
    """Such a mail would help nobody."""
    with pytest.raises(RenderError, match="needs both"):
        mails.script_by_mail(replace(INCIDENT, **missing))  # type: ignore[arg-type]


def test_an_interpreter_that_cannot_be_shown_is_an_error() -> None:
    """A command that is not what it seems is not offered."""
    with pytest.raises(RenderError, match="no command can be shown"):
        mails.script_by_mail(replace(INCIDENT, interpreter="ksh\nrm"))


def test_acted_lists_what_was_deleted_and_submitted() -> None:
    """The owner sees which files are gone and which job to cancel."""
    text = mails.acted(INCIDENT).text
    assert "Deleted, of the failed period 7:\n    out_1850.nc 12 KB\n    out_1851.nc 3 KB\n" in text
    assert "Submitted: job 4711." in text


@pytest.mark.parametrize(
    ("deleted", "expected"),
    [
        (None, "Deleted: nothing."),
        ([], "Deleted: nothing."),
        ("a.nc\nb.nc", "    a.nc\n    b.nc\n"),
        ([f"f{n}" for n in range(75)], "    f59\n    and 15 more\n"),
    ],
)
def test_acted_reads_every_form_of_the_report(
    deleted: str | list[str] | None, expected: str
) -> None:
    """None, a text of lines, or a long list: all are told, and a long one is counted."""
    report: mails.Report = {"deleted": deleted}
    assert expected in mails.acted(replace(INCIDENT, report=report)).text


def test_a_report_is_found_in_the_output() -> None:
    """Where only the output was kept, the script's JSON line is read from it."""
    line = '{"did": "restarted", "period": 7, "deleted": ["a.nc"], "exit": 0}'
    told = replace(INCIDENT, report={}, output_tail=f"x\n{line}\n{{broken\n[1]\nstderr")
    assert "Deleted, of the failed period 7:\n    a.nc\n" in mails.acted(told).text


@pytest.mark.parametrize("output", ["", "{broken", "[1]", '{"other": 1}', "[" * 100_000])
def test_nothing_is_said_of_what_was_not_reported(output: str) -> None:
    """Without a report, the mail does not claim that nothing was deleted."""
    text = mails.acted(replace(INCIDENT, report={}, output_tail=output)).text
    assert "What was deleted was not reported" in text
    assert "Deleted: nothing" not in text


def test_only_the_end_of_a_long_output_is_shown() -> None:
    """Sixty lines at most, indented, so that no line of it reads as the service's own."""
    tail = "\n".join(f"line {n}" for n in range(500)) + "\n\x1b[31mred x"
    lines = mails.gave_up(replace(INCIDENT, output_tail=tail)).text.splitlines()
    assert "    line 441" in lines
    assert "    line 440" not in lines
    assert "    [31mred x" in lines


def test_no_secret_comes_through() -> None:
    """Passwords in URLs and private keys are masked, wherever they were said."""
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----"
    leaky = replace(INCIDENT, sentence="at amqp://u:hunter2@h/", output_tail=f"x\n{key}\ny")
    text = mails.gave_up(leaky).text
    assert "amqp://u:***@h/" in text
    assert "    x\n    ***\n    y\n" in text
    assert "hunter2" not in text
    assert "c2VjcmV0" not in text


def test_letters_of_all_countries_stay() -> None:
    """Names are not reduced to ASCII."""
    mail = mails.declined(replace(INCIDENT, simulation_name="Été-北極", sentence="Déjà terminé."))
    assert "Été-北極" in mail.subject
    assert "Déjà terminé." in mail.text


def test_markup_is_left_as_it_is() -> None:
    """Mails are plain text: nothing is escaped for HTML, and no template is read from a value."""
    text = mails.refused(replace(INCIDENT, sentence="a < b & {{ 7 * 7 }} {% raw %}")).text
    assert "a < b & {{ 7 * 7 }} {% raw %}" in text


def test_an_incident_is_made_from_a_row() -> None:
    """What the row knows is taken over; a row without output gives an empty one."""
    row = Supervision(
        id="id-1",
        simulation_uid="sim",
        job_uid="job",
        decision_id=None,
        site="curie",
        login="abc",
        directory="/data",
        kind=JobKind.COMPUTE,
        trigger=TriggerKind.LATE,
        level=Level.MAIL,
        attempt=4,
        state=State.FORMATTED,
        execution_status=ExecutionStatus.PENDING,
        period=3,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    incident = Incident.about(row, to="a@b", domain="b", sentence="s")
    assert ("id-1", 4, "/data", TriggerKind.LATE, 3, "") == (
        incident.id,
        incident.attempt,
        incident.directory,
        incident.trigger,
        incident.period,
        incident.output_tail,
    )


DAY = date(2026, 1, 2)


def test_the_daily_list_has_a_heading_for_each_matter() -> None:
    """Empty sections are left out, lines are one line each, the subject counts them."""
    mail = mails_operator.daily(
        (
            Section(
                title="Dead letters", advice="Look.", lines=("in-monitoring-9999: not\nJSON", "b")
            ),
            Section(title="Parked logins", advice="Look.", lines=()),
        ),
        day=DAY,
        to="op@example.org",
        domain="example.org",
    )
    assert "Dead letters (2)\nLook.\n\n  - in-monitoring-9999: not JSON\n  - b\n" in mail.text
    assert "Parked" not in mail.text
    assert mail.subject == "[supervision] 2026-01-02: 2 to look at"
    assert mail.message_id == "<daily.2026-01-02.0@example.org>"


def test_a_flood_is_counted_and_not_listed() -> None:
    """Ten thousand lines make a mail that can be read."""
    flood = Section(title="Too old", advice="Look.", lines=tuple(f"job {n}" for n in range(10_000)))
    mail = mails_operator.daily((flood,), day=DAY, to="op@example.org", domain="example.org")
    assert "  - job 199\n    and 9800 more; see: supervision daily\n" in mail.text
    assert "10000 to look at" in mail.subject


def test_a_quiet_day_says_so() -> None:
    """An empty list is not an empty mail."""
    mail = mails_operator.daily((), day=DAY, to="op@example.org", domain="example.org")
    assert mail.text.endswith("\nNothing.\n")
