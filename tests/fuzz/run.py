"""Fuzz every target, or some, for as long as told; coverage leads the way. Needs atheris.

    python tests/fuzz/run.py --seconds 600 agent mail

Exit code 1 and a file that repeats it when a promise was broken.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_WATCHED: Final = ("hpc_agent", "supervision", "email", "json")
_WORDS: Final = (
    *("\\x22verb\\x22:", "\\x22answers\\x22:[{", "\\x22report\\x22:{", "\\x22looks\\x22:[{"),
    *("\\x22scheduler_id\\x22:", "\\x22attempt\\x22:", "\\x5cud800", "\\x5cu0000", "1e999", "NaN"),
    *(
        "Content-Type: ",
        "charset*=",
        "multipart/mixed; boundary=",
        "message/rfc822",
        "filename*0*=",
    ),
)


def main() -> int:
    """Fuzz one target in this process, or each in a process of its own."""
    options = _parser().parse_args()
    if options.inside:
        _fuzz(options.targets[0], options.inside, options.seconds, options.seed)
    sys.path.insert(0, str(_ROOT))
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - atheris wants to import it itself

    names = options.targets or list(TARGETS)
    return max([_report(name, options.seconds, options.seed) for name in names])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="which; all unless told")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="the same seed takes the same way")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser


def _report(name: str, seconds: int, seed: int) -> int:
    """Run a target in a process of its own, and say what became of it in one line."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        line = [sys.executable, __file__, name, "--seconds", str(seconds), "--seed", str(seed)]
        done = subprocess.run(
            [*line, "--inside", folder],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    units = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    verdict = "nothing found" if done.returncode == 0 else "FOUND, see below"
    print(f"{name}: {units[1] if units else '?'} executions in {seconds} s, seed {seed}: {verdict}")
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-1500:])
    return min(done.returncode, 1)


def _fuzz(name: str, folder: str, seconds: int, seed: int) -> None:
    """Fuzz for ever, or until the time is over; ends the process."""
    import atheris  # noqa: PLC0415 - only who fuzzes needs it

    sys.path.insert(0, str(_ROOT))
    with atheris.instrument_imports(include=list(_WATCHED)):
        from tests.fuzz import seeds, targets  # noqa: PLC0415 - imported while it is watched
    corpus, work = Path(folder) / "corpus", Path(folder) / "work"
    for path in (corpus, work, Path(folder) / "seeds"):
        path.mkdir()
    for number, seed_bytes in enumerate(seeds.seeds(name, Path(folder) / "seeds")):
        (corpus / str(number)).write_bytes(seed_bytes)
    (Path(folder) / "words").write_text("".join(f'"{word}"\n' for word in _WORDS))
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-dict={folder}/words"]
    options += ["-print_final_stats=1", "-max_len=8192", "-timeout=30", "-rss_limit_mb=2048"]
    atheris.Setup(
        [sys.argv[0], *options, f"-artifact_prefix={Path.cwd()}/found-{name}-", str(corpus)],
        targets.TARGETS[name](work),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
