"""What well-behaved peers say: where fuzzing begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from supervision.facts import AnswerKind
from tests.agent_kit import LOGIN, SITE, make_home, request

HELLO: Final = {"id": "good", "verb": "hello"}
REPLY: Final = {
    "journal_id": "j",
    "version": 1,
    "site": SITE,
    "login": LOGIN,
    "host": "h",
    "boot_id": "b",
    "clock": 1426669200.0,
    "answers": [{"supervision_id": "s-1", "attempt": 1, "kind": "executed", "report": {}}],
    "looks": [{"at": 1426669200.0, "sight": "ended", "run_card": {"period": 7}}],
    "stdout": "",
}
"""An answer that fits every verb, when its id is put in."""
MESSAGE: Final = {
    "simuid": "6513270e-269e-4d37-b2a7-4de452e6b438",
    "jobuid": "d23f0824-128b-4f33-8c5c-7fd0a6a3a450",
    "msgCode": "0000",
    "msgUID": "a170b338-3926-4059-b28c-000000000001",
    "msgTimestamp": "2016-02-19T11:53:01.000000001+0100",
    "name": "CTL02",
}


def seeds(name: str, folder: Path) -> list[bytes]:
    """Give what a well-behaved peer says to this target; `folder` is where a home may be made."""
    home = make_home(folder)
    key = {"supervision_id": "s-1", "attempt": 1}
    subject = {"ref": "r", "name": "EXP00", "directory": "/tmp", "kind": "compute"}  # noqa: S108
    lines: list[Mapping[str, object]] = [
        HELLO,
        request(home),
        request(home, "cancel"),
        {"id": 1, "verb": "status", "keys": [key]},
        {"id": 1, "verb": "look", "subjects": [{**subject, "scheduler_id": "41"}]},
        {"id": 1, "verb": "output", **key},
    ]
    said = [json.dumps(line).encode() for line in lines]
    reply, message = json.dumps(REPLY).encode(), json.dumps(MESSAGE).encode()
    mails = [b"Subject: x\nDate: Fri, 19 Feb 2016 11:53:01 +0100\n\n" + message, _MULTIPART]
    answers = [
        reply,
        b'{"later": true, "error": "x"}',
        *(json.dumps({"answers": [{"kind": kind}]}).encode() for kind in AnswerKind),
    ]
    return {
        "agent": said,
        "signed": said,
        "answers": answers,
        "mail": [*mails, b"From a\n" + mails[0] + b"\n\nFrom b\n" + mails[1], message],
        "wire": [message, b'{"sim-uid": "%s"}' % str(MESSAGE["simuid"]).encode()],
    }[name]


_MULTIPART: Final = b"""\
Content-Type: multipart/mixed; boundary="b"; charset*0*=utf-8''x

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

eyJtc2dDb2RlIjogIjE5OTkifQ=3D=3D
--b
Content-Type: application/octet-stream; name*=utf-8''config.card.base64
Content-Disposition: attachment; filename*0*=utf-8''config; filename*1=.card.base64
Content-Transfer-Encoding: base64

W0hlYWRdCg==
--b--
"""
