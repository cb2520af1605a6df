"""The sandbox's values: cards, plans, messages, names. No processes here."""

from __future__ import annotations

import base64
import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from supervision import settings
from supervision.errors import NotFound, Refused
from supervision.facts import Level, Mode, Silence
from supervision.sandbox import cards, emission, mail, plans, toml
from supervision.sandbox.cards import RunCard
from supervision.sandbox.centre import Centre, Pace, check_name, open_centre
from supervision.sandbox.emission import Voice, Words
from supervision.sandbox.keeper import request
from supervision.sandbox.plans import Fault, FaultKind, Generation, Plan
from supervision.sandbox.spool import Record

SIMULATION = "6513270e-269e-4d37-b2a7-4de452e6b438"
JOB = "d23f0824-128b-4f33-8c5c-7fd0a6a3a450"
WHEN = 1_426_668_528_902_943_114


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    """A centre that was never furnished, in a directory whose name is no plain word."""
    root = tmp_path / 'a "centre" of mine'
    for name in ("spool", "plans"):
        (root / name).mkdir(parents=True)
    values = Centre(
        root=root, login="anne", python="/usr/bin/python3", package="/lib", ingest=("x",)
    )
    values.save()
    return values


def a_plan(*faults: Fault, periods: int = 4) -> Plan:
    """A plan of four periods with these faults."""
    return Plan(name="demo", uid=SIMULATION, periods=periods, faults=faults)


def test_a_centre_reads_back_what_it_saved(centre: Centre) -> None:
    """The centre's own commands see exactly the values that it was made with."""
    assert centre == open_centre(centre.root)


def test_a_pace_survives_the_file(centre: Centre) -> None:
    """The pauses come back as the tuple that they were."""
    assert Pace() == open_centre(centre.root).pace


def test_a_directory_without_settings_is_no_centre(tmp_path: Path) -> None:
    """Any other directory is refused by name."""
    with pytest.raises(NotFound, match="is no sandbox centre"):
        open_centre(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pace": 3}', '{"ingest": ["x"], "pace": {}}'])
def test_damaged_settings_are_refused(centre: Centre, text: str) -> None:
    """A settings file that was cut or mangled is named."""
    (centre.root / "sandbox.json").write_text(text)
    with pytest.raises(Refused, match="damaged"):
        open_centre(centre.root)


@pytest.mark.parametrize("name", ["demo", "CPL6V5.10x00F", "_x", "7", "a-b_c.d", "n" * 64])
def test_a_plain_name_is_given_back(name: str) -> None:
    """Names as libIGCM's users choose them are fine."""
    assert name == check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "-x", "a/b", "a b", "a\n", "$(touch x)", "é", "`id`", "../up", "n" * 65],
)
def test_a_hostile_name_is_refused_with_what_is_allowed(name: str) -> None:
    """A name becomes part of paths and scripts, so that only harmless ones pass."""
    with pytest.raises(Refused, match="allowed are 1 to 64"):
        check_name(name)


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        (1, "1850-01-01", "1850-01-31"),
        (2, "1850-02-01", "1850-02-28"),
        (12, "1850-12-01", "1850-12-31"),
        (13, "1851-01-01", "1851-01-31"),
    ],
)
def test_periods_are_months_without_leap_days(period: int, first: str, last: str) -> None:
    """A period's days follow from its number alone."""
    assert (first, last) == cards.period_dates(period)


def test_a_run_card_reads_back(tmp_path: Path) -> None:
    """What the job writes is what every reader gets."""
    card = RunCard(period=3, state="Running", simulation_uid=SIMULATION, submit_path="/w/demo")
    cards.write_run_card(tmp_path / "run.card", card)
    assert card == cards.read_run_card(tmp_path / "run.card")


def test_a_rewritten_run_card_leaves_the_old_one_beside_it(tmp_path: Path) -> None:
    """The owner can put back the last card that was whole."""
    card = RunCard(period=1, state="Start", simulation_uid=SIMULATION, submit_path="/w")
    later = RunCard(period=2, state="Running", simulation_uid=SIMULATION, submit_path="/w")
    cards.write_run_card(tmp_path / "run.card", card)
    cards.write_run_card(tmp_path / "run.card", later)
    assert card == cards.read_run_card(tmp_path / "run.card.old")


def test_no_run_card_is_none(tmp_path: Path) -> None:
    """Absent is something else than damaged."""
    assert cards.read_run_card(tmp_path / "run.card") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[Configuration]\n",
        "[Configuration]\nCumulPeriod= x\nPeriodState= Running\nsimuid= 1\nSubmitPath= /\n",
        "CumulPeriod= 3\nPeriodState= Running\nsimuid= 1\nSubmitPath= /\n",
        "\x00\x01\x02",
    ],
)
def test_a_damaged_run_card_is_refused(tmp_path: Path, text: str) -> None:
    """Empty, cut, without its section, or not text at all: never half understood."""
    (tmp_path / "run.card").write_text(text)
    with pytest.raises(Refused, match="damaged"):
        cards.read_run_card(tmp_path / "run.card")


