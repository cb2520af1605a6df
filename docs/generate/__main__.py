"""Write every page that is written from the code: `python -m docs.generate`.

Nothing is passed and nothing is asked; a page that is right already is left alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from docs.generate.pages import PAGES

_DOCS: Final = Path(__file__).parents[1]

for name, page in PAGES.items():
    path, text = _DOCS / name, page()
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sys.stdout.write(f"{path}\n")
