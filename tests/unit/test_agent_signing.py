"""Signatures: both sides spell and sign alike, and every change is seen."""

from __future__ import annotations

import pytest

from hpc_agent import signing
from supervision.adapters.agent_protocol import derive_key, sign
from tests.agent_kit import KEY, MASTER

REQUEST: dict[str, object] = {"verb": "submit", "attempt": 1, "script": "é", "expires_at": 1.5}


def test_both_sides_sign_alike() -> None:
    """What the service signs, the agent accepts."""
    assert signing.signed(sign(REQUEST, KEY), KEY)


@pytest.mark.parametrize(
    "change",
    [{"attempt": 2}, {"script": "e"}, {"expires_at": 2.5}, {"more": ""}, {"signature": "0" * 64}],
)
def test_any_change_breaks_the_signature(change: dict[str, object]) -> None:
    """Everything in the request is signed, also what the verb does not know."""
    assert not signing.signed({**sign(REQUEST, KEY), **change}, KEY)


@pytest.mark.parametrize("signature", [None, "", 7, ["x"], "é"])
def test_what_is_no_signature_is_refused(signature: object) -> None:
    """Absent, empty, not a text, not ASCII: refused without an error."""
    assert not signing.signed({**REQUEST, "signature": signature}, KEY)


def test_keys_differ_by_site_and_login() -> None:
    """A key of one login says nothing for another, nor for its namesake elsewhere."""
    places = [("curie", "a"), ("curie", "b"), ("ada", "a")]
    keys = {derive_key(MASTER, site, login) for site, login in places}
    assert len(keys) == len(places)
    assert {len(key) for key in keys} == {32}


def test_another_logins_signature_is_refused() -> None:
    """A request signed with another login's key does not pass."""
    assert not signing.signed(sign(REQUEST, derive_key(MASTER, "curie", "other")), KEY)