def test_cards_know_comments_quotes_and_spaces() -> None:
    """Cards are written by hand too."""
    text = '# one\n[ A ]\n[UserChoices]\n # two\nLongName = "a = b"\nJobName=x\n\nnoise\n'
    expected = {" A ": {}, "UserChoices": {"LongName": "a = b", "JobName": "x"}}
    assert expected == cards.parse(text)


def test_a_fault_is_a_kind_and_a_period() -> None:
    """The command line's spelling."""
    assert Fault(kind=FaultKind.ERROR, period=3) == plans.parse_fault("error:3")


@pytest.mark.parametrize(
    "text", ["", "error", "error:", "error:x", "error:-1", "Error:3", "boom:1"]
)
def test_a_misspelt_fault_is_answered_with_what_is_allowed(text: str) -> None:
    """The kinds are named in the refusal."""
    with pytest.raises(Refused, match="KIND is one of error, silent"):
        plans.parse_fault(text)


@pytest.mark.parametrize("period", [0, 5])
def test_a_fault_outside_the_simulation_is_refused(period: int) -> None:
    """A fault that can never happen is a mistake of whoever asked for it."""
    with pytest.raises(Refused, match="none of the periods 1 to 4"):
        a_plan(Fault(kind=FaultKind.NAN, period=period))


def test_a_simulation_has_at_least_one_period() -> None:
    """No periods, no simulation."""
    with pytest.raises(Refused, match="at least 1 period"):
        a_plan(periods=0)


def test_a_plan_reads_back(centre: Centre) -> None:
    """Faults and generation come back as what they were, not as plain text."""
    plan = a_plan(Fault(kind=FaultKind.SILENT, period=2), Fault(kind=FaultKind.POST, period=4))
    plans.save(centre, plan)
    assert plan == plans.load(centre, "demo")


def test_a_name_means_one_simulation(centre: Centre) -> None:
    """A second plan of the same name would hide the first one's."""
    plans.save(centre, a_plan())
    with pytest.raises(Refused, match="there already"):
        plans.save(centre, a_plan())


def test_an_unknown_name_is_answered_with_those_that_there_are(centre: Centre) -> None:
    """A typing error is found at once."""
    plans.save(centre, a_plan())
    with pytest.raises(NotFound, match="there are: demo"):
        plans.load(centre, "dema")


@pytest.mark.parametrize(
    ("kind", "expected"), [(FaultKind.ERROR, [True, False]), (FaultKind.NAN, [True, True])]
)
def test_only_nan_strikes_twice(centre: Centre, kind: FaultKind, expected: list[bool]) -> None:
    """Every other fault is transient: the second time the period works."""
    fault = Fault(kind=kind, period=3)
    plan = a_plan(fault)
    assert expected == [plans.happens(centre, plan, fault) for _ in range(2)]


def test_the_planned_identity_is_given_once(centre: Centre) -> None:
    """A simulation that loses its run.card is somebody else afterwards."""
    assert [True, False] == [plans.first_birth(centre, a_plan()) for _ in range(2)]


def test_a_stamp_has_nine_decimals_and_an_offset_without_colon() -> None:
    """The form that every real mail of 2015 has."""
    assert re.fullmatch(r"2015-03-18T\d\d:48:48\.902943114[+-]\d{4}", emission.stamp(WHEN))


def test_an_announcement_of_generation_b_has_the_keys_of_the_real_mails() -> None:
    """`cumulPeriod` stands after the name, the identity after the machine."""
    voice = Voice(generation=Generation.B, simulation_uid=SIMULATION, job_uid=JOB)
    words = Words(announced={"activity": "IPSL", "name": "demo", "experiment": "piControl"})
    expected = (
        "msgApplication msgProducer activity name cumulPeriod experiment "
        "simuid jobuid msgCode msgUID msgTimestamp"
    )
    assert expected == " ".join(emission.message(voice, "0000", words, nanoseconds=WHEN))


def test_a_failed_command_of_generation_b_has_the_keys_of_the_real_mails() -> None:
    """Own fields stand between msgUID and msgTimestamp."""
    voice = Voice(generation=Generation.B, simulation_uid=SIMULATION, job_uid=JOB)
    words = Words(told={"nesting": "0", "command": "IGCM_sys_SendMail"})
    expected = (
        "msgApplication msgProducer cumulPeriod simuid jobuid msgCode msgUID nesting command "
        "msgTimestamp"
    )
    assert expected == " ".join(emission.message(voice, "4900", words, nanoseconds=WHEN))


