"""What a config.card says that we need: how many cores the simulation's compute jobs ask for.

No message has a field for it; the card comes with the 0000, and only there.
"""

from __future__ import annotations

import re
from typing import Final

_SECTION: Final = re.compile(r"\[(\w+)\]")
_COUNT: Final = re.compile(r"([0-9]{1,7})(MPI|OMP)\b")
_TOTAL: Final = re.compile(r"JobNumProcTot=([0-9]{1,7})")
_MOST: Final = 9_999_999
_LONGEST_LINE: Final = 1000


def cores_of(card: str) -> int | None:
    """Count the cores that a compute job asks for; None where the card does not tell.

    MPI tasks times OpenMP threads, summed over the lines of [Executable]; where none of them names
    a count, JobNumProcTot of [UserChoices]. Never 0, and at most seven digits.
    """
    section, total, summed = "", 0, 0
    for line in card.splitlines():
        text = line.strip()[:_LONGEST_LINE]
        if opened := _SECTION.fullmatch(text):
            section = opened[1]
        elif section == "Executable" and not text.startswith("#"):
            summed += _product(text)
        elif section == "UserChoices" and (told := _TOTAL.fullmatch(text.replace(" ", ""))):
            total = int(told[1])
    cores = summed or total
    return cores if 0 < cores <= _MOST else None


def _product(line: str) -> int:
    counts = {unit: int(number) for number, unit in _COUNT.findall(line)}
    return counts["MPI"] * counts.get("OMP", 1) if "MPI" in counts else 0
