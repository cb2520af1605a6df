"""Lines out of mails: the real ones of three runs, and every way in which a mail can be odd."""

from __future__ import annotations

import base64
import quopri
from collections import Counter
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from supervision.adapters.mailfiles import Line, read, total_bytes
from supervision.errors import DecodeError
from supervision.messages import Meaning, MonitoringMessage
from supervision.wire import decode_line

MAILS = Path(__file__).parents[1] / "data" / "mails"
FIRST, SECOND, THIRD = (base64.b64encode(f'{{"a":"{n}"}}\n'.encode()) for n in "123")
DATE = b"Date: Wed, 18 Mar 2015 09:48:48 +0100\r\n"
MOMENT = datetime(2015, 3, 18, 8, 48, 48, tzinfo=UTC)

COUNTS = {
    "curie-2014-echo-after-end": {
        ("0000", Meaning.SIMULATION_START): 2,
        ("0100", Meaning.SIMULATION_END): 2,
        ("1000", Meaning.COMPUTE_START): 1,
        ("1100", Meaning.COMPUTE_END): 2,
        ("2000", Meaning.IGNORED): 3493,
        ("3000", Meaning.IGNORED): 3493,
        ("7000", Meaning.IGNORED): 444,
        ("9000", Meaning.COMMAND_FAILED): 3,
    },
    "curie-2015-fatal": {
        ("0000", Meaning.SIMULATION_START): 3,
        ("7000", Meaning.IGNORED): 454,
        ("9000", Meaning.COMMAND_FAILED): 302,
        ("9999", Meaning.FATAL): 1,
    },
    "curie-2015-run-a": {
        ("0000", Meaning.SIMULATION_START): 1,
        ("0100", Meaning.SIMULATION_END): 1,
        ("1100", Meaning.COMPUTE_END): 1,
        ("7000", Meaning.IGNORED): 364,
    },
}
"""What the real mails hold, message by message; none of their lines is damaged."""


def raws(*paths: Path) -> list[bytes]:
    """Give the bare lines of these files."""
    return [line.raw for line in read(paths)]


def message(line: Line) -> MonitoringMessage:
    """Decode a line with everything that its mail told."""
    return decode_line(line.raw, mailed_at=line.mailed_at, config_card=line.config_card)


def written(path: Path, data: bytes) -> Path:
    """Write a file and give its path."""
    path.write_bytes(data)
    return path


def mail(*lines: bytes) -> bytes:
    """Give a plain mail of these lines."""
    return DATE + b"Subject: jobs\r\n\r\n" + b"".join(line + b"\r\n" for line in lines)


@pytest.mark.parametrize("folder", COUNTS)
def test_the_real_mails_are_read_to_the_last_line(folder: str) -> None:
    """Every message of a folder comes out once, with its meaning."""
    found = Counter((read_.code, read_.meaning) for read_ in map(message, read([MAILS / folder])))
    assert COUNTS[folder] == found


def test_the_cards_of_the_real_mails_reach_their_simulations() -> None:
    """A card goes to the 0000 of its mail, also where 145 messages of another one come before."""
    cards = {
        (read_.fields["name"], len(read_.config_card or ""))
        for read_ in map(message, read([MAILS]))
        if read_.meaning is Meaning.SIMULATION_START
    }
    assert {
        ("ANNE01", 7184),
        ("MAX01", 7183),
        ("CPL6V5.10x00F", 7210),
        ("CPL01", 7206),
        ("SPRE9.v2", 3904),
    } == cards


def test_a_card_is_the_text_of_the_attachment() -> None:
    """Base64 inside quoted-printable is taken off, to the first and the last character."""
    line = next(read([MAILS / "curie-2015-fatal" / "email-02.eml"]))
    card = line.config_card or ""
    assert (True, True) == (
        card.startswith("#\n# This is config.card file for IPSLCM5A configuration\n"),
        "\n[UserChoices]\n" in card,
    )


