"""What must not be read by everybody, taken out of text. Pure; imports nothing of ours.

For logs, for settings on a screen or in a table, and for mails. Files that hold secrets are named
in the settings; their contents never pass here.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_URL_PASSWORD: Final = re.compile(r"(?<=://)([^\s/:@\"']*):[^\s\"']+@")
_PEM_BLOCK: Final = re.compile(
    r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL
)


def mask(text: str) -> str:
    """Replace passwords in URLs and private keys in PEM form; all else stays as it is.

    Idempotent. People write `/` and `@` into passwords unescaped, so all up to the last `@` of the
    word goes: rather a host too many masked than half a password shown.
    """
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    return _PEM_BLOCK.sub(MASK, text) if "PRIVATE KEY" in text else text
