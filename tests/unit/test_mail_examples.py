"""docs/mails.md shows every kind of mail, as it is sent."""

from __future__ import annotations

from pathlib import Path

from supervision.mails import MailKind
from tests.unit.mail_examples import examples, shown, written

PAGE = Path(__file__).parents[2] / "docs" / "mails.md"


def test_there_is_an_example_of_every_kind() -> None:
    """A new kind of mail is shown to people before it is sent to them."""
    shown_kinds = {mail.message_id[1:].partition(".")[0] for mail in examples().values()}
    assert {kind.value for kind in MailKind} == shown_kinds


def test_the_page_shows_what_is_sent() -> None:
    """To write it anew: python -m tests.unit.mail_examples docs/mails.md."""
    page = PAGE.read_text()
    assert page == written(page)
    assert [] == [name for name, mail in examples().items() if shown(mail) not in page]