def test_a_line_of_a_real_mail_says_where_it_came_from() -> None:
    """File, line and the mail's Date in UTC are with it."""
    path = MAILS / "curie-2015-fatal" / "email-03.eml"
    (line,) = read([path])
    assert (str(path), 1, datetime(2015, 3, 18, 8, 48, 59, tzinfo=UTC), None) == (
        line.origin,
        line.number,
        line.mailed_at,
        line.config_card,
    )


def test_a_directory_is_read_in_sorted_order_and_counted_whole() -> None:
    """The first lines are those of the first file, and the progress ends at the total."""
    done: list[int] = []
    origins = list(dict.fromkeys(line.origin for line in read([MAILS], progress=done.append)))
    assert [str(path) for path in sorted(MAILS.glob("*/*.eml"))] == origins
    assert total_bytes([MAILS]) == sum(done)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("7bit", bytes),
        ("8bit", bytes),
        ("binary", bytes),
        ("quoted-printable", quopri.encodestring),
        ("base64", base64.encodebytes),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_every_transfer_encoding_is_taken_off(
    tmp_path: Path, encoding: str, encode: type[bytes], end: bytes
) -> None:
    """The same two lines come out, and the empty one between them counts but is no line."""
    body = encode(FIRST + end + end + SECOND + end)
    header = f"Content-Type: text/plain\nContent-Transfer-Encoding: {encoding}\n\n".encode()
    path = written(tmp_path / "a.eml", DATE + header.replace(b"\n", end) + body)
    assert [(1, FIRST, MOMENT), (3, SECOND, MOMENT)] == [
        (line.number, line.raw, line.mailed_at) for line in read([path])
    ]


def several(*, card: str | None) -> bytes:
    """Build a mail of two texts, a picture, an attached buffer, and a card where one is given."""
    built = EmailMessage()
    built["Date"] = "Wed, 18 Mar 2015 09:48:48 +0100"
    built.set_content(FIRST.decode())
    built.make_mixed()
    built.attach(_text(SECOND.decode()))
    built.add_attachment(b"\x89PNG\n\x00", maintype="image", subtype="png", filename="a.png")
    built.add_attachment(THIRD, maintype="application", subtype="octet-stream", filename="stack")
    if card is not None:
        built.add_attachment(card, filename="Config.Card.base64", cte="quoted-printable")
    return built.as_bytes()


def _text(content: str) -> EmailMessage:
    part = EmailMessage()
    part.set_content(content)
    return part


@pytest.mark.parametrize(
    ("expected", "card"),
    [
        ("# été\n", base64.encodebytes("# été\n".encode()).decode()),
        ("# été\n", base64.encodebytes("# été\n".encode("latin-1")).decode()),
        ("", "\n"),
        (None, None),
        (None, "no base64!\n"),
        (None, base64.encodebytes(b"a\x00b").decode()),
        (None, base64.encodebytes(b"a" * 300_000).decode()),
    ],
)
def test_all_texts_and_the_card_of_a_mail(
    tmp_path: Path, expected: str | None, card: str | None
) -> None:
    """Texts are read one after the other; a card that cannot be read leaves them as they are."""
    path = written(tmp_path / "a.eml", several(card=card))
    assert [(FIRST, expected), (SECOND, expected), (THIRD, expected)] == [
        (line.raw, line.config_card) for line in read([path])
    ]


@pytest.mark.parametrize(
    ("moment", "date"),
    [
        (MOMENT, b"Wed, 18 Mar 2015 08:48:48 -0000"),
        (MOMENT, b"Wed, 18 Mar 2015 09:48:48 +0100 (CET)"),
        (None, b"yesterday"),
        (None, b"caf\xe9"),
        (None, b"Wed, 32 Mar 2015 09:48:48 +0100"),
        (None, b"Wed, 18 Mar 99999999999999999999 09:48:48 +0100"),
        (None, b"Wed, 18 Mar 2015 09:48:48 +9999999999999999"),
        (None, b"Fri, 31 Dec 9999 23:48:48 -0100"),
    ],
)
def test_the_date_of_a_mail(tmp_path: Path, moment: datetime | None, date: bytes) -> None:
    """It comes in UTC; one that is no date is None and costs no line."""
    path = written(tmp_path / "a.eml", b"Date: " + date + b"\n\n" + FIRST)
    assert [Line(origin=str(path), number=1, raw=FIRST, mailed_at=moment)] == list(read([path]))


