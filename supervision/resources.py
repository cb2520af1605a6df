"""Where the files that are not code lie: the templates of scripts and mails.

Imports nothing of ours. In a checkout they stand beside the packages, in the wheel inside ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_ROOM: Final = Path(__file__).resolve().parent


def template_root() -> Path:
    """Folder that holds `scripts/` and `mail/`, in a checkout as well as installed from the wheel.

    The installed folder wins, so that a stray `templates` beside site-packages is never read.
    Raises FileNotFoundError where there is neither: the installation is damaged.
    """
    for candidate in (_ROOM / "templates", _ROOM.parent / "templates"):
        if (candidate / "scripts").is_dir():
            return candidate
    raise FileNotFoundError(f"no templates beside or inside {_ROOM}: install the package again")