def test_a_start_of_generation_c_has_its_circumstances_before_msguid() -> None:
    """The version marks the generation; there is no cumulPeriod."""
    voice = Voice(generation=Generation.C, simulation_uid=SIMULATION, job_uid=JOB)
    words = Words(begun={"jobWarningDelay": "3"}, told={"postProcessingName": "pack_output"})
    expected = (
        "msgApplication msgProducer msgProducerVersion simuid jobuid msgCode jobWarningDelay "
        "msgUID postProcessingName msgTimestamp"
    )
    assert expected == " ".join(emission.message(voice, "2000", words, nanoseconds=WHEN))


def test_a_line_is_base64_of_compact_json_and_a_newline() -> None:
    """The bytes that travel are those of the real mails: no spaces, one newline at the end."""
    assert b'{"a":"\\u00e9"}\n' == base64.b64decode(emission.line({"a": "é"}), validate=True)


def test_options_win_over_the_header(tmp_path: Path) -> None:
    """As with every scheduler: the command line has the last word."""
    script = tmp_path / "Job_demo"
    script.write_text("#!/bin/bash\n#SBX -J one\n#SBX -o a.log\n#SBX -e b.log\n#SBX\n")
    wanted = request(["-o", "c.log", str(script)])
    assert ("one", "c.log", "b.log") == (wanted.name, wanted.output, wanted.error)


def test_a_plain_script_is_named_after_its_file(tmp_path: Path) -> None:
    """Job_demo is the job demo, and both streams go to one file."""
    script = tmp_path / "Job_demo"
    script.write_text("true\n")
    wanted = request([str(script)])
    assert ("demo", "demo.out", "demo.out") == (wanted.name, wanted.output, wanted.error)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["-x", "a"], ["-o"], ["/nowhere/Job_x"]])
def test_a_bad_submission_is_refused(arguments: list[str]) -> None:
    """No script, two scripts, unknown options, a file that is not there."""
    with pytest.raises(Refused, match=r"sbx-submit|cannot be read"):
        request(arguments)


def test_the_settings_of_a_sandbox_load(centre: Centre) -> None:
    """The service acts there at once, at level 2, for the present user."""
    path = centre.root / "supervision.toml"
    path.write_text(toml.settings_text(centre, date(2026, 1, 2), {}))
    loaded = settings.load(path, {})
    site, user = loaded.policy.sites[0], loaded.policy.users[0]
    acts = (Mode.ACT, Silence.ACT, Silence.ACT, Level.AUTOMATIC, "anne")
    assert acts == (site.mode, site.absent, site.stalled, user.level, user.login)


def test_the_jobs_report_to_the_service_of_the_settings_file(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell's URLs win for its own commands, but not for the mail of the jobs it submits."""
    urls = {"database_url": "sqlite:////var/a.db", "broker_url": "amqp://u:p%41@host:5672/v"}
    path = centre.root / "supervision.toml"
    path.write_text(toml.settings_text(centre, date(2026, 1, 2), urls))
    monkeypatch.setenv("SUPERVISION_DATABASE_URL", "sqlite:////elsewhere.db")
    monkeypatch.setenv("SUPERVISION_BROKER_URL", "amqp://elsewhere:5672/")
    loaded = settings.load(environ=mail.environment(centre))
    assert path == loaded.source
    assert tuple(urls.values()) == (loaded.database_url, loaded.broker_url)


def test_the_settings_wait_for_seconds_only(centre: Centre) -> None:
    """Nobody waits for minutes in a demonstration."""
    text = tomllib.loads(toml.settings_text(centre, date(2026, 1, 2), {}))
    waits = {**text["policy"], **text["engine"]}
    quick = {key: wait for key, wait in waits.items() if isinstance(wait, int | float)}
    assert quick["grace"] == 0
    assert max(wait for key, wait in quick.items() if key != "dispatched_fail") <= 120


def test_the_directory_pattern_leads_to_the_submission_directory(centre: Centre) -> None:
    """Generation B tells no directory: the pattern has to find it."""
    text = tomllib.loads(toml.settings_text(centre, date(2026, 1, 2), {}))
    pattern = text["sites"]["sandbox"]["directory_pattern"]
    filled = pattern.format(login="anne", model="SANDCM1", name="demo")
    assert str(centre.directory_of("demo")) == filled


def test_a_queue_line_spells_letters_as_they_are() -> None:
    """Sed and awk read no escapes."""
    record = Record(id="1", name="demo", directory="/été", login="anne", pid=1, started=1)
    assert '"directory": "/été"' in record.shown()


def test_what_a_queue_line_says_is_fixed() -> None:
    """Scripts read these lines with sed: keys and their order never change."""
    keys = '{"id": "1001", "name": "demo", "directory": "/w", "state": "queued", '
    record = Record(id="1001", name="demo", directory="/w", login="anne", pid=1, started=1)
    assert keys + '"reason": null, "login": "anne"}' == record.shown()
