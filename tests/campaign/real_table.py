"""The table that a campaign ends with, as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.campaign import real_settings
from tests.campaign.real_audit import Findings
from tests.campaign.real_plan import Kind


@dataclass(frozen=True, kw_only=True)
class Result:
    """One campaign. Seconds are the machine's; `settled_seconds` None: not within the time."""

    seed: int
    faults: Counter[Kind]
    left_out: Mapping[Kind, str]
    tales: Counter[str]
    supervisions: Counter[str]
    attempts: int
    facts: int
    again: int
    restarts: int
    own_ends: Counter[str]
    findings: Findings
    seconds: float
    settled_seconds: float | None
    slowest_seconds: float
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, done twice, or stuck."""
        return self.findings.clean and self.settled_seconds is not None


def as_json(result: Result) -> str:
    """Spell it for programs."""
    findings = result.findings
    return json.dumps(
        {
            "seed": result.seed,
            "factor": real_settings.FACTOR,
            "short_factor": real_settings.SHORT_FACTOR,
            "work_factor": real_settings.WORK_FACTOR,
            "faults": {kind.name.lower(): count for kind, count in result.faults.items()},
            "left_out": {kind.name.lower(): why for kind, why in result.left_out.items()},
            "simulations": dict(result.tales),
            "supervisions": dict(result.supervisions),
            "attempts": result.attempts,
            "facts": result.facts,
            "ingested_again": result.again,
            "restarts": result.restarts,
            "ended_by_themselves": dict(result.own_ends),
            "lost": findings.lost,
            "twice": findings.twice,
            "stuck": findings.stuck,
            "given_up_and_told": dict(findings.given_up),
            "seconds": round(result.seconds, 1),
            "settled_seconds": result.settled_seconds,
            "slowest_recovery_seconds": round(result.slowest_seconds, 1),
            "passed": result.passed,
        },
        indent=2,
    )


def as_text(result: Result) -> str:
    """Spell it for people."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Result) -> Iterator[str]:
    yield f"The real campaign, seed {result.seed}"
    yield f"  all delays are divided by {real_settings.FACTOR}, those of up to a minute by"
    yield f"  {real_settings.SHORT_FACTOR}, leases and deadlines by {real_settings.WORK_FACTOR}"
    yield ""
    yield from _table("faults", {kind.value: count for kind, count in result.faults.items()})
    for kind, why in result.left_out.items():
        yield f"{'NOT RUN':>8}  {kind.value}: {why}"
    yield ""
    yield from _table("simulations", result.tales)
    yield ""
    yield from _table("supervisions", result.supervisions)
    yield from _table("of them given up, and somebody was told", result.findings.given_up)
    yield from (f"{value:>8}  {name}" for name, value in _figures(result))
    yield ""
    for name in ("lost", "twice", "stuck"):
        found = getattr(result.findings, name)
        yield f"{len(found):>8}  {name}"
        yield from (f"          {each}" for each in found[:20])
    yield f"{result.slowest_seconds:>8.1f}  slowest recovery, s"
    yield f"{_seconds(result.settled_seconds):>8}  settled after the last fault, s"
    yield ""
    yield "PASSED" if result.passed else "FAILED"


def _table(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    yield f"{sum(counts.values()):>8}  {title}"
    yield from (f"{count:>8}    {name}" for name, count in sorted(counts.items()))


def _figures(result: Result) -> Iterator[tuple[str, str]]:
    yield "facts published", str(result.facts)
    yield "facts ingested again after a wipe", str(result.again)
    yield "attempts", str(result.attempts)
    yield "restarts seen by the centres", str(result.restarts)
    ends = ", ".join(f"{count} of {code}" for code, count in sorted(result.own_ends.items()))
    yield (
        f"processes that ended by themselves ({ends or 'none'})",
        str(sum(result.own_ends.values())),
    )
    yield "seconds", f"{result.seconds:.0f}"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