def test_a_mail_without_a_date_has_none(tmp_path: Path) -> None:
    """A missing header is no error."""
    path = written(tmp_path / "a.eml", b"\nSubject: jobs\n\n" + FIRST)
    assert [(FIRST, None)] == [(line.raw, line.mailed_at) for line in read([path])]


def test_a_bad_line_never_spoils_its_mail(tmp_path: Path) -> None:
    """A folded line, a backslash and broken JSON stand between two messages that are read."""
    real = MAILS / "curie-2015-fatal" / "email-03.eml"
    good = raws(real)[0]
    broken = base64.b64encode(b'{"msgCode":9000,"command":IGCM_sys_Cp}\n')
    long = base64.b64encode(b'{"msgCode":"2000","arguments":["' + b"a" * 2000 + b'"]}\n')
    path = written(
        tmp_path / "a.eml", mail(good, long[:2047], long[2047:], b"\\" + good, broken, good)
    )
    outcomes = []
    for line in read([path]):
        try:
            outcomes.append(message(line).code)
        except DecodeError as error:
            outcomes.append(str(error).split(":")[0])
    assert ["9000", "not base64", "not UTF-8", "not base64", "not JSON", "9000"] == outcomes


@pytest.mark.parametrize(
    "broken",
    [
        b'Content-Type: multipart/mixed; boundary="b"\n\n',
        b"Content-Type: multipart/mixed\n\n",
        b"Content-Type: message/rfc822\n\nSubject: forwarded\n\n",
        b"Content-Type: text/plain; charset=unheard-of\n\n",
        b"Content-Type: nonsense\nContent-Transfer-Encoding: nonsense\n\n",
        b'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\n',
    ],
)
def test_a_mail_of_broken_form_still_gives_its_lines(tmp_path: Path, broken: bytes) -> None:
    """Boundaries get lost on the way; the lines are worth more."""
    path = written(tmp_path / "a.eml", DATE + broken + FIRST + b"\n" + SECOND + b"\n")
    assert [FIRST, SECOND] == raws(path)


def test_a_mail_nested_without_end_spoils_no_mailbox(tmp_path: Path) -> None:
    """What is too deep to take apart comes as plain lines, and the next mail as it should."""
    deep = b"From a\n" + b"Content-Type: message/rfc822\n\n" * 3000 + b"\n"
    path = written(tmp_path / "inbox", deep + b"From b\n" + mail(FIRST))
    assert FIRST == raws(path)[-1]


def test_a_page_of_html_is_no_text_of_messages(tmp_path: Path) -> None:
    """The same text again, dressed up, would only make bad lines."""
    path = written(tmp_path / "a.eml", DATE + b"Content-Type: text/html\n\n<p>" + FIRST)
    assert [] == raws(path)


@pytest.mark.parametrize("charset", [b"a\0b", b"idna", b"undefined", b"nothing"])
def test_a_file_name_in_no_character_set_spoils_no_mailbox(tmp_path: Path, charset: bytes) -> None:
    """The mail library lets the codec's error through; found by fuzzing."""
    odd = b"Content-Disposition: attachment; filename*0*=" + charset + b"''x%FF\n\n" + FIRST
    path = tmp_path / "box"
    path.write_bytes(b"From a\n" + odd + b"\n\nFrom b\nSubject: x\n\n" + SECOND + b"\n")
    assert [FIRST, SECOND] == raws(path)


def test_a_header_that_the_library_cannot_sort_spoils_no_mailbox(tmp_path: Path) -> None:
    """The mail is read as plain lines, and the one behind it as a mail; found by fuzzing."""
    odd = b"Content-Type: text/plain; charset*=\"b\"; charset*0*=utf-8''x\n\n" + FIRST
    path = tmp_path / "box"
    path.write_bytes(b"From a\n" + odd + b"\n\nFrom b\nSubject: x\n\n" + SECOND + b"\n")
    assert [FIRST, SECOND] == [raw for raw in raws(path) if raw in (FIRST, SECOND)]
