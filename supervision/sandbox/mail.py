"""Mail of the sandbox: files of base64 lines in the outbox, handed over to `ingest`.

A file leaves the outbox only when `ingest` has taken it; what failed stays and is tried again
here, with the next mail, or by hand with `sbx-mail`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from supervision.sandbox.centre import Centre
from supervision.sandbox.files import locked, write_whole

_SUFFIX: Final = ".mail"
_INGEST_SECONDS: Final = 120


def waiting(centre: Centre) -> list[Path]:
    """List the mail that nobody has taken, oldest first."""
    return sorted(centre.outbox.glob(f"[0-9]*{_SUFFIX}"))


def put(centre: Centre, lines: Sequence[str]) -> None:
    """Put one mail into the outbox and have a detached postman carry it; returns at once.

    The mail has left the job then: whoever kills the job does not kill its mail.
    """
    name = f"{time.time_ns():020d}.{os.getpid()}{_SUFFIX}"
    write_whole(centre.outbox / name, "".join(f"{text}\n" for text in lines))
    with (centre.root / "mail.log").open("a") as log:
        subprocess.Popen(
            [str(centre.bin / "sbx-mail")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=centre.root,
            start_new_session=True,
        )


def carry(centre: Centre) -> bool:
    """Hand over all mail that waits, oldest first; tells whether the outbox is empty now.

    One postman at a time: mails of one centre arrive in the order in which they left. What waits
    goes in one hand, for starting `ingest` takes longer than its work; where that is not taken,
    one by one, so that a bad mail holds up no other.
    """
    with locked(centre.root / "mail.lock"):
        refused: set[Path] = set()
        while new := [path for path in waiting(centre) if path not in refused]:
            if not _hand_over(centre, new):
                refused.update(path for path in new if not _hand_over(centre, [path]))
    return not waiting(centre)


def _hand_over(centre: Centre, paths: Sequence[Path]) -> bool:
    try:
        subprocess.run(
            [*centre.ingest, *map(str, paths)],
            stdin=subprocess.DEVNULL,
            cwd=centre.root,
            env=environment(centre),
            timeout=_INGEST_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    for path in paths:
        path.replace(centre.sent / path.name)
    return True


def environment(centre: Centre) -> dict[str, str]:
    """Give the environment in which this centre's own service is found, with its settings.

    Database and broker are those of the settings file alone: a job that a shell submitted reports
    to the same service as one that the agent submitted, which inherits no URL.
    """
    paths = [centre.package, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "SUPERVISION_DATABASE_URL": "",
        "SUPERVISION_BROKER_URL": "",
        "SUPERVISION_CONFIG": str(centre.root / "supervision.toml"),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


def main(centre: Centre, arguments: Sequence[str]) -> int:
    """`sbx-mail`: carry the mail, again a few times where it was not taken; 1: some still waits."""
    del arguments  # it takes none
    for pause in centre.pace.mail_again_seconds:
        if carry(centre):
            return 0
        time.sleep(pause)
    return 0 if carry(centre) else 1
