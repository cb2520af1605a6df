"""Run a module of Python under a clock that somebody else may step: FILE -m MODULE ARGUMENTS.

FILE holds how many seconds `time.time` is ahead; it is read at every look at the clock, so a step
reaches programs that run already. Files' own times are not stepped: they are another machine's.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

REAL = time.time


def stepped(file: Path) -> float:
    """Tell the time as this machine has it now; a file that is being written steps nothing."""
    try:
        return REAL() + float(file.read_text() or 0)
    except (OSError, ValueError):
        return REAL()


def main(arguments: list[str]) -> None:
    """Become the module: its arguments are what follows its name."""
    file = Path(arguments[0])
    time.time = lambda: stepped(file)
    sys.argv = arguments[2:]
    sys.path[0] = str(Path.cwd())
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
