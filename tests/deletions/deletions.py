"""What protects from acting twice and from losing, taken away one by one: a test has to fail.

`python -m tests.deletions.deletions` does each in a copy of the checkout, runs the tests named
beside it, and prints which of them failed. It ends with 1 when one deletion is not noticed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_LEFT_OUT: Final = (".git", ".tox", ".venv", "*_cache", "__pycache__", ".hypothesis")
_FAILED: Final = re.compile(r"^FAILED (\S+::\S+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """A protection, how it is taken away (file, what stands there, what stands there then)."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


def deletions() -> list[Deletion]:
    """Read every protection that the design rests on, and the quick tests that watch over it."""
    told = tomllib.loads((Path(__file__).parent / "deletions.toml").read_text())
    return [
        Deletion(
            name=each["name"],
            changes=tuple(
                (change["file"], change["old"], change["new"]) for change in each["change"]
            ),
            tests=tuple(each["tests"]),
        )
        for each in told["deletion"]
    ]


def done(deletion: Deletion, root: Path) -> None:
    """Take the protection away in the checkout at `root`."""
    for name, old, new in deletion.changes:
        path = root / name
        path.write_text(path.read_text().replace(old, new, 1))


def missed(deletion: Deletion, folder: Path) -> list[str]:
    """Run the tests without the protection; gives the names of those that fail."""
    copy = folder / "checkout"
    shutil.copytree(_ROOT, copy, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    done(deletion, copy)
    command = [sys.executable, "-m", "pytest", "-q", "-k", "not postgresql", "--no-header"]
    run = subprocess.run(
        [*command, "--tb=no", "-p", "no:cacheprovider", *deletion.tests],
        cwd=copy,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    return _FAILED.findall(run.stdout)


def main() -> int:
    """Delete what the command line names, or everything; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="words of the deletions to try")
    asked = parser.parse_args()
    unnoticed = 0
    for deletion in deletions():
        if asked.only and not any(word in deletion.name for word in asked.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            failed = missed(deletion, Path(folder))
        unnoticed += not failed
        lines = [f"{deletion.name}: {len(failed)} tests fail", *(f"  {name}" for name in failed)]
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
